import Core
import Storage
import Wire

// docs/formats/peer-messages.md lists the layouts.

extension ByteWriter {
    mutating func write(_ ask: ReadAsk) {
        write(fixed: ask.tag.number)
        write(ask.partitions)
        write(flag: ask.isWeak)
        write(flag: ask.wantsRecent)
        write(ask.floor)
        switch ask.role {
        case .data: write(1)
        case .digest: write(2)
        case .converge(let partners):
            write(3)
            write(count: partners.count)
            for partner in partners { write(partner) }
        case .unite(let unite):
            write(4)
            write(unite)
        case .meet(let state):
            write(5)
            write(state)
        }
        write(ask.query)
    }

    private mutating func write(_ state: ReadState) {
        write(state.digest)
        write(fixed: state.start)
        write(count: state.recent.count)
        for batch in state.recent {
            write(batch.header)
            write(fixed: batch.term)
        }
    }

    private mutating func write(_ meeting: ReadMeeting) {
        write(count: meeting.lacked.count)
        for header in meeting.lacked { write(header) }
        write(flag: meeting.hasFetched)
        write(meeting.rows)
    }

    private mutating func write(_ unite: ReadUnite) {
        write(fixed: unite.start)
        write(count: unite.lacks.count)
        for lack in unite.lacks {
            write(lack.header)
            write(lack.source)
        }
        write(count: unite.gives.count)
        for header in unite.gives { write(header) }
    }

    mutating func write(_ reply: ReadReply) {
        write(fixed: reply.tag.number)
        switch reply.answer {
        case .read(let result, let state):
            write(1)
            write(state)
            write(flag: result != nil)
            if let result { write(result) }
        case .notVoting(let why):
            write(2)
            write(sized: why)
        case .failed(let why):
            write(3)
            write(sized: why)
        case .united(let rows, let hasFetched):
            write(4)
            write(flag: hasFetched)
            write(rows)
        case .rolled(let floor):
            write(5)
            write(floor)
        case .met(let state, let meeting):
            write(6)
            write(state)
            write(meeting)
        case .tooLarge(let why):
            write(7)
            write(sized: why)
        }
    }
}

extension ByteReader {
    mutating func readAsk() throws(DecodeError) -> ReadAsk {
        let tag = try tag()
        let partitions = try partitions()
        let isWeak = try flag()
        let wantsRecent = try flag()
        let floor = try retentionFloor()
        let role: ReadAsk.Role
        switch try byte() {
        case 1: role = .data
        case 2: role = .digest
        case 3:
            var partners: [NodeID] = []
            for _ in 0..<(try count(ofSize: 1)) { partners.append(try node()) }
            role = .converge(with: partners)
        case 4: role = .unite(try readUnite())
        case 5: role = .meet(try readState())
        default: throw fail("a role in a read")
        }
        return ReadAsk(
            tag: tag, query: try readQuery(), partitions: partitions, role: role, isWeak: isWeak,
            wantsRecent: wantsRecent, floor: floor)
    }

    private mutating func readUnite() throws(DecodeError) -> ReadUnite {
        var unite = ReadUnite(start: try fixed(), lacks: [], gives: [])
        let lacks = try count(ofSize: 50)
        guard lacks <= ReplicationLimits.uniteMax else { throw fail("a union of \(lacks)") }
        for _ in 0..<lacks {
            unite.lacks.append(ReadUnite.Lack(header: try header(), source: try node()))
        }
        unite.gives = try unionHeaders()
        return unite
    }

    private mutating func unionHeaders() throws(DecodeError) -> [BatchHeader] {
        let count = try count(ofSize: 50)
        guard count <= ReplicationLimits.uniteMax else { throw fail("a union of \(count)") }
        var headers: [BatchHeader] = []
        for _ in 0..<count { headers.append(try header()) }
        return headers
    }

    private mutating func readMeeting() throws(DecodeError) -> ReadMeeting {
        let lacked = try unionHeaders()
        let hasFetched = try flag()
        return ReadMeeting(lacked: lacked, rows: try seriesRows(), hasFetched: hasFetched)
    }

    mutating func readReply() throws(DecodeError) -> ReadReply {
        let tag = try tag()
        switch try byte() {
        case 1:
            let state = try readState()
            let result = try flag() ? try readResult() : nil
            return ReadReply(tag: tag, answer: .read(result, state))
        case 2: return ReadReply(tag: tag, answer: .notVoting(try text(max: 1024)))
        case 3: return ReadReply(tag: tag, answer: .failed(try text(max: 4096)))
        case 4:
            let hasFetched = try flag()
            return ReadReply(
                tag: tag, answer: .united(try seriesRows(), hasFetched: hasFetched))
        case 5: return ReadReply(tag: tag, answer: .rolled(try retentionFloor()))
        case 6:
            let state = try readState()
            return ReadReply(tag: tag, answer: .met(state, try readMeeting()))
        case 7: return ReadReply(tag: tag, answer: .tooLarge(try text(max: 4096)))
        default: throw fail("an answer to a read")
        }
    }

    private mutating func readState() throws(DecodeError) -> ReadState {
        var state = ReadState(digest: try digest(), start: try fixed())
        let count = try count(ofSize: 64)
        guard count <= ReplicationLimits.recentMax else { throw fail("\(count) newest batches") }
        for _ in 0..<count {
            state.recent.append(RecentBatch(header: try header(), term: try fixed()))
        }
        return state
    }
}
