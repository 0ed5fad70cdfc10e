import Client
import Commands
import Core
import Ingest
import Testing

@Suite("Binary batches, written and cut")
struct BinaryBatchTests {
    private func fold(
        _ bytes: [UInt8], _ format: Ingest.EventFormat, type: String? = nil
    ) throws -> FoldedBatch {
        var folder = BatchFolder()
        return try bytes.withUnsafeBytes { buffer in
            try folder.fold(
                buffer, parameters: ParseParameters(format: format, defaultType: type),
                createdAt: WallTime(milliseconds: 1_800_000_000_000), rules: FoldRules(),
                partitioner: CellPartitioner { key, _ in PartitionID(Int(key.first ?? 0) % 8) })
        }
    }

    private func batch(_ events: Int, key: String = "k") -> BinaryBatch {
        var writer = BinaryBatchWriter()
        for number in 0..<events {
            writer.append(type: "t", key: key, time: Timestamp(milliseconds: Int64(number)))
        }
        return writer.finish()
    }

    @Test("What is written comes to the same as the same events in lines")
    func written() throws {
        var writer = BinaryBatchWriter()
        writer.append(type: "view", key: "é", time: Timestamp(milliseconds: 60_000))
        writer.append(type: "view", key: "e\u{301}", time: Timestamp(milliseconds: -1))
        writer.append(
            type: "", key: "é", time: Timestamp(milliseconds: 0), millionths: -1_500_000)
        writer.append(type: "view", key: "é", time: Timestamp(milliseconds: 60_001), millionths: 7)
        #expect(writer.count == 4)
        let bytes = writer.byteCount
        let batch = writer.finish()
        #expect(batch.events == 4)
        #expect((bytes...bytes + 2).contains(batch.bytes.count))
        let lines = """
            {"type":"view","key":"\\u00e9","time":60}
            {"type":"view","key":"e\\u0301","time":-0.001}
            {"type":"hit","key":"\\u00e9","time":0,"value":-1.5}
            {"type":"view","key":"\\u00e9","time":60.001,"value":0.000007}
            """
        #expect(
            try fold(batch.bytes, .binary, type: "hit") == fold(Array(lines.utf8), .ndjson))
        // The writer is as new.
        #expect(writer.count == 0)
        #expect(writer.finish() == BinaryBatchWriter().finishing)
    }

    @Test("Generated batches hold the events of generated lines, broken ones among them")
    func generated() throws {
        var settings = EventGenerator.Settings(events: 5000)
        settings.types = ["view", "like"]
        settings.keys = 300
        settings.badPerBillion = 50_000_000
        var lines = EventGenerator(settings)
        var text: [UInt8] = []
        #expect(!lines.fill(&text, upTo: .max))
        var binary = EventGenerator(settings)
        var bytes: [UInt8] = []
        var sizes: [Int] = []
        while let batch = binary.nextBatch(of: 1999) {
            bytes += batch.bytes
            sizes.append(batch.events)
        }
        #expect(sizes == [1999, 1999, 1002])
        let folded = try fold(bytes, .binary)
        let expected = try fold(text, .ndjson)
        #expect(folded.body == expected.body)
        #expect(folded.totals == expected.totals)
        #expect(folded.deadLetters.map(\.line) == expected.deadLetters.map(\.line))
        #expect(bytes.count * 3 < text.count)
    }

    // MARK: - Cutting

    private func cut(
        _ bytes: [UInt8], events: Int, size: Int = 1 << 22, piece: Int = 1 << 20
    ) throws -> [CutBody] {
        var cutter = BinaryCutter(path: "f", limits: CutLimits(events: events, bytes: size))
        var bodies: [CutBody] = []
        var position = 0
        while position < bytes.count {
            let end = min(position + piece, bytes.count)
            position += try bytes[position..<end].withUnsafeBytes { try cutter.take($0) }
            if cutter.isFull, let body = cutter.cut() { bodies.append(body) }
        }
        _ = try cutter.take(UnsafeRawBufferPointer(start: nil, count: 0))
        try cutter.finish()
        if let body = cutter.cut() { bodies.append(body) }
        return bodies
    }

    @Test("Whole batches go together until there are enough", arguments: [1, 5, 17, 1 << 20])
    func cutting(piece: Int) throws {
        let batches = [batch(3), batch(0), batch(2), batch(9), batch(1)]
        let all = batches.flatMap(\.bytes)
        let four = try cut(all, events: 4, piece: piece)
        #expect(four.map(\.events) == [5, 9, 1])
        #expect(Array(four.map(\.bytes).joined()) == all)
        #expect(try cut(all, events: 100, piece: piece).map(\.bytes) == [all])
        #expect(try cut(all, events: 100, size: 1, piece: piece).count == 5)
        #expect(try cut([], events: 4).isEmpty)
        for body in four {
            #expect(try fold(body.bytes, .binary).totals.events == UInt32(body.events))
        }
    }

    @Test("No body is longer than a node takes", arguments: [4096, 1 << 22])
    func bodies(piece: Int) throws {
        let key = String(repeating: "k", count: 9 << 20)
        let large = batch(2, key: key).bytes
        let bodies = try cut(
            large + large + batch(1).bytes, events: 100, size: Limits.bodySentMax, piece: piece)
        #expect(bodies.map(\.events) == [2, 3])
        #expect(bodies.allSatisfy { $0.bytes.count <= Limits.bodySentMax })
        let beyond = batch(1, key: key + key).bytes
        let failure = #expect(throws: FileFailure.self) { try cut(beyond, events: 1) }
        #expect(failure?.reason.contains("16777216 are allowed") == true)
    }

    @Test("A file that is cut off or holds something else fails at the byte")
    func failures() throws {
        let good = batch(2).bytes
        for length in 1..<good.count {
            #expect(throws: FileFailure.self) { try cut(good + good[..<length], events: 100) }
        }
        let noise = Array("{\"type\":\"view\",\"key\":\"k\"}\n".utf8)
        let failure = #expect(throws: FileFailure.self) { try cut(good + noise, events: 100) }
        #expect(failure?.reason == "no binary batch begins at byte \(good.count)")
        #expect(Client.EventFormat.detect(path: "events.json", head: good) == .binary)
    }

    // MARK: - Sending

    @Test("A producer sends a batch as it is, under an id of its own")
    func sent() async throws {
        let cluster = ScriptedCluster { _, _ in ScriptedCluster.counted(1) }
        let producer = Producer(
            client: cluster.client(), options: ProducerOptions(), time: ScriptedTime().time)
        try await producer.append("{}")
        try await producer.send(batch(3))
        try await producer.send(batch(0))
        let report = try await producer.finish()
        #expect(report.batches == 2)
        let requests = await cluster.requests
        #expect(requests.count == 2)
        let lines = requests.first { $0.header("Content-Type") == "application/x-ndjson" }
        #expect(lines?.header("Quipu-Sequence") == "0")
        let binary = requests.first { $0.header("Content-Type") == "application/x-quipu-batch" }
        #expect(binary?.header("Quipu-Sequence") == "1")
        #expect(binary?.call.body == batch(3).bytes)
    }
}

extension BinaryBatchWriter {
    fileprivate var finishing: BinaryBatch {
        var writer = self
        return writer.finish()
    }
}
