import GRDB

extension DatabaseReader {
    /// All that the database holds at one moment, in a new file, durably.
    func copy(to target: String) throws {
        let copy = try DatabaseQueue(path: target)
        try backup(to: copy)
        try copy.close()
    }
}
