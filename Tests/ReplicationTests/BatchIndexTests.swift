import Core
import Replication
import Storage
import Testing
import Wire

@Suite("Batch index")
struct BatchIndexTests {
    static let key = SipKey(low: 3, high: 4)
    static let length: Duration = .seconds(10)

    /// One node's history in random steps, told to the index and to the model.
    struct Pair {
        var index: BatchIndex
        var model: IndexModel
        var random: RandomSource
        let universe: Int
        let mine: PartitionSet
        var lsn = LSN.zero
        var now = Instant.zero
        /// The record of each content, so that what is applied has a hash.
        var records: [BatchID: BatchRecord] = [:]

        init(universe: Int, owns: Int, seed: UInt64) {
            self.universe = universe
            random = RandomSource(seed: seed)
            mine = PartitionSet((0..<owns).map { PartitionID($0) })
            index = BatchIndex(
                partitions: universe, mine: mine, key: BatchIndexTests.key,
                segmentLength: BatchIndexTests.length)
            model = IndexModel(
                mine: mine, length: BatchIndexTests.length, key: BatchIndexTests.key)
        }

        mutating func step() {
            now = now + .milliseconds(Int64(random.below(100)))
            let id = randomID()
            switch random.below(12) {
            case 0, 1: hold(id, isHome: true)
            case 2: hold(id, isHome: false)
            case 3, 4: markDurable(id)
            case 5, 6: apply(id)
            case 7, 8:
                index.markBound(id)
                model.change(id) { $0.isBound = true }
            case 9, 10:
                guard model.entries[id]?.isBound == true else { return }
                index.markFinished(id)
                model.change(id) { $0.isFinished = true }
            default:
                guard let entry = model.entries[id], !entry.isBound, entry.applied.isEmpty
                else { return }
                index.drop(id)
                model.drop(id)
            }
            check(id)
        }

        /// Few producers with dense sequences, one that is met once, one that jumps.
        private mutating func randomID() -> BatchID {
            let number = random.below(90)
            switch number % 9 {
            case 0: return BatchID(producer: UInt128(number) << 64, sequence: 0)
            case 1: return BatchID(producer: 77, sequence: .max - UInt64(number) << 40)
            default: return BatchID(producer: UInt128(number % 4), sequence: UInt64(number))
            }
        }

        private mutating func record(_ id: BatchID, isHome: Bool) -> BatchRecord {
            var touched = (0..<universe).map { PartitionID($0) }
            if !isHome { touched.removeAll { !mine.contains($0) } }
            random.shuffle(&touched)
            let few = random.chance(1, in: 2) ? touched.count : min(touched.count, 5)
            touched = touched.prefix(random.below(few + 1)).sorted()
            let whole = BatchRecord.home(
                header: BatchHeader(
                    id: id,
                    createdAt: WallTime(
                        milliseconds: Int64(id.sequence % 50) * 1000 - 5000
                            + Int64(random.below(2))),
                    contentHash: Hash128(UInt128(random.next())),
                    rule: RuleVersion(random.chance(1, in: 5) ? 300 : 1)),
                home: PartitionID(Int(id.sequence % UInt64(universe))),
                totals: BatchTotals(
                    events: 90_000, counted: 90_000 - UInt32(touched.count),
                    dead: UInt32(touched.count)),
                slices: touched.map { (partition: $0, offset: 0, length: 1, cells: 1) },
                cells: [UInt8(random.below(256))], deadLetters: [])
            return whole
        }

        private mutating func hold(_ id: BatchID, isHome: Bool) {
            let entry = model.entries[id]
            let isDecided = entry.map { $0.isBound || !$0.applied.isEmpty } ?? false
            var record = record(id, isHome: isHome)
            if let held = records[id], isDecided || entry != nil && random.chance(2, in: 3) {
                record = held
            }
            lsn = LSN(lsn.number + 1 + UInt64(random.below(3)))
            let position = LogPosition(
                file: UInt32(1 + lsn.number / 500), offset: lsn.number * 700 % 350_000,
                length: UInt32(1 + random.below(2000)))
            records[id] = record
            if isHome {
                index.hold(record, lsn: lsn, at: position)
                model.hold(record, lsn, position)
            } else {
                index.holdSlices(record, lsn: lsn, at: position)
                model.holdSlices(record, lsn, position)
            }
        }

        private mutating func markDurable(_ id: BatchID) {
            let through = LSN(lsn.number - min(lsn.number, UInt64(random.below(40))))
            index.markDurable(id, through: through)
            model.change(id) { entry in
                if let record = entry.record, record.lsn <= through {
                    entry.record?.isDurable = true
                }
                for place in entry.slices.indices where entry.slices[place].lsn <= through {
                    entry.slices[place].isDurable = true
                }
            }
        }

        private mutating func apply(_ id: BatchID) {
            guard let entry = model.entries[id], entry.isBound, let record = records[id] else {
                return
            }
            let isOften = random.chance(3, in: 4)
            let hashes = record.slices.filter { slice in
                mine.contains(slice.partition) && !entry.applied.contains(slice.partition)
                    && (isOften || random.chance(1, in: 2))
            }.map { (partition: $0.partition, hash: $0.hash) }
            index.markApplied(id, hashes, at: now)
            model.markApplied(id, hashes, at: now)
        }

        mutating func forget(below end: Segment) {
            let base = index.base(
                of: mine, below: end, through: lsn, outcomesFrom: .first)
            index.forget(below: end, base: base)
            model.forget(below: end)
        }

        private func check(_ id: BatchID) {
            #expect(index[id] == model.entries[id])
        }

        mutating func checkAll() {
            #expect(index.ids == model.entries.keys.sorted())
            #expect(index.count == model.entries.count)
            #expect(Set(index.heldSegments) == model.segments)
            #expect(
                index.unsettledIDs
                    == model.entries.values.filter { !$0.isSettled(on: mine) }
                    .map(\.header.id).sorted())
            for id in index.ids { check(id) }
            let homes = PartitionSet(mine.filter { $0.index % 3 > 0 })
            for segment in model.segments {
                #expect(index.ids(in: segment) == model.ids(in: segment))
                let found = model.withLetters(in: segment, homes: homes)
                #expect(
                    index.idsWithLetters(in: segment, homes: homes) == found.map(\.header.id))
                #expect(index.isReady(below: segment) == model.isReady(below: segment))
                let oldest = model.oldestFile(from: segment)
                let said = index.oldestFile(from: segment)
                #expect((said == nil) == (oldest == nil) && said ?? 0 <= oldest ?? 0)
            }
            let letters = homes.reduce(0) { $0 + (model.totals[$1]?.dead ?? 0) }
            #expect(index.letters(of: homes) == letters)
            for place in 0..<universe {
                let partition = PartitionID(place)
                #expect(
                    index.digests.total(partition) == model.applied[partition] ?? .empty)
                #expect(
                    index.digests.homeTotal(partition) == model.homes[partition] ?? .empty)
                #expect(index.homeTotals[place] == model.totals[partition] ?? HomeTotals())
            }
        }
    }

    @Test(
        "random operations give the entries, ids and sums of a plain dictionary",
        arguments: [(4, 4), (8, 5), (256, 256), (256, 100), (300, 200)], [1, 2] as [UInt64])
    func model(shape: (Int, Int), seed: UInt64) {
        var pair = Pair(universe: shape.0, owns: shape.1, seed: seed)
        for round in 0..<4000 {
            pair.step()
            if round % 200 == 199 { pair.checkAll() }
            if round % 1500 == 1499 { pair.forget(below: Segment(Int64(round / 1500))) }
        }
        #expect(pair.index.count > pair.index.unsettledIDs.count)
    }

    @Test("what is settled is packed; a late mark opens it, and it settles again")
    func reopened() {
        let record = ForgettingTests.record(3)
        let id = record.header.id
        var index = ForgettingTests.index(3..<4)
        #expect(index.unsettledIDs.isEmpty && index[id]?.isFinished == true)
        // A home record that is written again elsewhere is not durable there yet.
        index.hold(record, lsn: LSN(8), at: LogPosition(file: 2, offset: 5, length: 9))
        #expect(index.unsettledIDs == [id])
        index.markDurable(id, through: LSN(8))
        #expect(index.unsettledIDs.isEmpty)
        #expect(index[id]?.record?.position?.file == 2 && index.count == 1)
        #expect(index.ids(in: Segment(0)) == [id])
        #expect(index.digests.homeTotal(record.home).count == 1)
    }

    // MARK: - Memory

    /// An hour at 200 batches a second.
    static let batches = 720_000
    static let producers = 1000

    static let all = PartitionSet((0..<256).map { PartitionID($0) })

    /// What such an hour leaves packed; `touched` gives the partitions of each batch.
    static func hour(_ touched: (inout RandomSource) -> PartitionSet) -> PackedBatches {
        var random = RandomSource(seed: 9)
        var packed = PackedBatches(partitions: 256, mine: all, segmentLength: length)
        var log = LogPosition(file: 1, offset: 32, length: 0)
        let producers = (0..<producers).map { _ in
            UInt128(random.next()) << 64 | UInt128(random.next())
        }
        for number in 0..<batches {
            let due = Int64(number) * 5
            let createdAt = WallTime(
                milliseconds: 1_767_225_600_000 + due - Int64(random.below(3000)))
            var entry = BatchEntry(
                header: BatchHeader(
                    id: BatchID(
                        producer: producers[random.below(Self.producers)],
                        sequence: UInt64(number / Self.producers)),
                    createdAt: createdAt,
                    contentHash: Hash128(UInt128(random.next()) << 64 | UInt128(random.next())),
                    rule: .first), home: PartitionID(random.below(256)))
            entry.totals = BatchTotals(events: 1000, counted: 1000, dead: 0)
            entry.touched = touched(&random)
            entry.applied = entry.touched
            entry.isBound = true
            entry.isFinished = true
            entry.isCounted = true
            entry.changedAt = Instant(nanoseconds: due * 1_000_000 + Int64(random.below(1_000_000)))
            log.length = UInt32(500 + random.below(20_000))
            entry.record = .init(lsn: LSN(UInt64(number * 3 + 1)), position: log, isDurable: true)
            let isPacked = packed.insert(
                entry, in: Segment(createdAt: createdAt, length: length))
            precondition(isPacked && entry.isSettled(on: all), "nothing is refused")
            log.offset += UInt64(log.length)
            if log.offset > 64 << 20 {
                log = LogPosition(file: log.file + 1, offset: 32, length: 0)
            }
        }
        return packed
    }

    @Test("what finds no page stays as it is, and a page that was freed is taken again")
    func pages() {
        var packed = PackedBatches(
            partitions: 8, mine: ForgettingTests.mine, segmentLength: Self.length, pagesMax: 2)
        func insert(_ number: Int) -> Bool {
            guard
                let entry = ForgettingTests.index(number..<number + 1)[
                    ForgettingTests.record(number).header.id]
            else { return false }
            return packed.insert(entry, in: Segment(Int64(number / 10)))
        }
        // One page for each segment.
        #expect(insert(0) && insert(10) && insert(11))
        #expect(!insert(20))
        #expect(packed.count == 3 && packed.ids(in: Segment(2)).isEmpty)
        packed.forget(Segment(0))
        #expect(insert(20))
        #expect(packed.count == 3 && packed[ForgettingTests.record(0).header.id] == nil)
        #expect(packed.remove(ForgettingTests.record(20).header.id) != nil)
        #expect(insert(0) && !insert(30))
    }

    /// What does not grow with batches but with segments and partitions.
    static func sums() -> IndexMemory {
        var index = BatchIndex(partitions: 256, mine: all, key: key, segmentLength: length)
        for number in 0..<360 {
            let record = BatchRecord.home(
                header: BatchHeader(
                    id: BatchID(producer: 1, sequence: UInt64(number)),
                    createdAt: WallTime(milliseconds: Int64(number) * 10_000),
                    contentHash: Hash128(UInt128(number)), rule: .first),
                home: PartitionID(number % 256),
                totals: BatchTotals(events: 1, counted: 1, dead: 0),
                slices: all.map { (partition: $0, offset: 0, length: 1, cells: 1) },
                cells: [1], deadLetters: [])
            ForgettingTests.hold(record, in: &index)
        }
        #expect(index.unsettledIDs.isEmpty && index.count == 360)
        return index.memory
    }

    @Test("an hour at 200 batches a second takes less than 64 MiB, whatever they touch")
    func bound() {
        let sums = Self.sums()
        let fixed = sums.open + sums.digests + sums.recent
        #expect(fixed < 8 << 20, "\(sums)")
        // Any number of partitions, from one to all.
        var random = RandomSource(seed: 2)
        let sets = (0..<4096).map { number in
            PartitionSet(Self.all.filter { _ in random.below(256) <= number % 256 })
        }
        let some = Self.hour { $0.pick(sets) }
        #expect(some.rowBytes + some.lookUpBytes + fixed < 61 << 20)
        // Sets as large as sets can be: half of all partitions.
        let worst = Self.hour { random in
            PartitionSet(bitmap: [random.next(), random.next(), random.next(), random.next()])
        }
        #expect(worst.rowBytes + worst.lookUpBytes + fixed < 64 << 20)
        let whole = Self.hour { _ in Self.all }
        #expect(whole.rowBytes + whole.lookUpBytes + fixed < 48 << 20)
    }
}
