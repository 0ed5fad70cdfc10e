import Core

/// An ownership in the making, all members by rank: quotas, and a first balanced assignment by one
/// walk around the ring.
struct OwnershipDraft {
    static let nobody = -1

    /// Where a plan begins.
    struct Start {
        /// Who had the arc, `nobody` if its owner left: another owner is a move.
        var had: [Int]
        /// Who begins with it.
        var owners: [Int]

        init(had: [Int], owners: [Int]) {
            self.had = had
            self.owners = owners
        }

        init(unowned arcs: Int) {
            had = [Int](repeating: nobody, count: arcs)
            owners = had
        }
    }

    let had: [Int]
    /// Whether there is a previous ownership at all, so that moves cost something.
    let isChange: Bool
    /// Distance from which on a node may own again: owners of `span` consecutive arcs are distinct.
    let span: Int
    /// The same for racks; smaller where there are too few racks, or one is too large.
    let rackSpan: Int
    /// By member.
    let racks: [Int]
    let quotas: [Int]
    private(set) var owners: [Int]
    private(set) var counts: [Int]
    /// Whether a first ownership changes the order of the members from lap to lap. If each lap were
    /// the same, all arcs of a member would have the same neighbours and, when it leaves, the same
    /// few heirs; balance would then cost far more moves than it must. Up to N = RF + 1 nothing is
    /// demanded of the ring that is left, and plain laps are easier to read.
    private let isMixed: Bool
    private var random = RandomSource(seed: 0x7175_6970_7520)

    init(members: [RingMember], span: Int, start: Start) {
        had = start.had
        isChange = start.had.contains { $0 != Self.nobody }
        owners = start.owners
        let arcs = owners.count
        self.span = min(span, arcs)
        var counts = [Int](repeating: 0, count: members.count)
        for owner in owners where owner != Self.nobody { counts[owner] += 1 }
        // The larger shares go to those that had most, which moves least; ties fall by rank.
        var held = [Int](repeating: 0, count: members.count)
        for owner in had where owner != Self.nobody { held[owner] += 1 }
        let byCount = members.indices.sorted { (held[$1], $0) < (held[$0], $1) }
        var quotas = [Int](repeating: arcs / members.count, count: members.count)
        for member in byCount.prefix(arcs % members.count) { quotas[member] += 1 }
        isMixed = !isChange && members.count > self.span + 1
        self.quotas = quotas
        self.counts = counts
        racks = Self.racks(of: members)
        rackSpan = Self.rackSpan(racks, span: self.span)
    }

    private static func racks(of members: [RingMember]) -> [Int] {
        var racks: [Int] = []
        var places: [(dc: String, rack: String)] = []
        for member in members {
            if let known = places.firstIndex(where: { $0 == (member.dc, member.rack) }) {
                racks.append(known)
            } else {
                racks.append(places.count)
                places.append((member.dc, member.rack))
            }
        }
        return racks
    }

    /// What can be asked of racks: R racks are kept apart over at most R arcs, and one that has a
    /// fraction 1/k of the members over at most k.
    private static func rackSpan(_ racks: [Int], span: Int) -> Int {
        var sizes = [Int](repeating: 0, count: (racks.max() ?? 0) + 1)
        for rack in racks { sizes[rack] += 1 }
        return max(1, min(span, sizes.count, racks.count / (sizes.max() ?? racks.count)))
    }

    // MARK: The sweep

    /// How picky one walk around the ring is.
    private enum Pass: CaseIterable {
        /// Hand over at an even pace, and where neither node nor rack comes too close.
        case even
        /// As soon as possible, but without a conflict.
        case eager
        /// Racks may come too close.
        case racksAside
        /// Whatever is left: the search repairs it.
        case anything
    }

    /// Gives everyone its quota: arcs of members that have too many, and free ones, go to members
    /// that have too few. Only such arcs move, so the sweep moves the fewest.
    mutating func sweep() {
        let before = counts
        for pass in Pass.allCases {
            for arc in owners.indices {
                let owner = owners[arc]
                if owner != Self.nobody {
                    guard counts[owner] > quotas[owner] else { continue }
                    guard pass != .even || releases(owner, at: arc, before: before) else {
                        continue
                    }
                }
                guard let heir = heir(of: arc, pass, before: before) else { continue }
                if owner != Self.nobody { counts[owner] -= 1 }
                counts[heir] += 1
                owners[arc] = heir
            }
        }
        precondition(counts == quotas, "a sweep leaves everyone with its quota")
    }

    /// Whether a member with too many arcs is behind in giving them away, or gains by it.
    private func releases(_ owner: Int, at arc: Int, before: [Int]) -> Bool {
        let released = before[owner] - counts[owner]
        return released * owners.count < (before[owner] - quotas[owner]) * (arc + 1)
            || nodeConflicts(of: owner, at: arc)
    }

    /// The member that is most behind in what it must get and may own this arc.
    private mutating func heir(of arc: Int, _ pass: Pass, before: [Int]) -> Int? {
        let isFree = owners[arc] == Self.nobody
        var best: (lag: Int, member: Int)?
        for member in counts.indices where counts[member] < quotas[member] {
            var lag =
                (quotas[member] - before[member]) * (arc + 1)
                - (counts[member] - before[member]) * owners.count
            if isMixed { lag += random.below(owners.count) }
            if let best, best.lag >= lag { continue }
            if pass == .even && !isFree && lag <= 0 { continue }
            if pass != .anything && nodeConflicts(of: member, at: arc) { continue }
            if pass != .anything && pass != .racksAside && rackConflicts(of: member, at: arc) {
                continue
            }
            best = (lag, member)
        }
        return best?.member
    }

    private func nodeConflicts(of member: Int, at arc: Int) -> Bool {
        isNear(arc, span) { $0 == member }
    }

    private func rackConflicts(of member: Int, at arc: Int) -> Bool {
        isNear(arc, rackSpan) { $0 != Self.nobody && racks[$0] == racks[member] }
    }

    /// Whether an owner at a distance below `span` on either side is like that.
    private func isNear(_ arc: Int, _ span: Int, _ matches: (Int) -> Bool) -> Bool {
        let arcs = owners.count
        for distance in 1..<max(span, 1) {
            if matches(owners[(arc + distance) % arcs]) { return true }
            if matches(owners[(arc + arcs - distance) % arcs]) { return true }
        }
        return false
    }
}
