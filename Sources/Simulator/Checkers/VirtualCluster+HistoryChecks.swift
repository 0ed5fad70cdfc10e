import Core
import NodeCore
import Replication
import Ring
import Storage
import Wire

/// S7 for what left memory and the log: it was sealed, it is in tables, its outcomes are in files,
/// and it is still known.
extension VirtualCluster {
    /// The contents that were decided, each in the form in which it counts.
    var decidedForms: [(content: Content, record: BatchRecord)] {
        ledger.forms.compactMap { number, record in
            let content = ledger.contents[number]
            guard isDecided(number) else { return nil }
            return (content: content, record: record)
        }
    }

    func segment(of header: BatchHeader) -> Segment {
        Segment(createdAt: header.createdAt, length: swarm.segmentLength)
    }

    /// What a node holds of a batch by its history alone.
    func forgottenPart(
        of record: BatchRecord, by base: HistoryBase, _ node: VirtualNode
    ) -> (partitions: PartitionSet, home: Bool) {
        let segment = segment(of: record.header)
        let mine = ring.partitions(of: node.id)
        let partitions = record.partitions.intersection(mine).filter {
            segment < base[$0].floor
        }
        return (
            partitions: PartitionSet(partitions),
            home: mine.contains(record.home) && segment < base[record.home].floor
        )
    }

    /// The manifest of a node says, durably, what it has forgotten: now, or at a start.
    func noteForgotten(_ manifest: ManifestState, of node: VirtualNode) throws(Violation) {
        if manifest.voidThrough > node.shadow.voidThrough {
            node.shadow.setAside(through: manifest.voidThrough)
        }
        // Who was left out drops its tables unread, retention those that expired, and what rotted
        // in one goes with it.
        node.forgetRotOfUnlisted(manifest)
        // Whatever lets go of anything says a new base.
        guard manifest.base != node.shadow.base else { return }
        try noteHusks(manifest, of: node)
        for (content, record) in decidedForms {
            let part = forgottenPart(of: record, by: manifest.base, node)
            guard part.home || !part.partitions.isEmpty else { continue }
            if !node.isWiped, !node.isLeftOut {
                try checkForgotten(content, record, part, manifest.coveredThrough, node)
            }
            node.shadow.archive(record, part.partitions, home: part.home)
        }
        try node.shadow.forget(manifest.base, ring.partitions(of: node.id), ledger) {
            segment(of: $0)
        }
        try node.shadow.release(before: manifest.logStart)
        if manifest.logStart > 1 { checks.hit(.logReclaimed) }
    }

    /// S7 for payloads: what is let go of is a husk in a listed file, its cells are in tables, and
    /// all voters hold it. Read from the files themselves.
    private func noteHusks(
        _ manifest: ManifestState, of node: VirtualNode
    ) throws(Violation) {
        for (id, husk) in try husks(of: manifest, node).sorted(by: { $0.key < $1.key }) {
            guard let record = ledger.record(id, husk.header.contentHash),
                record.header == husk.header, record.totals == husk.totals,
                let number = ledger.number(of: husk.header.contentHash)
            else { throw Violation("S1", "\(node.id) keeps a husk of \(id) that nobody made") }
            for slice in husk.applied where record.slice(of: slice.partition)?.hash != slice.hash {
                throw Violation("S2", "\(node.id)'s husk of \(id) has another slice's hash")
            }
            let known = node.shadow.archived(id)
            let new = husk.partitions.subtracting(known?.slices ?? PartitionSet())
            let isNewHome = husk.hasRecord && known?.hasRecord != true
            guard !new.isEmpty || isNewHome else { continue }
            if !node.isWiped, !node.isLeftOut {
                try checkForgotten(
                    ledger.contents[number], record, (partitions: new, home: isNewHome),
                    manifest.coveredThrough, node)
                if isNewHome { try checkHomes(record, node) }
                checks.hit(.payloadReleased)
            } else if node.isCopying {
                checks.hit(.copiedWithHusks)
            }
            node.shadow.archive(record, husk.partitions, home: husk.hasRecord)
        }
    }

    private func husks(
        of manifest: ManifestState, _ node: VirtualNode
    ) throws(Violation) -> [BatchID: Husk] {
        var husks: [BatchID: Husk] = [:]
        let disk = node.isRotten ? node.disk.readable() : node.disk
        for meta in manifest.history {
            do throws(StorageError) {
                try HistoryHandle.open(meta, in: disk).forEachHusk { husk in
                    if husks[husk.header.id] == nil {
                        husks[husk.header.id] = husk
                    } else {
                        husks[husk.header.id]?.merge(husk)
                    }
                }
            } catch {
                throw Violation("S10", "\(node.id) lists a history that cannot be read: \(error)")
            }
        }
        return husks
    }

    private func checkHomes(_ record: BatchRecord, _ node: VirtualNode) throws(Violation) {
        for replica in ring.replicas(of: record.home).map({ nodes[index(of: $0)] }) {
            guard !replica.isWiped, !replica.isLeftOut, !replica.shadow.holdsHome(record) else {
                continue
            }
            throw Violation(
                "S7",
                "\(node.id) lets go of the home record of \(record.header.id), which "
                    + "\(replica.id) does not hold")
        }
    }

    private func checkForgotten(
        _ content: Content, _ record: BatchRecord, _ part: (partitions: PartitionSet, home: Bool),
        _ covered: LSN, _ node: VirtualNode
    ) throws(Violation) {
        let name = "\(node.id) forgets c\(content.number)"
        if part.home, !node.shadow.holdsHome(record) {
            throw Violation("S7", "\(name), whose home record it never held")
        }
        for partition in part.partitions {
            guard let marked = node.shadow.markedAt(record, partition) else {
                throw Violation("S7", "\(name) in \(partition), where it never counted it")
            }
            guard marked <= covered else {
                throw Violation(
                    "S7", "\(name) in \(partition): counted at \(marked), tables end at \(covered)")
            }
            for replica in ring.replicas(of: partition).map({ nodes[index(of: $0)] }) {
                // One that lost its disk, or was left out, copies it all.
                guard !replica.isWiped, !replica.isLeftOut,
                    !replica.shadow.holdsSlice(record, partition)
                else {
                    continue
                }
                throw Violation("S7", "\(name) in \(partition), which \(replica.id) does not hold")
            }
        }
    }

    /// What was forgotten is looked up in the files: one batch at each look.
    func checkHistory(
        _ node: VirtualNode, _ process: VirtualProcess, _ core: NodeMachine
    ) throws(Violation) {
        let homes = node.shadow.archivedHomes
        // An edit may be on the disk whose completion is still on its way to the core.
        guard core.forgotten == node.shadow.base else { return }
        // What cannot be read is an error to whoever asks, until it is found and set aside.
        guard !homes.isEmpty, !node.maySeeRot else { return }
        let id = homes[trace.events % homes.count]
        guard let hash = node.shadow.archivedHash(id), let made = ledger.record(id, hash) else {
            return
        }
        let files = core.historyFiles
        guard segment(of: made.header) >= core.forgotten.outcomesFrom else { return }
        guard case .success(.outcome(let found)) = process.runner.run(.lookUp(id, files)),
            let found, found.header == made.header, found.totals == made.totals
        else { throw Violation("S7", "\(node.id)'s history does not know \(id)") }
        let query = LetterQuery(
            homes: PartitionSet([made.home]), limit: 10_000)
        guard case .success(.letters(let items, _)) = process.runner.run(.letters(query, files))
        else { throw Violation("S14", "\(node.id)'s history cannot list letters") }
        guard let number = ledger.number(of: hash) else { return }
        let expired = core.durableFloor.expired
        if expired > .min, made.header.createdAt < core.configuration.window.start(of: expired) {
            return
        }
        try checkKept(
            items.filter { $0.place.id == id }.map(\.letter), of: ledger.contents[number], as: id,
            node)
    }

    /// The letters of a content, each as it was made, or without its bytes once it is decided that
    /// it is retired.
    private func checkKept(
        _ kept: [DeadLetter], of content: Content, as id: BatchID, _ node: VirtualNode
    ) throws(Violation) {
        var rest = kept[...]
        for letter in content.deadLetters {
            let found = rest.first?.line == letter.line ? rest.popFirst() : nil
            if found == letter { continue }
            let isRetired = ledger.retirers(of: LetterID(batch: id, line: letter.line))
                .contains { isDecided($0) }
            guard isRetired, found?.raw.isEmpty ?? true else {
                throw Violation("S14", "\(node.id)'s history has other dead letters of \(id)")
            }
            checks.hit(.letterSwept)
        }
        guard rest.isEmpty else {
            throw Violation("S14", "\(node.id)'s history has dead letters of \(id) nobody made")
        }
    }
}
