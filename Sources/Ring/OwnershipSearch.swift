import Core

/// Repairs a balanced assignment: a tabu search (Glover 1989) over exchanges of two arcs' owners,
/// and over handing one arc from a member with the larger share to one with the smaller, so that
/// balance holds at every step. It is seeded, hence a pure function, and bounded.
///
/// Where N ≤ RF nothing is demanded. The search keeps owners apart all the same, as far as moves
/// allow, since the next member to join finds a ring in which its arcs are cheap to place. For the
/// same reason it avoids *stuck* arcs where RF + 1 < N < 2 RF: arcs with all N members within RF
/// arcs around, which nobody else could take over if their owner left.
struct OwnershipSearch {
    enum Bounds {
        /// Steps in all, and steps without a better assignment, after which the search ends while a
        /// demand is not met, and otherwise.
        static let stepsMax = (demanded: 12_000, wished: 2000)
        static let stallMax = (demanded: 1500, wished: 300)
        /// Partners that are tried for one arc.
        static let partnersMax = 256
        /// Steps after which the list of arcs in trouble is drawn up anew.
        static let listAgeMax = 16
        /// Searches from the sweep's assignment until one meets all demands, and as many more from
        /// the best of them if owners are still too close.
        static let attemptsMax = 4
        /// Steps for which an arc that changed stays as it is.
        static let tabuMin = 4
        static let tabuSpread = 8
    }

    /// What an assignment costs, in the order in which demands outrank each other.
    private struct Weights {
        let node: Int
        let excess: Int
        let rack: Int
        let stuck: Int
        let move: Int
    }

    private let draft: OwnershipDraft
    private let weights: Weights
    private var movesMax: Int
    private let largerShare: Int
    /// Whether owners must be apart: where N > RF.
    private let isDemanded: Bool
    private let seesStuck: Bool
    private var counts: [Int]
    private var moves: Int
    private var tabu: [Int]
    private var random = RandomSource(seed: 0x7175_6970_7521)
    private(set) var owners: [Int]

    init(_ draft: OwnershipDraft) {
        self.draft = draft
        owners = draft.owners
        counts = draft.counts
        let arcs = draft.owners.count
        let members = draft.counts.count
        isDemanded = members > draft.span
        weights = Weights(
            node: isDemanded ? 100_000 : 200, excess: 10_000, rack: 100, stuck: 200, move: 3)
        seesStuck = members > draft.span + 1 && members < 2 * draft.span && arcs >= 2 * draft.span
        largerShare = (arcs + members - 1) / members
        moves = draft.isChange ? zip(owners, draft.had).count { $0 != $1 } : 0
        movesMax = moves + Ownership.movesAllowance(partitions: arcs)
        tabu = [Int](repeating: 0, count: arcs)
    }

    /// Leaves the best assignment that it found in `owners`.
    mutating func run() {
        // A first ring of at most RF members has nothing to meet: plain laps are as good as any.
        guard counts.count > 1, isDemanded || draft.isChange else { return }
        var best = (cost: attempt(), owners: owners)
        var attempts = 1
        while attempts < Bounds.attemptsMax, isDemanded, moves > movesMax || isAnyTooClose {
            restart(from: draft.owners)
            let cost = attempt()
            if cost < best.cost { best = (cost, owners) }
            attempts += 1
        }
        restart(from: best.owners)
        attempts = 0
        while attempts < Bounds.attemptsMax, isDemanded, isAnyTooClose {
            // What must be apart comes before what may move.
            movesMax = owners.count
            _ = attempt()
            attempts += 1
        }
    }

    private var isAnyTooClose: Bool {
        owners.indices.contains { trouble(of: $0) == .nodeTooClose }
    }

    private mutating func restart(from assignment: [Int]) {
        owners = assignment
        counts = [Int](repeating: 0, count: counts.count)
        for owner in owners { counts[owner] += 1 }
        moves = owners.indices.count { moveCount(owners[$0], at: $0) > 0 }
        tabu = [Int](repeating: 0, count: owners.count)
    }

    /// One search; answers the cost of what it found relative to where it began.
    private mutating func attempt() -> Int {
        var cost = 0
        var best = (cost: 0, owners: owners)
        var lastGain = 0
        var step = 1
        var listed = 0
        var list = troubledArcs()
        while !list.arcs.isEmpty {
            let mustGoOn = list.worst >= Trouble.overdrawn
            let steps = mustGoOn ? Bounds.stepsMax.demanded : Bounds.stepsMax.wished
            let stall = mustGoOn ? Bounds.stallMax.demanded : Bounds.stallMax.wished
            if step > steps || step - lastGain > stall { break }
            let pick = random.below(list.arcs.count)
            let arc = list.arcs[pick]
            if trouble(of: arc) < list.worst {
                list.arcs.swapAt(pick, list.arcs.count - 1)
                list.arcs.removeLast()
            } else if let change = bestChange(of: arc, step: step, ceiling: best.cost - cost) {
                apply(change, step: step)
                cost += change.delta
                if cost < best.cost {
                    best = (cost, owners)
                    lastGain = step
                }
            }
            step += 1
            if list.arcs.isEmpty || step - listed >= Bounds.listAgeMax {
                list = troubledArcs()
                listed = step
            }
        }
        restart(from: best.owners)
        return best.cost
    }

    // MARK: Changes

    private struct Change {
        var delta: Int
        var first: Int
        /// The arc that gets the first one's owner, or nil: then `heir` gets the arc.
        var second: Int?
        var heir: Int
        var moves: Int
    }

    private mutating func apply(_ change: Change, step: Int) {
        let owner = owners[change.first]
        tabu[change.first] = step + Bounds.tabuMin + random.below(Bounds.tabuSpread)
        owners[change.first] = change.heir
        moves += change.moves
        if let second = change.second {
            owners[second] = owner
            tabu[second] = step + Bounds.tabuMin + random.below(Bounds.tabuSpread)
        } else {
            counts[owner] -= 1
            counts[change.heir] += 1
        }
    }

    /// The cheapest change that gives `arc` another owner; one that undoes a recent change only if
    /// it leads below everything seen so far.
    private mutating func bestChange(of arc: Int, step: Int, ceiling: Int) -> Change? {
        var best: Change?
        let arcs = owners.count
        let tries = min(arcs, Bounds.partnersMax)
        // From the arc onward, or a sample, so that ties do not always fall on the same arcs.
        let offset = random.below(arcs)
        for number in 0..<tries {
            let partner = tries == arcs ? (offset + number) % arcs : random.below(arcs)
            guard owners[partner] != owners[arc] else { continue }
            let change = exchange(arc, partner, below: best?.delta)
            let isTabu = tabu[arc] > step || tabu[partner] > step
            if isTabu && change.delta >= ceiling { continue }
            if best.map({ change.delta < $0.delta }) ?? true { best = change }
        }
        guard counts[owners[arc]] == largerShare else { return best }
        for heir in counts.indices where heir != owners[arc] && counts[heir] < largerShare {
            let change = handOver(arc, to: heir)
            if tabu[arc] > step && change.delta >= ceiling { continue }
            if best.map({ change.delta < $0.delta }) ?? true { best = change }
        }
        return best
    }

    private mutating func exchange(_ first: Int, _ second: Int, below bound: Int?) -> Change {
        let mine = owners[first]
        let theirs = owners[second]
        let moved =
            moveCount(theirs, at: first) + moveCount(mine, at: second)
            - moveCount(mine, at: first) - moveCount(theirs, at: second)
        var delta = moveDelta(moved) - closeness(mine, at: first) - closeness(theirs, at: second)
        owners[first] = theirs
        owners[second] = mine
        delta += closeness(theirs, at: first) + closeness(mine, at: second)
        owners[first] = mine
        owners[second] = theirs
        // Only what may be chosen is worth the walk over both neighbourhoods.
        if seesStuck && delta - (2 * draft.span) * weights.stuck < bound ?? .max {
            let before = stuckArcs(around: first) + stuckArcs(around: second)
            owners[first] = theirs
            owners[second] = mine
            delta += (stuckArcs(around: first) + stuckArcs(around: second) - before) * weights.stuck
            owners[first] = mine
            owners[second] = theirs
        }
        return Change(delta: delta, first: first, second: second, heir: theirs, moves: moved)
    }

    private mutating func handOver(_ arc: Int, to heir: Int) -> Change {
        let owner = owners[arc]
        let moved = moveCount(heir, at: arc) - moveCount(owner, at: arc)
        var delta = moveDelta(moved) + closeness(heir, at: arc) - closeness(owner, at: arc)
        if seesStuck {
            delta -= stuckArcs(around: arc) * weights.stuck
            owners[arc] = heir
            delta += stuckArcs(around: arc) * weights.stuck
            owners[arc] = owner
        }
        return Change(delta: delta, first: arc, second: nil, heir: heir, moves: moved)
    }

    // MARK: Costs

    private func moveCount(_ owner: Int, at arc: Int) -> Int {
        draft.isChange && draft.had[arc] != owner ? 1 : 0
    }

    private func moveDelta(_ moved: Int) -> Int {
        moved * weights.move
            + (max(0, moves + moved - movesMax) - max(0, moves - movesMax)) * weights.excess
    }

    /// What it costs that the owners around `arc` are the member itself or of its rack.
    private func closeness(_ member: Int, at arc: Int) -> Int {
        let arcs = owners.count
        var cost = 0
        for distance in 1..<max(draft.span, 1) {
            var after = arc + distance
            if after >= arcs { after -= arcs }
            var before = arc - distance
            if before < 0 { before += arcs }
            cost += pairCost(member, owners[after], distance)
            cost += pairCost(member, owners[before], distance)
        }
        return cost
    }

    @inline(__always)
    private func pairCost(_ left: Int, _ right: Int, _ distance: Int) -> Int {
        if left == right { return weights.node }
        let isClose = distance < draft.rackSpan && draft.racks[left] == draft.racks[right]
        return isClose ? weights.rack : 0
    }

    private func stuckArcs(around arc: Int) -> Int {
        var count = 0
        for shift in (1 - draft.span)..<draft.span where isStuck(wrap(arc + shift)) { count += 1 }
        return count
    }

    /// Whether all members own an arc within the span around this one.
    private func isStuck(_ arc: Int) -> Bool {
        var distinct = 0
        var shift = 1 - draft.span
        while shift < draft.span {
            let owner = owners[wrap(arc + shift)]
            var earlier = 1 - draft.span
            while earlier < shift && owners[wrap(arc + earlier)] != owner { earlier += 1 }
            if earlier == shift { distinct += 1 }
            shift += 1
        }
        return distinct == counts.count
    }

    // MARK: Trouble

    /// Why an arc should change, the worst last.
    private enum Trouble: Int, Comparable {
        case none
        /// Its rack is too close, or it is stuck.
        case illPlaced
        case nodeClose
        /// It moved, and more moved than is allowed.
        case overdrawn
        /// Its owner is too close, which must not be.
        case nodeTooClose

        static func < (left: Trouble, right: Trouble) -> Bool {
            left.rawValue < right.rawValue
        }
    }

    private func trouble(of arc: Int) -> Trouble {
        let cost = closeness(owners[arc], at: arc)
        if cost >= weights.node && isDemanded { return .nodeTooClose }
        if moves > movesMax && moveCount(owners[arc], at: arc) > 0 { return .overdrawn }
        if cost >= weights.node { return .nodeClose }
        return cost > 0 || seesStuck && isStuck(arc) ? .illPlaced : .none
    }

    /// The arcs in the worst trouble that there is.
    private func troubledArcs() -> (worst: Trouble, arcs: [Int]) {
        var worst = Trouble.illPlaced
        var arcs: [Int] = []
        for arc in owners.indices {
            let trouble = trouble(of: arc)
            if trouble > worst {
                worst = trouble
                arcs.removeAll(keepingCapacity: true)
            }
            if trouble == worst { arcs.append(arc) }
        }
        return (worst, arcs)
    }

    private func wrap(_ arc: Int) -> Int {
        (arc + owners.count) % owners.count
    }
}
