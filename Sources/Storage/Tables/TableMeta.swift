package import Core
import Wire

/// How long the windows of a table's cells are. Persisted: do not change the numbers.
package enum Granularity: UInt8, Hashable, Sendable, CaseIterable {
    /// The cluster's window length.
    case base = 1
    case hour = 2
    case day = 3
}

/// What is known of a table without opening it: an entry of the manifest.
package struct TableMeta: Hashable, Sendable {
    package var id: UInt64
    package var granularity: Granularity
    /// The time bucket: 32 days of windows.
    package var bucket: Int64
    /// The file's size in bytes.
    package var size: UInt64
    package var cells: UInt64
    package var total: Measure
    /// The state digest over all its partitions.
    package var digest: StateDigest
    package var partitions: PartitionSet
    package var firstWindow: Int64
    package var lastWindow: Int64
    /// The least and the greatest key in byte order.
    package var firstKey: [UInt8]
    package var lastKey: [UInt8]
    /// Of the footer: the manifest names the file's content, not only its name.
    package var footerChecksum: UInt32
    package var location = TableLocation.hot

    package var path: String { FileNames.table(id, location) }
}

extension TableMeta {
    /// In the manifest's byte of the granularity: the table is cold.
    static let coldBit: UInt8 = 0x80

    /// A table by its size alone, for those who choose among tables.
    package init(
        id: UInt64, granularity: Granularity = .base, bucket: Int64, size: UInt64,
        location: TableLocation = .hot
    ) {
        self.init(
            id: id, granularity: granularity, bucket: bucket, size: size, cells: 0, total: .zero,
            digest: .zero, partitions: PartitionSet(), firstWindow: 0, lastWindow: 0,
            firstKey: [], lastKey: [], footerChecksum: 0, location: location)
    }
}

/// What one partition holds in one table.
package struct TablePartition: Hashable, Sendable {
    package var partition: PartitionID
    package var cells: UInt64
    package var total: Measure
    package var digest: StateDigest
}

/// The end of a table: totals, digests and where the sections lie.
struct TableFooter: Hashable, Sendable {
    static let kind = FramedFile.Kind(
        name: "a table", magic: Array("QUIPUSST".utf8), versions: [1, 2, 4])

    var id: UInt64
    var granularity: Granularity
    var bucket: Int64
    var windowMilliseconds: Int64
    var series: UInt64
    var keys: UInt64
    var checksum: CellChecksum
    var firstWindow: Int64
    var lastWindow: Int64
    var firstKey: [UInt8]
    var lastKey: [UInt8]
    var indexOffset: UInt64
    var filterOffset: UInt64
    /// Ascending by partition.
    var partitions: [TablePartition]
    /// Of the frames of index and filter; unknown in tables of version 1.
    var checksums: SectionChecksums?

    var cells: UInt64 { partitions.reduce(0) { $0 + $1.cells } }

    var total: Measure {
        partitions.reduce(into: Measure.zero) { $0.add($1.total) }
    }

    var digest: StateDigest {
        partitions.reduce(into: StateDigest.zero) { $0.merge($1.digest) }
    }

    func meta(size: UInt64, footerChecksum: UInt32, at location: TableLocation) -> TableMeta {
        TableMeta(
            id: id, granularity: granularity, bucket: bucket, size: size, cells: cells,
            total: total, digest: digest, partitions: PartitionSet(partitions.map(\.partition)),
            firstWindow: firstWindow, lastWindow: lastWindow, firstKey: firstKey,
            lastKey: lastKey, footerChecksum: footerChecksum, location: location)
    }

    var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.write(fixed: id)
        writer.write(granularity.rawValue)
        writer.write(zigzag: bucket)
        writer.write(zigzag: windowMilliseconds)
        writer.write(varint: series)
        writer.write(varint: keys)
        writer.write(fixed: checksum.value)
        writer.write(zigzag: firstWindow)
        writer.write(zigzag: lastWindow)
        writer.write(sized: firstKey)
        writer.write(sized: lastKey)
        writer.write(varint: indexOffset)
        writer.write(varint: filterOffset)
        writer.write(count: partitions.count)
        for held in partitions {
            writer.write(fixed: held.partition.index)
            writer.write(varint: held.cells)
            writer.write(held.total)
            writer.write(held.digest)
        }
        if let checksums { writer.write(checksums) }
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(bytes)
        id = try reader.fixed()
        granularity = try reader.granularity()
        bucket = try reader.zigzag()
        windowMilliseconds = try reader.zigzag()
        series = try reader.varint()
        keys = try reader.varint()
        checksum = CellChecksum(try reader.fixed())
        firstWindow = try reader.zigzag()
        lastWindow = try reader.zigzag()
        firstKey = try reader.sized(max: Limits.keyMax)
        lastKey = try reader.sized(max: Limits.keyMax)
        indexOffset = try reader.varint()
        filterOffset = try reader.varint()
        partitions = []
        for _ in 0..<(try reader.count(ofSize: 36)) {
            let held = TablePartition(
                partition: try reader.partition(), cells: try reader.varint(),
                total: try reader.measure(), digest: try reader.stateDigest())
            guard held.cells <= StorageLimits.measureCountMax,
                partitions.last.map({ $0.partition < held.partition }) ?? true
            else { throw reader.fail("partitions out of order") }
            partitions.append(held)
        }
        guard windowMilliseconds > 0 else { throw reader.fail("a window of no length") }
        if !reader.isAtEnd { checksums = try reader.sectionChecksums() }
        try reader.finish()
    }
}

extension TableFooter {
    init(
        id: UInt64, granularity: Granularity, bucket: Int64, window: WindowLength,
        statistics: TableStatistics, indexOffset: UInt64, filterOffset: UInt64
    ) {
        self.id = id
        self.granularity = granularity
        self.bucket = bucket
        windowMilliseconds = window.milliseconds
        series = statistics.series
        keys = statistics.keys
        checksum = statistics.checksum
        firstWindow = statistics.firstWindow
        lastWindow = statistics.lastWindow
        firstKey = statistics.firstKey ?? []
        lastKey = statistics.lastKey ?? []
        self.indexOffset = indexOffset
        self.filterOffset = filterOffset
        partitions = statistics.partitions
    }
}

extension ByteWriter {
    mutating func write(_ digest: StateDigest) {
        write(fixed: digest.counts)
        write(fixed: digest.sums)
    }

    mutating func write(_ meta: TableMeta) {
        write(varint: meta.id)
        write(meta.granularity.rawValue | (meta.location == .cold ? TableMeta.coldBit : 0))
        write(zigzag: meta.bucket)
        write(varint: meta.size)
        write(varint: meta.cells)
        write(meta.total)
        write(meta.digest)
        write(meta.partitions)
        write(zigzag: meta.firstWindow)
        write(zigzag: meta.lastWindow)
        write(sized: meta.firstKey)
        write(sized: meta.lastKey)
        write(fixed: meta.footerChecksum)
    }
}

extension ByteReader {
    mutating func stateDigest() throws(DecodeError) -> StateDigest {
        StateDigest(counts: try fixed(), sums: try fixed())
    }

    mutating func granularity() throws(DecodeError) -> Granularity {
        try granularity(try byte())
    }

    private func granularity(_ number: UInt8) throws(DecodeError) -> Granularity {
        guard let granularity = Granularity(rawValue: number) else {
            throw fail("granularity \(number)")
        }
        return granularity
    }

    mutating func tableMeta() throws(DecodeError) -> TableMeta {
        let id = try varint()
        let form = try byte()
        return TableMeta(
            id: id, granularity: try granularity(form & ~TableMeta.coldBit), bucket: try zigzag(),
            size: try varint(), cells: try varint(), total: try measure(),
            digest: try stateDigest(), partitions: try partitions(), firstWindow: try zigzag(),
            lastWindow: try zigzag(), firstKey: try sized(max: Limits.keyMax),
            lastKey: try sized(max: Limits.keyMax), footerChecksum: try fixed(),
            location: form & TableMeta.coldBit == 0 ? .hot : .cold)
    }
}
