import Core
import Ingest
import Testing

/// Batches whose days lie apart: `Folded` checks that each cell stands in its own partition, once.
@Suite("Series that are split by days")
struct SplitSeriesTests {
    private func same(_ text: String, day: Int64) throws {
        let bytes = Array(text.utf8)
        let whole = try Folded(bytes)
        let split = try Folded(bytes, day: day)
        #expect(split.cells == whole.cells)
        #expect(split.batch.totals == whole.batch.totals)
        #expect(split.batch.deadLetters == whole.batch.deadLetters)
        // Whatever the tables looked like before: the bytes are those of the batch alone.
        let other = try Folded(bytes, seed: 99, day: day)
        #expect(other.batch == split.batch)
    }

    @Test("the cells are those of the batch, in any order of its days, with values and without")
    func random() throws {
        var random = RandomSource(seed: 11)
        for round in 0..<60 {
            var text = ""
            let days = 1 + random.below(20)
            for _ in 0..<200 {
                let time = (random.below(days) - days / 2) * 86_400 + random.below(3) * 3600 + 17
                let value = random.chance(1, in: 3) ? ",\"value\":\(random.below(100))" : ""
                text +=
                    "{\"key\":\"k\(random.below(4))\",\"type\":\"t\(random.below(2))\","
                    + "\"time\":\(time)\(value)}\n"
            }
            try same(text, day: round % 2 == 0 ? 1440 : 60)
        }
    }

    @Test("days that come one after the other, and days that come back")
    func orders() throws {
        let line = { (day: Int, minute: Int) in
            "{\"key\":\"k\",\"type\":\"t\",\"time\":\(day * 86_400 + minute * 60)}\n"
        }
        let ascending = (0..<40).map { line($0 / 4, $0 % 4) }.joined()
        let alternating = (0..<40).map { line($0 % 2, $0 / 2) }.joined()
        let back = (0..<40).map { line(20 - $0 / 2, 0) }.joined()
        for text in [ascending, alternating, back, line(0, 0), line(0, 0) + line(0, 1439)] {
            try same(text, day: 1440)
        }
    }

    @Test("a key's days in several partitions are several slices, and one day is one")
    func slices() throws {
        let text = (0..<8).map { "{\"key\":\"k\",\"type\":\"t\",\"time\":\($0 * 86_400)}\n" }
            .joined()
        #expect(try Folded(Array(text.utf8)).batch.slices.count == 1)
        #expect(try Folded(Array(text.utf8), day: 1440).batch.slices.count == 8)
        // Sixteen days on it lies where it lay: one series has both.
        let both = [0, 16, 32].map { "{\"key\":\"k\",\"type\":\"t\",\"time\":\($0 * 86_400)}\n" }
        #expect(try Folded(Array(both.joined().utf8), day: 1440).batch.slices.map(\.cells) == [3])
    }

    @Test("a folder that split one batch folds the next as if it were new")
    func reuse() throws {
        var folder = BatchFolder(seed: 4)
        let text = Array(
            (0..<300).map { "{\"key\":\"k\($0 % 3)\",\"type\":\"t\",\"time\":\($0 * 40_000)}\n" }
                .joined().utf8)
        let parameters = ParseParameters(format: .ndjson)
        let first = try Folded(&folder, text, parameters, day: 1440)
        let second = try Folded(&folder, text, parameters, day: 1440)
        let third = try Folded(&folder, text, parameters)
        #expect(first.batch == second.batch)
        #expect(first.cells == third.cells)
    }

    @Test("a long key over many days that would write too much is refused whole")
    func bounded() throws {
        let key = String(repeating: "x", count: 1000)
        let text = (0..<200)
            .map { "{\"key\":\"\(key)\",\"type\":\"t\",\"time\":\($0 * 86_400)}\n" }.joined()
        let bounds = FoldBounds(cellsMax: 1000, deadLettersMax: 10, bytesMax: 10_000)
        _ = try Folded(Array(text.utf8), bounds: bounds)
        #expect(throws: IngestError.resultTooLarge(max: 10_000)) {
            try Folded(Array(text.utf8), bounds: bounds, day: 1440)
        }
    }
}
