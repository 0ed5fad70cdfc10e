package import Core
package import Storage

/// The set digests of one node: per partition and segment, of applied slices and of bound home
/// records. Sums over partitions stand for all of them at once, since digests add up: equal sums,
/// equal sets.
///
/// What lies below a floor is also kept as one sum per partition, so that comparing old history
/// costs the same however long it is. Of what is forgotten (`HistoryBase`) only such a sum is left:
/// nothing can be said of the segments below a partition's floor one by one.
package struct DigestTable: Equatable, Sendable {
    private var totals: [SetDigest]
    private var homeTotals: [SetDigest]
    /// Sums over the segments below the floors.
    private var below: [SetDigest]
    private var homeBelow: [SetDigest]
    private var floor = Segment.first
    private var homeFloor = Segment.first
    private var segments: [Segment: DigestRow] = [:]
    private var homeSegments: [Segment: DigestRow] = [:]
    /// By partition: below it, rows are gone.
    private var floors: [Segment]
    private let combinesByXor: Bool

    package init(partitions: Int, base: HistoryBase = .none, combinesByXor: Bool = false) {
        self.combinesByXor = combinesByXor
        totals = Array(repeating: .empty, count: partitions)
        homeTotals = totals
        below = totals
        homeBelow = totals
        floors = Array(repeating: .first, count: partitions)
        add(base)
    }

    /// Begins with what was forgotten, or takes over what another replica forgot: nothing of it
    /// may be here yet.
    package mutating func add(_ base: HistoryBase) {
        for (place, held) in base.partitions.enumerated() where place < totals.count {
            totals[place].merge(held.applied)
            homeTotals[place].merge(held.home)
            below[place].merge(held.applied)
            homeBelow[place].merge(held.home)
            floors[place] = max(floors[place], held.floor)
        }
    }

    /// One batch joins the applied sets of these partitions.
    package mutating func insert(
        _ terms: [(partition: PartitionID, term: UInt128)], segment: Segment
    ) {
        guard !terms.isEmpty else { return }
        let isXor = combinesByXor
        var row = segments.removeValue(forKey: segment) ?? DigestRow(partitions: totals.count)
        for (partition, term) in terms {
            let index = Int(partition.index)
            Self.insert(term, into: &totals[index], isXor)
            if segment < floor { below[index].insert(term) }
            Self.insert(term, into: &row[index], isXor)
        }
        segments[segment] = row
    }

    /// Addition, but for the mutant: under XOR what is applied twice looks as if it were missing.
    private static func insert(_ term: UInt128, into digest: inout SetDigest, _ isXor: Bool) {
        let before = digest.sum
        digest.insert(term)
        if isXor { digest.sum = before ^ term }
    }

    package mutating func insertHome(_ term: UInt128, segment: Segment, _ partition: PartitionID) {
        let index = Int(partition.index)
        homeTotals[index].insert(term)
        if segment < homeFloor { homeBelow[index].insert(term) }
        let count = totals.count
        homeSegments[segment, default: DigestRow(partitions: count)][index].insert(term)
    }

    /// The applied set of one partition, over all segments.
    package func total(_ partition: PartitionID) -> SetDigest {
        totals[Int(partition.index)]
    }

    /// The bound home records of one partition, over all segments.
    package func homeTotal(_ partition: PartitionID) -> SetDigest {
        homeTotals[Int(partition.index)]
    }

    /// The applied sets of all `partitions`: what reads of cells compare.
    package func appliedSum(of partitions: PartitionSet) -> SetDigest {
        partitions.reduce(into: .empty) { $0.merge(totals[Int($1.index)]) }
    }

    /// The home sets of all `partitions`: what reads of dead letters compare.
    package func homeSum(of partitions: PartitionSet) -> SetDigest {
        partitions.reduce(into: .empty) { $0.merge(homeTotals[Int($1.index)]) }
    }

    /// Both sets of all `partitions`, over all segments.
    package func sum(of partitions: PartitionSet) -> SetDigest {
        var sum = SetDigest.empty
        for partition in partitions {
            sum.merge(totals[Int(partition.index)])
            // Home terms are turned, so that an applied slice never stands for a home record.
            sum.merge(Self.turned(homeTotals[Int(partition.index)]))
        }
        return sum
    }

    /// Both sets of all `partitions` in one segment.
    package func sum(of partitions: PartitionSet, in segment: Segment) -> SetDigest {
        var sum = SetDigest.empty
        if let row = segments[segment] {
            for partition in partitions { sum.merge(row[Int(partition.index)]) }
        }
        if let row = homeSegments[segment] {
            var homes = SetDigest.empty
            for partition in partitions { homes.merge(row[Int(partition.index)]) }
            sum.merge(Self.turned(homes))
        }
        return sum
    }

    // MARK: - Forgetting

    /// The sums below `end` by partition, in one pass; of a partition whose floor is higher they
    /// say nothing.
    package func sums(below end: Segment) -> (applied: [SetDigest], home: [SetDigest]) {
        var applied = below
        for (segment, row) in segments where isBetween(segment, floor, end) {
            for place in row.indices {
                if end > floor {
                    applied[place].merge(row[place])
                } else {
                    applied[place].subtract(row[place])
                }
            }
        }
        var home = homeBelow
        for (segment, row) in homeSegments where isBetween(segment, homeFloor, end) {
            for place in row.indices {
                if end > homeFloor {
                    home[place].merge(row[place])
                } else {
                    home[place].subtract(row[place])
                }
            }
        }
        return (applied: applied, home: home)
    }

    /// Lets go of the rows below `end`: their sums stay. Both floors have passed it.
    package mutating func forget(below end: Segment) {
        // Rows above the floors are in no sum yet: those that go must be.
        raiseFloors(applied: end, home: end)
        for segment in segments.keys.filter({ $0 < end }) { segments[segment] = nil }
        for segment in homeSegments.keys.filter({ $0 < end }) { homeSegments[segment] = nil }
        for place in floors.indices { floors[place] = max(floors[place], end) }
    }

    /// The greatest floor of these partitions: what lies below cannot be told by segments.
    package func floor(of partitions: PartitionSet) -> Segment {
        var floor = Segment.first
        for partition in partitions { floor = max(floor, floors[Int(partition.index)]) }
        return floor
    }

    // MARK: - Below a segment

    /// Raises the floors; what lies below them is summed up once.
    package mutating func raiseFloors(applied: Segment, home: Segment) {
        if applied > floor {
            for (segment, row) in segments where segment >= floor && segment < applied {
                for index in below.indices { below[index].merge(row[index]) }
            }
            floor = applied
        }
        if home > homeFloor {
            for (segment, row) in homeSegments where segment >= homeFloor && segment < home {
                for index in homeBelow.indices { homeBelow[index].merge(row[index]) }
            }
            homeFloor = home
        }
    }

    /// The applied sets of all `partitions` in the segments below `end`.
    package func appliedSum(of partitions: PartitionSet, below end: Segment) -> SetDigest {
        var sum = partitions.reduce(into: SetDigest.empty) { $0.merge(below[Int($1.index)]) }
        for (segment, row) in segments where isBetween(segment, floor, end) {
            for partition in partitions {
                let digest = row[Int(partition.index)]
                if end > floor { sum.merge(digest) } else { sum.subtract(digest) }
            }
        }
        return sum
    }

    /// The home sets of all `partitions` in the segments below `end`.
    package func homeSum(of partitions: PartitionSet, below end: Segment) -> SetDigest {
        var sum = partitions.reduce(into: SetDigest.empty) { $0.merge(homeBelow[Int($1.index)]) }
        for (segment, row) in homeSegments where isBetween(segment, homeFloor, end) {
            for partition in partitions {
                let digest = row[Int(partition.index)]
                if end > homeFloor { sum.merge(digest) } else { sum.subtract(digest) }
            }
        }
        return sum
    }

    /// Both sets of all `partitions` in the segments below `end`; nil where more is forgotten.
    package func heldSum(of partitions: PartitionSet, below end: Segment) -> SetDigest? {
        guard floor(of: partitions) <= end else { return nil }
        var sum = appliedSum(of: partitions, below: end)
        sum.merge(Self.turned(homeSum(of: partitions, below: end)))
        return sum
    }

    private func isBetween(_ segment: Segment, _ one: Segment, _ other: Segment) -> Bool {
        segment >= min(one, other) && segment < max(one, other)
    }

    /// Segments with anything in them, ascending.
    package var heldSegments: [Segment] {
        Set(segments.keys).union(homeSegments.keys).sorted()
    }

    private static func turned(_ digest: SetDigest) -> SetDigest {
        // Multiplying by an odd constant is a bijection that keeps sums: m(a) + m(b) = m(a + b).
        SetDigest(sum: digest.sum &* 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835, count: digest.count)
    }

    var byteCount: Int {
        // Sums do not depend on the order.
        (Array(segments.values) + Array(homeSegments.values)).reduce(
            DictionaryBytes.of(segments) + DictionaryBytes.of(homeSegments)
                + ArrayBytes.of(totals) * 4 + ArrayBytes.of(floors)
        ) { $0 + $1.byteCount }
    }
}

/// The digests of one segment, by partition: 20 bytes each, where a `SetDigest` takes 32.
private struct DigestRow: Equatable, Sendable {
    private var sums: [UInt128]
    private var counts: [UInt32]

    init(partitions: Int) {
        sums = Array(repeating: 0, count: partitions)
        counts = Array(repeating: 0, count: partitions)
    }

    var indices: Range<Int> { sums.indices }

    subscript(place: Int) -> SetDigest {
        get { SetDigest(sum: sums[place], count: UInt64(counts[place])) }
        set {
            sums[place] = newValue.sum
            counts[place] = UInt32(newValue.count)
        }
    }

    var byteCount: Int { ArrayBytes.of(sums) + ArrayBytes.of(counts) }
}
