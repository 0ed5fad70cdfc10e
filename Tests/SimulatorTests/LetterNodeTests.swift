import Core
import Gossip
import NodeCore
import Replication
import Simulator
import Storage
import Testing

@Suite("A node with dead letters")
struct LetterNodeTests {
    /// Bytes that do not compress.
    private static func letters(_ number: UInt64, _ count: Int = 2) -> [DeadLetter] {
        var random = RandomSource(seed: number)
        return (1...UInt32(count)).map { line in
            DeadLetter(
                line: line, reason: .badJSON, detail: "letter \(line) of \(number)",
                raw: (0..<300).map { _ in UInt8(truncatingIfNeeded: random.next()) })
        }
    }

    /// One that lets go of each log file as soon as it can.
    private static func node(letterBytesMax: UInt64?) throws -> SoloNode {
        try SoloNode(
            logFileMax: 2 << 10, release: ReleasePolicy(filesMin: 1, filesMax: 1, stepMax: 1),
            isAlone: true, letterBytesMax: letterBytesMax)
    }

    private static func outcome(_ node: SoloNode, _ number: UInt64) -> WriteOutcome? {
        guard case .write(let outcome)? = node.replies[RequestID(1000 + number)] else {
            return nil
        }
        return outcome
    }

    private static func isCounted(_ outcome: WriteOutcome?, duplicate: Bool = false) -> Bool {
        guard case .counted(let isDuplicate, _, _)? = outcome else { return false }
        return isDuplicate == duplicate
    }

    private static func view(_ node: SoloNode) -> NodeView {
        node.core.view(at: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)))
    }

    private static func list(
        _ node: SoloNode, _ request: UInt64
    ) throws -> (items: [DeadLetterItem], total: UInt64)? {
        try node.ask(
            .read(.deadLetters(DeadLetterQuery(limit: 10_000)), consistency: .one), request,
            within: .seconds(5))
        try node.wait(.milliseconds(200))
        guard case .read(let answer)? = node.replies[RequestID(request)],
            case .deadLetters(let items, let total, _) = answer.result
        else { return nil }
        return (items: items, total: total)
    }

    private static let full = WriteOutcome.notAttempted(.deadLettersFull([NodeID("n1")]))

    /// Sends batches with letters until one is refused; how many were not.
    private static func fill(_ node: SoloNode) throws -> UInt64 {
        for number in UInt64(1)...400 {
            try node.send(number, letters: letters(number))
            if outcome(node, number) == full { return number - 1 }
            #expect(isCounted(outcome(node, number)))
        }
        return 400
    }

    @Test("says of a list whose marks take too much that they do, and not that a file is damaged")
    func tooManyMarks() throws {
        let node = try SoloNode(isAlone: true)
        try node.send(1, letters: Self.letters(1))
        try node.retire(1, line: 1, as: 20_001)
        try node.ask(.flush, 1, within: .seconds(5))
        try node.wait(.milliseconds(40))
        node.holdsJobs = true
        try node.ask(
            .read(.deadLetters(DeadLetterQuery(limit: 10)), consistency: .one), 100,
            within: .seconds(5))
        try node.failJobs(.scanTooLarge(bytes: 1 << 31))
        guard case .failed(.tooLarge(let why))? = node.replies[RequestID(100)] else {
            Issue.record("\(String(describing: node.replies[RequestID(100)]))")
            return
        }
        #expect(why.contains("\(1 << 31)"))
        #expect(node.halted == nil)
    }

    @Test("refuses more of them beyond its bound, and nothing else")
    func bound() throws {
        let node = try Self.node(letterBytesMax: 20_000)
        let taken = try Self.fill(node)
        #expect(taken >= 20 && taken < 60)
        let view = Self.view(node)
        #expect(view.letterRoom.isFull && view.letterBytes >= 20_000)
        // At most one batch more than fits.
        #expect(view.letterBytes < 20_000 + 1500)
        let own = view.members.first { $0.node == view.node }
        #expect(own?.values.contains { $0.key == "DEAD_LETTERS" && $0.value == "full" } == true)
        // Nothing of what was refused is here.
        #expect(node.core.batches[node.id(taken + 1)] == nil)
        // Without letters all is as ever.
        try node.send(9000)
        #expect(Self.isCounted(Self.outcome(node, 9000)))
        // What is counted is a duplicate, also while there is no room.
        let known = try #require(node.sent[3])
        try node.ask(.write(known, consistency: .quorum), 7000, within: .seconds(5))
        try node.wait(.milliseconds(100))
        #expect(Self.isCounted(Self.outcome(node, 6000), duplicate: true))
        let listed = try #require(try Self.list(node, 8000))
        #expect(listed.total == taken * 2 && listed.items.count == Int(taken) * 2)
        #expect(node.halted == nil)
    }

    @Test("gives the bytes of purged letters back, and takes new ones again")
    func purged() throws {
        let node = try Self.node(letterBytesMax: 20_000)
        let taken = try Self.fill(node)
        // Files of the log go as others come.
        for number in UInt64(5000)..<5060 { try node.send(number) }
        try node.wait(.seconds(20))
        let before = Self.view(node)
        #expect(before.letterRoom.isFull)
        let gone = taken / 2
        for number in 1...gone {
            try node.retire(number, line: 1, as: 20_000 + number * 2)
            try node.retire(number, line: 2, as: 20_001 + number * 2)
        }
        for number in UInt64(5100)..<5160 { try node.send(number) }
        try node.wait(.seconds(40))
        let after = Self.view(node)
        #expect(after.letterBytes < before.letterBytes * 2 / 3)
        #expect(after.counters.letterBytesFreed > 5000)
        #expect(!after.letterRoom.isFull && node.halted == nil)
        let own = after.members.first { $0.node == after.node }
        #expect(own?.values.contains { $0.key == "DEAD_LETTERS" && $0.value == "open" } == true)
        let listed = try #require(try Self.list(node, 8000))
        #expect(listed.total == (taken - gone) * 2)
        #expect(Set(listed.items.map(\.place.id)).count == Int(taken - gone))
        for item in listed.items { #expect(item.letter.raw.count == 300) }
        try node.send(6001, letters: Self.letters(6001))
        #expect(Self.isCounted(Self.outcome(node, 6001)))
        // The purged batches are known as ever: the totals stay.
        let known = try #require(node.sent[1])
        try node.ask(.write(known, consistency: .quorum), 7002, within: .seconds(5))
        try node.wait(.milliseconds(100))
        #expect(Self.isCounted(Self.outcome(node, 6002), duplicate: true))
    }

    @Test("gives who walks over all pages each letter once, in order, wherever it lies")
    func pages() throws {
        let node = try Self.node(letterBytesMax: nil)
        for number in UInt64(1)...60 { try node.send(number, letters: Self.letters(number)) }
        for number in UInt64(1)...20 {
            try node.retire(number, line: 1, as: 20_000 + number)
        }
        #expect(Self.view(node).logStart > 1, "some lie in history, some in the log")
        for reason in [DeadLetterReason.badJSON, nil] {
            var found: [DeadLetterItem] = []
            for request in UInt64(8000)..<8100 {
                let query = DeadLetterQuery(
                    filter: LetterFilter(reason: reason), limit: 7, after: found.last?.place,
                    wantsTotal: false)
                try node.ask(
                    .read(.deadLetters(query), consistency: .one), request, within: .seconds(5))
                try node.wait(.milliseconds(100))
                guard case .read(let answer)? = node.replies[RequestID(request)],
                    case .deadLetters(let items, _, _) = answer.result
                else { throw Unanswered() }
                if items.isEmpty { break }
                #expect(items.count <= 7)
                found += items
                node.forget(RequestID(request))
            }
            let all = try #require(try Self.list(node, 9000 + UInt64(reason?.rawValue ?? 0)))
            #expect(found == all.items && found.count == 100)
        }
    }

    @Test("gives the largest ones whole, from log and history, in pages that end by their bytes")
    func large() throws {
        let node = try Self.node(letterBytesMax: nil)
        func letter(_ number: UInt64) -> DeadLetter {
            DeadLetter(
                line: 1, reason: .badJSON, detail: "",
                raw: Array(repeating: UInt8(number), count: Limits.lineMax))
        }
        for number in UInt64(1)...9 { try node.send(number, letters: [letter(number)]) }
        #expect(Self.isCounted(Self.outcome(node, 9)))
        // Files of the log go as others come.
        for number in UInt64(5000)..<5060 { try node.send(number) }
        try node.wait(.seconds(20))
        #expect(Self.view(node).logStart > 1, "some lie in history, some in the log")
        for number in UInt64(10)...13 { try node.send(number, letters: [letter(number)]) }
        var found: [DeadLetterItem] = []
        for request in UInt64(8000)..<8020 {
            let query = DeadLetterQuery(limit: 1000, after: found.last?.place)
            try node.ask(
                .read(.deadLetters(query), consistency: .one), request, within: .seconds(5))
            try node.wait(.milliseconds(100))
            guard case .read(let answer)? = node.replies[RequestID(request)],
                case .deadLetters(let items, let total, _) = answer.result
            else { throw Unanswered() }
            #expect(total == 13)
            if items.isEmpty { break }
            #expect(items.count <= StorageLimits.letterPageBytes / Limits.lineMax)
            found += items
            node.forget(RequestID(request))
        }
        #expect(found.map(\.letter) == (1...13).map { letter($0) })
        #expect(node.halted == nil)
    }

    private struct Unanswered: Error {}

    @Test("knows after a start how many bytes it holds")
    func restart() throws {
        let node = try Self.node(letterBytesMax: 20_000)
        _ = try Self.fill(node)
        let held = Self.view(node).letterBytes
        var start = try NodeStart(
            node.core.configuration, ring: node.core.ring, fileSystem: node.disk.clone(),
            options: StorageOptions(digestKey: SoloNode.key, logFileMax: 2 << 10), hostID: 1,
            nonce: 9, wall: WallTime(milliseconds: 1_767_225_700_000))
        var effects: [Effect] = []
        let now = Now(
            monotonic: .zero + .seconds(9), wall: WallTime(milliseconds: 1_767_225_700_000))
        var core = NodeMachine(
            node.core.configuration, start: &start, seed: 4, now: now, into: &effects)
        #expect(core.view(at: now).letterBytes == held)
        core.handle(.tick, at: now, into: &effects)
        #expect(core.view(at: now).letterRoom.isFull)
    }

    @Test("refuses those for which another node's home has no room, as long as that says so")
    func remote() throws {
        let node = try SoloNode()
        try node.hear([.status: "NORMAL", .deadLetters: "full"])
        try node.send(1, letters: Self.letters(1), atPeer: true)
        try node.wait(.seconds(6))
        let full = WriteOutcome.notAttempted(.deadLettersFull([SoloNode.peer]))
        #expect(Self.outcome(node, 1) == full)
        #expect(node.bindsSent == 0, "nothing was sent")
        // Homes elsewhere have room, and without letters none is wanted.
        try node.send(2, letters: Self.letters(2))
        #expect(Self.isCounted(Self.outcome(node, 2)))
        try node.send(3, atPeer: true)
        #expect(node.bindsSent > 0)
        let sent = node.bindsSent
        try node.hear([.status: "NORMAL", .deadLetters: "open"])
        try node.send(4, letters: Self.letters(4), atPeer: true)
        #expect(node.bindsSent > sent)
    }

    @Test("has room again only an eighth below its bound")
    func hysteresis() {
        var room = LetterRoom(max: 800)
        room.judge(held: 799)
        #expect(!room.isFull)
        room.judge(held: 800)
        #expect(room.isFull)
        room.judge(held: 700)
        #expect(room.isFull)
        room.judge(held: 699)
        #expect(!room.isFull)
        var boundless = LetterRoom(max: nil)
        boundless.judge(held: .max)
        #expect(!boundless.isFull)
    }
}
