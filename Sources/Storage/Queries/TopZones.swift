import Core

/// The keys of several tables in zones, each with what the heaviest of its keys weighs at most, in
/// the order in which a top list reads them: the heaviest zones first, and where that would read
/// too many blocks again, what is left and may matter by ascending key, neighbours as one. A block
/// is read twice on average, at most.
///
/// A zone that weighs less than the last key of a full list holds no key of the list: the list is
/// exact, and of tables where few keys are heavy few blocks are read. Source: the threshold of
/// Fagin, Lotem and Naor, *Optimal aggregation algorithms for middleware* (2001), with blocks for
/// entries of a list.
struct TopZones {
    private struct Zone {
        var keys: KeyZone
        var weight: Int128
        /// Of all tables.
        var blocks: Int
        var wasRead = false
    }

    private var zones: [Zone] = []
    /// Those that are read in this order, the heaviest last.
    private var heaviest: [Int] = []
    /// Up to where zones were read by ascending key.
    private var place = 0
    /// About so many blocks are read once more where a run of zones ends.
    private let tables: Int

    /// Nil where passing over would bring nothing.
    ///
    /// - Parameter tables: those that overlap the windows that are asked for.
    init?(
        _ tables: [TableHandle], _ spec: ScanSpec, _ top: ScanAggregate.Top,
        beside held: HeldKeys
    ) {
        let longest = tables.map(\.index.entries).max { $0.count < $1.count } ?? []
        guard top.count < longest.count else { return nil }
        self.tables = tables.count
        var sources = tables.map { TopSource($0, spec, top.order) }
        var starts: [TablePoint] = []
        for entry in longest.dropFirst() {
            let start = entry.first.startOfKey
            if start != starts.last { starts.append(start) }
        }
        var most = Array(repeating: held.rest, count: starts.count + 1)
        for key in held.heavy {
            let number = starts.partitionPoint { $0 <= key.start }
            most[number] = max(most[number], key.weight)
        }
        for number in most.indices {
            let keys = KeyZone(
                from: number > 0 ? starts[number - 1] : nil,
                to: number < starts.count ? starts[number] : nil)
            var zone = Zone(keys: keys, weight: most[number], blocks: 0)
            for source in sources.indices {
                let part = sources[source].part(upTo: keys.to)
                zone.weight = zone.weight.boundedAdding(part.weight)
                zone.blocks += part.blocks
            }
            if zone.blocks > 0 { zones.append(zone) }
        }
        // All of them lie in tables without bounds: nothing is known.
        guard zones.contains(where: { $0.weight < .max }) || zones.isEmpty else { return nil }
        chooseHeaviest(of: sources.reduce(0) { $0 + $1.blocks })
    }

    private mutating func chooseHeaviest(of blocks: Int) {
        var left = blocks / StorageLimits.topByWeightShare
        let known = zones.indices.filter { zones[$0].weight < .max }
        for number in known.sorted(by: { zones[$0].weight > zones[$1].weight }) {
            left -= zones[number].blocks
            guard left >= 0 else { break }
            heaviest.append(number)
        }
        heaviest.reverse()
    }

    /// What is to be read next, given the weight of the last key of a full list; nil when nothing
    /// that is left can matter.
    mutating func next(weightMin: Int128?) -> KeyZone? {
        if let first = heaviest.popLast(), mayMatter(first, weightMin) {
            zones[first].wasRead = true
            return zones[first].keys
        }
        // Those after it weigh no more; others are of unknown weight.
        heaviest = []
        while place < zones.count, !mayMatter(place, weightMin) { place += 1 }
        guard place < zones.count else { return nil }
        var keys = zones[place].keys
        // Over a short gap it is less to read than to begin again behind it. What was read stays
        // out: no key may be offered twice.
        var gap = 0
        var number = place
        while number < zones.count, !zones[number].wasRead, gap <= tables {
            if mayMatter(number, weightMin) {
                keys.to = zones[number].keys.to
                place = number + 1
                gap = 0
            } else {
                gap += zones[number].blocks
            }
            number += 1
        }
        return keys
    }

    /// Keys of the same weight rank by their bytes.
    private func mayMatter(_ number: Int, _ weightMin: Int128?) -> Bool {
        !zones[number].wasRead && weightMin.map { zones[number].weight >= $0 } ?? true
    }
}

/// What memtables hold of keys of which tables may hold more: of the heaviest each, of the others
/// at most `rest`.
struct HeldKeys {
    var heavy: [(start: TablePoint, weight: Int128, entry: Int)]
    var rest: Int128
}

/// A table, gone through zone by zone.
private struct TopSource {
    private let table: TableHandle
    private let spec: ScanSpec
    private let order: ScanAggregate.Order
    /// nil: of a version without; with no slot, no cell is of the type.
    private let known: (bounds: TableBounds, slot: UInt8?)?
    /// In which keys of the next zone may lie, first.
    private var first = 0
    /// Those that may hold cells that count.
    private(set) var blocks = 0

    init(_ table: TableHandle, _ spec: ScanSpec, _ order: ScanAggregate.Order) {
        self.table = table
        self.spec = spec
        self.order = order
        known = table.index.bounds.map { ($0, $0.slot(of: spec.type)) }
        for number in table.index.entries.indices where weight(of: number) != nil { blocks += 1 }
    }

    /// Goes to the end of a zone: its blocks with cells that may count, and what a key has there at
    /// most.
    mutating func part(upTo end: TablePoint?) -> (weight: Int128, blocks: Int) {
        let entries = table.index.entries
        var part = (weight: Int128(0), blocks: 0)
        var number = first
        while number < entries.count {
            if let end, !(entries[number].first < end) { break }
            if let weight = weight(of: number) {
                part.weight = max(part.weight, weight)
                part.blocks += 1
            }
            number += 1
        }
        if let end { first = table.index.firstBlock(ofZoneFrom: end, number) }
        return part
    }

    /// nil: no cell of the block counts.
    private func weight(of number: Int) -> Int128? {
        guard table.isWanted(number, spec.partitions) else { return nil }
        guard let known else { return .max }
        return known.slot.flatMap { known.bounds[number, $0] }.map(order.weight)
    }
}
