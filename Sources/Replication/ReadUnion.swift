package import Core

/// What the voters of one partition lack of the union of their sets, told from what each named as
/// applied last.
///
/// Let S be the set of the voter with the rows (the base) and T that of a partner. Walking back
/// from the newest batches, X gathers what the base names and the partner does not, Y what the
/// partner names and the base does not. The lists end somewhere, so a batch may be in X or Y only
/// because the other voter applied it longer ago than its list reaches. The digests decide: if
///
///     digest(S) + terms(Y) = digest(T) + terms(X)
///
/// then S and Y are disjoint, so are T and X, and S + Y = T + X is the union. (Were a batch of Y in
/// S, it would count twice on the left, but once on the right: Y holds only what the base does not
/// name, so it is not in X. And sums of keyed terms are equal only where the sets are.) So the
/// lists are a hint, and a difference that they do not explain is never guessed.
package struct ReadUnion: Hashable, Sendable {
    package struct Voter: Sendable {
        package var node: NodeID
        package var state: ReadState

        package init(node: NodeID, state: ReadState) {
            self.node = node
            self.state = state
        }
    }

    /// What one voter must do; voters that lack and give nothing have none.
    package struct Share: Hashable, Sendable {
        package var node: NodeID
        package var unite: ReadUnite
    }

    /// The base's first, then the partners' in their order.
    package let shares: [Share]
    /// Batches that voters have to fetch or apply.
    package var lacked: Int { shares.reduce(0) { $0 + $1.unite.lacks.count } }

    /// Nil where the lists do not explain the difference, or it is too large.
    package init?(base: Voter, partners: [Voter]) {
        var lackedByBase: [(batch: RecentBatch, giver: Int)] = []
        var known: Set<UInt128> = []
        var lackedByPartner: [[RecentBatch]] = []
        var givenBy: [Set<UInt128>] = []
        for (place, partner) in partners.enumerated() {
            guard let (inBase, inPartner) = Self.difference(base.state, partner.state) else {
                return nil
            }
            lackedByPartner.append(inBase)
            givenBy.append(Set(inPartner.map(\.term)))
            for batch in inPartner where known.insert(batch.term).inserted {
                lackedByBase.append((batch: batch, giver: place))
            }
        }
        let baseLacks = lackedByBase.map { batch, giver in
            ReadUnite.Lack(header: batch.header, source: partners[giver].node)
        }
        var shares = [Share(node: base.node, unite: Self.unite(base, baseLacks, gives: []))]
        for (place, partner) in partners.enumerated() {
            var lacks = lackedByPartner[place].map {
                ReadUnite.Lack(header: $0.header, source: base.node)
            }
            // What a third voter has and neither the base nor this partner.
            for (batch, giver) in lackedByBase where !givenBy[place].contains(batch.term) {
                lacks.append(.init(header: batch.header, source: partners[giver].node))
            }
            let gives = lackedByBase.filter { $0.giver == place }.map(\.batch.header)
            shares.append(
                Share(node: partner.node, unite: Self.unite(partner, lacks, gives: gives)))
        }
        self.shares = shares.filter { !$0.unite.lacks.isEmpty || !$0.unite.gives.isEmpty }
        let most = shares.map { max($0.unite.lacks.count, $0.unite.gives.count) }.max() ?? 0
        guard most <= ReplicationLimits.uniteMax else { return nil }
    }

    private static func unite(
        _ voter: Voter, _ lacks: [ReadUnite.Lack], gives: [BatchHeader]
    ) -> ReadUnite {
        ReadUnite(start: voter.state.start, lacks: lacks, gives: gives)
    }

    /// X and Y of the comment above, for the shortest walk that the digests confirm.
    private static func difference(
        _ base: ReadState, _ partner: ReadState
    ) -> (inBase: [RecentBatch], inPartner: [RecentBatch])? {
        if base.digest == partner.digest { return ([], []) }
        let named = Set(base.recent.map(\.term))
        let namedByPartner = Set(partner.recent.map(\.term))
        var left = base.digest
        var right = partner.digest
        var inBase: [RecentBatch] = []
        var inPartner: [RecentBatch] = []
        var own = base.recent.reversed().makeIterator()
        var theirs = partner.recent.reversed().makeIterator()
        for _ in 0..<max(base.recent.count, partner.recent.count) {
            if let batch = own.next(), !namedByPartner.contains(batch.term) {
                inBase.append(batch)
                right.insert(batch.term)
            }
            if let batch = theirs.next(), !named.contains(batch.term) {
                inPartner.append(batch)
                left.insert(batch.term)
            }
            if left == right { return (inBase, inPartner) }
        }
        return nil
    }
}
