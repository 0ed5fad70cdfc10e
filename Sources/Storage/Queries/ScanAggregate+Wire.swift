package import Core
package import Wire

extension ByteWriter {
    package mutating func write(_ measure: Measure) {
        write(varint: measure.count)
        write(flag: measure.values != nil)
        guard let values = measure.values else { return }
        write(varint: values.count)
        write(fixed: values.sum)
        write(zigzag: values.min)
        write(zigzag: values.max)
    }

    /// The rows of an aggregate, without its spec: the reader asked and knows it.
    package mutating func write(_ aggregate: ScanAggregate) {
        let rows = aggregate.rows
        write(count: rows.count)
        for row in rows {
            write(sized: row.key)
            write(row.measure)
        }
        let statistics = aggregate.partitionStatistics
        write(count: statistics.count)
        for (partition, held) in statistics {
            write(fixed: partition.index)
            write(varint: held.cells)
            write(held.total)
            write(zigzag: held.firstWindow)
            write(zigzag: held.lastWindow)
        }
        write(flag: aggregate.hasMore)
    }
}

extension Measure.Values {
    /// Whether `count` events can have such values. Keeps sums of what a peer or a disk says far
    /// from overflow: 2^56 values of 2^63 millionths are 2^119.
    func arePlausible(for count: UInt64) -> Bool {
        self.count > 0 && self.count <= count && count <= StorageLimits.measureCountMax
            && min <= max && sum >= Int128(min) * Int128(self.count)
            && sum <= Int128(max) * Int128(self.count)
    }
}

extension ByteReader {
    package mutating func measure() throws(DecodeError) -> Measure {
        let count = try varint()
        guard count <= StorageLimits.measureCountMax else { throw fail("a count of \(count)") }
        guard try flag() else { return Measure(count: count) }
        let values = Measure.Values(
            count: try varint(), sum: try fixed(), min: try zigzag(), max: try zigzag())
        guard values.arePlausible(for: count) else { throw fail("impossible values") }
        return Measure(count: count, values: values)
    }

    package mutating func aggregate(
        of spec: ScanSpec, seed: UInt64 = 0x51f1_5e11_d0c5_a4e3
    ) throws(DecodeError) -> ScanAggregate {
        var table = MeasureTable(seed: seed)
        for _ in 0..<(try count(ofSize: 3)) {
            let key = try sized(max: Limits.keyMax)
            let measure = try measure()
            guard table.measure(of: key) == nil else { throw fail("a key comes twice") }
            key.withUnsafeBytes { table.add($0, measure) }
        }
        var statistics: [PartitionID: PartitionStatistics] = [:]
        for _ in 0..<(try count(ofSize: 6)) {
            let partition = try partition()
            var held = PartitionStatistics()
            guard statistics[partition] == nil else { throw fail("a partition comes twice") }
            held.cells = try varint()
            guard held.cells <= StorageLimits.measureCountMax else { throw fail("too many cells") }
            held.total = try measure()
            held.firstWindow = try zigzag()
            held.lastWindow = try zigzag()
            statistics[partition] = held
        }
        return ScanAggregate(
            spec, seed: seed, table: table, statistics: statistics, hasMore: try flag())
    }
}
