internal import Core
package import Storage
internal import Wire

/// The file `RULES` of a node's directory (docs/formats/rules.md).
extension RuleMemory {
    private static let file = CheckedFile(
        name: NodeFiles.rules, magic: "quipurul", version: 1,
        remedy: "the rules that this node ran with cannot be read; put back the file of a "
            + "snapshot, or, where it has peers, remove it: they say which were in force")
    private static let unlimited: Int64 = -1
    /// 25 bytes each.
    private static let entryBytes = 25

    /// nil where there is none yet.
    package static func load(from files: any FileSystem) throws(StorageError) -> RuleMemory? {
        try file.load(from: files) { reader throws(DecodeError) in try body(&reader) }
    }

    /// Returns when it is durable.
    package func store(in files: any FileSystem) throws(StorageError) {
        try Self.file.store(in: files) { writer in
            writer.write(fixed: futureLimit.milliseconds)
            writer.write(fixed: lateness?.milliseconds ?? Self.unlimited)
            writer.write(count: entries.count)
            for notice in entries {
                writer.write(fixed: notice.entry.from.milliseconds)
                writer.write(fixed: notice.entry.futureLimit.milliseconds)
                writer.write(fixed: notice.entry.lateness?.milliseconds ?? Self.unlimited)
                writer.write(notice.standing.rawValue)
            }
        }
    }

    private static func body(_ reader: inout ByteReader) throws(DecodeError) -> RuleMemory {
        var memory = RuleMemory(
            futureLimit: .milliseconds(try reader.fixed() as Int64),
            lateness: try lateness(&reader))
        for _ in 0..<(try reader.count(ofSize: entryBytes)) {
            let from = WallTime(milliseconds: try reader.fixed())
            let future: Duration = .milliseconds(try reader.fixed() as Int64)
            let lateness = try lateness(&reader)
            guard let standing = RuleStanding(rawValue: try reader.byte()) else {
                throw reader.fail("unknown standing of a rule")
            }
            memory.entries.append(
                RuleNotice(
                    RuleEntry(from: from, futureLimit: future, lateness: lateness), standing))
        }
        return memory
    }

    private static func lateness(
        _ reader: inout ByteReader
    ) throws(DecodeError) -> Duration? {
        let milliseconds: Int64 = try reader.fixed()
        return milliseconds == unlimited ? nil : .milliseconds(milliseconds)
    }
}
