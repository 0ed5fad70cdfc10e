package import Core
package import Ring

/// What a class of faults may do, and to how many nodes at once. The budget follows from it: what
/// is promised while it holds, and what is left when it does not (docs/testing.md).
package struct FaultAtlas: Sendable {
    package enum Kind: Sendable {
        /// The nemesis strikes now and then; each strike is an act with a number.
        case act
        /// It is there from the beginning to the heal, as strong as the seed drew.
        case climate
        /// What clients do.
        case client
    }

    package var kind: Kind
    /// Nodes that one act touches at most; nil: any number of them.
    package var touchedMax: Int?
    /// Whether it may happen while the budget is one faulty node at a time.
    package var isWithinBudget: Bool

    package static func entry(of fault: FaultClass) -> FaultAtlas {
        switch fault {
        case .loss, .duplication, .delay, .slowDisks, .skew:
            FaultAtlas(kind: .climate, touchedMax: nil, isWithinBudget: true)
        // The clock of one node, which then refuses what is new; a disk without room likewise.
        case .clockSteps, .diskFull:
            FaultAtlas(kind: .act, touchedMax: 1, isWithinBudget: false)
        case .failedSyncs: FaultAtlas(kind: .climate, touchedMax: nil, isWithinBudget: false)
        // After all else was checked.
        case .lies: FaultAtlas(kind: .climate, touchedMax: 1, isWithinBudget: true)
        case .tornJobs: FaultAtlas(kind: .climate, touchedMax: 1, isWithinBudget: true)
        // What is misread must change nothing at all.
        case .misreads: FaultAtlas(kind: .climate, touchedMax: nil, isWithinBudget: true)
        case .crashes, .wipes, .oldDisks, .rot, .unreadable, .pauses, .cuts, .slowLinks, .slowNodes:
            FaultAtlas(kind: .act, touchedMax: 1, isWithinBudget: true)
        case .partialCuts, .swizzles, .killAll, .catastrophe:
            FaultAtlas(kind: .act, touchedMax: nil, isWithinBudget: false)
        // Two contents under one id may both wait for every home voter to be heard.
        case .rogues: FaultAtlas(kind: .client, touchedMax: 0, isWithinBudget: false)
        // More calls than a node takes: it refuses, as it should.
        case .bursts: FaultAtlas(kind: .act, touchedMax: 1, isWithinBudget: false)
        case .zombies, .lateRetries:
            FaultAtlas(kind: .client, touchedMax: 0, isWithinBudget: true)
        }
    }

    /// Classes that no seed draws: a catastrophe comes with the budget that it breaks, a sector
    /// that cannot be read with rot, and misreads are everywhere.
    package static let accompanying: Set<FaultClass> = [.catastrophe, .unreadable, .misreads]

    /// Classes that a seed draws from.
    package static let drawn = FaultClass.allCases.filter { !accompanying.contains($0) }
}

/// How much may be broken at once, and so what is promised meanwhile.
package enum FaultBudget: String, Sendable {
    /// One node at a time, and the next one only when all are well again: clients that retry get
    /// through within a stated time, also while faults happen.
    case oneNode = "one node at a time"
    /// Any number of nodes may be away at once, but what is on disks stays there: nothing is
    /// wrong, and after the heal everything is right.
    case anyNodes = "any nodes"
    /// Disks and nodes are lost beyond what the replication factor bears: nothing is wrong, and
    /// what cannot be answered is refused, for ever where need be.
    case beyond = "beyond the budget"
}

/// What of a seed happens: which of its faults, and where cells lie if not as drawn. What the
/// shrinker left, or the command asked for.
package struct FaultSchedule: Hashable, Sendable {
    package var without: Set<FaultClass>
    /// Numbers of acts; nil: all.
    package var keep: Set<Int>?
    /// Where cells lie; nil: as the seed draws it.
    package var placement: KeyPlacement.Rule?

    package init(
        without: Set<FaultClass> = [], keep: Set<Int>? = nil, placement: KeyPlacement.Rule? = nil
    ) {
        self.without = without
        self.keep = keep
        self.placement = placement
    }

    package static let all = FaultSchedule()

    package func allows(_ number: Int, _ fault: FaultClass) -> Bool {
        !without.contains(fault) && keep?.contains(number) != false
    }

    /// As options of the command, with a space before each; empty where nothing is left out.
    package var options: String {
        var text = ""
        if !without.isEmpty {
            text += " --without " + without.sorted().map(\.rawValue).joined(separator: ",")
        }
        if let keep {
            let numbers = keep.sorted().map(String.init).joined(separator: ",")
            text += " --keep " + (keep.isEmpty ? "none" : numbers)
        }
        if let placement { text += " --placement \(placement.rawValue)" }
        return text
    }
}

/// One strike of the nemesis, as it is shown.
package struct FaultAct: Hashable, Sendable, CustomStringConvertible {
    package var number: Int
    package var at: Instant
    package var fault: FaultClass
    package var node: NodeID

    package var description: String {
        "act \(number) at \((at - .zero).milliseconds) ms: \(fault.rawValue) of \(node)"
    }
}
