import Core

/// Writes a frozen memtable as tables, one per time bucket, and believes them only after reading
/// them back: the cells in the files must add up to the memtable's state digests, partition by
/// partition.
struct TableFlush {
    let fileSystem: any FileSystem
    let options: StorageOptions

    private struct Draft {
        var path: String
        var id: UInt64
        var file: any StoredFile
    }

    /// The tables under their final names, durable. They do not count before the manifest lists
    /// them.
    func write(
        _ memtable: FrozenMemtable, firstID: UInt64
    ) throws(StorageError) -> [TableHandle] {
        var drafts: [Draft] = []
        do throws(StorageError) {
            try fill(&drafts, from: memtable, firstID: firstID)
        } catch {
            // The room that the drafts take is what others wait for. Whether they can be removed or
            // not, the first error is the one to tell.
            let first = error
            guard case .diskFull = first else { throw first }
            do throws(StorageError) { try discard(drafts) } catch { throw first }
            throw first
        }
        return try publish(drafts)
    }

    private func fill(
        _ drafts: inout [Draft], from memtable: FrozenMemtable, firstID: UInt64
    ) throws(StorageError) {
        let store = memtable.store
        let sorted = store.sorted()
        var found = Array(repeating: StateDigest.zero, count: store.partitions.count)
        var start = 0
        while start < sorted.runs.count {
            let bucket = sorted.runs[start].bucket
            var end = start
            while end < sorted.runs.count, sorted.runs[end].bucket == bucket { end += 1 }
            let draft = try open(firstID + UInt64(drafts.count))
            drafts.append(draft)
            var writer = TableWriter(
                file: draft.file, id: draft.id, bucket: bucket,
                keysMax: Self.keys(of: sorted.runs[start..<end], in: store), options: options)
            try Self.copy(sorted, start..<end, of: store, to: &writer)
            let statistics = try writer.finish()
            try check(draft, against: statistics)
            for held in statistics.partitions {
                found[Int(held.partition.index)].merge(held.digest)
            }
            start = end
        }
        for partition in found.indices
        where found[partition] != store.partitions[partition].sum.state {
            try discard(drafts)
            throw .digestMismatch(
                path: FileNames.tableDirectory, what: "the state digest of p\(partition) differs")
        }
    }

    private func open(_ id: UInt64) throws(StorageError) -> Draft {
        let path = FileNames.table(id) + FileNames.draftSuffix
        return Draft(path: path, id: id, file: try fileSystem.open(path, .replace))
    }

    /// The runs of one key follow one another.
    private static func keys(of runs: ArraySlice<CellRun>, in store: CellStore) -> Int {
        var keys = 0
        var last: (partition: Int, key: UInt32)?
        for run in runs {
            let key = store.partitions[run.partition].series[run.series].key
            if let last, last == (run.partition, key) { continue }
            last = (run.partition, key)
            keys += 1
        }
        return keys
    }

    private static func copy(
        _ sorted: SortedCells, _ runs: Range<Int>, of store: CellStore,
        to writer: inout TableWriter
    ) throws(StorageError) {
        var start = runs.lowerBound
        while start < runs.upperBound {
            let partition = sorted.runs[start].partition
            var end = start + 1
            while end < runs.upperBound, sorted.runs[end].partition == partition { end += 1 }
            try copy(
                sorted.order, sorted.runs[start..<end], of: store.partitions[partition],
                PartitionID(partition), to: &writer)
            start = end
        }
    }

    /// The runs of one partition.
    private static func copy(
        _ order: [UInt32], _ runs: ArraySlice<CellRun>, of store: PartitionCells,
        _ partition: PartitionID, to writer: inout TableWriter
    ) throws(StorageError) {
        // Field by field, since the store is much to copy.
        let types = store.types.indices.map { store.typeBytes(UInt32($0)) }
        let cells = store.cells
        let values = store.values
        let series = store.series
        for run in runs {
            let held = store.keys[Int(series[run.series].key)]
            let day = series[run.series].day
            // What they add up to is read back from the file and found anew.
            let known = DayTerms(series[run.series].terms, day: day.day, term: day.term)
            store.withBytes(held.offset, Int(held.length)) { key in
                types[Int(series[run.series].type)].withUnsafeBytes { type in
                    writer.begin(partition, key: key, type: type, known: known)
                }
            }
            for position in run.cells {
                let place = Int(order[position])
                let slot = cells[place].values
                try writer.add(
                    window: cells[place].window,
                    Measure(
                        count: cells[place].count,
                        values: slot == PartitionCells.none ? nil : values[Int(slot)]))
            }
        }
    }

    /// Reads the draft back from its file.
    private func check(
        _ draft: Draft, against statistics: TableStatistics
    ) throws(StorageError) {
        let handle = try TableHandle.open(
            draft.file, id: draft.id, as: draft.path, options: options)
        try handle.verify()
        guard handle.footer.partitions == statistics.partitions,
            handle.footer.checksum == statistics.checksum
        else {
            throw .digestMismatch(path: draft.path, what: "its footer differs")
        }
    }

    private func publish(_ drafts: [Draft]) throws(StorageError) -> [TableHandle] {
        var handles: [TableHandle] = []
        for draft in drafts {
            let path = FileNames.table(draft.id)
            try fileSystem.rename(draft.path, to: path)
            draft.file.endWriting()
            handles.append(
                try TableHandle.open(draft.file, id: draft.id, as: path, options: options))
        }
        if !drafts.isEmpty { try fileSystem.syncDirectory(FileNames.tableDirectory) }
        return handles
    }

    private func discard(_ drafts: [Draft]) throws(StorageError) {
        for draft in drafts { try fileSystem.remove(draft.path) }
    }
}
