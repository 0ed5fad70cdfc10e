package import Core
package import Ring
package import Wire

/// One coordinator's run over one batch: bind it on its home, then have every touched partition
/// apply it.
///
/// A client's write and a home voter's drive differ only in whether somebody waits for the answer
/// and in whether the record is at hand. All messages are idempotent, so a session may repeat them,
/// and any number of sessions may run over one batch.
package struct WriteSession: Sendable {
    package enum Effect: Hashable, Sendable {
        case send(ReplicationMessage, to: NodeID)
        /// The record is needed: read it from the log, then call `load`.
        case loadRecord
        /// The client's answer; once.
        case answer(WriteOutcome)
        /// Another content is decided: this node's copy must give way to the one that `from` holds.
        case adopt(Hash128, from: NodeID)
        /// Its segment closed without it: this node's copy is nothing any more.
        case drop
        /// Nothing is left to do.
        case end
    }

    package let tag: Tag
    /// The client that waits; nil for a drive.
    package let request: RequestID?
    package let header: BatchHeader
    package let deadline: Instant
    private let consistency: Consistency
    private let home: PartitionID
    private let homeVoters: [NodeID]
    /// The touched partitions by their voters, and the same by node.
    private let voters: [ReplicaGroup]
    private let shares: [NodeID: PartitionSet]
    /// The fewest voters that any touched partition has.
    private let factorLeast: Int
    /// Whose applications the client waits for: all voters where nil.
    private let local: Set<NodeID>?
    /// The fewest of these that any touched partition has.
    private let localLeast: Int
    private var record: BatchRecord?
    private var isLoading = false

    private var answers: [NodeID: BindAnswer] = [:]
    /// Voters whose log holds this content durably.
    private var votes: Set<NodeID> = []
    /// The same and those that hold it without a vote.
    private var holders: Set<NodeID> = []
    private var isBound: Bool
    /// No content has a majority and none can get one; this one has the smallest hash, so the
    /// others are told to give way. It is bound when a majority has done so.
    private var isForced = false
    private var isDuplicate: Bool
    private var told: Set<NodeID> = []
    private var applied: [NodeID: PartitionSet] = [:]
    private var nonVoting: Set<NodeID> = []
    /// Home voters that know it as bound: what a reader of dead letters relies on.
    private var knowBound: Set<NodeID> = []
    /// The life in which each voter answered: what an earlier one said no longer counts.
    private var lives: [NodeID: Incarnation] = [:]
    private var needsSlices: Set<NodeID> = []
    /// Planted bugs: one voter binds; what an earlier life answered counts.
    package var isBoundByOne = false
    package var believesAllLives = false
    private var hasAnswered = false
    private var hasFinished = false
    private var hasEnded = false
    private var repeatAt: Instant
    /// At level ONE: how long a majority may take before one durable copy is answer enough.
    private var weakAt: Instant

    /// What was lost is sent again some times before the deadline, however short that is.
    private let repeatAfter: Duration
    private static let repeatAfterMax: Duration = .seconds(1)
    private static let weakAfter: Duration = .milliseconds(500)

    package init(
        tag: Tag, request: RequestID?, header: BatchHeader, placement: BatchPlacement,
        record: BatchRecord?, consistency: Consistency, isKnownBound: Bool = false,
        local: Set<NodeID>? = nil, deadline: Instant, now: Instant
    ) {
        self.tag = tag
        self.request = request
        self.header = header
        home = placement.home
        homeVoters = placement.homeVoters
        voters = placement.groups
        self.record = record
        self.consistency = consistency
        self.deadline = deadline
        isBound = isKnownBound
        isDuplicate = isKnownBound
        var shares: [NodeID: PartitionSet] = [:]
        for group in voters {
            for node in group.nodes {
                shares[node, default: PartitionSet()].formUnion(group.partitions)
            }
        }
        self.shares = shares
        factorLeast = voters.map(\.nodes.count).min() ?? homeVoters.count
        self.local = local
        localLeast =
            local.flatMap { local in
                placement.groups.map { $0.nodes.count(where: local.contains) }.min()
            }
            ?? factorLeast
        repeatAfter = min(Self.repeatAfterMax, (deadline - now) / 4)
        repeatAt = now + repeatAfter
        weakAt = now + Self.weakAfter
    }

    private var majority: Int { Consistency.quorum.required(of: homeVoters.count) }

    package var nextDeadline: Instant {
        var next = min(deadline, repeatAt)
        if consistency.isWeak, !hasAnswered { next = min(next, weakAt) }
        return next
    }

    // MARK: - Inputs

    package mutating func start(into effects: inout [Effect]) {
        for node in homeVoters { effects.append(.send(.bind(bind()), to: node)) }
        record = record?.withoutMadeBody
    }

    package mutating func receive(
        _ reply: BindReply, from node: NodeID, into effects: inout [Effect]
    ) {
        guard !hasEnded, homeVoters.contains(node) else { return }
        guard meet(node, reply.vote) else { return }
        answers[node] = reply.answer
        if reply.vote.isVoting { nonVoting.remove(node) } else { nonVoting.insert(node) }
        switch reply.answer {
        case .holds(let wasBound):
            holders.insert(node)
            if reply.vote.isVoting { votes.insert(node) }
            if wasBound {
                // What a voter learnt after this session had bound it is this session's own work.
                if !isBound { isDuplicate = true }
                isBound = true
            }
        case .missing:
            sendRecord(to: node, into: &effects)
        case .conflict(let hash, isBound: true):
            lose(to: hash, from: node, into: &effects)
            return
        case .closed:
            // Only a voter's word counts, and never against what is bound.
            if reply.vote.isVoting, !isBound {
                close(into: &effects)
                return
            }
        case .conflict(_, isBound: false), .tooOld, .ahead, .unable:
            break
        }
        decide(into: &effects)
    }

    package mutating func receive(
        _ reply: ApplyReply, from node: NodeID, into effects: inout [Effect]
    ) {
        guard !hasEnded, isBound else { return }
        guard meet(node, reply.vote) else { return }
        if reply.isMissing {
            needsSlices.insert(node)
            sendSlices(to: node, into: &effects)
        }
        if !reply.vote.isVoting { nonVoting.insert(node) } else { nonVoting.remove(node) }
        applied[node, default: PartitionSet()].formUnion(reply.applied)
        if !reply.isMissing, reply.vote.isVoting, homeVoters.contains(node) {
            knowBound.insert(node)
        }
        checkApplied(into: &effects)
    }

    /// The record that `loadRecord` asked for; nil where the log no longer holds this content.
    package mutating func load(_ loaded: BatchRecord?, into effects: inout [Effect]) {
        isLoading = false
        guard !hasEnded else { return }
        guard let loaded else {
            hasEnded = true
            effects.append(.end)
            return
        }
        record = loaded
        for node in homeVoters where answers[node] == .missing {
            sendRecord(to: node, into: &effects)
        }
        if isBound { proceed(into: &effects) }
    }

    package mutating func advance(to now: Instant, into effects: inout [Effect]) {
        guard !hasEnded else { return }
        if now >= weakAt, consistency.isWeak { answerWeakly(into: &effects) }
        if now >= deadline {
            answerWeakly(into: &effects)
            answer(
                .unknown(
                    required: consistency.required(of: homeVoters.count),
                    answered: isBound ? acknowledged : votes.count), into: &effects)
            hasEnded = true
            effects.append(.end)
        } else if now >= repeatAt {
            if hasFinished, hasAnswered || request == nil {
                // A quorum has it everywhere; who was away learns of it by catching up.
                hasEnded = true
                effects.append(.end)
                return
            }
            repeatAt = now + repeatAfter
            repeatAll(into: &effects)
        }
    }
}

// MARK: - Binding

extension WriteSession {
    private func bind(withRecord: Bool = true) -> Bind {
        Bind(
            tag: tag, header: header, home: home, record: withRecord ? record : nil,
            isBound: isBound || isForced, isAdmitted: request == nil)
    }

    private mutating func sendRecord(to node: NodeID, into effects: inout [Effect]) {
        if record != nil {
            effects.append(.send(.bind(bind()), to: node))
        } else if !isLoading {
            isLoading = true
            effects.append(.loadRecord)
        }
    }

    private mutating func decide(into effects: inout [Effect]) {
        if !isBound {
            if votes.count >= (isBoundByOne ? 1 : majority) {
                isBound = true
            } else if let other = decidedOther() {
                lose(to: other.hash, from: other.node, into: &effects)
                return
            } else if isTiedSmallest() {
                isForced = true
                for node in homeVoters where isConflict(node) {
                    sendRecord(to: node, into: &effects)
                }
            } else {
                refuse(into: &effects)
            }
        }
        if isBound { proceed(into: &effects) }
    }

    /// Another content that cannot lose any more: a majority holds it, or all home voters hold
    /// something, nothing has a majority, and it has the smallest hash.
    private func decidedOther() -> (hash: Hash128, node: NodeID)? {
        let contents = heldContents()
        for (hash, nodes) in contents where hash != header.contentHash && nodes.count >= majority {
            return (hash, nodes[0])
        }
        guard contents.map(\.nodes.count).reduce(0, +) == homeVoters.count,
            let smallest = contents.first, smallest.hash != header.contentHash
        else { return nil }
        return (smallest.hash, smallest.nodes[0])
    }

    private func isTiedSmallest() -> Bool {
        let contents = heldContents()
        return contents.map(\.nodes.count).reduce(0, +) == homeVoters.count
            && contents.first?.hash == header.contentHash
    }

    /// What the home voters that answered hold, by hash ascending; voters in the home's order.
    private func heldContents() -> [(hash: Hash128, nodes: [NodeID])] {
        var contents: [Hash128: [NodeID]] = [:]
        for node in homeVoters {
            switch answers[node] {
            case .holds where votes.contains(node):
                contents[header.contentHash, default: []].append(node)
            case .conflict(let hash, _) where !nonVoting.contains(node):
                contents[hash, default: []].append(node)
            case .holds, .conflict, .missing, .tooOld, .ahead, .closed, .unable, nil:
                break
            }
        }
        return contents.sorted { $0.key < $1.key }.map { (hash: $0.key, nodes: $0.value) }
    }

    /// A voter that began a new life since it answered remembers nothing of its answers; whoever
    /// knows of the new life says so. False for a late answer of a life that is over.
    private mutating func meet(_ node: NodeID, _ vote: Vote) -> Bool {
        if believesAllLives { return true }
        for successor in vote.superseded { begin(successor.incarnation, of: successor.node) }
        guard vote.incarnation >= lives[node] ?? .none else { return false }
        begin(vote.incarnation, of: node)
        return true
    }

    private mutating func begin(_ incarnation: Incarnation, of node: NodeID) {
        let before = lives[node]
        lives[node] = max(before ?? .none, incarnation)
        // A first life keeps what it took before it had its number.
        guard let before, before != .none, incarnation > before else { return }
        answers[node] = nil
        votes.remove(node)
        holders.remove(node)
        applied[node] = nil
        knowBound.remove(node)
        told.remove(node)
    }

    private func isConflict(_ node: NodeID) -> Bool {
        if case .conflict = answers[node] { true } else { false }
    }

    private mutating func lose(
        to hash: Hash128, from node: NodeID, into effects: inout [Effect]
    ) {
        answer(.conflict, into: &effects)
        if request == nil { effects.append(.adopt(hash, from: node)) }
        hasEnded = true
        effects.append(.end)
    }

    /// A home voter closed the segment without it: no majority ever held it, none ever will.
    private mutating func close(into effects: inout [Effect]) {
        answer(.expired(.notCounted), into: &effects)
        if request == nil { effects.append(.drop) }
        hasEnded = true
        effects.append(.end)
    }

    /// So many voters refused that no majority is left.
    private mutating func refuse(into effects: inout [Effect]) {
        let refusals = answers.values.count(where: \.isRefusal)
        guard homeVoters.count - refusals < majority else { return }
        answerWeakly(into: &effects)
        // A voter that has not answered may hold it, and drive it on. One that only could not take
        // it may take it yet, from a copy that is still on the way.
        if homeVoters.allSatisfy({ answers[$0] == .tooOld || answers[$0] == .ahead }) {
            let isOld = answers.values.contains(.tooOld)
            answer(
                isOld ? .expired(.unknown(heldBy: 0)) : .notAttempted(.aheadOfClock), into: &effects
            )
        } else {
            answer(.unknown(required: majority, answered: votes.count), into: &effects)
        }
        hasEnded = true
        effects.append(.end)
    }
}

// MARK: - Applying

extension WriteSession {
    /// Bound: tell whoever has not been told, as far as it is known what they hold.
    private mutating func proceed(into effects: inout [Effect]) {
        for node in homeVoters {
            if holders.contains(node) {
                guard told.insert(node).inserted else { continue }
                effects.append(.send(apply(to: node), to: node))
            } else if isConflict(node) {
                sendRecord(to: node, into: &effects)
            }
        }
        for node in shares.keys.sorted() where !homeVoters.contains(node) {
            guard !told.contains(node) else { continue }
            sendSlices(to: node, into: &effects)
        }
        checkApplied(into: &effects)
    }

    private func apply(to node: NodeID) -> ReplicationMessage {
        .apply(Apply(tag: tag, header: header, partitions: shares[node] ?? PartitionSet()))
    }

    private mutating func sendSlices(to node: NodeID, into effects: inout [Effect]) {
        guard let share = shares[node], !share.isEmpty else { return }
        guard let record else {
            sendRecord(to: node, into: &effects)
            return
        }
        do throws(DecodeError) {
            let slices = try record.subset(share)
            told.insert(node)
            effects.append(.send(.applySlices(tag, slices), to: node))
        } catch {
            preconditionFailure("a record that was checked when it came cannot be read: \(error)")
        }
    }

    /// The least number of voters that have applied, over the touched partitions.
    private var acknowledged: Int { acknowledged(among: nil) }

    private func acknowledged(among wanted: Set<NodeID>?) -> Int {
        guard !voters.isEmpty else { return votes.count }
        var least = Int.max
        for group in voters {
            var holders: [PartitionSet] = []
            for node in group.nodes where !nonVoting.contains(node) {
                guard wanted?.contains(node) != false, let held = applied[node] else { continue }
                holders.append(held)
            }
            least = min(least, group.partitions.leastCount(among: holders))
        }
        return least
    }

    private mutating func checkApplied(into effects: inout [Effect]) {
        let count = acknowledged
        let counted = local == nil ? count : acknowledged(among: local)
        let required = consistency.required(of: localLeast)
        if counted >= required, knowBound.count >= consistency.required(of: homeVoters.count) {
            answer(
                .counted(duplicate: isDuplicate, required: required, acknowledged: counted),
                into: &effects)
        }
        if count >= Consistency.quorum.required(of: factorLeast), knowBound.count >= majority,
            !hasFinished
        {
            hasFinished = true
            for node in homeVoters {
                effects.append(.send(.finished(header.id, header.contentHash), to: node))
            }
        }
        let isWhole = shares.allSatisfy { applied[$0.key]?.isSuperset(of: $0.value) == true }
        // A client waits on, while some that hold it have no vote yet.
        let isWaitedFor = request != nil && !hasAnswered
        if isWhole, hasFinished, holders.count == homeVoters.count, !isWaitedFor, !hasEnded {
            hasEnded = true
            effects.append(.end)
        }
    }

    private mutating func repeatAll(into effects: inout [Effect]) {
        for node in homeVoters where !votes.contains(node) {
            effects.append(.send(.bind(bind(withRecord: !holders.contains(node))), to: node))
        }
        guard isBound else { return }
        for node in Set(shares.keys).union(homeVoters).sorted() {
            let share = shares[node] ?? PartitionSet()
            let isUnsure = holders.contains(node) && !knowBound.contains(node)
            let lacks = applied[node]?.isSuperset(of: share) != true && !share.isEmpty
            // What a node without a vote said is asked again: it may vote by now.
            guard lacks || isUnsure || nonVoting.contains(node) else { continue }
            if holders.contains(node), !needsSlices.contains(node) {
                effects.append(.send(apply(to: node), to: node))
            } else if !homeVoters.contains(node) || needsSlices.contains(node) {
                sendSlices(to: node, into: &effects)
            }
        }
    }

    // MARK: - Answering

    private mutating func answer(_ outcome: WriteOutcome, into effects: inout [Effect]) {
        guard request != nil, !hasAnswered else { return }
        hasAnswered = true
        effects.append(.answer(outcome))
    }

    /// At level ONE one durable home record is an acknowledgement, though not yet decided: it is
    /// bound and shown as soon as a majority of home voters is back.
    private mutating func answerWeakly(into effects: inout [Effect]) {
        guard consistency.isWeak, !votes.isEmpty else { return }
        answer(
            .counted(
                duplicate: isDuplicate, required: 1, acknowledged: max(votes.count, acknowledged)),
            into: &effects)
    }
}

extension BindAnswer {
    /// The voter stored nothing.
    fileprivate var isRefusal: Bool {
        switch self {
        case .tooOld, .ahead, .unable: true
        case .holds, .missing, .conflict, .closed: false
        }
    }
}

extension PartitionSet {
    package func isSuperset(of other: PartitionSet) -> Bool {
        other.isSubset(of: self)
    }
}
