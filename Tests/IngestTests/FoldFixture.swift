import Core
import Ingest
import Testing
import Wire

/// Folds texts and shows what came of them.
struct Folded {
    /// Compared by bytes: `String` takes two normal forms of one text for the same.
    struct CellName: Hashable {
        var type: String
        var key: String
        var window: Int64

        static func == (left: CellName, right: CellName) -> Bool {
            left.window == right.window && left.key.utf8.elementsEqual(right.key.utf8)
                && left.type.utf8.elementsEqual(right.type.utf8)
        }

        func hash(into hasher: inout Hasher) {
            hasher.combine(window)
            for byte in key.utf8 { hasher.combine(byte) }
        }
    }

    var batch: FoldedBatch
    var cells: [CellName: Measure] = [:]
    /// How many windows of a key lie together; nil: all.
    private let day: Int64?

    init(
        _ bytes: [UInt8], _ parameters: ParseParameters = ParseParameters(format: .ndjson),
        createdAt: WallTime = FoldFixture.createdAt, rules: FoldRules = FoldRules(),
        seed: UInt64 = 0, bounds: FoldBounds = .standard, day: Int64? = nil
    ) throws {
        var folder = BatchFolder(seed: seed, bounds: bounds)
        try self.init(&folder, bytes, parameters, createdAt: createdAt, rules: rules, day: day)
    }

    init(
        _ folder: inout BatchFolder, _ bytes: [UInt8], _ parameters: ParseParameters,
        createdAt: WallTime = FoldFixture.createdAt, rules: FoldRules = FoldRules(),
        day: Int64? = nil
    ) throws {
        self.day = day
        // Memory of exactly this size, so that a sanitizer sees a read beyond it.
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { memory.deallocate() }
        memory.copyBytes(from: bytes)
        batch = try folder.fold(
            UnsafeRawBufferPointer(memory), parameters: parameters, createdAt: createdAt,
            rules: rules,
            partitioner: CellPartitioner(windowsPerDay: day) { key, window in
                FoldFixture.partition(key, day.map { floorDivide(window, $0) } ?? 0)
            })
        try readCells(rules)
    }

    init(
        _ text: String, _ parameters: ParseParameters = ParseParameters(format: .ndjson),
        createdAt: WallTime = FoldFixture.createdAt, rules: FoldRules = FoldRules()
    ) throws {
        try self.init(Array(text.utf8), parameters, createdAt: createdAt, rules: rules)
    }

    /// Reads the slices back, and checks what holds for every result.
    private mutating func readCells(_ rules: FoldRules) throws {
        var end = 0
        var last = -1
        try batch.body.withUnsafeBytes { body in
            for slice in batch.slices {
                #expect(slice.offset == end)
                #expect(Int(slice.partition.index) > last)
                end = slice.offset + slice.length
                last = Int(slice.partition.index)
                var reader = SliceReader(
                    UnsafeRawBufferPointer(rebasing: body[slice.offset..<end]), length: rules.window
                )
                var count = 0
                var series: Set<[String]> = []
                var latest: [String] = []
                while let cell = try reader.next() {
                    let place = day.map { floorDivide(cell.window, $0) } ?? 0
                    #expect(FoldFixture.partition(cell.key, place) == slice.partition)
                    let name = CellName(
                        type: String(decoding: cell.type, as: UTF8.self),
                        key: String(decoding: cell.key, as: UTF8.self), window: cell.window)
                    // A key and type come once in a slice.
                    if latest != [name.type, name.key] {
                        latest = [name.type, name.key]
                        #expect(series.insert(latest).inserted)
                    }
                    #expect(cells.updateValue(cell.measure, forKey: name) == nil)
                    count += 1
                }
                #expect(count == slice.cells)
                #expect(count > 0)
            }
        }
        #expect(end == batch.body.count)
        let counted = cells.values.reduce(0) { $0 + $1.count }
        #expect(counted == UInt64(batch.totals.counted))
        #expect(batch.deadLetters.count == Int(batch.totals.dead))
    }

    var reasons: [String] { batch.deadLetters.map(\.reason.name) }

    /// The only event's key, type and so on; nil unless exactly one was counted.
    var only: (name: CellName, measure: Measure)? {
        guard cells.count == 1, let cell = cells.first else { return nil }
        return (cell.key, cell.value)
    }

    /// The distinct keys, by bytes.
    var keys: Set<[UInt8]> { Set(cells.keys.map { Array($0.key.utf8) }) }

    /// Events by key, over all types and windows.
    var byKey: [String: UInt64] {
        cells.reduce(into: [:]) { $0[$1.key.key, default: 0] += $1.value.count }
    }

    var byType: [String: UInt64] {
        cells.reduce(into: [:]) { $0[$1.key.type, default: 0] += $1.value.count }
    }

    /// Events by window.
    var byWindow: [Int64: UInt64] {
        cells.reduce(into: [:]) { $0[$1.key.window, default: 0] += $1.value.count }
    }
}

enum FoldFixture {
    /// 2026-06-01T00:00:00Z.
    static let createdAt = WallTime(milliseconds: 1_780_272_000_000)

    /// Windows of a millisecond, which show the exact time of an event.
    static let exactTimes = FoldRules(
        window: WindowLength(milliseconds: 1), futureLimit: .seconds(400_000_000_000))

    /// Some partition, the same for the same key and day.
    static func partition(_ key: UnsafeRawBufferPointer, _ day: Int64) -> PartitionID {
        let sum = key.reduce(0) { ($0 * 31 + Int($1)) % 4093 }
        return PartitionID((sum + Int(truncatingIfNeeded: day) * 7) & 15)
    }

    /// The millisecond that a time means; nil if the event with it is a dead letter. `json` stands
    /// in the event as it is.
    static func milliseconds(json: String) throws -> Int64? {
        let folded = try Folded(
            "{\"key\":\"k\",\"type\":\"t\",\"time\":\(json)}", rules: exactTimes)
        if let only = folded.only { return only.name.window }
        #expect(folded.reasons == ["bad-time"], "\(json)")
        return nil
    }

    static func milliseconds(_ text: String) throws -> Int64? {
        try milliseconds(json: "\"\(text)\"")
    }
}
