import Client
import Commands
import Core
import Ingest
import Testing

/// What `quipu measure-fold` times, in small: the inputs are what they are said to be.
@Suite("Hostile batches")
struct FoldInputTests {
    @Test("each balances or is refused, in whatever way a folder was used before")
    func totals() throws {
        var folder = BatchFolder(seed: 5)
        var seen: [String: String] = [:]
        for name in FoldInput.names {
            let input = try #require(FoldInput.named(name, size: 1 << 20))
            #expect(input.bytes.count > 1 << 18, "\(name)")
            #expect(FoldInput.named(name, size: 1 << 20)?.bytes == input.bytes)
            do {
                let text = try input.text(max: Limits.bodyDecodedMax)
                let batch = try text.withUnsafeBytes { bytes in
                    try folder.fold(
                        bytes, parameters: input.parameters,
                        createdAt: WallTime(milliseconds: 253_402_300_799_999), rules: FoldRules(),
                        partitioner: CellPartitioner { _, _ in PartitionID(0) })
                }
                #expect(batch.totals.counted + batch.totals.dead == batch.totals.events)
                let reasons = Set(batch.deadLetters.map(\.reason.name)).sorted()
                seen[name] =
                    batch.totals.counted > 0
                    ? "counted" : reasons.isEmpty ? "nothing" : reasons.joined(separator: " ")
            } catch let error as IngestError {
                seen[name] = "refused: \("\(error)".prefix { $0 != " " })"
            } catch {
                seen[name] = "not decoded: \(error)"
            }
        }
        for name in ["ndjson", "binary", "csv", "cloudevents", "clf", "deep", "array of numbers"] {
            #expect(seen[name] != nil)
        }
        let tooLarge = "the body decodes to more than \(Limits.bodyDecodedMax) bytes"
        let expected = [
            "ndjson": "counted", "binary": "counted", "csv": "counted", "cloudevents": "counted",
            "clf": "counted", "deep": "counted", "distinct keys": "counted",
            "distinct windows": "counted", "distinct keys, binary": "counted",
            "distinct keys, values": "counted", "distinct types": "counted",
            "distinct windows, values": "counted",
            "empty lines": "nothing", "texts without events": "nothing",
            "long strings": "key-too-long",
            "escapes": "counted", "too deep": "bad-json", "members": "bad-json",
            "bomb, gzip": "not decoded: \(tooLarge)", "bomb, lz4": "not decoded: \(tooLarge)",
            "empty streams, gzip": "nothing", "empty streams, lz4": "nothing",
            "dead letters": "bad-time", "dead letters, binary": "missing-key",
        ]
        for (name, what) in expected { #expect(seen[name] == what, "\(name)") }
    }

    @Test("a second of the processor and 256 MiB are the bound, and not too much")
    func cost() {
        #expect(FoldCost(seconds: 1, peakMebibytes: 256).excess == nil)
        #expect(FoldCost(seconds: 0.5, peakMebibytes: nil).excess == nil)
        #expect(FoldCost(seconds: 1.25, peakMebibytes: 9).excess == "1.250 s, at most 1")
        #expect(FoldCost(seconds: 0.1, peakMebibytes: 300).excess == "300 MiB, at most 256")
        #expect(
            FoldCost(seconds: 2, peakMebibytes: 257).excess
                == "2.000 s, at most 1, 257 MiB, at most 256")
    }
}
