import Catalog
import Core
import Foundation
import Logging
import Node
import Testing

@Suite struct RuntimeAttributeTests {
    @Test("Messages come back as they were sent; damaged ones are errors")
    func messages() throws {
        let rows = [
            AttributeRow(key: Array("a".utf8), version: 5, json: Array(#"{"t":"x"}"#.utf8)),
            AttributeRow(key: Array("😀".utf8), version: 6, json: nil),
        ]
        let messages: [AttributeMessage] = [
            .nudge, .ask(nonce: 7, since: -1),
            .changes(.init(nonce: 9, rows: rows, next: 12, isComplete: false)),
        ]
        for message in messages {
            let bytes = message.encoded
            #expect(bytes.first == AttributeMessage.family)
            #expect(try AttributeMessage(decoding: bytes) == message)
            for length in 0..<bytes.count {
                #expect(throws: (any Error).self) {
                    try AttributeMessage(decoding: Array(bytes[..<length]))
                }
            }
            var random = RandomSource(seed: 5)
            for _ in 0..<200 {
                var bad = bytes
                bad[random.below(bad.count)] = UInt8(random.below(256))
                _ = try? AttributeMessage(decoding: bad)
            }
        }
    }

    @Test("One peer a second is asked in turn, nudges at once, nobody twice at a time")
    func spread() {
        let peers = ["n2", "n3"].map { NodeID($0) }
        var spread = AttributeSpread(peers: peers, now: .zero)
        func at(_ milliseconds: Int64) -> Instant {
            Instant(nanoseconds: milliseconds * 1_000_000)
        }
        #expect(spread.due(at: at(0)) == [peers[0]])
        #expect(spread.due(at: at(10)).isEmpty)
        spread.nudge(peers[1])
        spread.nudge(peers[1])
        spread.nudge(NodeID("stranger"))
        #expect(spread.due(at: at(20)) == [peers[1]])
        // Still asked: the turn passes.
        #expect(spread.due(at: at(1000)).isEmpty)
        spread.answered(peers[0], isComplete: false)
        #expect(spread.due(at: at(1001)) == [peers[0]])
        spread.answered(peers[0], isComplete: true)
        #expect(spread.due(at: at(2000)) == [peers[0]])
        // n2's and n3's answers were lost: after a while they are asked again.
        #expect(spread.due(at: at(7100)) == [peers[1]])
        #expect(spread.nextDeadline == at(8100))
        // A question that could not be sent does not hold up the next.
        spread.unsent(peers[1])
        spread.nudge(peers[1])
        #expect(spread.due(at: at(7101)) == [peers[1]])
    }

    /// The services of two nodes that hear each other, not yet started.
    private static func pair(
        in folder: String, metrics: NodeMetrics = NodeMetrics(),
        nonce: @escaping @Sendable (Int) -> UInt64,
        hasRoom: @escaping @Sendable (Int) -> Bool = { _ in true },
        onSend: @escaping @Sendable (Int, AttributeMessage) -> Void = { _, _ in }
    ) throws -> [AttributeService] {
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let names = ["n1", "n2"].map { NodeID($0) }
        let mailboxes = names.map { _ in AttributeMailbox() }
        return try names.enumerated().map { place, name in
            let other = 1 - place
            let root = "\(folder)/\(name)"
            let service = AttributeService(
                store: AttributeStore(
                    file: root + "/catalog.sqlite",
                    files: try DirectoryFileSystem.creating(root: root), now: .zero
                ) { nonce(place) }, peers: [names[other]], metrics: metrics, logger: logger,
                hasRoom: { hasRoom(place) },
                send: { message, _ in
                    onSend(place, message)
                    mailboxes[other].deliver(message, from: name)
                    return true
                })
            mailboxes[place].connect(service)
            return service
        }
    }

    @Test(
        "A row that is put on one node is on the other after a nudge, also one after a remade file")
    func twoServices() async throws {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("quipu-attributes-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        // The progress that n2 shows when it asks n1.
        let shown = Monitor<Int64>(-1)
        let services = try Self.pair(
            in: folder.path, nonce: { UInt64($0 + 1) },
            onSend: { place, message in
                if place == 1, case .ask(_, let since) = message { shown.broadcast { $0 = since } }
            })
        for service in services { service.start() }
        let entries = (0..<50).map { number in
            AttributeEntry(key: Array("k\(number)".utf8), json: Array(#"{"n":1}"#.utf8))
        }
        #expect(try await services[0].put(entries).written == 50)
        let pool = WorkerPool(name: "wait", threads: 1, queueMax: 1)
        _ = await pool.run { let _: Bool? = shown.wait { $0 == 50 ? true : nil } }
        let found = await services[1].attributes(of: [Array("k0".utf8), Array("k49".utf8)])
        #expect(found?.rows.count == 2)
        #expect(
            try await services[1].row(of: Array("k7".utf8)).row?.json == Array(#"{"n":1}"#.utf8))
        for service in services { service.stop(by: Instant(nanoseconds: .max)) }
        pool.stop(by: Instant(nanoseconds: .max))
        // A catalog that is closed takes attributes away and nothing else.
        #expect(await services[0].attributes(of: [Array("k0".utf8)]) == nil)
    }

    /// Asks until it is so, for a minute at most.
    private static func becomes(_ isSo: () async throws -> Bool) async rethrows -> Bool {
        let end = SystemClock.monotonic + .seconds(60)
        while SystemClock.monotonic < end {
            if try await isSo() { return true }
            await Task.yield()
        }
        return false
    }

    @Test("Below the reserve a node asks its peers for no rows; with room again it has them")
    func reserve() async throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let room = Monitor(false)
        let asked = Monitor(0)
        let services = try Self.pair(
            in: scratch.path, nonce: { UInt64($0 + 1) },
            hasRoom: { place in place == 0 || room.withLock { $0 } },
            onSend: { place, message in
                if place == 1, case .ask = message { asked.broadcast { $0 += 1 } }
            })
        for service in services { service.start() }
        let key = Array("k".utf8)
        let entry = AttributeEntry(key: key, json: Array("{}".utf8))
        #expect(try await services[0].put([entry]).written == 1)
        // Long enough for a turn, and for the nudge.
        let pool = WorkerPool(name: "wait", threads: 1, queueMax: 1)
        let wasAsked = await pool.run {
            asked.wait(until: SystemClock.monotonic + .milliseconds(1500)) { $0 > 0 ? true : nil }
                ?? false
        }
        #expect(wasAsked == false)
        #expect(try await services[1].row(of: key).row == nil)
        room.broadcast { $0 = true }
        #expect(try await Self.becomes { try await services[1].row(of: key).row != nil })
        for service in services { service.stop(by: Instant(nanoseconds: .max)) }
        pool.stop(by: Instant(nanoseconds: .max))
    }

    @Test("A row from the future stays out and is not skipped; those behind it come in")
    func early() async throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let entries = ["a", "b", "c"].map {
            AttributeEntry(key: Array($0.utf8), json: Array("{}".utf8))
        }
        let (early, behind, later) = (entries[0], entries[1], entries[2])
        // The clock of n1 was an hour ahead.
        let root = scratch.path + "/n1"
        _ = try DirectoryFileSystem.creating(root: root)
        let source = try AttributeCatalog(file: root + "/catalog.sqlite") { 1 }
        _ = try source.put([early], at: SystemClock.wall + .seconds(3600))
        _ = try source.put([behind], at: SystemClock.wall)
        try source.close()
        let services = try Self.pair(in: scratch.path, nonce: { UInt64($0 + 1) })
        for service in services { service.start() }
        func has(_ entry: AttributeEntry) async throws -> Bool {
            try await services[1].row(of: entry.key).row != nil
        }
        #expect(try await Self.becomes { try await has(behind) })
        #expect(try await services[0].put([later]).written == 1)
        #expect(try await Self.becomes { try await has(later) })
        #expect(try await !has(early))
        for service in services { service.stop(by: Instant(nanoseconds: .max)) }
        let sink = try AttributeCatalog(file: "\(scratch.path)/n2/catalog.sqlite") { 9 }
        #expect(try sink.progress(of: NodeID("n1")) == nil)
        try sink.close()
    }

    @Test("What is deleted on one node is gone on the other")
    func deletes() async throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let services = try Self.pair(in: scratch.path, nonce: { UInt64($0 + 1) })
        for service in services { service.start() }
        let key = Array("k".utf8)
        let entry = AttributeEntry(key: key, json: Array("{}".utf8))
        #expect(try await services[0].put([entry]).written == 1)
        #expect(
            try await Self.becomes { try await services[1].row(of: key).row?.json != nil })
        let deletion = try await services[1].delete(key)
        #expect(deletion.hadContent && deletion.isNews)
        #expect(
            try await Self.becomes { try await services[0].row(of: key).row?.json == nil })
        #expect(await services[0].attributes(of: [key])?.rows.isEmpty == true)
        let again = try await services[0].delete(key)
        #expect(again.version == deletion.version && !again.hadContent && !again.isNews)
        for service in services { service.stop(by: Instant(nanoseconds: .max)) }
    }

    @Test(
        "A file that is removed under a running node is filled from a peer, and says so till then")
    func filledFromPeer() async throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let metrics = NodeMetrics()
        let services = try Self.pair(
            in: scratch.path, metrics: metrics, nonce: { _ in .random(in: 1 ... .max) })
        for service in services { service.start() }
        let entries = (0..<5000).map { number in
            AttributeEntry(key: Array("k\(number)".utf8), json: Array("{\"n\":\(number)}".utf8))
        }
        #expect(try await services[0].put(entries).written == 5000)
        let last = Array("k4999".utf8)
        func isWhole() async -> Bool {
            let known = await services[1].attributes(of: [last])
            return known?.isStale == false && known?.rows[last] == Array(#"{"n":4999}"#.utf8)
        }
        let end = SystemClock.monotonic + .seconds(60)
        while await !isWhole(), SystemClock.monotonic < end { await Task.yield() }
        for suffix in ["", "-wal", "-shm"] {
            try FileManager.default.removeItem(
                atPath: "\(scratch.path)/n2/catalog.sqlite\(suffix)")
        }
        while metrics.catalogsLost.value == 0, SystemClock.monotonic < end { await Task.yield() }
        while await !isWhole(), SystemClock.monotonic < end { await Task.yield() }
        #expect(metrics.catalogsLost.value == 1)
        #expect(await isWhole())
        let values = await services[1].values(of: Array("n".utf8), for: entries.map(\.key))
        #expect(values?.isStale == false && values?.values[77] == Array("77".utf8))
        for service in services { service.stop(by: Instant(nanoseconds: .max)) }
    }

    @Test("While a peer has more than it gave, a key that is not here may have attributes")
    func behind() async throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let asked = Monitor(0)
        let service = AttributeService(
            store: AttributeStore(
                file: scratch.path + "/n1.sqlite", files: DirectoryFileSystem(root: scratch.path),
                now: .zero
            ) { 7 },
            peers: [NodeID("n2")], metrics: NodeMetrics(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
            send: { message, _ in
                if case .ask = message { asked.broadcast { $0 += 1 } }
                return true
            })
        service.start()
        let pool = WorkerPool(name: "wait", threads: 1, queueMax: 1)
        func answer(_ key: String, next: Int64, isComplete: Bool) async {
            let now = asked.withLock(\.self)
            let row = AttributeRow(key: Array(key.utf8), version: next, json: Array("{}".utf8))
            service.receive(
                .changes(.init(nonce: 9, rows: [row], next: next, isComplete: isComplete)),
                from: NodeID("n2"))
            // The next question shows that the answer was taken.
            _ = await pool.run { let _: Bool? = asked.wait { $0 > now ? true : nil } }
        }
        _ = await pool.run { let _: Bool? = asked.wait { $0 > 0 ? true : nil } }
        let other = Array("other".utf8)
        await answer("a", next: 1, isComplete: false)
        #expect(await service.attributes(of: [other]) == KnownAttributes([:], isStale: true))
        await answer("b", next: 2, isComplete: true)
        #expect(await service.attributes(of: [other]) == KnownAttributes([:]))
        // What is known comes back from where it was sent to: nothing is lacking.
        await answer("b", next: 2, isComplete: false)
        #expect(await service.attributes(of: [other]) == KnownAttributes([:]))
        pool.stop(by: Instant(nanoseconds: .max))
        service.stop(by: Instant(nanoseconds: .max))
    }

    @Test("Who saw more of a file than it holds reads it anew: it was put back to an older state")
    func setBack() async throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let answers = Monitor<[AttributeMessage.Changes]>([])
        let service = AttributeService(
            store: AttributeStore(
                file: scratch.path + "/n1.sqlite", files: DirectoryFileSystem(root: scratch.path),
                now: .zero
            ) { 7 },
            peers: [NodeID("n2")], metrics: NodeMetrics(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
            send: { message, _ in
                if case .changes(let changes) = message { answers.broadcast { $0 += [changes] } }
                return true
            })
        service.start()
        let entries = ["a", "b"].map {
            AttributeEntry(key: Array($0.utf8), json: Array(#"{"n":1}"#.utf8))
        }
        #expect(try await service.put(entries).written == 2)
        for since in [2, 1, 1000] {
            service.receive(.ask(nonce: 7, since: Int64(since)), from: NodeID("n2"))
        }
        let pool = WorkerPool(name: "wait", threads: 1, queueMax: 1)
        _ = await pool.run { let _: Bool? = answers.wait { $0.count == 3 ? true : nil } }
        #expect(answers.withLock { $0.map(\.rows.count) } == [0, 1, 2])
        #expect(answers.withLock { $0.map(\.next) } == [2, 2, 2])
        pool.stop(by: Instant(nanoseconds: .max))
        service.stop(by: Instant(nanoseconds: .max))
    }
}
