import Core

// The end of a gathering of which only the greatest keys are kept.

extension ScanAggregate {
    /// Keeps the greatest of what memtables and these tables hold.
    mutating func rank(_ all: [TableHandle]) throws(StorageError) {
        guard let keeping else { preconditionFailure("nothing ranks") }
        let tables = all.filter { spec.windows.overlaps($0.meta.firstWindow, $0.meta.lastWindow) }
        var ranked = RankedKeys(keeping)
        // Keys of memtables that were offered already.
        var isOffered = [Bool](repeating: false, count: table.count)
        func read(_ zone: KeyZone) throws(StorageError) {
            var scan = try TopScan(tables, spec, zone)
            try scan.run { key, total in
                if !isOffered.isEmpty, let entry = table.find(key) {
                    total.add(table.measure(entry))
                    isOffered[entry] = true
                }
                ranked.offer(key, total)
            }
        }
        let held = heldKeys(keeping)
        if var zones = TopZones(tables, spec, keeping, beside: held) {
            // A key that is new is known at once, or the list would not be full before all is read.
            for key in held.heavy {
                let partition = key.start.partition
                let hash = key.start.key.withUnsafeBytes { KeyFilter.hash(partition, $0) }
                guard !tables.contains(where: { $0.mayHold(hash, in: partition) }) else { continue }
                isOffered[key.entry] = true
                table.withKey(key.entry) { ranked.offer($0, table.measure(key.entry)) }
            }
            while let zone = zones.next(weightMin: ranked.weightMin) { try read(zone) }
        } else {
            try read(.all)
        }
        // A key of a zone that was passed over weighs less than the last of the list, with what
        // tables hold of it and without.
        for entry in isOffered.indices where !isOffered[entry] {
            table.withKey(entry) { ranked.offer($0, table.measure(entry)) }
        }
        var kept = MeasureTable(seed: seed)
        for row in ranked.rows { row.key.withUnsafeBytes { kept.add($0, row.measure) } }
        table = kept
        partitions = []
    }

    /// What memtables hold.
    private func heldKeys(_ top: Top) -> HeldKeys {
        var heavy = BoundedHeap<(weight: Int128, entry: Int)>(
            capacity: top.count + StorageLimits.topHeavyKeys
        ) { $0.weight < $1.weight }
        for entry in 0..<table.count {
            heavy.offer((max(0, top.order.weight(table.measure(entry)) ?? 0), entry))
        }
        return HeldKeys(
            heavy: heavy.descending().map {
                (.start(of: table.key($0.entry), in: partitions[$0.entry]), $0.weight, $0.entry)
            }, rest: heavy.worst?.weight ?? 0)
    }
}

extension ScanAggregate.Order {
    /// Nought where no event carried a value: a memtable may hold values of such a key.
    func weight(_ bound: KeyBound) -> Int128 {
        switch self {
        case .count: Int128(bound.count)
        case .sum: bound.sum
        }
    }
}
