import Core
import Replication
import Storage
import Testing
import Wire

@Suite("Replication messages")
struct MessageCodecTests {
    static let header = BatchHeader(
        id: BatchID(producer: 7, sequence: 9), createdAt: WallTime(milliseconds: 1_424_639_820_000),
        contentHash: Hash128(42), rule: .first)

    static let record = BatchRecord.home(
        header: header, home: PartitionID(3),
        totals: BatchTotals(events: 3, counted: 2, dead: 1),
        slices: [(partition: PartitionID(1), offset: 0, length: 4, cells: 1)], cells: [1, 2, 3, 4],
        deadLetters: [DeadLetter(line: 1, reason: .badJSON, detail: "no", raw: [0])])

    static let messages: [ReplicationMessage] = {
        let tag = Tag(77)
        let vote = Vote(
            incarnation: Incarnation(2), isVoting: true,
            superseded: [.init(node: NodeID("n3"), incarnation: Incarnation(4))])
        let standing = Standing(incarnation: Incarnation(4), run: .max, lsn: LSN(9), edits: 3)
        let partitions = PartitionSet([PartitionID(1), PartitionID(130)])
        let digest = SetDigest(sum: .max, count: 3)
        let letter = DeadLetter(
            line: 4, reason: .tooLate, detail: "été", raw: [0xff], type: [1],
            time: .init(milliseconds: 3))
        let place = DeadLetterQuery.Place(segment: Segment(-5), id: header.id, line: 4)
        let measure = Measure(
            count: 4, values: .init(count: 2, sum: -9, min: .min, max: .max))
        let queries: [ReadQuery] = [
            .series(SeriesQuery(partition: PartitionID(1), key: [1], type: nil, from: -4, to: nil)),
            .scan(
                ScanSpec(partitions: partitions, type: [2], output: .totalsByKey),
                top: TopSpec(k: 10, order: .sum)),
            .scan(
                ScanSpec(
                    partitions: partitions, output: .keys(prefix: [1], after: [2], limit: 9)),
                top: nil),
            .deadLetters(
                DeadLetterQuery(filter: LetterFilter(reason: .badTime), limit: 3, after: place)),
            .deadLetters(DeadLetterQuery(filter: LetterFilter(type: [0x61]), limit: 3)),
            .deadLetters(DeadLetterQuery(limit: 3, after: place, wantsTotal: false)),
            .deadLetters(
                DeadLetterQuery(
                    filter: LetterFilter(
                        batch: header.id, line: .max, from: WallTime(milliseconds: -1),
                        to: WallTime(milliseconds: .max)), limit: 3)),
        ]
        let results: [ReadResult?] = [
            nil, .series([SeriesRow(type: [1], window: -3, measure: measure)]),
            .scan(.totals([.init(key: [], measure: measure)])), .scan(.types([[1], [2, 3]])),
            .scan(.keys([[9]])),
            .deadLetters(
                [
                    DeadLetterItem(
                        place: place, createdAt: WallTime(milliseconds: 7), letter: letter)
                ], total: 8, retired: 2),
        ]
        let sums = [SegmentSum(segment: Segment(-1), digest: digest)]
        let scopes: [SyncAsk.Scope] = [
            .newest(boundary: Segment(3), sums, older: digest), .older(before: Segment(3), sums),
            .more([Segment(1), Segment(2)], after: header.id),
        ]
        var messages: [ReplicationMessage] = [
            .bind(
                Bind(
                    tag: tag, header: header, home: PartitionID(3), record: record, isBound: true,
                    isAdmitted: false)),
            .bind(
                Bind(
                    tag: tag, header: header, home: PartitionID(3), record: nil, isBound: false,
                    isAdmitted: true)),
            .apply(Apply(tag: tag, header: header, partitions: partitions)),
            .applySlices(tag, record),
            .applyReply(ApplyReply(tag: tag, applied: partitions, isMissing: true, vote: vote)),
            .finished(header.id, header.contentHash), .statusAsk(tag, header.id, createdAt: nil),
            .statusAsk(tag, header.id, createdAt: header.createdAt),
            .statusReply(StatusReply(tag: tag, held: nil, isClosed: true, vote: vote)),
            .statusReply(
                StatusReply(
                    tag: tag,
                    held: .init(contentHash: Hash128(1), isBound: true, totals: record.totals),
                    isClosed: false, vote: vote)),
            .closeAsk(CloseAsk(tag: tag, closeBelow: Segment(4), sealBelow: .first, decided: 9)),
            .closeAsk(
                CloseAsk(tag: tag, closeBelow: .first, sealBelow: .first, heldBelow: Segment(5))),
            .closeReply(
                CloseReply(
                    tag: tag, vote: vote, frozen: Segment(9), isReady: true, isSettled: false,
                    homes: digest, applied: .empty)),
            .fetch(
                tag,
                [
                    FetchItem(
                        id: header.id, contentHash: Hash128(4), wantsRecord: true,
                        partitions: partitions)
                ]),
            .fetched(tag, [record], isLast: true), .pull(tag, partitions), .pulled(tag),
            .hello(Hello(tag: tag, incarnation: Incarnation(1))),
            .helloReply(
                HelloReply(tag: tag, incarnation: Incarnation(1), remembers: standing)),
            .vouch(standing),
            .remember(tag, Incarnation(3)), .remembered(tag, register),
            .syncReply(
                SyncReply(
                    tag: tag, round: 3,
                    listing: [
                        SyncEntry(
                            header: header, home: PartitionID(3), hasRecord: true,
                            applied: partitions, isFinished: true, isBound: false)
                    ], rest: [Segment(9)], olderDiffers: true, isSource: false,
                    frozen: Segment(8))),
            .readReply(ReadReply(tag: tag, answer: .notVoting("why"))),
            .readReply(ReadReply(tag: tag, answer: .tooLarge("why"))),
            .readReply(ReadReply(tag: tag, answer: .failed("how"))),
        ]
        let answers: [BindAnswer] = [
            .holds(wasBound: true), .missing, .conflict(Hash128(5), isBound: false), .tooOld,
            .ahead, .closed, .unable(.clock), .unable(.disk),
        ]
        messages += answers.map { .bindReply(BindReply(tag: tag, answer: $0, vote: vote)) }
        let unite = ReadUnite(
            start: .max, lacks: [.init(header: header, source: NodeID("n2"))], gives: [header])
        let roles: [ReadAsk.Role] = [
            .unite(unite), .digest, .converge(with: [NodeID("n2")]), .data,
        ]
        messages += zip(queries, roles).map { query, role in
            .read(
                ReadAsk(
                    tag: tag, query: query, partitions: partitions, role: role, isWeak: true,
                    wantsRecent: role == .digest))
        }
        let state = ReadState(
            digest: digest, start: 6, recent: [RecentBatch(header: header, term: .max)])
        messages.append(
            .read(
                ReadAsk(
                    tag: tag, query: queries[0], partitions: partitions, role: .meet(state),
                    isWeak: false, wantsRecent: true)))
        messages += results.map { .readReply(ReadReply(tag: tag, answer: .read($0, state))) }
        let row = SeriesRow(type: [1], window: -3, measure: measure)
        messages.append(.readReply(ReadReply(tag: tag, answer: .united([row], hasFetched: true))))
        let meeting = ReadMeeting(lacked: [header], rows: [row], hasFetched: true)
        messages.append(.readReply(ReadReply(tag: tag, answer: .met(state, meeting))))
        messages += scopes.map {
            .syncAsk(
                SyncAsk(
                    tag: tag, round: 3, partitions: partitions, scope: $0,
                    ageMin: .milliseconds(5), wantsUnbound: true))
        }
        messages += audits.map { .audit($0) }
        messages += copies.map { .copy($0) }
        messages += absences.map { .absence($0) }
        var marked = SyncReply(
            tag: tag, round: 3, listing: [], rest: [], olderDiffers: false, isSource: true,
            frozen: Segment(8))
        marked.marks = HistoryMarks(
            sealed: Segment(4), floors: [.init(below: Segment(3), partitions: partitions)])
        messages.append(.syncReply(marked))
        messages.append(
            .closeReply(
                CloseReply(
                    tag: tag, vote: vote, frozen: Segment(9), isReady: true, isSettled: false,
                    homes: nil, applied: nil, held: SetDigest(sum: 7, count: 2),
                    leftOut: register.decided.leftOut)))
        return messages
    }()

    static let register: AbsenceRegister = {
        var register = AbsenceRegister()
        let leftOut = [Vote.Successor(node: NodeID("n2"), incarnation: Incarnation(3))]
        _ = register.learn(AbsenceDecision(number: 4, leftOut: leftOut))
        let ballot = Ballot(number: 7, node: NodeID("n3"))
        _ = register.accept(.init(ballot: ballot, leftOut: leftOut), of: 5)
        return register
    }()

    static let absences: [AbsenceMessage] = {
        let ballot = Ballot(number: 7, node: NodeID("n3"))
        guard let accepted = register.accepted else { return [] }
        return [
            .prepare(5, ballot, away: [NodeID("n2"), NodeID("n4")]), .promise(5, ballot, nil),
            .promise(5, ballot, accepted), .accept(5, accepted), .accepted(5, ballot),
            .decided(register.decided),
        ]
    }()

    static let copies: [CopyMessage] = {
        let tag = Tag(78)
        let partitions = PartitionSet([PartitionID(1), PartitionID(130)])
        let digest = SetDigest(sum: .max, count: 300)
        let base = PartitionBase(
            floor: Segment(-7), applied: digest, home: digest, events: 300, counted: 299, dead: 1)
        let lines = [PartitionBase.none, base].map {
            CopyOffer.Line(
                partition: PartitionID(130), base: $0, applied: digest,
                state: StateDigest(counts: 1, sums: .max))
        }
        let letter = DeadLetter(line: 4, reason: .tooLate, detail: "été", raw: [0xff], type: [1])
        let entry = HistoryEntry(
            header: header, home: PartitionID(3), totals: record.totals, letters: [letter])
        var bare = entry
        bare.letters = []
        let listed = SyncEntry(
            header: header, home: PartitionID(3), hasRecord: true, applied: partitions,
            isFinished: true, isBound: true, isHusk: true)
        let husk = Husk(
            header: header, home: PartitionID(3), totals: record.totals, hasRecord: true,
            isFinished: true, touched: partitions,
            applied: partitions.map { Husk.Slice(partition: $0, hash: Hash128(9)) })
        let contents: [CopyPart.Content] = [
            .cells([[1, 2, 3], []]), .history([entry, bare]), .list([listed]), .cells([]),
            .husks([husk]), .husks([]),
        ]
        let parts = contents.map {
            CopyMessage.part(
                CopyPart(
                    tag: tag, cursor: CopyCursor(.letters, file: 2, place: 300), content: $0,
                    next: CopyCursor(.end)))
        }
        return [
            .probe(tag), .ask(tag, partitions), .next(tag, CopyCursor(.list, place: 9)),
            .marks(tag, HistoryMarks(sealed: .first, floors: []), isSource: true),
            .offer(
                CopyOffer(
                    tag: tag, frozen: Segment(5), outcomesFrom: Segment(-2), lines: lines)),
        ] + parts
    }()

    static let audits: [AuditMessage] = {
        let sum = AuditSum(
            applied: SetDigest(sum: .max, count: 3), home: SetDigest(sum: 1, count: 300),
            state: StateDigest(counts: 8, sums: .max))
        let lines = [1, 130].map { AuditLine(partition: PartitionID($0), sum: sum) }
        let partitions = PartitionSet(lines.map(\.partition))
        var reply = SurveyReply(
            tag: Tag(4), round: 2, isSettled: true, unfinished: 3, healed: 4, incidents: 5,
            verification: VerificationState(
                isDone: false, tables: 6, doneBytes: 7, totalBytes: 800),
            findings: AuditFinding.Kind.allCases.map {
                AuditFinding(
                    kind: $0, peer: $0 == .damage ? nil : NodeID("n2"),
                    partition: $0 == .incident ? PartitionID(3) : nil, detail: "été")
            },
            lines: lines.map {
                SurveyLine(
                    line: $0, events: 9, home: HomeTotals(events: 300, counted: 299, dead: 1))
            })
        let full = AuditMessage.surveyed(reply)
        reply.findings = []
        reply.lines = []
        return [
            .ask(AuditAsk(tag: Tag(1), partitions: partitions, sum: sum)),
            .reply(AuditReply(tag: Tag(2), isSettled: true, pulls: 500, lines: lines)),
            .reply(AuditReply(tag: Tag(2), isSettled: false, pulls: 0, lines: [])),
            .suspect(lines[1]), .survey(SurveyAsk(tag: Tag(3), round: 1, age: .seconds(2))), full,
            .surveyed(reply),
        ]
    }()

    private func encoded(_ message: ReplicationMessage) -> [UInt8] {
        var writer = ByteWriter()
        message.encode(into: &writer)
        return writer.bytes
    }

    private func decoded(_ bytes: [UInt8]) throws -> ReplicationMessage {
        var reader = ByteReader(bytes)
        let message = try ReplicationMessage(from: &reader)
        try reader.finish()
        return message
    }

    @Test("every message comes back as it was sent")
    func roundTrip() throws {
        for message in Self.messages { #expect(try decoded(encoded(message)) == message) }
    }

    @Test("every kind of message has a sample here")
    func complete() {
        let kinds = Set(Self.messages.map { encoded($0)[0] })
        #expect(kinds == Set(Array(1...21) + [40, 41, 42, 60, 61]))
        #expect(Set(Self.copies.map { encoded(.copy($0))[1] }) == Set(1...6))
        #expect(Set(Self.absences.map { encoded(.absence($0))[1] }) == Set(1...5))
        #expect(Set(Self.audits.map { encoded(.audit($0))[1] }) == Set(1...5))
    }

    @Test("cut, flipped and random bytes are errors or other messages, never a trap")
    func fuzz() {
        var random = RandomSource(seed: 5)
        for message in Self.messages {
            let bytes = encoded(message)
            for length in 0..<bytes.count {
                #expect(throws: DecodeError.self) { try decoded(Array(bytes.prefix(length))) }
            }
            for _ in 0..<500 {
                var changed = bytes
                for _ in 0...random.below(3) {
                    changed[random.below(changed.count)] = UInt8(random.below(256))
                }
                _ = try? decoded(changed)
            }
        }
        for _ in 0..<5000 {
            var bytes = (0..<random.below(80)).map { _ in UInt8(random.below(256)) }
            bytes.insert(UInt8(1 + random.below(20)), at: 0)
            _ = try? decoded(bytes)
        }
    }

    @Test("lines out of order, too many findings and an age without end are refused")
    func auditBounds() {
        let line = AuditLine(partition: PartitionID(4), sum: AuditSum())
        let finding = AuditFinding(kind: .damage, peer: nil, partition: nil, detail: "")
        func surveyed(_ findings: Int) -> ReplicationMessage {
            .audit(
                .surveyed(
                    SurveyReply(
                        tag: Tag(1), round: 0, isSettled: true, unfinished: 0, healed: 0,
                        incidents: 0, verification: VerificationState(),
                        findings: Array(repeating: finding, count: findings), lines: [])))
        }
        let twice = AuditReply(tag: Tag(1), isSettled: true, pulls: 0, lines: [line, line])
        let old = SurveyAsk(tag: Tag(1), round: 0, age: ReplicationLimits.ageMax + .seconds(1))
        for message in [
            .audit(.reply(twice)), .audit(.survey(old)),
            surveyed(ReplicationLimits.findingsMax + 1),
        ] as [ReplicationMessage] {
            #expect(throws: DecodeError.self) { try decoded(encoded(message)) }
        }
        #expect(throws: Never.self) {
            try decoded(encoded(surveyed(ReplicationLimits.findingsMax)))
        }
    }
}
