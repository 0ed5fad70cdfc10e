package import Wire

/// Bytes of dead letters in the log, by its files: they go when their file goes. No more entries
/// than the log has files.
package struct LogLetters: Hashable, Sendable {
    private var files: [UInt32: UInt64] = [:]
    package private(set) var bytes: UInt64 = 0

    package init() {}

    /// A home record was appended to this file.
    package mutating func add(_ record: BatchRecord, in file: UInt32) {
        let added = UInt64(record.letterBytes)
        guard added > 0 else { return }
        files[file, default: 0] += added
        bytes += added
    }

    /// Files before this one were let go of.
    package mutating func release(before start: UInt32) {
        for file in files.keys where file < start {
            // The sum does not depend on the order.
            bytes -= files.removeValue(forKey: file) ?? 0
        }
    }
}
