import Core
import Storage
import Testing
import Wire

/// A life that is lived again and again, each time with another fault; and what every recovery is
/// held against.
struct CrashScript: Sendable {
    let seed: UInt64
    let acts: @Sendable (inout StoreLife) throws -> Void

    init(seed: UInt64, _ acts: @escaping @Sendable (inout StoreLife) throws -> Void) {
        self.seed = seed
        self.acts = acts
    }

    /// Lives until an operation fails, if one does; what it promised before stands.
    @discardableResult
    func live(on files: MemoryFileSystem) -> PromiseBook {
        let book = PromiseBook()
        do {
            var life = try StoreLife(files, seed: seed, book)
            try acts(&life)
        } catch {
            // The fault that ended this life.
        }
        return book
    }

    /// Lives as a node does, which goes on after some errors; what ended it, if anything did.
    func endure(on files: MemoryFileSystem) -> (book: PromiseBook, end: (any Error)?) {
        let book = PromiseBook()
        do {
            var life = try StoreLife(files, seed: seed, book, endures: true)
            try acts(&life)
            return (book, nil)
        } catch {
            return (book, error)
        }
    }

    /// How many operations the whole script takes.
    var operations: Int {
        let files = MemoryFileSystem()
        live(on: files)
        return files.operations
    }

    /// The power fails before each operation, in each way that data and names are lost; how many
    /// disks were recovered.
    func cutEverywhere(_ random: inout RandomSource) throws -> Int {
        let files = MemoryFileSystem()
        files.keepStates()
        let book = live(on: files)
        let oracle = CrashOracle(book.last.slices)
        var recoveries = 0
        for (operation, state) in files.keptStates.enumerated() {
            let promise = book.promise(before: operation)
            for data in MemoryFileSystem.DataLoss.allCases {
                for names in MemoryFileSystem.NameLoss.allCases {
                    let crashed = state.crash(data: data, names: names, &random)
                    try oracle.check(crashed, promise, "operation \(operation), \(data), \(names)")
                    recoveries += 1
                }
            }
        }
        return recoveries
    }

    /// One operation fails, each in its turn, and the power fails after that life.
    func failEverywhere(
        with fault: MemoryFileSystem.Fault, _ random: inout RandomSource
    ) throws {
        for operation in 0..<operations {
            let files = MemoryFileSystem()
            files.fail(at: operation, with: fault)
            let book = live(on: files)
            files.clearFaults()
            try CrashOracle(book.last.slices).check(
                files.crash(&random), book.last, "operation \(operation), \(fault)")
        }
    }
}

/// What a disk must hold, for each number of slices that came back.
struct CrashOracle {
    /// By the number of slices and by partition.
    private var digests: [[StateDigest]]

    init(_ slices: [RandomSlice]) {
        var sums = PartitionSet.all.map { _ in StateDigest.zero }
        digests = [sums]
        for slice in slices {
            var model = StorageModel()
            model.add(slice)
            sums[Int(slice.partition.index)].merge(model.digest(of: slice.partition))
            digests.append(sums)
        }
    }

    /// What each partition holds when so many slices came back.
    func digests(through lsn: LSN) -> [StateDigest] { digests[Int(lsn.number)] }

    /// Recovers, replays beyond the coverage, and compares with the sum of a prefix of the slices;
    /// then recovers again.
    func check(
        _ crashed: MemoryFileSystem, _ promise: StorePromise, _ what: String
    ) throws {
        let options = StorageModel.options
        var memtable = StorageModel.memtable()
        var last = LSN.zero
        var faults = 0
        let recovered = try Recovery.open(crashed, options: options) { record, manifest in
            last = max(last, record.lsn)
            guard record.lsn > manifest.coveredThrough else { return }
            do {
                try memtable.apply(
                    Array(record.payload.dropFirst()), PartitionID(Int(record.payload[0])))
            } catch {
                faults += 1
            }
        }
        #expect(faults == 0, "\(what)")
        #expect(recovered.damage.isEmpty, "\(what): \(recovered.damage)")
        last = max(last, recovered.manifest.coveredThrough)
        #expect(last >= promise.synced, "\(what): synced \(promise.synced), recovered \(last)")
        #expect(last.number <= UInt64(promise.slices.count), "\(what)")
        #expect(recovered.manifest.coveredThrough >= promise.covered, "\(what)")
        #expect(recovered.cursor.last == last, "\(what)")
        if let identity = promise.identity {
            #expect(recovered.manifest.identity == identity, "\(what)")
        }
        for partition in PartitionSet.all {
            var digest = memtable.stateDigest(of: partition)
            for table in recovered.tables { digest.merge(table.stateDigest(of: partition)) }
            // What expired is gone from the tables, and not from what replicas compare.
            if let dropped = recovered.manifest.retention.dropped[partition] {
                digest.merge(dropped.state)
            }
            let expected = digests[Int(last.number)][Int(partition.index)]
            #expect(digest == expected, "\(what): \(partition)")
        }
        try checkHistory(recovered, promise, what)
        let contents = crashed.contents
        let again = try Recovery.open(crashed, options: options) { _, _ in }
        #expect(crashed.contents == contents, "\(what): a second recovery changed bytes")
        #expect(again.cursor == recovered.cursor, "\(what)")
        #expect(again.manifest == recovered.manifest, "\(what)")
    }

    /// Each outcome once.
    private func checkHistory(
        _ recovered: Recovered, _ promise: StorePromise, _ what: String
    ) throws {
        let told = recovered.history.reduce(0) { $0 + Int($1.meta.outcomes) }
        #expect(told >= promise.outcomes, "\(what): \(told) of \(promise.outcomes) outcomes")
        guard let youngest = promise.outcomes > 0 ? promise.outcomes - 1 : nil else { return }
        for number in [0, youngest] {
            let id = HistoryTests.header(number).id
            let found = try recovered.history.compactMap { try $0.lookUp(id) }
            #expect(found.map(\.totals) == [HistoryTests.record(number).totals], "\(what)")
        }
    }
}
