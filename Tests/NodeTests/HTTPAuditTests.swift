import Core
import Node
import Replication
import Testing

@Suite("GET /v1/audit")
struct HTTPAuditTests {
    private static func report(_ differences: [AuditDifference]) -> AuditReport {
        AuditReport(
            differences: differences, lagging: 2,
            members: [
                AuditMember(
                    node: NodeID("n1"), isSettled: true, tables: 3, verifiedBytes: 400,
                    partitions: 16, lagging: 0, healed: 5, incidents: 1)
            ],
            balance: AuditBalance(
                state: .equal, input: HomeTotals(events: 10, counted: 9, dead: 1), output: 9))
    }

    @Test("answers with what the interface names, and with the account")
    func body() async throws {
        let difference = AuditDifference(
            kind: .state, nodes: [NodeID("n3")], partition: PartitionID(7), detail: "n3 holds more")
        let fixture = try APIFixture { request in
            guard case .audit = request else {
                // One of the nine events is the mark of a dead letter that was purged.
                return .read(
                    ReadAnswer(
                        result: .deadLetters([], total: 0, retired: 1), replicas: [],
                        consistency: .quorum))
            }
            return .audit(.report(Self.report([difference])))
        }
        let reply = await fixture.get("/v1/audit")
        #expect(reply.status == 200)
        #expect(
            reply.text
                == #"{"clean":false,"lagging":2,"healed":5,"differences":[{"kind":"state","#
                + #""nodes":["n3"],"partition":7,"detail":"n3 holds more"}],"as_seen_by":"n1","#
                + #""balance":"equal","input":{"events":9,"counted":8,"dead":1},"output":8,"#
                + #""retired":1,"#
                + #""nodes":[{"name":"n1","settled":true,"partitions":16,"lagging":0,"tables":3,"#
                + #""verified_bytes":400,"healed":5,"incidents":1}]}"#)
        let clean = try APIFixture { _ in .audit(.report(Self.report([]))) }
        #expect(
            await clean.get("/v1/audit").text.hasPrefix(
                #"{"clean":true,"lagging":2,"healed":5,"differences":[],"#))
        // Where the letters cannot be read it is not known how many are retired.
        #expect(await clean.get("/v1/audit").text.contains(#""output":9,"retired":null,"#))
    }

    @Test("says how far disks are read, and goes on from there when asked again")
    func verifying() async throws {
        let fixture = try APIFixture { _ in .audit(.verifying(doneBytes: 5, totalBytes: 9)) }
        let reply = await fixture.get("/v1/audit?wait=1")
        #expect(reply.status == 202)
        let now = APIFixture.now.wall.milliseconds
        #expect(
            reply.text
                == #"{"verifying":true,"verified_bytes":5,"total_bytes":9,"since":\#(now)}"#)
        _ = await fixture.get("/v1/audit?since=\(now - 1500)")
        // A client whose clock is ahead asks for what has not happened: read anew.
        _ = await fixture.get("/v1/audit?since=\(now + 9000)")
        let ages = fixture.core.requests.map { request -> Duration? in
            if case .audit(let age) = request { age } else { nil }
        }
        #expect(ages == [.zero, .milliseconds(1500), .zero])
    }

    @Test("a node's own files: what was found, or how far they are read")
    func verify() async throws {
        let finding = AuditFinding(
            kind: .damage, peer: nil, partition: nil, detail: "sstables/1.sst: a block")
        for (report, status, text) in [
            (
                VerifyReport(
                    state: VerificationState(isDone: true, tables: 3, doneBytes: 9, totalBytes: 9),
                    damage: [finding]), 200,
                #"{"node":"n1","clean":false,"tables":3,"verified_bytes":9,"#
                    + #""damage":["sstables/1.sst: a block"]}"#
            ),
            (
                VerifyReport(
                    state: VerificationState(tables: 3, doneBytes: 4, totalBytes: 9), damage: []),
                202,
                #"{"verifying":true,"verified_bytes":4,"total_bytes":9,"since":"#
                    + "\(APIFixture.now.wall.milliseconds)}"
            ),
        ] {
            let fixture = try APIFixture { _ in .verified(report) }
            let reply = await fixture.call("POST", "/v1/verify?wait=1")
            #expect(reply.status == status)
            #expect(reply.text == text)
            #expect(await fixture.get("/v1/verify").status == 405)
        }
    }

    @Test("refuses what it cannot mean")
    func refuses() async throws {
        let fixture = try APIFixture()
        #expect(await fixture.call("POST", "/v1/audit").status == 405)
        for query in ["wait=0", "wait=51", "since=2005-01-01", "since=soon", "now=1"] {
            #expect(await fixture.get("/v1/audit?\(query)").status == 400, "\(query)")
        }
        #expect(await fixture.get("/v1/audit").status == 500)
    }
}
