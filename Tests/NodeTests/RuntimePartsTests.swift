import Core
import Foundation
import Node
import NodeCore
import Replication
import Storage
import Synchronization
import Testing
import Wire

@Suite struct RuntimePartsTests {
    @Test("A wait ends with what it waits for, or at its deadline with nothing")
    func monitor() async {
        let monitor = Monitor(0)
        let nothing: Int? = monitor.wait(until: .zero) { $0 > 0 ? $0 : nil }
        #expect(nothing == nil)
        let pool = WorkerPool(name: "test", threads: 1, queueMax: 1)
        async let seen = pool.run { monitor.wait { $0 >= 1000 ? $0 : nil } }
        for _ in 0..<1000 { monitor.signal { $0 += 1 } }
        #expect(await seen == .some(.some(1000)))
        #expect(pool.stop(by: Instant(nanoseconds: .max)))
    }

    @Test("A pool runs what it took and refuses what is beyond its bound")
    func pool() async {
        let gate = Monitor(false)
        let began = Monitor(0)
        let pool = WorkerPool(name: "test", threads: 1, queueMax: 2)
        let done = Monitor(0)
        let job: @Sendable () -> Void = {
            began.broadcast { $0 += 1 }
            let _: Bool? = gate.wait { $0 ? true : nil }
            done.broadcast { $0 += 1 }
        }
        #expect(pool.submit(job))
        let _: Bool? = began.wait { $0 == 1 ? true : nil }
        #expect(pool.submit(job))
        #expect(pool.submit(job))
        #expect(!pool.submit(job))
        #expect(await pool.run { 1 } == nil)
        #expect(pool.waiting == 2)
        gate.broadcast { $0 = true }
        #expect(pool.stop(by: Instant(nanoseconds: .max)))
        #expect(done.withLock { $0 } == 3)
        let reading = pool.meter.reading
        // A pool that has stopped is not full.
        #expect(!pool.submit(job))
        #expect(pool.meter.reading == reading)
        #expect(reading.name == "test" && reading.refused == 2 && reading.wait?.taken == 3)
    }

    #if canImport(Glibc)
        @Test("Threads with much to do stand back, the others are as nice as the process")
        func standing() async {
            let own = getpriority(Int32(PRIO_PROCESS.rawValue), 0)
            for (standing, nice) in [
                (ThreadStanding.bulk, min(own + 10, 19)), (.prompt, own), (.usual, own),
            ] {
                let pool = WorkerPool(name: "test", threads: 1, queueMax: 1, standing: standing)
                let seen = await pool.run { getpriority(Int32(PRIO_PROCESS.rawValue), 0) }
                #expect(seen == nice, "\(standing)")
                #expect(pool.stop(by: Instant(nanoseconds: .max)))
            }
        }
    #endif

    @Test("The inbox gives everything at once, in order, and refuses beyond its bounds")
    func inbox() {
        let inbox = CoreInbox(entriesMax: 3, bytesMax: 100)
        #expect(inbox.offer(.tick, bytes: 90))
        #expect(!inbox.offer(.tick, bytes: 20))
        #expect(inbox.offer(.connected(NodeID("n2"))))
        #expect(inbox.offer(.tick, bytes: 10))
        #expect(!inbox.offer(.tick))
        // A completion is taken all the same.
        inbox.post(.input(.cancel(RequestID(9))))
        let taken = inbox.take(until: .zero)
        #expect(taken.count == 4)
        guard case .input(.connected(NodeID("n2"))) = taken[1],
            case .input(.cancel(RequestID(9))) = taken[3]
        else {
            Issue.record("the order changed")
            return
        }
        #expect(inbox.take(until: .zero).isEmpty)
        // A message larger than the bound passes when nothing else waits.
        #expect(inbox.offer(.tick, bytes: 1000))
        inbox.post(.stop)
        #expect(!inbox.offer(.tick))
        #expect(!inbox.ask { _ in })
        #expect(inbox.take(until: .zero).count == 2)
        let readings = inbox.meters.map(\.reading)
        #expect(readings.map(\.name) == ["core", "core-reads"])
        #expect(readings.map(\.refused) == [2, 0])
        #expect(readings.map(\.wait?.taken) == [2, 0])
    }

    @Test("A queue's waits are added up, exactly")
    func meter() {
        let meter = QueueMeter("test")
        meter.take(since: Instant(nanoseconds: 5), at: Instant(nanoseconds: 2_000_005))
        meter.take(since: Instant(nanoseconds: 9), at: Instant(nanoseconds: 9))
        meter.refuse()
        var gauges = MetricGauges()
        gauges.queues = [meter.reading, QueueReading(name: "bodies", refused: 7)]
        let text = NodeMetrics().text(gauges)
        for line in [
            "quipu_queue_refused_total{queue=\"test\"} 1",
            "quipu_queue_refused_total{queue=\"bodies\"} 7",
            "quipu_queue_wait_seconds_total{queue=\"test\"} 0.002000",
            "quipu_queue_taken_total{queue=\"test\"} 2",
        ] { #expect(text.contains(line + "\n"), "\(line)") }
        #expect(!text.contains("quipu_queue_taken_total{queue=\"bodies\"}"))
    }

    @Test(
        "Only the words of reads of one key, and of what is on disk, overtake what came before")
    func readsOvertake() {
        let inbox = CoreInbox(entriesMax: 4, bytesMax: 100)
        func read(_ query: ReadQuery, _ number: UInt64) -> Input {
            .request(RequestID(number), .read(query, consistency: .quorum), deadline: .zero)
        }
        let series = ReadQuery.series(SeriesQuery(partition: PartitionID(0), key: [1]))
        let scan = ReadQuery.scan(ScanSpec(partitions: PartitionSet(), output: .types), top: nil)
        #expect(inbox.offer(.tick))
        #expect(inbox.offer(read(scan, 1)))
        #expect(inbox.offer(read(series, 2)))
        inbox.post(.input(.completed(JobID(1), .success(.rows([])))))
        #expect(inbox.waiting == 4)
        #expect(!inbox.offer(read(series, 3)))
        guard case .input(.request(let id, _, _))? = inbox.takeUrgent().first, id == RequestID(2)
        else {
            Issue.record("the read did not overtake")
            return
        }
        #expect(inbox.takeUrgent().isEmpty)
        #expect(inbox.offer(read(series, 4)))
        #expect(inbox.take(until: .zero).count == 1, "a read comes alone")
        inbox.post(.input(.logSynced(through: LSN(4))))
        guard case .input(.logSynced(LSN(4)))? = inbox.takeUrgent().first else {
            Issue.record("what is on disk did not overtake")
            return
        }
        #expect(inbox.take(until: .zero).count == 2)
        // A voter is asked with a deadline, as every coordinator asks it.
        let ask = ReadAsk(
            tag: Tag(1), query: series, partitions: PartitionSet([PartitionID(0)]), role: .data,
            isWeak: false, wantsRecent: false)
        let awaited = PeerMessage.awaited(.read(ask), patience: .seconds(1))
        #expect(inbox.offer(.tick))
        #expect(inbox.offer(.message(awaited, from: NodeID("n2")), until: .distant))
        #expect(inbox.takeUrgent().count == 1)
    }

    @Test("Each request hears exactly one answer: the core's, or that its time was over")
    func replies() {
        let book = ReplyBook(requestsMax: 2)
        let heard = Mutex<[String]>([])
        func open(_ name: String, _ deadline: Int64) -> RequestID? {
            book.open(deadline: Instant(nanoseconds: deadline)) { response in
                if case .flushed = response {
                    heard.withLock { $0.append("\(name) flushed") }
                } else if case .failed(let failure) = response {
                    heard.withLock { $0.append("\(name) \(failure)") }
                }
            }
        }
        guard let first = open("a", 100), let second = open("b", 50) else {
            Issue.record("the book took nothing")
            return
        }
        #expect(open("c", 100) == nil)
        #expect(book.expire(at: Instant(nanoseconds: 49)).isEmpty)
        #expect(book.expire(at: Instant(nanoseconds: 50)) == [second])
        #expect(!book.answer(second, .flushed))
        #expect(book.answer(first, .flushed))
        #expect(!book.answer(first, .flushed))
        _ = open("d", 100)
        book.closeAll()
        #expect(book.count == 0)
        #expect(
            heard.withLock { $0 } == [
                "b timedOut(required: 0, answered: 0)", "a flushed",
                "d timedOut(required: 0, answered: 0)",
            ])
    }

    @Test("What a peer waits for is kept with the end of its patience, and other words without one")
    func patience() {
        let inbox = CoreInbox()
        let peer = NodeID("n2")
        let end = Instant.zero + .seconds(3)
        let ask = ReplicationMessage.statusAsk(
            Tag(7), BatchID(producer: 1, sequence: 2), createdAt: nil)
        #expect(inbox.offer(.message(.replication(ask), from: peer), until: end))
        #expect(inbox.offer(.message(.replication(ask), from: peer)))
        let taken = inbox.take(until: .zero)
        guard taken.count == 2, case .awaited(_, until: end) = taken[0], case .input = taken[1]
        else {
            Issue.record("not the two that were offered: \(taken.count)")
            return
        }
    }

    @Test("A message tells how long its sender waits, up to a bound")
    func awaited() throws {
        let inner = ReplicationMessage.statusAsk(
            Tag(7), BatchID(producer: 1, sequence: 2), createdAt: nil)
        let message = PeerMessage.awaited(inner, patience: .milliseconds(1500))
        #expect(try PeerMessage(decoding: message.encoded()) == message)
        let late = PeerMessage.awaited(inner, patience: .seconds(-3)).encoded()
        #expect(try PeerMessage(decoding: late) == .awaited(inner, patience: .zero))
        let long = PeerMessage.awaited(inner, patience: .seconds(100_000)).encoded()
        #expect(
            try PeerMessage(decoding: long)
                == .awaited(inner, patience: PeerMessage.patienceMax))
        var hostile = long
        hostile.replaceSubrange(1..<5, with: [0xff, 0xff, 0xff, 0xff])
        #expect(throws: DecodeError.self) { try PeerMessage(decoding: hostile) }
    }

    @Test("A disk that runs low turns the node read-only, and some room more turns it back")
    func disk() {
        let reserve = UInt64(DiskWatch.reserveDefault)
        let enough = reserve + reserve / 4
        var watch = DiskWatch(path: "/", reserve: DiskWatch.reserveDefault)
        #expect(watch.free != nil)
        #expect(watch.judge(free: enough) == nil)
        #expect(watch.judge(free: reserve) == nil)
        #expect(watch.judge(free: reserve - 1)?.contains("need 256") == true)
        #expect(watch.judge(free: reserve) != nil)
        #expect(watch.judge(free: enough - 1) != nil)
        #expect(watch.judge(free: enough) == nil)
    }

    @Test("Budgets are taken whole or not at all")
    func budget() {
        let budget = ByteBudget(max: 10)
        #expect(budget.take(6))
        #expect(!budget.take(5))
        #expect(budget.take(4))
        budget.give(back: 10)
        #expect(budget.inUse == 0)
    }

    @Test("Metrics are Prometheus text: each family once, buckets cumulative")
    func metrics() throws {
        let metrics = NodeMetrics()
        metrics.eventsCounted.increment(by: 41)
        metrics.eventsCounted.increment()
        metrics.write.observe(.microseconds(100))
        metrics.write.observe(.microseconds(101))
        metrics.write.observe(.seconds(100))
        metrics.answered(status: 503)
        metrics.answered(status: 999)
        var gauges = MetricGauges()
        gauges.isVoting = true
        gauges.peers = [("n\"1", true), ("n2", false)]
        var process = try #require(ProcessUse.now)
        process.openFiles = 17
        gauges.process = process
        gauges.openFiles = [("hot", OpenFilesReading(open: 3, max: 4, reopened: 5))]
        let text = metrics.text(gauges)
        let lines = Set(text.split(separator: "\n"))
        for line in [
            "quipu_events_counted_total 42", "quipu_write_seconds_bucket{le=\"0.000100\"} 1",
            "quipu_write_seconds_bucket{le=\"0.000200\"} 2",
            "quipu_write_seconds_bucket{le=\"+Inf\"} 3", "quipu_write_seconds_count 3",
            "quipu_write_seconds_sum 100.000201", "quipu_http_answers_total{status=\"5xx\"} 1",
            "quipu_node_up{node=\"n\\\"1\"} 1", "quipu_node_up{node=\"n2\"} 0", "quipu_voting 1",
            "process_open_fds 17", "quipu_open_files{disk=\"hot\"} 3",
            "quipu_open_files_max{disk=\"hot\"} 4", "quipu_files_reopened_total{disk=\"hot\"} 5",
        ] { #expect(lines.contains(Substring(line)), "\(line)") }
        let families = text.split(separator: "\n").filter { $0.hasPrefix("# TYPE") }
        #expect(Set(families).count == families.count)
    }

    @Test("What flushes and compactions wrote is told by what flushes wrote, and what lies twice")
    func amplification() {
        func percents(_ counted: Counters, _ sizes: [UInt64]) -> [String: Int] {
            var gauges = MetricGauges()
            let tables = sizes.enumerated().map {
                TableMeta(id: UInt64($0.offset) + 1, bucket: 0, size: $0.element)
            }
            gauges.addCompactions(counted, SpaceUse(tables))
            return Dictionary(uniqueKeysWithValues: gauges.core.map { ($0.name, $0.value) })
        }
        var counted = Counters()
        #expect(
            percents(counted, []) == [
                "quipu_write_amplification_percent": 100, "quipu_space_amplification_percent": 100,
            ])
        counted.flushedBytes = 200
        counted.compactionBytesWritten = 500
        #expect(
            percents(counted, [200, 50]) == [
                "quipu_write_amplification_percent": 350, "quipu_space_amplification_percent": 125,
            ])
    }

    @Test("How far a verification is goes from 0 to 100")
    func progress() {
        func percent(_ done: UInt64, _ total: UInt64) -> Int {
            var state = VerificationState(tables: 1, totalBytes: total)
            state.doneBytes = done
            return MetricGauges.percent(state)
        }
        #expect(percent(0, 0) == 0 && percent(0, 9) == 0 && percent(5, 9) == 55)
        // Files that grew, or were read twice.
        #expect(percent(9, 9) == 100 && percent(20, 9) == 100)
        #expect(MetricGauges.percent(nil) == 100)
    }

    @Test("A process knows what it has open, and may have more open than it was given")
    func processUse() throws {
        let most = try #require(ProcessUse.raiseOpenFilesMax())
        let before = try #require(ProcessUse.now)
        #expect(before.openFilesMax == most)
        #expect(before.residentBytes > 1 << 20)
        // Other tests open and close files meanwhile: many more are told apart from a few.
        let handles = try (0..<300).map { _ in
            try FileHandle(forReadingFrom: URL(fileURLWithPath: "/dev/null"))
        }
        let during = try #require(ProcessUse.now)
        #expect(during.openFiles > before.openFiles + 150)
        #expect(during.openFiles <= most)
        for handle in handles { try handle.close() }
    }
}
