import Core
import Storage
import Wire

extension ByteWriter {
    mutating func write(optional value: Int64?) {
        write(flag: value != nil)
        if let value { write(fixed: value) }
    }

    mutating func write(optional bytes: [UInt8]?) {
        write(flag: bytes != nil)
        if let bytes { write(sized: bytes) }
    }

    mutating func write(_ query: ReadQuery) {
        switch query {
        case .series(let series):
            write(1)
            write(fixed: series.partition.index)
            write(sized: series.key)
            write(optional: series.type)
            write(optional: series.from)
            write(optional: series.to)
        case .scan(let spec, let top):
            write(2)
            write(spec.partitions)
            write(optional: spec.type)
            write(optional: spec.from)
            write(optional: spec.to)
            write(spec.output)
            write(flag: top != nil)
            if let top {
                write(count: top.k)
                write(top.order.rawValue)
            }
        case .deadLetters(let letters):
            write(letters.wantsTotal ? 3 : 4)
            write(letters.filter)
            write(count: letters.limit)
            write(flag: letters.after != nil)
            if let after = letters.after { write(after) }
        }
    }

    private mutating func write(_ output: ScanSpec.Output) {
        switch output {
        case .totalsByKey: write(1)
        case .types: write(2)
        case .keys(let prefix, let after, let limit):
            write(3)
            write(sized: prefix)
            write(optional: after)
            write(count: limit)
        case .statistics: write(4)
        }
    }

    private mutating func write(_ filter: LetterFilter) {
        write(filter.reason?.rawValue ?? 0)
        write(optional: filter.type)
        write(flag: filter.batch != nil)
        if let batch = filter.batch { write(batch) }
        write(optional: filter.line.map { Int64($0) })
        write(optional: filter.from?.milliseconds)
        write(optional: filter.to?.milliseconds)
    }

    private mutating func write(_ place: DeadLetterQuery.Place) {
        write(fixed: place.segment.number)
        write(place.id)
        write(fixed: place.line)
    }

    mutating func write(_ rows: [SeriesRow]) {
        write(count: rows.count)
        for row in rows {
            write(sized: row.type)
            write(fixed: row.window)
            write(row.measure)
        }
    }

    mutating func write(_ result: ReadResult) {
        switch result {
        case .series(let rows):
            write(1)
            write(rows)
        case .scan(.totals(let rows)):
            write(2)
            write(count: rows.count)
            for row in rows {
                write(sized: row.key)
                write(row.measure)
            }
        case .scan(.types(let names)):
            write(3)
            write(count: names.count)
            for name in names { write(sized: name) }
        case .scan(.keys(let names)):
            write(4)
            write(count: names.count)
            for name in names { write(sized: name) }
        case .deadLetters(let items, let total, let retired):
            write(5)
            write(fixed: total)
            write(fixed: retired)
            write(count: items.count)
            for item in items {
                write(item.place)
                write(fixed: item.createdAt.milliseconds)
                write(item.letter)
            }
        }
    }
}

extension ByteReader {
    private mutating func optionalInteger() throws(DecodeError) -> Int64? {
        try flag() ? try fixed() : nil
    }

    private mutating func optionalBytes(max: Int) throws(DecodeError) -> [UInt8]? {
        try flag() ? try sized(max: max) : nil
    }

    private mutating func limit() throws(DecodeError) -> Int {
        Int(clamping: try varint())
    }

    mutating func readQuery() throws(DecodeError) -> ReadQuery {
        switch try byte() {
        case 1:
            return .series(
                SeriesQuery(
                    partition: try partition(), key: try sized(max: Limits.keyMax),
                    type: try optionalBytes(max: Limits.typeMax), from: try optionalInteger(),
                    to: try optionalInteger()))
        case 2:
            let spec = ScanSpec(
                partitions: try partitions(), type: try optionalBytes(max: Limits.typeMax),
                from: try optionalInteger(), to: try optionalInteger(), output: try scanOutput())
            guard try flag() else { return .scan(spec, top: nil) }
            let k = try limit()
            guard let order = TopSpec.Order(rawValue: try byte()) else { throw fail("an order") }
            return .scan(spec, top: TopSpec(k: k, order: order))
        case 3: return .deadLetters(try letterQuery(wantsTotal: true))
        case 4: return .deadLetters(try letterQuery(wantsTotal: false))
        default: throw fail("a query")
        }
    }

    private mutating func letterQuery(wantsTotal: Bool) throws(DecodeError) -> DeadLetterQuery {
        DeadLetterQuery(
            filter: try letterFilter(), limit: try limit(),
            after: try flag() ? try place() : nil, wantsTotal: wantsTotal)
    }

    private mutating func scanOutput() throws(DecodeError) -> ScanSpec.Output {
        switch try byte() {
        case 1: .totalsByKey
        case 2: .types
        case 3:
            .keys(
                prefix: try sized(max: Limits.keyMax), after: try optionalBytes(max: Limits.keyMax),
                limit: try limit())
        case 4: .statistics
        default: throw fail("what a scan gives")
        }
    }

    private mutating func letterFilter() throws(DecodeError) -> LetterFilter {
        var filter = LetterFilter()
        let number = try byte()
        filter.reason = DeadLetterReason(rawValue: number)
        guard filter.reason != nil || number == 0 else { throw fail("reason \(number)") }
        filter.type = try optionalBytes(max: Limits.typeMax)
        if try flag() { filter.batch = try batchID() }
        if let line = try optionalInteger() {
            filter.line = UInt32(exactly: line)
            guard filter.line != nil else { throw fail("line \(line)") }
        }
        filter.from = try optionalInteger().map { WallTime(milliseconds: $0) }
        filter.to = try optionalInteger().map { WallTime(milliseconds: $0) }
        return filter
    }

    private mutating func place() throws(DecodeError) -> DeadLetterQuery.Place {
        DeadLetterQuery.Place(
            segment: Segment(try fixed()), id: try batchID(), line: try fixed())
    }

    private mutating func names() throws(DecodeError) -> [[UInt8]] {
        var names: [[UInt8]] = []
        for _ in 0..<(try count(ofSize: 1)) { names.append(try sized(max: Limits.keyMax)) }
        return names
    }

    mutating func seriesRows() throws(DecodeError) -> [SeriesRow] {
        var rows: [SeriesRow] = []
        for _ in 0..<(try count(ofSize: 11)) {
            rows.append(
                SeriesRow(
                    type: try sized(max: Limits.typeMax), window: try fixed(),
                    measure: try measure()))
        }
        return rows
    }

    mutating func readResult() throws(DecodeError) -> ReadResult {
        switch try byte() {
        case 1: return .series(try seriesRows())
        case 2:
            var rows: [ScanRows.KeyTotal] = []
            for _ in 0..<(try count(ofSize: 3)) {
                rows.append(
                    ScanRows.KeyTotal(key: try sized(max: Limits.keyMax), measure: try measure()))
            }
            return .scan(.totals(rows))
        case 3: return .scan(.types(try names()))
        case 4: return .scan(.keys(try names()))
        case 5:
            let total: UInt64 = try fixed()
            let retired: UInt64 = try fixed()
            var items: [DeadLetterItem] = []
            for _ in 0..<(try count(ofSize: 48)) {
                items.append(
                    DeadLetterItem(
                        place: try place(), createdAt: WallTime(milliseconds: try fixed()),
                        letter: try deadLetter()))
            }
            return .deadLetters(items, total: total, retired: retired)
        default: throw fail("a result")
        }
    }
}
