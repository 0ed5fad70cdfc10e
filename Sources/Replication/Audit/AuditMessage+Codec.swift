import Core
import Storage
import Wire

// docs/formats/peer-messages.md has the layout: behind the kind 60 of a replication message one
// byte names the audit message.

extension AuditMessage {
    func encode(into writer: inout ByteWriter) {
        switch self {
        case .ask(let ask):
            writer.write(1)
            writer.write(fixed: ask.tag.number)
            writer.write(ask.partitions)
            writer.write(ask.sum)
        case .reply(let reply):
            writer.write(2)
            writer.write(fixed: reply.tag.number)
            writer.write(flag: reply.isSettled)
            writer.write(varint: reply.pulls)
            writer.write(count: reply.lines.count)
            for line in reply.lines { writer.write(line) }
        case .suspect(let line):
            writer.write(3)
            writer.write(line)
        case .survey(let ask):
            writer.write(4)
            writer.write(fixed: ask.tag.number)
            writer.write(fixed: ask.round)
            writer.write(fixed: ask.age.nanoseconds)
        case .surveyed(let reply):
            writer.write(5)
            writer.write(reply)
        }
    }

    init(from reader: inout ByteReader) throws(DecodeError) {
        switch try reader.byte() {
        case 1:
            self = .ask(
                AuditAsk(
                    tag: Tag(try reader.fixed()), partitions: try reader.partitions(),
                    sum: try reader.auditSum()))
        case 2:
            let tag = Tag(try reader.fixed())
            let isSettled = try reader.flag()
            let pulls = try reader.varint()
            self = .reply(
                AuditReply(
                    tag: tag, isSettled: isSettled, pulls: pulls, lines: try reader.auditLines()))
        case 3: self = .suspect(try reader.auditLine())
        case 4:
            let tag = Tag(try reader.fixed())
            let round: UInt32 = try reader.fixed()
            let age = Duration.nanoseconds(try reader.fixed(Int64.self))
            guard age >= .zero, age <= ReplicationLimits.ageMax else {
                throw reader.fail("a verification of age \(age)")
            }
            self = .survey(SurveyAsk(tag: tag, round: round, age: age))
        case 5: self = .surveyed(try reader.surveyReply())
        case let kind: throw reader.fail("an audit message of kind \(kind)")
        }
    }
}

extension ByteWriter {
    fileprivate mutating func write(_ sum: AuditSum) {
        write(sum.applied)
        write(sum.home)
        write(fixed: sum.state.counts)
        write(fixed: sum.state.sums)
    }

    fileprivate mutating func write(_ line: AuditLine) {
        write(fixed: line.partition.index)
        write(line.sum)
    }

    fileprivate mutating func write(_ reply: SurveyReply) {
        write(fixed: reply.tag.number)
        write(fixed: reply.round)
        write(flag: reply.isSettled)
        write(varint: reply.unfinished)
        write(varint: reply.healed)
        write(varint: reply.incidents)
        write(flag: reply.verification.isDone)
        write(varint: reply.verification.tables)
        write(varint: reply.verification.doneBytes)
        write(varint: reply.verification.totalBytes)
        write(count: reply.findings.count)
        for finding in reply.findings { write(finding) }
        write(count: reply.lines.count)
        for line in reply.lines {
            write(line.line)
            write(varint: line.events)
            write(varint: line.home.events)
            write(varint: line.home.counted)
            write(varint: line.home.dead)
        }
    }

    private mutating func write(_ finding: AuditFinding) {
        write(finding.kind.rawValue)
        write(flag: finding.peer != nil)
        if let peer = finding.peer { write(peer) }
        write(flag: finding.partition != nil)
        if let partition = finding.partition { write(fixed: partition.index) }
        write(sized: finding.detail)
    }
}

extension ByteReader {
    fileprivate mutating func auditSum() throws(DecodeError) -> AuditSum {
        AuditSum(
            applied: try digest(), home: try digest(),
            state: StateDigest(counts: try fixed(), sums: try fixed()))
    }

    fileprivate mutating func auditLine() throws(DecodeError) -> AuditLine {
        AuditLine(partition: try partition(), sum: try auditSum())
    }

    /// Ascending by partition, each at most once: so there are never more than partitions.
    fileprivate mutating func auditLines() throws(DecodeError) -> [AuditLine] {
        var lines: [AuditLine] = []
        for _ in 0..<(try count(ofSize: 68)) {
            let line = try auditLine()
            guard lines.last.map({ $0.partition < line.partition }) ?? true else {
                throw fail("lines out of order")
            }
            lines.append(line)
        }
        return lines
    }

    fileprivate mutating func surveyReply() throws(DecodeError) -> SurveyReply {
        let tag = Tag(try fixed())
        let round: UInt32 = try fixed()
        let isSettled = try flag()
        let unfinished = try varint()
        let healed = try varint()
        let incidents = try varint()
        let verification = VerificationState(
            isDone: try flag(), tables: try varint(), doneBytes: try varint(),
            totalBytes: try varint())
        return SurveyReply(
            tag: tag, round: round, isSettled: isSettled, unfinished: unfinished, healed: healed,
            incidents: incidents, verification: verification, findings: try findings(),
            lines: try surveyLines())
    }

    private mutating func findings() throws(DecodeError) -> [AuditFinding] {
        let count = try count(ofSize: 4)
        guard count <= ReplicationLimits.findingsMax else { throw fail("\(count) findings") }
        var findings: [AuditFinding] = []
        for _ in 0..<count {
            guard let kind = AuditFinding.Kind(rawValue: try byte()) else {
                throw fail("a finding")
            }
            findings.append(
                AuditFinding(
                    kind: kind, peer: try flag() ? try node() : nil,
                    partition: try flag() ? try partition() : nil,
                    detail: try text(max: ReplicationLimits.findingTextMax)))
        }
        return findings
    }

    private mutating func surveyLines() throws(DecodeError) -> [SurveyLine] {
        var lines: [SurveyLine] = []
        for _ in 0..<(try count(ofSize: 72)) {
            let line = SurveyLine(
                line: try auditLine(), events: try varint(),
                home: HomeTotals(events: try varint(), counted: try varint(), dead: try varint()))
            guard lines.last.map({ $0.line.partition < line.line.partition }) ?? true else {
                throw fail("lines out of order")
            }
            lines.append(line)
        }
        return lines
    }
}
