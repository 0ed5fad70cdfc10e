package import Core

extension BatchIndex {
    /// What this node lacks of a batch that a peer lists.
    package func need(of listed: SyncEntry, in mine: PartitionSet) -> SyncNeed? {
        let own = self[listed.header.id]
        let isSame = own?.header.contentHash == listed.header.contentHash
        // Nothing is known to be decided: this node's own promise, if it has one, stands. Slices of
        // the same content are none: another source knew it as bound.
        if !listed.isBound, let own, own.record != nil || !isSame { return nil }
        let segment = segment(of: listed.header)
        let wantsRecord =
            listed.hasRecord && mine.contains(listed.home)
            && !isForgotten(segment, listed.home)
            && own?.holdsDurably(listed.header.contentHash) != true
        var partitions = listed.applied.intersection(mine)
        partitions = partitions.subtracting(forgotten(segment, of: partitions))
        if isSame, let own { partitions = partitions.subtracting(own.applied) }
        guard wantsRecord || !partitions.isEmpty else { return nil }
        return SyncNeed(
            header: listed.header, home: listed.home, wantsRecord: wantsRecord,
            partitions: partitions, isFinished: listed.isFinished, isBound: listed.isBound)
    }
}
