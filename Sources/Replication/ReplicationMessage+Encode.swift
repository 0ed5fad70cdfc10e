import Core
package import Wire

// docs/formats/peer-messages.md lists the layouts. The first byte names the message: do not change
// the numbers.

extension ReplicationMessage {
    package func encode(into writer: inout ByteWriter) {
        switch self {
        case .bind(let bind):
            writer.write(1)
            writer.write(fixed: bind.tag.number)
            writer.write(bind.header)
            writer.write(fixed: bind.home.index)
            writer.write(flag: bind.isBound)
            writer.write(flag: bind.isAdmitted)
            writer.write(flag: bind.record != nil)
            if let record = bind.record { writer.write(sized: record.bytes) }
        case .bindReply(let reply):
            writer.write(2)
            writer.write(fixed: reply.tag.number)
            writer.write(reply.answer)
            writer.write(reply.vote)
        case .apply(let apply):
            writer.write(3)
            writer.write(fixed: apply.tag.number)
            writer.write(apply.header)
            writer.write(apply.partitions)
        case .applySlices(let tag, let record):
            writer.write(4)
            writer.write(fixed: tag.number)
            writer.write(sized: record.bytes)
        case .applyReply(let reply):
            writer.write(5)
            writer.write(fixed: reply.tag.number)
            writer.write(reply.applied)
            writer.write(flag: reply.isMissing)
            writer.write(reply.vote)
        case .finished(let id, let hash):
            writer.write(6)
            writer.write(id)
            writer.write(hash)
        case .statusAsk(let tag, let id, let createdAt):
            writer.write(7)
            writer.write(fixed: tag.number)
            writer.write(id)
            writer.write(flag: createdAt != nil)
            if let createdAt { writer.write(fixed: createdAt.milliseconds) }
        case .statusReply(let reply):
            writer.write(8)
            encode(reply, into: &writer)
        case .read(let ask):
            writer.write(9)
            writer.write(ask)
        case .readReply(let reply):
            writer.write(10)
            writer.write(reply)
        case .syncAsk(let ask):
            writer.write(11)
            encode(ask, into: &writer)
        case .syncReply(let reply):
            writer.write(12)
            encode(reply, into: &writer)
        case .audit(let message):
            writer.write(60)
            message.encode(into: &writer)
        case .copy(let message):
            writer.write(61)
            message.encode(into: &writer)
        case .fetch, .fetched, .pull, .pulled, .hello, .helloReply, .remember, .remembered, .vouch,
            .closeAsk, .closeReply, .absence:
            encodeRest(into: &writer)
        }
    }

    private func encodeRest(into writer: inout ByteWriter) {
        switch self {
        case .fetch(let tag, let items):
            writer.write(13)
            writer.write(fixed: tag.number)
            writer.write(count: items.count)
            for item in items {
                writer.write(item.id)
                writer.write(item.contentHash)
                writer.write(flag: item.wantsRecord)
                writer.write(item.partitions)
            }
        case .fetched(let tag, let records, let isLast):
            writer.write(14)
            writer.write(fixed: tag.number)
            writer.write(flag: isLast)
            writer.write(count: records.count)
            for record in records { writer.write(sized: record.bytes) }
        case .pull(let tag, let partitions):
            writer.write(15)
            writer.write(fixed: tag.number)
            writer.write(partitions)
        case .pulled(let tag):
            writer.write(16)
            writer.write(fixed: tag.number)
        case .hello(let hello):
            writer.write(17)
            writer.write(fixed: hello.tag.number)
            writer.write(fixed: hello.incarnation.number)
        case .helloReply(let reply):
            writer.write(18)
            writer.write(fixed: reply.tag.number)
            writer.write(fixed: reply.incarnation.number)
            writer.write(reply.remembers)
        case .remember(let tag, let incarnation):
            writer.write(19)
            writer.write(fixed: tag.number)
            writer.write(fixed: incarnation.number)
        case .remembered(let tag, let register):
            writer.write(20)
            writer.write(fixed: tag.number)
            register.encode(into: &writer)
        case .vouch(let standing):
            writer.write(21)
            writer.write(standing)
        case .closeAsk(let ask):
            writer.write(40)
            ask.encode(into: &writer)
        case .closeReply(let reply):
            writer.write(41)
            reply.encode(into: &writer)
        case .absence(let message):
            writer.write(42)
            message.encode(into: &writer)
        case .bind, .bindReply, .apply, .applySlices, .applyReply, .finished, .statusAsk,
            .statusReply, .read, .readReply, .syncAsk, .syncReply, .audit, .copy:
            preconditionFailure("encoded by the caller")
        }
    }

    private func encode(_ reply: StatusReply, into writer: inout ByteWriter) {
        writer.write(fixed: reply.tag.number)
        writer.write(reply.vote)
        writer.write(flag: reply.isClosed)
        writer.write(flag: reply.held != nil)
        guard let held = reply.held else { return }
        writer.write(held.contentHash)
        writer.write(flag: held.isBound)
        writer.write(held.totals)
    }

    private func encode(_ ask: SyncAsk, into writer: inout ByteWriter) {
        writer.write(fixed: ask.tag.number)
        writer.write(fixed: ask.round)
        writer.write(ask.partitions)
        writer.write(fixed: ask.ageMin.nanoseconds)
        writer.write(flag: ask.wantsUnbound)
        switch ask.scope {
        case .newest(let boundary, let sums, let older):
            writer.write(1)
            writer.write(fixed: boundary.number)
            writer.write(older)
            writer.write(sums)
        case .older(let before, let sums):
            writer.write(2)
            writer.write(fixed: before.number)
            writer.write(sums)
        case .more(let segments, let after):
            writer.write(3)
            writer.write(after)
            writer.write(segments)
        }
    }

    private func encode(_ reply: SyncReply, into writer: inout ByteWriter) {
        writer.write(fixed: reply.tag.number)
        writer.write(fixed: reply.round)
        writer.write(flag: reply.olderDiffers)
        writer.write(flag: reply.isSource)
        writer.write(fixed: reply.frozen.number)
        writer.write(reply.rest)
        writer.write(count: reply.listing.count)
        for entry in reply.listing { writer.write(entry) }
        writer.write(flag: reply.marks != nil)
        if let marks = reply.marks { writer.write(marks) }
    }
}

extension ByteWriter {
    mutating func write(_ answer: BindAnswer) {
        switch answer {
        case .holds(let wasBound):
            write(1)
            write(flag: wasBound)
        case .missing: write(2)
        case .conflict(let hash, let isBound):
            write(3)
            write(hash)
            write(flag: isBound)
        case .tooOld: write(4)
        case .ahead: write(5)
        case .closed: write(6)
        case .unable(let why):
            write(7)
            write(why.rawValue)
        }
    }

    mutating func write(_ entry: SyncEntry) {
        write(entry.header)
        write(fixed: entry.home.index)
        write(flag: entry.hasRecord)
        write(entry.applied)
        write(flag: entry.isFinished)
        write(flag: entry.isBound)
        write(flag: entry.isHusk)
    }

    mutating func write(_ vote: Vote) {
        write(fixed: vote.incarnation.number)
        write(flag: vote.isVoting)
        write(vote.superseded)
    }

    mutating func write(_ successors: [Vote.Successor]) {
        write(UInt8(successors.count))
        for successor in successors {
            write(successor.node)
            write(fixed: successor.incarnation.number)
        }
    }

    mutating func write(_ totals: BatchTotals) {
        write(fixed: totals.events)
        write(fixed: totals.counted)
        write(fixed: totals.dead)
    }

    mutating func write(_ segments: [Segment]) {
        write(count: segments.count)
        for segment in segments { write(fixed: segment.number) }
    }

    mutating func write(_ sums: [SegmentSum]) {
        write(count: sums.count)
        for sum in sums {
            write(fixed: sum.segment.number)
            write(sum.digest)
        }
    }
}
