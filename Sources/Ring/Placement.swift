/// # Ring: which nodes hold which keys
///
/// The circle of 64-bit tokens is cut once, for the cluster's life, into P equal arcs
/// (`Partitioning`). A key's token is Cassandra's Murmur3 of its bytes (`Murmur3`), its partition
/// is the arc the token falls in. Each arc has one owner (`Ownership`), and the replicas of a
/// partition are the owners met when one walks clockwise from it (`RingView`): distinct nodes,
/// distinct racks while there are any left, per data centre. A node's tokens are the ends of the
/// arcs it owns, so that the walk is the one Cassandra's `NetworkTopologyStrategy` makes and a
/// token-aware driver finds the same nodes.
///
/// ## Sources
///
/// DeCandia et al., *Dynamo* (SOSP 2007) §6.2, strategy 3: partitioning apart from placement, so
/// that whole partitions move and nothing is scanned to find what moves. The demands on an
/// assignment are those of Riak's claim (basho/riak_core `docs/claim-version4.md`); the way to meet
/// them is our own.
///
/// ## Where it differs
///
/// Riak's claim walks the ring with a heuristic and keeps what it finds. Here an assignment is a
/// pure function of the previous one and the members (`Ownership.plan`): one sweep that hands arcs
/// over at an even pace, then a seeded tabu search which repairs what the sweep left
/// (`OwnershipSearch`). Every node that computes it gets the same table, and the table travels with
/// the epoch anyway.
///
/// ## Invariants
///
/// 1. Every node owns ⌊P/N⌋ or ⌈P/N⌉ arcs.
/// 2. Where N > RF, any RF consecutive arcs, also across the end, have distinct owners. The
///    exception is arithmetic: it cannot be when ⌈P/N⌉ · RF > P (RF 5, six nodes, eight arcs).
/// 3. Racks are kept apart in the same way, as far as their sizes and the limit on moves allow.
/// 4. A change moves at most the fewest arcs that balance needs, plus 5 % of P. Demand 2 comes
///    before it: where N = RF + 1, or P is small, a change may have to move more. What was measured
///    stands in `docs/decisions/0002-placement.md`.
/// 5. Replicas are always distinct nodes in as many racks as there are, whatever the assignment: 2
///    and 3 make the load of replicas even, they are not what keeps copies apart.

/// A point on the ring: what Murmur3 gives for a key.
package struct Token: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let value: Int64

    package init(_ value: Int64) {
        self.value = value
    }

    package var description: String { "\(value)" }

    package static func < (left: Token, right: Token) -> Bool {
        left.value < right.value
    }
}
