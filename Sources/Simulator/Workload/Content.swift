package import Core
package import Ring
package import Wire

/// Names one cell of the whole cluster.
package struct CellName: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var key: [UInt8]
    package var type: [UInt8]
    package var window: Int64

    package init(key: [UInt8], type: [UInt8], window: Int64) {
        self.key = key
        self.type = type
        self.window = window
    }

    package static func < (left: CellName, right: CellName) -> Bool {
        if left.key != right.key { return left.key.lexicographicallyPrecedes(right.key) }
        if left.type != right.type { return left.type.lexicographicallyPrecedes(right.type) }
        return left.window < right.window
    }

    package var description: String {
        "\(String(decoding: key, as: UTF8.self))/\(String(decoding: type, as: UTF8.self))@\(window)"
    }
}

/// What one content puts into one cell.
package struct ContentCell: Hashable, Sendable {
    package var name: CellName
    package var partition: PartitionID
    package var measure: Measure
}

/// One sealed batch as a producer made it: the record that is sent, and beside it what it means.
/// An object, since checkers take each of them in hand after each step.
package final class Content: Sendable {
    package let number: Int
    package let record: BatchRecord
    /// Sorted by partition, then name.
    package let cells: [ContentCell]
    package let deadLetters: [DeadLetter]
    /// The letter whose mark is its one cell.
    package let retires: LetterID?

    init(
        number: Int, record: BatchRecord, cells: [ContentCell], deadLetters: [DeadLetter],
        retires: LetterID? = nil
    ) {
        self.retires = retires
        self.number = number
        self.record = record
        self.cells = cells
        self.deadLetters = deadLetters
    }

    package var id: BatchID { record.header.id }
    package var hash: Hash128 { record.header.contentHash }

    /// Contents of one group use the same windows, each with its own bit.
    package static let groupSize = 24

    /// Every half minute the rules have another version: a function of the segment, whose length
    /// divides it. Batches are folded before they come here; that nobody mistakes the version, or
    /// loses it, is what is left to see.
    package static func rule(at createdAt: WallTime) -> RuleVersion {
        RuleVersion(UInt16(1 + (floorDivide(createdAt.milliseconds, 30_000) & 3)))
    }

    package static func bit(_ number: Int) -> UInt64 { 1 << UInt64(number % groupSize) }
}

/// Makes contents: mostly some cells of a few hot keys, some with dead letters, some all dead, some
/// empty.
package struct ContentMaker {
    private let keys: [[UInt8]]
    private let types: [[UInt8]] = [Array("like".utf8), Array("view".utf8)]
    private let placement: KeyPlacement
    private let windows: WorkloadWindows
    private var random: RandomSource

    package init(
        keys: Int, placement: KeyPlacement, window: WindowLength = .minute, random: RandomSource
    ) {
        windows = WorkloadWindows(window)
        self.keys = (0..<keys).map { Array("k\($0)".utf8) }
        self.placement = placement
        self.random = random
    }

    package mutating func make(_ number: Int, id: BatchID, createdAt: WallTime) -> Content {
        let shape = random.below(20)
        let cells = shape < 2 ? [] : makeCells(number)
        let dead = shape == 0 ? 0 : (shape < 6 ? 1 + random.below(3) : 0)
        var letters: [DeadLetter] = []
        for line in 0..<dead { letters.append(makeLetter(line, of: number, createdAt)) }
        let record = encode(
            number, id: id, createdAt: createdAt, cells, letters, Content.rule(at: createdAt))
        return Content(number: number, record: record, cells: cells, deadLetters: letters)
    }

    /// Makes a content that retires a dead letter.
    package func makeMark(
        _ number: Int, of letter: LetterID, id: BatchID, createdAt: WallTime
    ) -> Content {
        let name = CellName(
            key: RetirementMark.key(of: letter), type: RetirementMark.type,
            window: windows.recent + Int64(number / Content.groupSize) * 16)
        let cell = ContentCell(
            name: name, partition: placement.partitioning.home(of: letter.batch),
            measure: Measure(count: Content.bit(number)))
        let record = encode(number, id: id, createdAt: createdAt, [cell], [], .retirement)
        return Content(
            number: number, record: record, cells: [cell], deadLetters: [], retires: letter)
    }

    /// Some say what their events would have been.
    private mutating func makeLetter(
        _ line: Int, of number: Int, _ createdAt: WallTime
    ) -> DeadLetter {
        var letter = DeadLetter(
            line: UInt32(line + 1), reason: random.pick(DeadLetterReason.allCases),
            detail: "content \(number)", raw: Array("{line \(line) of \(number)".utf8))
        switch line {
        case 0:
            letter.type = types[number % 2]
            letter.time = createdAt
        case 1:
            letter.key = keys[0]
        default:
            break
        }
        return letter
    }

    private mutating func makeCells(_ number: Int) -> [ContentCell] {
        var cells: [CellName: ContentCell] = [:]
        for _ in 0..<1 + random.below(8) {
            // The first keys are hot.
            let key = keys[min(random.below(keys.count), random.below(keys.count))]
            let name = CellName(key: key, type: random.pick(types), window: makeWindow(number))
            var measure = Measure(count: Content.bit(number))
            if random.chance(1, in: 4) {
                let value = Int64(random.below(2_000_000)) - 1_000_000
                measure.values = .init(count: 1, sum: Int128(value), min: value, max: value)
            }
            cells[name] = ContentCell(
                name: name, partition: placement.partition(of: key, window: name.window),
                measure: measure)
        }
        return cells.values.sorted { ($0.partition, $0.name) < ($1.partition, $1.name) }
    }

    /// Now, long ago, or before 1970: of its group alone. Retention may show the older ones by hour
    /// or day: so groups are a day apart, and of each content all of them lie in one window.
    private mutating func makeWindow(_ number: Int) -> Int64 {
        let group = Int64(number / Content.groupSize)
        return switch random.below(8) {
        case 0:
            windows.longAgo + group * windows.perDay
                + [0, 1, windows.after(minutes: 61)][number % 3]
        case 1: windows.after(minutes: -100) - group * windows.perDay
        default: windows.recent + group * 16 + Int64(random.below(3))
        }
    }

    private func encode(
        _ number: Int, id: BatchID, createdAt: WallTime, _ cells: [ContentCell],
        _ letters: [DeadLetter], _ rule: RuleVersion = .first
    ) -> BatchRecord {
        var writer = SliceWriter()
        var slices: [(partition: PartitionID, offset: Int, length: Int, cells: Int)] = []
        var start = 0
        while start < cells.count {
            let partition = cells[start].partition
            let end = cells[start...].firstIndex { $0.partition != partition } ?? cells.count
            let offset = writer.count
            Self.write(cells[start..<end], to: &writer)
            slices.append((partition, offset, writer.count - offset, end - start))
            start = end
        }
        let counted = cells.reduce(0) { $0 + $1.measure.count }
        let totals = BatchTotals(
            events: UInt32(counted) + UInt32(letters.count), counted: UInt32(counted),
            dead: UInt32(letters.count))
        var identity = ByteWriter()
        identity.write(count: number)
        identity.write(raw: writer.bytes())
        let hash = SipHash.hash(identity.bytes, key: SipKey(low: 1, high: 2))
        let header = BatchHeader(
            id: id, createdAt: createdAt, contentHash: Hash128(hash), rule: rule)
        return BatchRecord.home(
            header: header, home: placement.partitioning.home(of: id), totals: totals,
            slices: slices, cells: writer.bytes(), deadLetters: letters)
    }

    private static func write(_ cells: ArraySlice<ContentCell>, to writer: inout SliceWriter) {
        var start = cells.startIndex
        while start < cells.endIndex {
            let name = cells[start].name
            let isOther = { (cell: ContentCell) in
                cell.name.key != name.key || cell.name.type != name.type
            }
            let end = cells[start...].firstIndex(where: isOther) ?? cells.endIndex
            name.key.withUnsafeBytes { key in
                name.type.withUnsafeBytes { type in
                    writer.beginSeries(key: key, type: type, cells: end - start)
                }
            }
            for cell in cells[start..<end] {
                if let values = cell.measure.values {
                    writer.append(
                        window: cell.name.window, count: cell.measure.count, values: values)
                } else {
                    writer.append(window: cell.name.window, count: cell.measure.count)
                }
            }
            start = end
        }
    }
}
