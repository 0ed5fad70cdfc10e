import Core
package import Wire

extension ReplicationMessage {
    /// Reads one message; the caller checks that nothing is left over.
    package init(from reader: inout ByteReader) throws(DecodeError) {
        let kind = try reader.byte()
        switch kind {
        case 1: self = .bind(try reader.bind())
        case 2:
            self = .bindReply(
                BindReply(
                    tag: try reader.tag(), answer: try reader.bindAnswer(), vote: try reader.vote())
            )
        case 3:
            self = .apply(
                Apply(
                    tag: try reader.tag(), header: try reader.header(),
                    partitions: try reader.partitions()))
        case 4: self = .applySlices(try reader.tag(), try reader.record())
        case 5:
            self = .applyReply(
                ApplyReply(
                    tag: try reader.tag(), applied: try reader.partitions(),
                    isMissing: try reader.flag(), vote: try reader.vote()))
        case 6: self = .finished(try reader.batchID(), try reader.hash())
        case 7:
            let tag = try reader.tag()
            let id = try reader.batchID()
            self = .statusAsk(tag, id, createdAt: try reader.createdAt())
        case 8: self = .statusReply(try reader.statusReply())
        case 9: self = .read(try reader.readAsk())
        case 10: self = .readReply(try reader.readReply())
        case 11: self = .syncAsk(try reader.syncAsk())
        case 12: self = .syncReply(try reader.syncReply())
        case 13: self = .fetch(try reader.tag(), try reader.fetchItems())
        case 14:
            let tag = try reader.tag()
            let isLast = try reader.flag()
            self = .fetched(tag, try reader.records(), isLast: isLast)
        case 15: self = .pull(try reader.tag(), try reader.partitions())
        case 16: self = .pulled(try reader.tag())
        case 17:
            self = .hello(
                Hello(tag: try reader.tag(), incarnation: try reader.incarnation()))
        case 18:
            self = .helloReply(
                HelloReply(
                    tag: try reader.tag(), incarnation: try reader.incarnation(),
                    remembers: try reader.standing()))
        case 19: self = .remember(try reader.tag(), try reader.incarnation())
        case 20:
            let tag = try reader.tag()
            self = .remembered(tag, try AbsenceRegister(from: &reader))
        case 21: self = .vouch(try reader.standing())
        case 40: self = .closeAsk(try CloseAsk(from: &reader))
        case 41:
            let tag = try reader.tag()
            let vote = try reader.vote()
            self = .closeReply(try CloseReply(from: &reader, vote: vote, tag: tag))
        case 42: self = .absence(try AbsenceMessage(from: &reader))
        case 60: self = .audit(try AuditMessage(from: &reader))
        case 61: self = .copy(try CopyMessage(from: &reader))
        default: throw reader.fail("a message of kind \(kind)")
        }
    }
}

extension ByteReader {
    mutating func tag() throws(DecodeError) -> Tag {
        Tag(try fixed())
    }

    fileprivate mutating func record() throws(DecodeError) -> BatchRecord {
        try BatchRecord(decoding: try sized(max: Limits.frameMax))
    }

    fileprivate mutating func bind() throws(DecodeError) -> Bind {
        let tag = try tag()
        let header = try header()
        let home = try partition()
        let isBound = try flag()
        let isAdmitted = try flag()
        let record = try flag() ? try record() : nil
        if let record, record.header != header || record.home != home || record.kind != .home {
            throw fail("a bind whose record is another's")
        }
        return Bind(
            tag: tag, header: header, home: home, record: record, isBound: isBound,
            isAdmitted: isAdmitted)
    }

    fileprivate mutating func bindAnswer() throws(DecodeError) -> BindAnswer {
        switch try byte() {
        case 1: .holds(wasBound: try flag())
        case 2: .missing
        case 3: .conflict(try hash(), isBound: try flag())
        case 4: .tooOld
        case 5: .ahead
        case 6: .closed
        case 7: .unable(try inability())
        default: throw fail("an answer to a bind")
        }
    }

    private mutating func inability() throws(DecodeError) -> BindAnswer.Inability {
        guard let why = BindAnswer.Inability(rawValue: try byte()) else {
            throw fail("a reason to take nothing")
        }
        return why
    }

    fileprivate mutating func vote() throws(DecodeError) -> Vote {
        let incarnation = try incarnation()
        let isVoting = try flag()
        return Vote(
            incarnation: incarnation, isVoting: isVoting, superseded: try successors())
    }

    mutating func successors() throws(DecodeError) -> [Vote.Successor] {
        let count = Int(try byte())
        guard count <= ReplicationLimits.supersededMax else { throw fail("\(count) successors") }
        var successors: [Vote.Successor] = []
        for _ in 0..<count {
            successors.append(
                Vote.Successor(node: try node(), incarnation: try incarnation()))
        }
        return successors
    }

    fileprivate mutating func totals() throws(DecodeError) -> BatchTotals {
        let events: UInt32 = try fixed()
        let counted: UInt32 = try fixed()
        let dead: UInt32 = try fixed()
        guard UInt64(counted) + UInt64(dead) == UInt64(events) else {
            throw fail("totals that do not balance")
        }
        return BatchTotals(events: events, counted: counted, dead: dead)
    }

    fileprivate mutating func statusReply() throws(DecodeError) -> StatusReply {
        let tag = try tag()
        let vote = try vote()
        let isClosed = try flag()
        guard try flag() else {
            return StatusReply(tag: tag, held: nil, isClosed: isClosed, vote: vote)
        }
        let held = StatusReply.Held(
            contentHash: try hash(), isBound: try flag(), totals: try totals())
        return StatusReply(tag: tag, held: held, isClosed: isClosed, vote: vote)
    }

    fileprivate mutating func createdAt() throws(DecodeError) -> WallTime? {
        guard try flag() else { return nil }
        return WallTime(milliseconds: try fixed())
    }

    fileprivate mutating func syncAsk() throws(DecodeError) -> SyncAsk {
        let tag = try tag()
        let round: UInt32 = try fixed()
        let partitions = try partitions()
        let age: Int64 = try fixed()
        guard age >= 0, age <= ReplicationLimits.ageMax.nanoseconds else {
            throw fail("an age of \(age) ns")
        }
        let wantsUnbound = try flag()
        let scope: SyncAsk.Scope
        switch try byte() {
        case 1:
            let boundary = Segment(try fixed())
            let older = try digest()
            scope = .newest(boundary: boundary, try segmentSums(), older: older)
        case 2: scope = .older(before: Segment(try fixed()), try segmentSums())
        case 3:
            let after = try batchID()
            scope = .more(try segments(), after: after)
        default: throw fail("a scope in a sync")
        }
        return SyncAsk(
            tag: tag, round: round, partitions: partitions, scope: scope,
            ageMin: .nanoseconds(age), wantsUnbound: wantsUnbound)
    }

    private mutating func segments() throws(DecodeError) -> [Segment] {
        var segments: [Segment] = []
        for _ in 0..<(try count(ofSize: 8)) { segments.append(Segment(try fixed())) }
        return segments
    }

    private mutating func segmentSums() throws(DecodeError) -> [SegmentSum] {
        var sums: [SegmentSum] = []
        for _ in 0..<(try count(ofSize: 25)) {
            sums.append(SegmentSum(segment: Segment(try fixed()), digest: try digest()))
        }
        return sums
    }

    fileprivate mutating func syncReply() throws(DecodeError) -> SyncReply {
        let tag = try tag()
        let round: UInt32 = try fixed()
        let olderDiffers = try flag()
        let isSource = try flag()
        let frozen = Segment(try fixed())
        let rest = try segments()
        var listing: [SyncEntry] = []
        for _ in 0..<(try count(ofSize: 56)) {
            listing.append(try syncEntry())
        }
        var reply = SyncReply(
            tag: tag, round: round, listing: listing, rest: rest, olderDiffers: olderDiffers,
            isSource: isSource, frozen: frozen)
        if try flag() { reply.marks = try historyMarks() }
        return reply
    }

    mutating func syncEntry() throws(DecodeError) -> SyncEntry {
        SyncEntry(
            header: try header(), home: try partition(), hasRecord: try flag(),
            applied: try partitions(), isFinished: try flag(), isBound: try flag(),
            isHusk: try flag())
    }

    fileprivate mutating func fetchItems() throws(DecodeError) -> [FetchItem] {
        let count = try count(ofSize: 42)
        guard count <= ReplicationLimits.fetchMax else { throw fail("a fetch of \(count)") }
        var items: [FetchItem] = []
        for _ in 0..<count {
            items.append(
                FetchItem(
                    id: try batchID(), contentHash: try hash(), wantsRecord: try flag(),
                    partitions: try partitions()))
        }
        return items
    }

    fileprivate mutating func records() throws(DecodeError) -> [BatchRecord] {
        var records: [BatchRecord] = []
        for _ in 0..<(try count(ofSize: 64)) { records.append(try record()) }
        return records
    }
}
