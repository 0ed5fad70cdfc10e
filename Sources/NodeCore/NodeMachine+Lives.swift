import Core
import Replication
import Storage

/// What this node's disk shows of itself, and who was told.
struct LivesState {
    var runs: RunHistory
    /// Peers that have lost their memory of this life, or never had it; they are told until they
    /// have it.
    var strangers: Set<NodeID> = []
    var strangersTag = Tag(0)
    /// Peers whose memory of this node was compared with its disk since the start: only they are
    /// told how far it has come, since that replaces what they knew.
    var met: Set<NodeID> = []
    /// What every vote says of others, ascending by name.
    var superseded: [Vote.Successor] = []
    /// The last record, known to be on disk, that is more than a note about a peer. Notes are left
    /// out: two idle nodes would note each other's notes for ever.
    var vouched = LSN.zero
    /// The record that says that this run began.
    var firstOfRun = LSN.zero
    /// Edits of the manifest that are on disk.
    var edits: UInt64
    /// Notes behind `vouched`.
    var notes: Set<LSN> = []
    var vouchAt: Instant
    var repeatAt: Instant
    var recoversSince: Instant
    /// The life that an operator let begin without all that it may lack.
    var acceptedLoss: Incarnation?

    /// - Parameter edits: as the start found them.
    init(runs: RunHistory, edits: UInt64, now: Instant) {
        self.runs = runs
        self.edits = edits
        vouchAt = now
        repeatAt = now
        recoversSince = now
    }
}

// What peers know of each other's disks (docs/decisions/0022-lives.md).

extension NodeMachine {
    /// The first record of this process, before any other: the run that its peers will know.
    mutating func beginRun(into effects: inout [Effect]) {
        let mark = RunMark(run: identity.startNonce, edits: lives.edits)
        let append = appendSynced(.run, mark.encoded, into: &effects)
        lives.runs.begin(identity.startNonce, at: append.lsn, edits: lives.edits)
        lives.firstOfRun = append.lsn
        nameSuperseded()
    }

    /// Why this disk is not the one that `peer` remembers; nil where it may be.
    func contradiction(to remembered: Standing, of peer: NodeID) -> String? {
        if remembered.incarnation > identity.incarnation {
            return identity.incarnation == .none
                ? "\(peer) remembers data that this disk does not hold"
                : "\(peer) remembers a later life of this node"
        }
        guard remembered.incarnation == identity.incarnation, !has(.positionsForgotten),
            !lives.runs.reaches(remembered)
        else { return nil }
        return "\(peer) remembers record \(remembered.lsn) and edit \(remembered.edits) of a run "
            + "that ended before on this disk: it was set back to an older state"
    }

    /// The memory of `peer` and this disk agree.
    mutating func met(_ peer: NodeID, _ reply: HelloReply) {
        lives.met.insert(peer)
        if reply.remembers.incarnation < identity.incarnation {
            lives.strangers.insert(peer)
        } else {
            lives.strangers.remove(peer)
        }
    }

    // MARK: - Telling

    /// Tells the peers how far the disk has come: those that would notice if it were set back.
    mutating func vouch(_ now: Now, into effects: inout [Effect]) {
        // A run of which the disk does not know yet could not be shown after a crash.
        guard now.monotonic >= lives.vouchAt, synced >= lives.firstOfRun else { return }
        lives.vouchAt = now.monotonic + configuration.vouchInterval
        var last = synced
        while lives.notes.contains(last) { last = LSN(last.number - 1) }
        lives.vouched = max(lives.vouched, last)
        let settled = lives.vouched
        lives.notes = lives.notes.filter { $0 > settled }
        let standing = Standing(
            incarnation: identity.incarnation, run: identity.startNonce, lsn: settled,
            edits: lives.edits)
        for peer in peers where isReachable(peer) && lives.met.contains(peer) {
            send(.vouch(standing), to: peer, into: &effects)
        }
    }

    // MARK: - Remembering

    /// How far a peer's disk has come. Nobody waits for it to be remembered.
    mutating func receive(
        _ standing: Standing, of peer: NodeID, into effects: inout [Effect]
    ) {
        guard peers.contains(peer), standing.run != 0,
            !accuse(peer, showing: standing, into: &effects)
        else { return }
        note(peer, standing, into: &effects)
    }

    mutating func remember(
        _ peer: NodeID, _ incarnation: Incarnation, _ tag: Tag, into effects: inout [Effect]
    ) {
        guard peers.contains(peer) else { return }
        let known = remembered(of: peer)
        guard known.incarnation <= incarnation else {
            // A fence of an attempt that came to nothing: the life that begins must lie beyond it.
            let reply = HelloReply(tag: tag, incarnation: identity.incarnation, remembers: known)
            return send(.helloReply(reply), to: peer, into: &effects)
        }
        note(peer, Standing(incarnation: incarnation), into: &effects)
        // Whichever record says it, it is on disk when everything up to here is.
        if log.last <= synced {
            send(.remembered(tag, absence.register), to: peer, into: &effects)
        } else {
            effects.append(.sync)
            waiters.append(.remembered(log.last, tag, to: peer))
        }
    }

    /// Keeps what is new, in memory and in the log.
    mutating func note(
        _ node: NodeID, _ standing: Standing, into effects: inout [Effect]
    ) {
        let before = memory[node] ?? .none
        guard memory[node, default: .none].raise(to: standing) else { return }
        if standing.incarnation > before.incarnation {
            forgetRound(with: node)
            nameSuperseded()
        }
        let record = PeerMemory(node: node, standing: standing)
        lives.notes.insert(appendSynced(.peer, record.encoded, into: &effects).lsn)
    }

    mutating func nameSuperseded() {
        lives.superseded =
            peers
            .map { Vote.Successor(node: $0, incarnation: remembered(of: $0).incarnation) }
            .filter { $0.incarnation > Incarnation(1) }
        lives.superseded.removeLast(
            max(0, lives.superseded.count - ReplicationLimits.supersededMax))
    }
}
