import Core
import NodeCore
import Replication
import Storage
import Wire

/// Short words for histories. Called only where a history is kept.
enum Describe {
    static func message(_ message: PeerMessage) -> String {
        switch message {
        case .gossip: "gossip"
        case .replication(let message), .awaited(let message, _):
            writing(message) ?? reading(message)
        }
    }

    private static func writing(_ message: ReplicationMessage) -> String? {
        switch message {
        case .bind(let bind):
            "bind \(name(bind.header))\(bind.isBound ? ", bound" : "")"
                + (bind.record == nil ? ", bare" : "")
        case .bindReply(let reply): "bindReply \(answer(reply.answer)), \(vote(reply.vote))"
        case .apply(let apply): "apply \(name(apply.header)) \(set(apply.partitions))"
        case .applySlices(_, let record):
            "applySlices \(name(record.header)) \(set(record.partitions))"
        case .applyReply(let reply):
            "applyReply \(set(reply.applied))\(reply.isMissing ? ", missing" : ""), "
                + vote(reply.vote)
        case .finished(let id, _): "finished \(name(id))"
        case .statusAsk(_, let id, _): "statusAsk \(name(id))"
        case .statusReply(let reply):
            "statusReply \(reply.held.map { $0.isBound ? "bound" : "held" } ?? "nothing")"
        case .read, .readReply, .syncAsk, .syncReply, .fetch, .fetched, .pull, .pulled, .hello,
            .helloReply, .remember, .remembered, .vouch, .closeAsk, .closeReply, .absence,
            .audit, .copy:
            nil
        }
    }

    private static func reading(_ message: ReplicationMessage) -> String {
        switch message {
        case .read(let ask): "read \(role(ask.role)) of \(set(ask.partitions))"
        case .readReply(let reply): "readReply \(answer(reply.answer))"
        case .syncAsk(let ask): "syncAsk \(set(ask.partitions))"
        case .syncReply(let reply):
            "syncReply " + reply.listing.map { name($0.header) }.joined(separator: " ")
                + (reply.isSource ? ", source" : "")
        case .fetch(_, let items):
            "fetch "
                + items.map {
                    "\(name($0.id))\($0.wantsRecord ? " whole" : "")\(set($0.partitions))"
                }
                .joined(separator: " ")
        case .fetched(_, let records, let isLast):
            "fetched "
                + records.map { "\(name($0.header))\(set($0.partitions))" }
                .joined(separator: " ") + (isLast ? ", last" : "")
        case .pull(_, let partitions): "pull \(set(partitions))"
        case .pulled: "pulled"
        case .hello(let hello): "hello of \(hello.incarnation.number)"
        case .helloReply(let reply):
            "helloReply of \(reply.incarnation.number), remembers \(standing(reply.remembers))"
        case .remember(_, let incarnation): "remember \(incarnation.number)"
        case .remembered: "remembered"
        case .vouch(let standing): "vouch of \(self.standing(standing))"
        case .closeAsk(let ask):
            "closeAsk: close below \(ask.closeBelow), seal below \(ask.sealBelow)"
        case .closeReply(let reply):
            "closeReply: frozen below \(reply.frozen)\(reply.isReady ? ", ready" : "")"
                + "\(reply.isSettled ? "" : ", in doubt"), \(vote(reply.vote))"
        case .audit(let message): audit(message)
        case .absence(let message): "absence \(message)"
        case .copy(let message): copy(message)
        case .bind, .bindReply, .apply, .applySlices, .applyReply, .finished, .statusAsk,
            .statusReply:
            ""
        }
    }

    private static func standing(_ standing: Standing) -> String {
        "life \(standing.incarnation.number), record \(standing.lsn)"
    }

    private static func copy(_ message: CopyMessage) -> String {
        switch message {
        case .probe: "copy: how far have you forgotten?"
        case .marks(_, let marks, let isSource):
            "copy: sealed below \(marks.sealed)\(isSource ? "" : ", no source")"
        case .ask(_, let partitions): "copy of \(set(partitions))?"
        case .offer(let offer): "copy offered, \(offer.lines.count) partitions"
        case .next(_, let cursor): "copy: next \(cursor.stage) \(cursor.file).\(cursor.place)"
        case .part(let part): "copy: part \(part.cursor.stage), then \(part.next.stage)"
        }
    }

    private static func audit(_ message: AuditMessage) -> String {
        switch message {
        case .ask(let ask): "auditAsk \(set(ask.partitions))"
        case .reply(let reply):
            "auditReply \(reply.lines.isEmpty ? "equal" : "\(reply.lines.count) lines")"
        case .suspect(let line): "suspect \(line.partition)"
        case .survey(let ask): "survey, round \(ask.round)"
        case .surveyed(let reply):
            "surveyed, round \(reply.round), \(reply.verification.doneBytes) of "
                + "\(reply.verification.totalBytes) bytes"
        }
    }

    static func request(_ request: ClientRequest) -> String {
        switch request {
        case .write(let record, let level):
            "write \(name(record.header)) at \(level.name), home \(record.home) "
                + set(record.partitions)
        case .writeOrPark(let record): "write \(name(record.header)) at ANY, home \(record.home)"
        case .parked: "parked batches"
        case .discardParked(let id): "discard what is parked of \(name(id))"
        case .status(let id, _): "status \(name(id))"
        case .read(.series(let query), let level):
            "read \(text(query.key)) in \(query.partition) at \(level.name)"
        case .read(.scan, let level): "scan at \(level.name)"
        case .read(.deadLetters, let level): "dead letters at \(level.name)"
        case .audit: "audit"
        case .flush: "flush"
        case .compact: "compact"
        case .verify: "verify"
        }
    }

    static func response(_ response: ClientResponse) -> String {
        switch response {
        case .write(let outcome): "\(outcome)"
        case .status(let status): "\(status)"
        case .read(let answer):
            "rows from " + answer.replicas.map(\.name).joined(separator: " ")
        case .audit(.report(let report)):
            "audit: \(report.differences), \(report.lagging) lagging, balance \(report.balance)"
        case .audit(.verifying): "audit: disks are being read"
        case .flushed: "flushed"
        case .compacted: "compacted"
        case .verified(let report): "verified: \(report.state), \(report.damage)"
        case .parked(let listing): "\(listing.count) parked"
        case .failed(let failure): "\(failure)"
        }
    }

    static func job(_ job: StorageJob) -> String {
        switch job {
        case .writeTables(let memtable, let id): "writeTables \(id) through \(memtable.through)"
        case .commit(let edit):
            "commit +\(edit.addTables.count) tables"
                + (edit.coveredThrough.map { ", covered through \($0)" } ?? "")
                + (edit.base.map { ", forgotten through \($0.through)" } ?? "")
                + (edit.logStart.map { ", log from \($0)" } ?? "")
                + (edit.removeTables.isEmpty ? "" : ", -\(edit.removeTables.count) tables")
                + (edit.retention.map { ", \($0.floor)" } ?? "")
                + (edit.voidThrough.map { ", void through \($0)" } ?? "")
                + (edit.identity.map { ", incarnation \($0.incarnation.number)" } ?? "")
        case .series(let query, _, _): "series \(text(query.key))"
        case .scan: "scan"
        case .readLog(let positions): "readLog of \(positions.count)"
        case .keepAside(let positions): "keepAside of \(positions.count)"
        case .indexLog(let plan): "indexLog \(plan.file), covered through \(plan.covered)"
        case .removeLogs: "removeLogs"
        case .removeTables: "removeTables"
        case .compact(let compaction, let bytes):
            "compact \(compaction.inputs.map(\.meta.id)) to \(compaction.id), \(bytes) bytes"
                + (compaction.destination == .hot ? "" : ", cold")
        case .abandonCompaction(let compaction): "abandonCompaction \(compaction.id)"
        case .writeHistory(let plan):
            "writeHistory \(plan.id) of \(plan.drafts.count), \(plan.husks.count) husks, "
                + "merging \(plan.merged.count)"
        case .sweepHistory(let plan): "sweepHistory \(plan.merged.map(\.meta.id)) to \(plan.id)"
        case .lookUp(let id, _): "lookUp \(name(id))"
        case .letters: "letters"
        case .removeHistory: "removeHistory"
        case .copyCells(let tables, _, _): "copyCells of \(tables.count)"
        case .copyHistory(let files, _, _): "copyHistory of \(files.count)"
        case .copySealed(let drafts): "copySealed of \(drafts.count)"
        case .verify(let verification, let bytes):
            "verify \(verification.file.path), \(bytes) bytes"
        case .recount(let partition, let positions): "recount of \(partition), \(positions.count)"
        }
    }

    static func parking(_ result: ParkingResult) -> String {
        switch result {
        case .listed(let notes, let renewed):
            "\(notes.count) parked, \(renewed.batches.count) renewed"
        case .listFailed(let why): "cannot list: \(why)"
        case .stored(let key): "parked \(key.id)"
        case .storeFailed(let key, let why): "cannot park \(key.id): \(why)"
        case .loaded(let key, _): "loaded \(key.id)"
        case .loadFailed(let key, let why): "cannot load \(key.id): \(why)"
        case .removed(let key): "removed \(key.id)"
        case .removeFailed(let key, let why): "cannot remove \(key.id): \(why)"
        }
    }

    static func result(_ result: Result<StorageResult, StorageError>) -> String {
        switch result {
        case .success: "done"
        case .failure(let error): "\(error)"
        }
    }

    // MARK: - Names

    private static func name(_ header: BatchHeader) -> String {
        name(header.id) + "#" + String(header.contentHash.description.prefix(4))
    }

    private static func name(_ id: BatchID) -> String {
        "\(String(id.producer))/\(id.sequence)"
    }

    private static func set(_ partitions: PartitionSet) -> String {
        "[" + partitions.map { "\($0.index)" }.joined(separator: " ") + "]"
    }

    private static func text(_ bytes: [UInt8]) -> String {
        String(decoding: bytes, as: UTF8.self)
    }

    private static func vote(_ vote: Vote) -> String {
        "\(vote.isVoting ? "votes" : "does not vote") as \(vote.incarnation.number)"
    }

    private static func answer(_ answer: BindAnswer) -> String {
        switch answer {
        case .holds(let wasBound): wasBound ? "holds, was bound" : "holds"
        case .missing: "missing"
        case .conflict(let hash, let isBound):
            "conflict #\(hash.description.prefix(4))\(isBound ? ", bound" : "")"
        case .tooOld: "too old"
        case .ahead: "ahead"
        case .closed: "closed"
        case .unable(let why): "unable: \(why)"
        }
    }

    private static func answer(_ answer: ReadReply.Answer) -> String {
        switch answer {
        case .read(let result, let state):
            "\(result == nil ? "digest" : "rows") over \(state.digest.count)"
        case .met(let state, let meeting):
            "digest over \(state.digest.count), met: lacked "
                + meeting.lacked.map { name($0) }.joined(separator: " ")
        case .united(let rows, _): "united, \(rows.count) rows more"
        case .notVoting(let why): "not voting: \(why)"
        case .failed(let why): "failed: \(why)"
        case .tooLarge(let why): "too large: \(why)"
        case .rolled(let floor): "rolled up: \(floor)"
        }
    }

    private static func role(_ role: ReadAsk.Role) -> String {
        switch role {
        case .data: "rows"
        case .digest: "digest"
        case .meet(let state): "digest, to meet \(state.digest.count)"
        case .unite(let unite):
            "union: lacks " + unite.lacks.map { name($0.header) }.joined(separator: " ")
                + ", gives " + unite.gives.map { name($0) }.joined(separator: " ")
        case .converge(let others):
            "converging with " + others.map(\.name).joined(separator: " ")
        }
    }
}
