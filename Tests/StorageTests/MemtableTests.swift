import Core
import Storage
import Testing
import Wire

@Suite struct MemtableTests {
    @Test("a memtable answers every series as a dictionary does")
    func matchesModel() throws {
        var random = RandomSource(seed: 1)
        var memtable = StorageModel.memtable()
        var model = StorageModel()
        for _ in 0..<300 {
            let slice = RandomSlice(&random)
            try memtable.apply(slice)
            model.add(slice)
        }
        func check() {
            for query in Self.queries(&random, model) {
                #expect(memtable.series(query) == model.rows(query))
            }
            for partition in PartitionSet.all {
                #expect(memtable.stateDigest(of: partition) == model.digest(of: partition))
            }
        }
        #expect(memtable.cells >= model.cells.count)
        check()
        for partition in PartitionSet.all { memtable.settle(partition) }
        #expect(memtable.cells == model.cells.count)
        check()
        let frozen = memtable.freeze(through: LSN(7))
        #expect(frozen.through == LSN(7))
        #expect(memtable.isEmpty && memtable.bytes == 0)
        for query in Self.queries(&random, model) {
            #expect(frozen.series(query) == model.rows(query))
        }
    }

    @Test(
        "memtables that let slices wait for longer or not at all give the same answers and tables")
    func pendingChangesNothing() throws {
        var random = RandomSource(seed: 4)
        // None wait; a few do; all do.
        var memtables = [0, 16 << 10, 64 << 20].map { StorageModel.memtable(bytesMax: $0) }
        var model = StorageModel()
        for round in 0..<400 {
            let slice = RandomSlice(&random)
            for place in memtables.indices { try memtables[place].apply(slice) }
            model.add(slice)
            guard round % 40 == 39 else { continue }
            for query in Self.queries(&random, model).prefix(20) {
                for memtable in memtables { #expect(memtable.series(query) == model.rows(query)) }
            }
            for partition in PartitionSet.all {
                let sums = Set(memtables.map { $0.sum(of: partition) })
                #expect(sums.count == 1)
            }
        }
        #expect(memtables[0].cells == model.cells.count)
        #expect(memtables[2].cells > model.cells.count)
        let tables = try memtables.indices.map { place in
            try TableTests.flush(
                memtables[place].freeze(through: LSN(1)), to: LogTests.fresh(), firstID: 1
            ).map(\.meta)
        }
        #expect(tables[0] == tables[1] && tables[0] == tables[2])
    }

    @Test("no more slices wait in a partition than its bound")
    func pendingIsBounded() throws {
        var memtable = StorageModel.memtable()
        var random = RandomSource(seed: 5)
        let slice = RandomSlice(&random)
        for _ in 0..<2 * StorageLimits.pendingBytesMax / slice.bytes.count {
            try memtable.apply(slice)
            #expect(
                memtable.bytes <= StorageLimits.pendingBytesMax + slice.cells.count * 1024)
        }
        // What is the same cell over and over takes the memory of one.
        #expect(memtable.bytes < StorageLimits.pendingBytesMax * 3 / 2)
    }

    @Test("what waits in all partitions is added piece by piece, and no answer changes")
    func settlesInSteps() throws {
        var memtable = StorageModel.memtable()
        var model = StorageModel()
        var random = RandomSource(seed: 6)
        for _ in 0..<64 {
            let slice = RandomSlice(&random)
            try memtable.apply(slice)
            model.add(slice)
        }
        let sums = PartitionSet.all.map { memtable.sum(of: $0) }
        var place = 0
        var steps = 1
        while !memtable.settle(from: &place, bytesMax: 1) { steps += 1 }
        #expect(steps > 1)
        #expect(PartitionSet.all.map { memtable.sum(of: $0) } == sums)
        #expect(memtable.cells == model.cells.count)
        #expect(memtable.recount().isEmpty)
        for query in Self.queries(&random, model) {
            #expect(memtable.series(query) == model.rows(query))
        }
        // Nothing waits any more: one step looks at all.
        place = 0
        #expect(memtable.settle(from: &place, bytesMax: 1))
    }

    @Test("a step of it adds no more than its bound and a partition")
    func settlingIsBounded() throws {
        var memtable = StorageModel.memtable()
        var random = RandomSource(seed: 7)
        var given = 0
        // All settle for the first time at a 64th, an eighth at most of their bound.
        while given < 4 * StorageLimits.settleBytesMax {
            let slice = RandomSlice(&random)
            given += slice.bytes.count
            try memtable.apply(slice)
        }
        let all = memtable.pendingBytes
        let bound = StorageLimits.settleBytesMax + StorageLimits.pendingBytesMax
        #expect(all > bound)
        var place = 0
        var isDone = false
        while !isDone {
            let before = memtable.pendingBytes
            isDone = memtable.settle(from: &place, bytesMax: StorageLimits.settleBytesMax)
            #expect(before - memtable.pendingBytes <= bound)
        }
        #expect(memtable.pendingBytes == 0)
        #expect(place == Int(StorageModel.partitions))
    }

    /// All keys of the model in random cuts, and some that it lacks.
    static func queries(_ random: inout RandomSource, _ model: StorageModel) -> [SeriesQuery] {
        var queries: [SeriesQuery] = []
        let keys = Set(
            model.cells.keys.map {
                StorageModel.Cell(partition: $0.partition, key: $0.key, type: [], window: 0)
            }
        ).sorted()
        for cell in keys {
            let type = random.pick([nil, "view", "like", "absent"])
            let from = random.chance(1, in: 2) ? Int64(23_000_000 + random.below(5000)) : nil
            let to = random.chance(1, in: 2) ? Int64(23_000_000 + random.below(5000)) : nil
            queries.append(
                SeriesQuery(
                    partition: cell.partition, key: cell.key, type: type.map { Array($0.utf8) },
                    from: from, to: to))
            queries.append(
                SeriesQuery(partition: cell.partition, key: cell.key + [UInt8(ascii: "x")]))
            queries.append(SeriesQuery(partition: cell.partition, key: cell.key))
        }
        return queries
    }

    @Test("a malformed slice changes nothing, wherever it is cut or bent")
    func allOrNothing() throws {
        var random = RandomSource(seed: 2)
        var memtable = StorageModel.memtable()
        var model = StorageModel()
        let first = RandomSlice(&random)
        try memtable.apply(first)
        model.add(first)
        let second = RandomSlice(&random)
        let bytes = second.bytes
        var refused = 0
        for length in 0..<bytes.count {
            for bend in [nil, 0x80 as UInt8] {
                var cut = Array(bytes[0..<length])
                if let bend, let last = cut.indices.last { cut[last] ^= bend }
                let isValid = cut.withUnsafeBytes { buffer in
                    (try? SliceReader.validate(
                        buffer, windows: SliceReader.windows(of: .minute))) != nil
                }
                guard !isValid else { continue }
                refused += 1
                do {
                    try memtable.apply(cut, second.partition)
                    Issue.record("a slice cut at \(length) was taken")
                } catch is SliceError {}
            }
        }
        #expect(refused > bytes.count / 2)
        for partition in PartitionSet.all { memtable.settle(partition) }
        #expect(memtable.cells == model.cells.count)
        for partition in PartitionSet.all {
            #expect(memtable.stateDigest(of: partition) == model.digest(of: partition))
        }
    }

    @Test("one series with very many windows stays fast to find and comes back sorted")
    func longSeries() throws {
        var random = RandomSource(seed: 3)
        var memtable = StorageModel.memtable()
        var windows = (0..<20_000).map { Int64($0) * 7 }
        random.shuffle(&windows)
        var model = StorageModel()
        for chunk in 0..<20 {
            var cells: [StorageModel.Cell: Measure] = [:]
            for window in windows[chunk * 1000..<chunk * 1000 + 1000] {
                let cell = StorageModel.Cell(
                    partition: PartitionID(3), key: [1], type: [2], window: window)
                cells[cell] = Measure(event: window)
            }
            let slice = RandomSlice(partition: PartitionID(3), cells: cells)
            try memtable.apply(slice)
            model.add(slice)
        }
        let query = SeriesQuery(partition: PartitionID(3), key: [1])
        #expect(memtable.series(query).count == 20_000)
        #expect(memtable.series(query) == model.rows(query))
    }

    @Test("the same key in two partitions is two keys")
    func partitionsAreApart() throws {
        var memtable = StorageModel.memtable()
        for index in [1, 2, 2] {
            let cell = StorageModel.Cell(
                partition: PartitionID(index), key: [9], type: [9], window: 0)
            try memtable.apply(
                RandomSlice(partition: PartitionID(index), cells: [cell: Measure(count: 5)]))
        }
        func count(_ index: Int) -> UInt64? {
            memtable.series(SeriesQuery(partition: PartitionID(index), key: [9])).first?.measure
                .count
        }
        #expect(count(1) == 5)
        #expect(count(2) == 10)
        #expect(count(3) == nil)
    }

    @Test("bytes grow with what is held, and an empty memtable says so")
    func accounting() throws {
        var random = RandomSource(seed: 4)
        var memtable = StorageModel.memtable()
        let wasEmpty = memtable.isEmpty
        let before = memtable.bytes
        try memtable.apply(RandomSlice(&random, cellCount: 200))
        let isEmpty = memtable.isEmpty
        let after = memtable.bytes
        #expect(wasEmpty)
        #expect(!isEmpty)
        #expect(after > before)
    }

    @Test("a state digest is the sum of its parts and does not see the order")
    func digestsAdd() throws {
        var random = RandomSource(seed: 5)
        let slices = (0..<40).map { _ in RandomSlice(&random) }
        var whole = StorageModel.memtable()
        var left = StorageModel.memtable()
        var right = StorageModel.memtable()
        for (index, slice) in slices.enumerated() {
            try whole.apply(slice)
            if index % 2 == 0 { try left.apply(slice) } else { try right.apply(slice) }
        }
        var turned = StorageModel.memtable()
        for slice in slices.reversed() { try turned.apply(slice) }
        for partition in PartitionSet.all {
            var sum = left.stateDigest(of: partition)
            sum.merge(right.stateDigest(of: partition))
            #expect(sum == whole.stateDigest(of: partition))
            #expect(turned.stateDigest(of: partition) == whole.stateDigest(of: partition))
        }
    }

    @Test("a state digest changes with a count, a sum, a key, a type and a day, not with a minute")
    func digestSees() {
        func digest(
            _ key: String, _ type: String, _ window: Int64, _ measure: Measure
        ) -> StateDigest {
            var model = StorageModel()
            let cell = StorageModel.Cell(
                partition: PartitionID(0), key: Array(key.utf8), type: Array(type.utf8),
                window: window)
            model.cells[cell] = measure
            return model.digest(of: PartitionID(0))
        }
        let base = digest("k", "t", 0, Measure(event: 5))
        #expect(base == digest("k", "t", 1439, Measure(event: 5)))
        #expect(base != digest("k", "t", 1440, Measure(event: 5)))
        #expect(base != digest("k", "t", -1, Measure(event: 5)))
        #expect(base != digest("k", "t", 0, Measure(event: 6)))
        #expect(base != digest("k", "t", 0, Measure(count: 2, values: Measure(event: 5).values)))
        #expect(base != digest("kt", "", 0, Measure(event: 5)))
        #expect(base != digest("", "kt", 0, Measure(event: 5)))
    }
}
