import Core
import Storage
import Testing

/// A file that this process wrote is known to the system by the name of its draft.
@Suite("Files that were drafts")
struct DraftNameTests {
    @Test("a sector that cannot be read is told by the table's own name")
    func unreadable() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 5, slices: 8)
        let table = try #require(tables.first)
        files.makeUnreadable(table.path, at: 0)
        #expect {
            try table.verify()
        } throws: { error in
            guard case .damaged(let path, _, _)? = error as? StorageError else { return false }
            return path == table.path
        }
    }
}
