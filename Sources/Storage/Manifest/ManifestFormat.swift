import Core
package import Wire

/// The bytes of the manifest (docs/formats/manifest.md): a header, then records in the log's frame,
/// whose LSN is the number of the edit.
enum ManifestFormat {
    static let magic = Array("QUIPUMAN".utf8)
    static let version: UInt16 = 1
    /// Magic, version, two zero bytes, checksum of the twelve bytes before.
    static let headerSize = 16

    enum Kind: UInt8 {
        case snapshot = 1
        case edit = 2
    }

    static var header: [UInt8] {
        var writer = ByteWriter(capacity: headerSize)
        writer.write(raw: magic)
        writer.write(fixed: version)
        writer.write(fixed: UInt16(0))
        writer.write(fixed: Checksum.crc32c(writer.bytes))
        return writer.bytes
    }

    /// Throws what a reader should hear when the header is not one.
    static func checkHeader(_ bytes: [UInt8], path: String) throws(StorageError) {
        guard bytes.count >= headerSize else {
            throw .damaged(path: path, offset: 0, what: "a manifest of \(bytes.count) bytes")
        }
        guard Array(bytes[0..<8]) == magic else {
            throw .damaged(path: path, offset: 0, what: "it does not begin as a manifest does")
        }
        let found = UInt16(bytes[8]) | UInt16(bytes[9]) << 8
        let checksum = Array(header.suffix(4))
        guard found <= version || Array(bytes[12..<16]) == checksum else {
            throw .newerFormat(path: path, version: found, known: version)
        }
        guard Array(bytes[0..<headerSize]) == header else {
            throw .damaged(path: path, offset: 8, what: "the header's checksum does not match")
        }
    }

    static func bytes(_ edit: ManifestEdit) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(count: edit.addTables.count)
        for meta in edit.addTables { writer.write(meta) }
        writer.write(count: edit.removeTables.count)
        for id in edit.removeTables { writer.write(varint: id) }
        writer.write(flag: edit.coveredThrough != nil)
        if let covered = edit.coveredThrough { writer.write(varint: covered.number) }
        writer.write(flag: edit.identity != nil)
        if let identity = edit.identity { writer.write(identity) }
        writer.write(flag: edit.logStart != nil)
        if let start = edit.logStart { writer.write(fixed: start) }
        writer.write(count: edit.addHistory.count)
        for meta in edit.addHistory { writer.write(meta) }
        writer.write(count: edit.removeHistory.count)
        for id in edit.removeHistory { writer.write(varint: id) }
        writer.write(flag: edit.base != nil)
        if let base = edit.base { writer.write(base) }
        writer.write(flag: edit.voidThrough != nil)
        if let void = edit.voidThrough { writer.write(varint: void.number) }
        if let retention = edit.retention { writer.write(retention) }
        return writer.bytes
    }

    static func edit(_ bytes: [UInt8]) throws(DecodeError) -> ManifestEdit {
        var reader = ByteReader(bytes)
        var edit = ManifestEdit()
        for _ in 0..<(try reader.count(ofSize: 50)) {
            edit.addTables.append(try reader.tableMeta())
        }
        for _ in 0..<(try reader.count(ofSize: 1)) { edit.removeTables.append(try reader.varint()) }
        if try reader.flag() { edit.coveredThrough = try reader.coveredThrough() }
        if try reader.flag() { edit.identity = try reader.identity() }
        if try reader.flag() { edit.logStart = try reader.logStart() }
        // An edit of a release that forgot nothing ends here.
        guard !reader.isAtEnd else { return edit }
        for _ in 0..<(try reader.count(ofSize: 26)) {
            edit.addHistory.append(try reader.historyMeta())
        }
        for _ in 0..<(try reader.count(ofSize: 1)) {
            edit.removeHistory.append(try reader.varint())
        }
        if try reader.flag() { edit.base = try reader.historyBase() }
        if try reader.flag() { edit.voidThrough = try reader.coveredThrough() }
        if !reader.isAtEnd { edit.retention = try reader.retention() }
        try reader.finish()
        return edit
    }

    static func bytes(_ state: ManifestState) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(count: state.tables.count)
        for meta in state.tables { writer.write(meta) }
        writer.write(varint: state.coveredThrough.number)
        writer.write(flag: state.identity != nil)
        if let identity = state.identity { writer.write(identity) }
        writer.write(fixed: state.logStart)
        writer.write(varint: state.nextTableID)
        writer.write(count: state.history.count)
        for meta in state.history { writer.write(meta) }
        writer.write(state.base)
        writer.write(varint: state.voidThrough.number)
        writer.write(varint: state.nextHistoryID)
        if state.retention != .none { writer.write(state.retention) }
        return writer.bytes
    }

    static func state(_ bytes: [UInt8]) throws(DecodeError) -> ManifestState {
        var reader = ByteReader(bytes)
        var tables: [TableMeta] = []
        for _ in 0..<(try reader.count(ofSize: 50)) { tables.append(try reader.tableMeta()) }
        let covered = try reader.coveredThrough()
        let identity = try reader.flag() ? try reader.identity() : nil
        let start = try reader.logStart()
        let next = try reader.varint()
        guard next > 0, next <= RecordFrame.lsnMax,
            zip(tables, tables.dropFirst()).allSatisfy({ $0.id < $1.id }),
            tables.last.map({ $0.id < next }) ?? true
        else { throw reader.fail("tables out of order") }
        var state = ManifestState(
            tables: tables, coveredThrough: covered, identity: identity, logStart: start,
            nextTableID: next)
        // A snapshot of a release that forgot nothing ends here.
        if !reader.isAtEnd { try take(history: &reader, into: &state) }
        // Nor is there anything more where nothing was ever limited.
        if !reader.isAtEnd { state.take(try reader.retention()) }
        try reader.finish()
        return state
    }

    private static func take(
        history reader: inout ByteReader, into state: inout ManifestState
    ) throws(DecodeError) {
        var history: [HistoryMeta] = []
        for _ in 0..<(try reader.count(ofSize: 26)) { history.append(try reader.historyMeta()) }
        let base = try reader.historyBase()
        let void = try reader.coveredThrough()
        let next = try reader.varint()
        guard next > 0, next <= RecordFrame.lsnMax,
            zip(history, history.dropFirst()).allSatisfy({ $0.id < $1.id }),
            history.last.map({ $0.id < next }) ?? true
        else { throw reader.fail("history files out of order") }
        state.take(history: history, base: base, voidThrough: void, nextHistoryID: next)
    }
}

extension ByteWriter {
    package mutating func write(_ floor: RetentionFloor) {
        write(fixed: floor.hours)
        write(fixed: floor.days)
        write(fixed: floor.expired)
    }

    package mutating func write(_ sum: PartitionSum) {
        write(sum.state)
        write(fixed: sum.events)
    }

    fileprivate mutating func write(_ retention: Retention) {
        write(retention.floor)
        write(count: retention.dropped.count)
        for (partition, sum) in retention.dropped.sorted(by: { $0.key < $1.key }) {
            write(fixed: partition.index)
            write(sum)
        }
    }

    fileprivate mutating func write(_ identity: NodeIdentity) {
        write(fixed: identity.hostID)
        write(fixed: identity.incarnation.number)
        write(fixed: identity.generation)
        write(fixed: identity.startNonce)
        write(flag: identity.mustRecover)
    }
}

extension ByteReader {
    package mutating func retentionFloor() throws(DecodeError) -> RetentionFloor {
        RetentionFloor(hours: try fixed(), days: try fixed(), expired: try fixed())
    }

    package mutating func partitionSum() throws(DecodeError) -> PartitionSum {
        PartitionSum(state: try stateDigest(), events: try fixed())
    }

    fileprivate mutating func retention() throws(DecodeError) -> Retention {
        var retention = Retention(floor: try retentionFloor())
        for _ in 0..<(try count(ofSize: 42)) {
            let partition = try partition()
            guard retention.dropped[partition] == nil else {
                throw fail("partition \(partition) is dropped twice")
            }
            retention.dropped[partition] = try partitionSum()
        }
        return retention
    }

    fileprivate mutating func identity() throws(DecodeError) -> NodeIdentity {
        var identity = NodeIdentity(
            hostID: try fixed(), incarnation: Incarnation(try fixed()), generation: try fixed(),
            startNonce: try fixed())
        identity.mustRecover = try flag()
        return identity
    }

    fileprivate mutating func coveredThrough() throws(DecodeError) -> LSN {
        let number = try varint()
        guard number <= RecordFrame.lsnMax else { throw fail("LSN \(number)") }
        return LSN(number)
    }

    fileprivate mutating func logStart() throws(DecodeError) -> UInt32 {
        let number: UInt32 = try fixed()
        guard number > 0, number < .max else { throw fail("log file \(number)") }
        return number
    }
}
