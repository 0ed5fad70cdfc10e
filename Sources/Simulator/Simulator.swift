import Core

// Simulator: whole clusters in one thread, in virtual time, with faults, from one number.
//
// A seed draws a `Swarm`: how many nodes, which classes of faults, how strong, how small the
// buffers. `VirtualCluster` then runs that many real `NodeMachine`s, the same composition that a
// production node runs, over a virtual network (`VirtualNetwork`: delay, loss, duplication,
// reordering, cuts), virtual disks (`MemoryFileSystem`: what was not synced is lost, torn or kept
// by a crash) and virtual clocks. Every effect of a core becomes an event in one queue ordered by
// (time, sequence), so a seed is a history: the same on every machine, in every process, to the
// last bit (`Trace`, S16).
//
// A run has two phases. In the first, `Nemesis` crashes, kills, wipes, cuts and pauses while a
// `Workload` of producers and readers retries, lies and asks. In the second everything is healed,
// and the cluster must converge in a stated time.
//
// What must be true is checked by one checker per invariant (docs/testing.md has the list), against
// the `Ledger`: the simulator's own account of what was submitted and what was answered. It shares
// no code with the node: cells are recounted from the events as they were made.
//
// The trick that makes reads sharp: content number i counts 2^(i mod 24) in each of its cells, and
// contents 24 apart use other windows. Any cell that any node ever answers therefore spells the set
// of contents in it, and a number that spells no set of whole contents is a wrong number at once.
//
// Sources: FoundationDB's simulation (Zhou et al., SIGMOD 2021), TigerBeetle's VOPR for swarms, two
// phases and one checker per invariant, and for the mutants: a simulator is trusted only after it
// found bugs that were planted (`Mutant`).

/// The bounds of a run.
package enum SimulatorLimits {
    /// Events of one run; more is a livelock.
    package static let eventsMax = 2_000_000
    /// Simulated time after the heal within which the cluster must have converged.
    package static let convergenceMax: Duration = .seconds(60)
    /// Horizons below this pass within a run: it waits until its segments are sealed.
    package static let horizonAwaited: Duration = .seconds(100)
    /// How long a cluster-wide audit may take: disks are slow, and every file is read.
    package static let auditPatience: Duration = .seconds(40)
    /// How long after its deadline a call may end.
    package static let callGrace: Duration = .seconds(2)
    /// How long after its deadline a client leaves a node that was paused.
    static let clientGrace: Duration = .seconds(1)
    /// With one faulty node at a time, a client that retries has its answer by then (A1): it may
    /// wait once for the faulty node, and once for a node that waits for the faulty one.
    package static func availabilityMax(_ requestTimeout: Duration) -> Duration {
        // The client leaves the faulty node a second after its deadline, then a call times out at a
        // node that waits for the faulty one. Of the rest 1.2 s are two waits; that what remains is
        // enough for the call that succeeds is not derived, but has held in all seeds.
        .seconds(4) + requestTimeout * 2
    }
    /// How long all is well before the next node may be faulty, where only one may.
    package static let budgetRest: Duration = .seconds(2)
    /// After the last burst and the heal, everything that was asked for is done by then (L7).
    package static let overloadMax: Duration = .seconds(30)
    /// How long a cluster that lost too much is watched: it may refuse, not be wrong.
    package static let enduranceMax: Duration = .seconds(15)
    /// Runs that the shrinker may spend on one failure.
    package static let shrinkRunsMax = 120
    /// Failures of one command that are shrunk.
    package static let shrunkMax = 3
    /// Lines of history that a failure shows.
    package static let historyMax = 60
    /// Rot that takes a sector instead: one of so many. 1 would leave no other rot.
    static let unreadableOneIn = 2
    /// Jobs and starts in which a read goes wrong: one of so many.
    static let misreadOneIn = 6
    /// Of one of them, the reads among which it is.
    static let misreadReadsMax = 24
    /// Seeds of one command.
    package static let runsMax = 10_000_000
}

/// A promise that was broken, in words.
package struct Violation: Error, Hashable, Sendable, CustomStringConvertible {
    /// The invariant's number in the design: `S4`, `L1`.
    package let invariant: String
    package let detail: String

    package init(_ invariant: String, _ detail: String) {
        self.invariant = invariant
        self.detail = detail
    }

    package var description: String { "\(invariant): \(detail)" }
}
