import Core
import Spooling
import Wire

/// The segments of a sender's spool: one, or two where the first byte is odd.
enum SpoolTarget {
    private static let producer: UInt128 = 5
    private static let heldMax = 16
    /// Beyond it nobody can have numbered batches one by one.
    private static let sequenceMax: UInt64 = 1 << 62

    /// Files in memory. Every write is durable here: what is looked at is what is read.
    private final class Files: SpoolFiles {
        var held: [String: File] = [:]

        func names() -> [String] { held.keys.sorted() }

        func open(_ name: String, creating: Bool) throws(SpoolError) -> any SpoolFile {
            if let file = held[name] { return file }
            guard creating else {
                throw .failed(operation: "open", path: name, detail: "it is not there")
            }
            let file = File()
            held[name] = file
            return file
        }

        func remove(_ name: String) { held[name] = nil }

        func syncNames() {}
    }

    private final class File: SpoolFile {
        var bytes: [UInt8]

        init(_ bytes: [UInt8] = []) { self.bytes = bytes }

        func size() -> Int { bytes.count }

        func read(at offset: Int, count: Int) -> [UInt8] {
            Array(bytes.dropFirst(offset).prefix(count))
        }

        func write(_ written: [UInt8], at offset: Int) {
            let end = offset + written.count
            if bytes.count < end { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
            bytes.replaceSubrange(offset..<end, with: written)
        }

        func truncate(to size: Int) { bytes.removeLast(max(0, bytes.count - size)) }

        func sync() {}
    }

    static func recover(_ bytes: [UInt8]) throws {
        let files = Files()
        let body = bytes.dropFirst()
        let isTwo = (bytes.first ?? 0) & 1 == 1
        let cut = isTwo ? body.startIndex + body.count / 2 : body.endIndex
        files.held[SpoolJournal.name(1)] = File(Array(body[..<cut]))
        if isTwo { files.held[SpoolJournal.name(2)] = File(Array(body[cut...])) }
        let first = try SpoolJournal(files, producer: producer)
        for sequence in first.state.held.keys.sorted().prefix(heldMax) {
            let batch = try first.load(sequence)
            precondition(batch.id.sequence == sequence, "another batch lies there")
        }
        // A spool of which only the beginning is whole may be made anew: nothing was sealed there.
        let producer = first.state.producer
        var second = try SpoolJournal(files, producer: producer)
        precondition(
            first.state.held.isEmpty || second.state == first.state,
            "a second start finds something else")
        guard second.state.nextSequence < sequenceMax else { return }
        // It goes on.
        let draft = BatchDraft(body: [1, 2, 3], contentType: "application/x-ndjson", events: 1)
        let sealed = try second.seal(
            draft, target: "/v1/events", createdAt: WallTime(milliseconds: 1_780_272_000_000))
        let third = try SpoolJournal(files, producer: producer)
        precondition(third.state == second.state, "what was sealed is gone")
        let again = try third.load(sealed.id.sequence)
        precondition(again == sealed, "what was sealed is another batch")
    }

    static func seed(_ number: Int) throws -> [UInt8] {
        let files = Files()
        var bounds = SpoolJournal.Bounds()
        let isTwo = number % 4 == 3
        if isTwo { bounds.segmentBytes = 200 }
        var journal = try SpoolJournal(files, producer: producer, bounds: bounds)
        let input = CutInput(
            number: 0, path: "/events", identity: .init(device: 1, inode: 2), format: .ndjson)
        for batch in 0..<1 + number % 5 {
            let mark = CutMark(
                input: input, end: CutPosition(offset: 10 * (batch + 1), checksum: 3))
            let draft = BatchDraft(
                body: [UInt8](repeating: 7, count: 5 * number), contentType: "text/csv", events: 2,
                mark: number % 2 == 0 ? mark : nil)
            let sealed = try journal.seal(
                draft, target: "/v1/events?type=t", createdAt: WallTime(milliseconds: 1000))
            if batch % 3 == 1 {
                try journal.settle(sealed.id.sequence, .parked(events: 2))
            } else if batch % 3 == 2 {
                try journal.settle(
                    sealed.id.sequence, .counted(BatchCounts(events: 2, counted: 1, dead: 1)))
            }
        }
        try journal.sync()
        let names = files.names()
        guard isTwo, names.count == 2 else { return [0] + (files.held[names[0]]?.bytes ?? []) }
        // Cut in the middle again only where both have one length; else one of them is torn.
        return [1] + names.flatMap { files.held[$0]?.bytes ?? [] }
    }
}
