import Core

/// The keys of several tables in zones, each with what the heaviest of its keys weighs at most, in
/// the order in which a top list reads them: the heaviest zones first, until it is known what a key
/// must weigh, then what is left and may matter by ascending key, neighbours as one.
///
/// A zone that weighs less than the last key of a full list holds no key of the list: the list is
/// exact, and of tables where few keys are heavy few blocks are read. Source: the threshold of
/// Fagin, Lotem and Naor, *Optimal aggregation algorithms for middleware* (2001), with blocks for
/// entries of a list.
struct TopZones {
    private struct Zone {
        var keys: KeyZone
        /// nil: no table has a cell there that counts, or all of it was read.
        var weight: Int128?
    }

    private var zones: [Zone]
    /// Of the heaviest, the heaviest last.
    private var heaviest: [Int]
    /// Up to where zones were read by ascending key.
    private var place = 0

    /// Nil where passing over would bring nothing.
    init?(
        _ tables: [TableHandle], _ spec: ScanSpec, _ top: ScanAggregate.Top,
        beside memory: TopMemory
    ) {
        let sources = tables.compactMap { TopSource($0, spec, top.order) }
        guard sources.contains(where: { $0.bounds != nil }),
            let longest = sources.map(\.table.index).max(
                by: { $0.entries.count < $1.entries.count }),
            top.count < longest.entries.count
        else { return nil }
        var edges: [KeyEdge?] = [nil]
        for entry in longest.entries.dropFirst() {
            let edge = KeyEdge(entry.first)
            if edge != edges.last { edges.append(edge) }
        }
        zones = edges.indices.map { number in
            let keys = KeyZone(
                from: edges[number], to: number + 1 < edges.count ? edges[number + 1] : nil)
            var weight: Int128?
            for source in sources {
                guard let held = source.weight(of: keys) else { continue }
                weight = (weight ?? 0).saturatingAdding(held)
            }
            return Zone(keys: keys, weight: weight)
        }
        heaviest = []
        add(memory)
        let byWeight = zones.indices.filter { zones[$0].weight != nil }.sorted {
            zones[$0].weight ?? 0 > zones[$1].weight ?? 0
        }
        heaviest = byWeight.prefix(max(1, zones.count / StorageLimits.topFirstShare)).reversed()
    }

    /// A key's total is what tables hold of it and what memtables do.
    private mutating func add(_ memory: TopMemory) {
        var most = Array(repeating: memory.rest, count: zones.count)
        for key in memory.heavy {
            let number = zone(of: key.edge)
            most[number] = max(most[number], key.weight)
        }
        for number in zones.indices {
            zones[number].weight = zones[number].weight?.saturatingAdding(most[number])
        }
    }

    /// The last zone that does not begin behind `edge`; the first begins before all.
    private func zone(of edge: KeyEdge) -> Int {
        var low = 1
        var high = zones.count
        while low < high {
            let middle = (low + high) / 2
            if let from = zones[middle].keys.from, from <= edge {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low - 1
    }

    /// What is to be read next, given the weight of the last key of a full list; nil when nothing
    /// that is left can matter.
    mutating func next(least: Int128?) -> KeyZone? {
        if let first = heaviest.popLast(), isWanted(first, least) {
            zones[first].weight = nil
            return zones[first].keys
        }
        heaviest = []
        while place < zones.count, !isWanted(place, least) { place += 1 }
        guard place < zones.count else { return nil }
        var keys = zones[place].keys
        while place < zones.count, isWanted(place, least) {
            keys.to = zones[place].keys.to
            place += 1
        }
        return keys
    }

    /// Keys of the same weight rank by their bytes.
    private func isWanted(_ number: Int, _ least: Int128?) -> Bool {
        guard let weight = zones[number].weight else { return false }
        return least.map { weight >= $0 } ?? true
    }
}

/// What memtables hold of keys of which tables may hold more: of the heaviest each, of the others
/// at most `rest`.
struct TopMemory {
    var heavy: [(edge: KeyEdge, weight: Int128, entry: Int)]
    var rest: Int128
}

/// A table of which cells may count.
private struct TopSource {
    let table: TableHandle
    /// nil: of a version without.
    let bounds: TableBounds?
    private let slot: UInt8?
    private let partitions: PartitionSet
    private let order: ScanAggregate.Order

    init?(_ table: TableHandle, _ spec: ScanSpec, _ order: ScanAggregate.Order) {
        guard spec.windows.overlaps(table.meta.firstWindow, table.meta.lastWindow) else {
            return nil
        }
        self.table = table
        self.order = order
        partitions = spec.partitions
        bounds = table.index.bounds
        slot = bounds?.slot(of: spec.type)
        if bounds != nil, slot == nil { return nil }
    }

    /// nil: no key of the zone has a cell that counts.
    func weight(of keys: KeyZone) -> Int128? {
        var most: Int128?
        for number in table.index.blocks(of: keys) where table.isWanted(number, partitions) {
            guard let bounds, let slot else { return .max }
            guard let bound = bounds[number, slot] else { continue }
            most = max(most ?? 0, order.weight(bound))
        }
        return most
    }
}
