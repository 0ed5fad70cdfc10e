package import Core
package import NodeCore
import Replication
import Ring
import Storage
import Wire

/// What a node believes, taken out for the checkers.
package struct NodeAudit {
    package struct Held: Hashable, Sendable {
        var id: BatchID
        var hash: Hash128
        var rule: RuleVersion
        var hasRecord: Bool
        var isBound: Bool
        var isFinished: Bool
        var applied: PartitionSet
    }

    let node: NodeID
    var isVoting: Bool
    /// Members that are up in its eyes.
    var up: Set<NodeID>
    /// What it knows of each member's gossip, in the order of members.
    var versions: [GossipVersion?]
    /// It votes, and holds nothing in doubt.
    var answersQuorum: Bool
    /// Every batch that it knows, ascending by id.
    var held: [Held]
    /// By partition.
    var setDigests: [SetDigest]
    var stateDigests: [StateDigest]
    private var shown: [Hash128: PartitionSet] = [:]

    package init(_ core: borrowing NodeMachine, at now: Now) {
        let own = core.configuration.node
        node = own
        let view = core.view(at: now)
        up = Set(view.members.filter(\.isUp).map(\.node))
        versions = view.members.map { member in
            guard let generation = member.generation, let heartbeat = member.heartbeat else {
                return nil
            }
            return GossipVersion(generation: generation, heartbeat: heartbeat)
        }
        isVoting = view.members.contains { $0.node == own && $0.isVoting }
        answersQuorum = core.isVotingOnReads
        let index = core.batches
        held = index.ids.compactMap { id in
            index[id].map { entry in
                Held(
                    id: id, hash: entry.header.contentHash, rule: entry.header.rule,
                    hasRecord: entry.record != nil,
                    isBound: entry.isBound, isFinished: entry.isFinished,
                    applied: entry.applied)
            }
        }
        let partitions = core.ring.partitioning.all.map { $0 }
        setDigests = partitions.map { index.digests.total($0) }
        stateDigests = partitions.map { core.stateDigest(of: $0) }
        for held in held { shown[held.hash] = held.applied }
    }

    /// What it holds by history: known of it are sums alone, so that the model says which batches
    /// these must be.
    mutating func add(
        forgotten record: BatchRecord, _ partitions: PartitionSet, home: Bool
    ) {
        let header = record.header
        var entry = Held(
            id: header.id, hash: header.contentHash, rule: header.rule, hasRecord: home,
            isBound: true,
            isFinished: true, applied: partitions)
        if let place = held.firstIndex(where: { $0.id == header.id }) {
            entry.hasRecord = entry.hasRecord || held[place].hasRecord
            entry.isFinished = held[place].isFinished
            entry.applied.formUnion(held[place].applied)
            held[place] = entry
        } else {
            let place = held.firstIndex { $0.id > header.id } ?? held.count
            held.insert(entry, at: place)
        }
        shown[entry.hash] = entry.applied
    }

    func shows(_ content: Content, _ partition: PartitionID) -> Bool {
        shown[content.hash]?.contains(partition) == true
    }
}
