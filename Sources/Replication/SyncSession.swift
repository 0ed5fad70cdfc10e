package import Core

/// One replica learning from one other what it lacks in a set of partitions, until it holds all
/// that the other held when it answered.
package struct SyncSession: Sendable {
    package enum Purpose: Hashable, Sendable {
        /// The round of every second.
        case catchUp
        /// A recovering node's union.
        case recovery
        /// Before a read: what this reader's partner holds.
        case read(Tag)
        /// After a read: `node` asked to be pulled from under its own tag.
        case pulled(by: NodeID, Tag)
    }

    package enum Effect: Hashable, Sendable {
        case send(ReplicationMessage)
        /// Make these part of this node: apply from its own home record, or fetch. Progress is told
        /// by `settle`.
        case need([SyncNeed])
        case end(isComplete: Bool)
    }

    package let tag: Tag
    package let peer: NodeID
    package let partitions: PartitionSet
    package let purpose: Purpose
    private let ageMin: Duration
    private var open: Set<BatchID> = []
    private var isListing = true
    private var awaitsOlder = false
    private var idleSince: Instant
    /// Where the segments that are compared one by one begin, for the whole session: the wall clock
    /// may step in between.
    private let boundary: Segment
    /// Of the ask that waits for its reply; any other reply is late or repeated.
    private var round: UInt32 = 1
    /// In every reply the peer voted and held nothing bound in doubt.
    package private(set) var isSource = true
    package private(set) var learned = 0

    /// Without a word or a step for this long, a session gives up; the next round begins anew.
    package static let idleMax: Duration = .seconds(10)

    package init(
        tag: Tag, peer: NodeID, partitions: PartitionSet, purpose: Purpose, ageMin: Duration,
        boundary: Segment, now: Instant
    ) {
        self.boundary = boundary
        self.tag = tag
        self.peer = peer
        self.partitions = partitions
        self.purpose = purpose
        self.ageMin = ageMin
        idleSince = now
    }

    package var nextDeadline: Instant { idleSince + Self.idleMax }

    package func start(_ digests: DigestTable) -> Effect {
        var newest: [SegmentSum] = []
        var newestSum = SetDigest.empty
        for segment in digests.heldSegments where segment >= boundary {
            let digest = digests.sum(of: partitions, in: segment)
            guard digest != .empty else { continue }
            newest.append(SegmentSum(segment: segment, digest: digest))
            newestSum.merge(digest)
        }
        var older = digests.sum(of: partitions)
        older.sum &-= newestSum.sum
        older.count -= newestSum.count
        return ask(.newest(boundary: boundary, newest, older: older))
    }

    private func ask(_ scope: SyncAsk.Scope) -> Effect {
        .send(
            .syncAsk(
                SyncAsk(
                    tag: tag, round: round, partitions: partitions, scope: scope, ageMin: ageMin,
                    wantsUnbound: purpose == .recovery)))
    }

    package mutating func receive(
        _ reply: SyncReply, digests: DigestTable, now: Instant,
        needs: (SyncEntry) -> SyncNeed?, into effects: inout [Effect]
    ) {
        guard isListing, reply.round == round else { return }
        round += 1
        idleSince = now
        isSource = isSource && reply.isSource
        var wanted: [SyncNeed] = []
        for entry in reply.listing {
            guard let need = needs(entry), open.insert(need.header.id).inserted else { continue }
            wanted.append(need)
        }
        learned += wanted.count
        if !wanted.isEmpty { effects.append(.need(wanted)) }
        if reply.olderDiffers { awaitsOlder = true }
        if let last = reply.listing.last, !reply.rest.isEmpty {
            effects.append(ask(.more(reply.rest, after: last.header.id)))
        } else if awaitsOlder {
            awaitsOlder = false
            let older = digests.heldSegments.filter { $0 < boundary }.map {
                SegmentSum(segment: $0, digest: digests.sum(of: partitions, in: $0))
            }
            effects.append(ask(.older(before: boundary, older.filter { $0.digest != .empty })))
        } else {
            isListing = false
            endIfDone(into: &effects)
        }
    }

    /// A needed batch is part of this node now.
    package mutating func settle(_ id: BatchID, now: Instant, into effects: inout [Effect]) {
        guard open.remove(id) != nil else { return }
        idleSince = now
        endIfDone(into: &effects)
    }

    /// Records arrive: slow is not silent.
    package mutating func progressed(at now: Instant) {
        idleSince = now
    }

    /// The peer no longer gives what it listed, or went away.
    package func fail(into effects: inout [Effect]) {
        effects.append(.end(isComplete: false))
    }

    package func advance(to now: Instant, into effects: inout [Effect]) {
        if now >= nextDeadline { fail(into: &effects) }
    }

    private func endIfDone(into effects: inout [Effect]) {
        if !isListing, open.isEmpty { effects.append(.end(isComplete: true)) }
    }
}

/// What a replica lacks of a batch that a peer listed.
package struct SyncNeed: Hashable, Sendable {
    package var header: BatchHeader
    package var home: PartitionID
    package var wantsRecord: Bool
    package var partitions: PartitionSet
    package var isFinished: Bool
    /// False for a home record that the peer holds without knowing whether it is bound: a
    /// recovering voter inherits its promises, and its doubt.
    package var isBound: Bool

    package init(
        header: BatchHeader, home: PartitionID, wantsRecord: Bool, partitions: PartitionSet,
        isFinished: Bool = false, isBound: Bool = true
    ) {
        self.header = header
        self.home = home
        self.wantsRecord = wantsRecord
        self.partitions = partitions
        self.isFinished = isFinished
        self.isBound = isBound
    }
}
