import Core
import Replication
import Ring
import Storage

/// Who waits to hear whether a batch is one that was forgotten.
enum HistoryAsker {
    case bind(Bind, from: NodeID)
    case status(Tag, createdAt: WallTime?, to: NodeID)
}

// Batches that left memory and the log (docs/decisions/0020-forgetting.md). They are known by
// files; a filter in memory says of nearly all others that they are not.

extension NodeMachine {
    /// Whether the id has to be looked up before it is taken for new.
    func mayBeForgotten(_ id: BatchID) -> Bool {
        guard !forgetting.files.isEmpty, !has(.forgottenTakenAsNew) else { return false }
        let hash = HistoryHandle.hash(id)
        return forgetting.files.contains { $0.mayHold(hash) }
    }

    mutating func lookUp(_ id: BatchID, for asker: HistoryAsker, into effects: inout [Effect]) {
        // Beyond the bound it is as if the message was lost: the asker repeats itself.
        guard jobs.count < ReplicationLimits.jobsMax,
            forgetting.askers < ReplicationLimits.lookUpsMax
        else { return }
        forgetting.askers += 1
        guard forgetting.lookUps[id] == nil else {
            forgetting.lookUps[id]?.append(asker)
            return
        }
        forgetting.lookUps[id] = [asker]
        let hash = HistoryHandle.hash(id)
        run(
            .lookUp(id, forgetting.files.filter { $0.mayHold(hash) }), .lookUp(id), into: &effects)
    }

    mutating func lookedUp(
        _ id: BatchID, _ found: HistoryEntry?, _ now: Now, into effects: inout [Effect]
    ) {
        let askers = forgetting.lookUps.removeValue(forKey: id) ?? []
        forgetting.askers -= askers.count
        if found != nil {
            counters.historyLookUps += 1
            effects.append(.report(.lookedUp(id)))
        }
        for asker in askers {
            switch asker {
            case .bind(let bind, let peer):
                if index[id] != nil {
                    receive(bind, from: peer, now, into: &effects)
                } else if let found {
                    answer(bind, found, to: peer, into: &effects)
                } else {
                    receiveUnknown(bind, from: peer, now, into: &effects)
                }
            case .status(let tag, let createdAt, let peer):
                replyStatus(tag, id, createdAt, found, to: peer, into: &effects)
            }
        }
    }

    /// A duplicate of what was counted long ago, or another content under its id.
    private mutating func answer(
        _ bind: Bind, _ found: HistoryEntry, to peer: NodeID, into effects: inout [Effect]
    ) {
        if found.header.contentHash == bind.header.contentHash {
            answerBind(bind.tag, .holds(wasBound: true), to: peer, into: &effects)
        } else {
            noteConflict(bind.header)
            answerBind(
                bind.tag, .conflict(found.header.contentHash, isBound: true), to: peer,
                into: &effects)
        }
    }

    /// A file that cannot be read says nothing of the id: nobody hears a wrong word.
    mutating func lookUpFailed(
        _ id: BatchID, _ error: StorageError, into effects: inout [Effect]
    ) {
        forgetting.askers -= forgetting.lookUps.removeValue(forKey: id)?.count ?? 0
        effects.append(.report(.damaged("\(error)")))
    }

    mutating func replyStatus(
        _ tag: Tag, _ id: BatchID, _ createdAt: WallTime?, _ found: HistoryEntry?,
        to peer: NodeID, into effects: inout [Effect]
    ) {
        var held = index[id].map { entry in
            StatusReply.Held(
                contentHash: entry.header.contentHash, isBound: entry.isBound,
                totals: entry.totals)
        }
        if held == nil, let found {
            held = StatusReply.Held(
                contentHash: found.header.contentHash, isBound: true, totals: found.totals)
        }
        let isClosed = held == nil && isDriver(of: id) && isClosed(createdAt)
        send(
            .statusReply(StatusReply(tag: tag, held: held, isClosed: isClosed, vote: vote)),
            to: peer, into: &effects)
    }

    /// Whether all that this node would do for a bound batch in `partitions` is done and forgotten.
    func isForgotten(_ header: BatchHeader, in partitions: PartitionSet, asHome: Bool) -> Bool {
        guard !index.base.partitions.isEmpty else { return false }
        let segment = segment(of: header)
        guard index.forgotten(segment, of: partitions) == partitions else { return false }
        return !asHome || index.isForgotten(segment, ring.home(of: header.id))
    }
}
