import Client
import Core
import Ingest
import Testing
import Wire

/// A table comes to the same in batches as in one piece, wherever its quotes stand.
@Suite("Tables cut into batches")
struct CutTableTests {
    /// What nodes make of one body, or of several one after the other.
    private struct Outcome: Equatable {
        struct Cell: Hashable {
            var key: [UInt8]
            var window: Int64
        }

        struct Letter: Equatable {
            var reason: DeadLetterReason
            var raw: [UInt8]
        }

        var counted = 0
        var cells: [Cell: UInt64] = [:]
        var letters: [Letter] = []
    }

    private static func fold(
        _ bodies: [[UInt8]], _ folder: inout BatchFolder, format: Ingest.EventFormat
    ) throws -> Outcome {
        var outcome = Outcome()
        for body in bodies {
            let batch = try body.withUnsafeBytes { bytes in
                try folder.fold(
                    bytes, parameters: ParseParameters(format: format, defaultType: "t"),
                    createdAt: WallTime(milliseconds: 1_767_225_600_000), rules: FoldRules(),
                    partitioner: CellPartitioner { _, _ in PartitionID(0) })
            }
            outcome.counted += Int(batch.totals.counted)
            outcome.letters += batch.deadLetters.map { .init(reason: $0.reason, raw: $0.raw) }
            try batch.body.withUnsafeBytes { bytes in
                var reader = SliceReader(bytes)
                while let cell = try reader.next() {
                    let name = Outcome.Cell(key: Array(cell.key), window: cell.window)
                    outcome.cells[name, default: 0] += cell.measure.count
                }
            }
        }
        return outcome
    }

    private static func cut(
        _ bytes: [UInt8], _ framing: RecordCutter.Framing, _ limits: CutLimits, piece: Int
    ) -> [CutBody] {
        var cutter = RecordCutter(framing: framing, limits: limits)
        var bodies: [CutBody] = []
        var position = 0
        while position < bytes.count {
            let end = min(position + piece, bytes.count)
            position += bytes[position..<end].withUnsafeBytes { cutter.take($0) }
            if cutter.isFull, let body = cutter.cut() { bodies.append(body) }
        }
        cutter.finish()
        if let body = cutter.cut() { bodies.append(body) }
        return bodies
    }

    @Test("come to the same counts and dead letters as in one piece, however they are cut")
    func sameOutcome() throws {
        var random = RandomSource(seed: 21)
        var folder = BatchFolder(seed: 1)
        let pieces = [
            "a", "b", ",", "\"", "\"\"", "\n", "\r\n", ",0", "a,0\n", "b,60\r\n", "\"a\nb\",0\n",
            "\"a\n\n\"\"c\"\"\n\",120\n", "x\"y,0\n", "\"z\"w,0\n", "\n\"", "\",\"",
        ]
        var seen: Set<DeadLetterReason> = []
        for round in 0..<3000 {
            let head = random.pick(["key,time\n", "\u{feff}\"key\",time\r\n", "\n\nkey,time\n"])
            var text = head
            for _ in 0..<random.below(40) { text += random.pick(pieces) }
            let bytes = Array(text.utf8)
            for (framing, format) in [
                (RecordCutter.Framing.quotedRecordsAfterHeader, Ingest.EventFormat.csv),
                (.linesAfterHeader, .tsv),
            ] {
                // A table of tabs has one column here: what is told of it is where its lines end.
                guard format == .csv || head == "key,time\n" else { continue }
                let table =
                    format == .csv ? bytes : bytes.map { $0 == 0x2c ? UInt8(ascii: "\t") : $0 }
                let limits = CutLimits(
                    events: 1 + random.below(4), bytes: random.chance(1, in: 3) ? 20 : 1 << 20)
                let bodies = Self.cut(table, framing, limits, piece: 1 + random.below(50))
                let whole = try Self.fold([table], &folder, format: format)
                let parts = try Self.fold(bodies.map(\.bytes), &folder, format: format)
                #expect(whole == parts, "round \(round): \(text.debugDescription)")
                seen.formUnion(whole.letters.map(\.reason))
            }
        }
        #expect(seen.isSuperset(of: [.badRow, .badTime]))
    }

    @Test("a batch of a table says how many events a node finds in it")
    func events() throws {
        var folder = BatchFolder(seed: 1)
        let text =
            "key,time\na,0\n\n\"b\nc\",0\n\"d\n\ne\"x\n\"\"f\ng\"h,0\ni,0\n\"open\n\nj,0\n"
        let bodies = Self.cut(
            Array(text.utf8), .quotedRecordsAfterHeader, CutLimits(events: 99, bytes: 1 << 20),
            piece: 7)
        let outcome = try Self.fold(bodies.map(\.bytes), &folder, format: .csv)
        #expect(bodies.map(\.events) == [outcome.counted + outcome.letters.count])
        #expect(outcome.counted == 4 && outcome.letters.count == 5)
    }
}
