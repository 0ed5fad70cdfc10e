import Core
import Replication
import Ring
import Storage
import Wire

/// The clients: readers. Each asks, checks the answer, and asks again.
extension VirtualCluster {
    func askAgain(_ reader: Int?) {
        guard let reader else { return }
        // Who was denied does not wait for long.
        let isDenied = workload.deniedSince[reader] != nil
        put(.ask(reader: reader), after: isDenied ? min(pause(), .milliseconds(200)) : pause())
    }

    func ask(_ reader: Int) {
        guard !isHealed else { return }
        workload.turns[reader] += 1
        if workload.deniedSince[reader] != nil {
            if !askInsistently(reader) { askAgain(reader) }
            return
        }
        let isSent =
            switch workload.random.below(20) {
            case 0...12: askSeries(reader)
            case 13...14: askScan(reader)
            case 15...16: askDeadLetters(reader)
            case 17...18: askStatus(reader)
            default: askFlush(reader)
            }
        if !isSent { askAgain(reader) }
    }

    /// Who got no answer asks the next node, at QUORUM, until there is one (A1).
    private func askInsistently(_ reader: Int) -> Bool {
        guard let key = hotKey() else { return false }
        return read(
            .series(seriesQuery(key)), .quorum, swarm.requestTimeout, reader: reader,
            through: (reader + workload.turns[reader]) % nodes.count)
    }

    func noteDenial(_ check: ReadCheck, _ response: ClientResponse?, _ reader: Int?) {
        guard let reader, check.level != .all else { return }
        if case .read = response {
            workload.deniedSince[reader] = nil
        } else if workload.deniedSince[reader] == nil {
            workload.deniedSince[reader] = now
        }
    }

    private func level() -> Consistency {
        switch workload.random.below(10) {
        case 0...1: .one
        case 2: .all
        case 3: .localQuorum
        default: .quorum
        }
    }

    private func patience() -> Duration {
        workload.random.chance(1, in: 4) ? swarm.requestTimeout / 4 : swarm.requestTimeout
    }

    /// Of the batches that were acknowledged last, one whose mark the crash may have taken.
    func probe(_ node: Int) {
        guard !isHealed, !ledger.answered.isEmpty else { return }
        let number = workload.random.pick(Array(ledger.answered.suffix(6)))
        guard ledger.contents[number].retires == nil else { return }
        let mine = ring.partitions(of: nodes[node].id)
        let here = ledger.contents[number].cells.filter { mine.contains($0.partition) }
        guard !here.isEmpty else { return }
        let cell = workload.random.pick(here)
        let query = SeriesQuery(partition: cell.partition, key: cell.name.key)
        _ = read(.series(query), .quorum, patience(), reader: nil, through: node)
    }

    private func hotKey() -> [UInt8]? {
        let keys = ledger.keys
        guard !keys.isEmpty else { return nil }
        return keys[min(workload.random.below(keys.count), workload.random.below(keys.count))]
    }

    /// A key of the content that was sent last: it is likely to be on its way.
    private func freshKey() -> [UInt8]? {
        guard let newest = ledger.submitted.members.last,
            ledger.contents[newest].retires == nil
        else { return nil }
        return ledger.contents[newest].cells.first?.name.key
    }

    /// What a quorum read showed must be there for whoever asks next, through whichever node.
    func askOnceMore(_ check: ReadCheck) {
        guard !isHealed, check.level != .one, case .series(let query) = check.query,
            workload.random.chance(1, in: 2)
        else { return }
        for node in nodes.indices {
            _ = read(.series(query), .quorum, patience(), reader: nil, through: node)
        }
    }

    private func askSeries(_ reader: Int) -> Bool {
        let isFresh = workload.random.chance(1, in: 3)
        guard let key = isFresh ? freshKey() ?? hotKey() : hotKey() else { return false }
        var query = seriesQuery(key)
        if workload.random.chance(1, in: 4) { query.type = Array("view".utf8) }
        if workload.random.chance(1, in: 6) { query.from = windows.recent }
        if workload.random.chance(1, in: 6) { query.to = windows.recent + 1 }
        if swarm.retention != .forever, workload.random.chance(1, in: 2) {
            // Within the hours and days that retention makes of these.
            let within = [0, 1] + [30, 61, 1440].map { windows.after(minutes: $0) }
            let places = within.map { windows.longAgo + $0 }
            query.from = workload.random.chance(1, in: 2) ? workload.random.pick(places) : nil
            query.to = workload.random.chance(1, in: 2) ? workload.random.pick(places) : nil
        }
        return read(.series(query), level(), patience(), reader: reader)
    }

    /// All that is to be asked of a key: where its days lie apart, one question each.
    func seriesQueries(_ key: [UInt8]) -> [SeriesQuery] {
        guard placement.rule == .keyAndDay else {
            return [SeriesQuery(partition: placement.partition(of: key, window: 0), key: key)]
        }
        return ledger.partitions(touching: key).map { SeriesQuery(partition: $0, key: key) }
    }

    /// One of them.
    func seriesQuery(_ key: [UInt8]) -> SeriesQuery {
        let queries = seriesQueries(key)
        return queries.count == 1 ? queries[0] : workload.random.pick(queries)
    }

    private func askScan(_ reader: Int) -> Bool {
        let output: ScanSpec.Output =
            switch workload.random.below(3) {
            case 0: .types
            case 1: .keys(prefix: Array("k".utf8), after: nil, limit: 100)
            default: .totalsByKey
            }
        let type = workload.random.chance(1, in: 2) ? Array("view".utf8) : nil
        let top =
            output == .totalsByKey
            ? TopSpec(k: 1 + workload.random.below(5), order: .count) : nil
        var spec = ScanSpec(
            partitions: PartitionSet(), type: output == .types ? nil : type, output: output)
        // Over one day, where a key lies in one partition, and over several.
        if placement.rule == .keyAndDay, workload.random.chance(2, in: 3) {
            let places = [-windows.perDay, 0, windows.recent, windows.longAgo]
            let day = floorDivide(workload.random.pick(places), windows.perDay)
            spec.from = day * windows.perDay
            spec.to = (day + Int64(workload.random.pick([1, 1, 3]))) * windows.perDay
        }
        return read(.scan(spec, top: top), level(), patience(), reader: reader)
    }

    private func askDeadLetters(_ reader: Int) -> Bool {
        read(.deadLetters(DeadLetterQuery(limit: 10_000)), level(), patience(), reader: reader)
    }

    private func askStatus(_ reader: Int) -> Bool {
        guard !ledger.contents.isEmpty else { return false }
        let content = ledger.contents[workload.random.below(ledger.contents.count)]
        return call(
            .status(content.id, createdAt: content.record.header.createdAt),
            .status(content: content.number, reader: reader), patience())
    }

    private func askFlush(_ reader: Int) -> Bool {
        let request: ClientRequest = workload.random.chance(1, in: 3) ? .compact : .flush
        _ = call(request, .flush, swarm.requestTimeout)
        return false
    }

    func read(
        _ query: ReadQuery, _ level: Consistency, _ timeout: Duration, reader: Int?,
        through node: Int? = nil
    ) -> Bool {
        let check = ReadCheck(
            query: query, level: level, acknowledged: checks.mustBeSeen(level, ledger),
            floors: checks.floors, letterFloor: checks.letterFloor,
            isFinal: checks.final != nil, mayMeetRot: nodes.contains(where: \.maySeeRot))
        return call(
            .read(query, consistency: level), .read(check, reader: reader), timeout, through: node)
    }
}
