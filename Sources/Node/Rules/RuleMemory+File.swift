internal import Core
package import Storage
internal import Wire

/// The file `RULES` of a node's directory (docs/formats/rules.md).
extension RuleMemory {
    private static let magic = Array("quipurul".utf8)
    private static let formatVersion: UInt16 = 1
    private static let checksumBytes = 4
    private static let unlimited: Int64 = -1
    /// 25 bytes each.
    private static let entryBytes = 25

    /// nil where there is none yet.
    package static func load(from files: any FileSystem) throws(StorageError) -> RuleMemory? {
        guard try files.list(".").contains(NodeFiles.rules) else { return nil }
        let bytes = try files.readAll(NodeFiles.rules)
        guard bytes.count > magic.count + checksumBytes, bytes.starts(with: magic),
            Array(bytes.suffix(checksumBytes)) == checksum(of: bytes.dropLast(checksumBytes))
        else {
            throw .damaged(
                path: NodeFiles.rules, offset: 0,
                what: "the rules that this node ran with cannot be read; put back the file of a "
                    + "snapshot, or, where it has peers, remove it: they say which were in force")
        }
        var reader = ByteReader(bytes, from: magic.count, to: bytes.count - checksumBytes)
        let found: UInt16
        do throws(DecodeError) {
            let version: UInt16 = try reader.fixed()
            if version == formatVersion { return try body(&reader) }
            found = version
        } catch {
            throw .damaged(path: NodeFiles.rules, offset: 0, what: "\(error)")
        }
        throw .newerFormat(path: NodeFiles.rules, version: found, known: formatVersion)
    }

    /// Returns when it is durable.
    package func store(in files: any FileSystem) throws(StorageError) {
        try files.rewrite(NodeFiles.rules, as: NodeFiles.rulesDraft, in: ".", encoded)
    }

    private var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 64)
        writer.write(raw: Self.magic)
        writer.write(fixed: Self.formatVersion)
        writer.write(fixed: futureLimit.milliseconds)
        writer.write(fixed: lateness?.milliseconds ?? Self.unlimited)
        writer.write(count: entries.count)
        for notice in entries {
            writer.write(fixed: notice.entry.from.milliseconds)
            writer.write(fixed: notice.entry.futureLimit.milliseconds)
            writer.write(fixed: notice.entry.lateness?.milliseconds ?? Self.unlimited)
            writer.write(notice.standing.rawValue)
        }
        return writer.bytes + Self.checksum(of: writer.bytes[...])
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
        try reader.finish()
        return memory
    }

    private static func lateness(
        _ reader: inout ByteReader
    ) throws(DecodeError) -> Duration? {
        let milliseconds: Int64 = try reader.fixed()
        return milliseconds == unlimited ? nil : .milliseconds(milliseconds)
    }

    private static func checksum(of bytes: ArraySlice<UInt8>) -> [UInt8] {
        var writer = ByteWriter(capacity: checksumBytes)
        writer.write(fixed: Checksum.crc32c(Array(bytes)))
        return writer.bytes
    }
}
