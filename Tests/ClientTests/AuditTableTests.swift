import Client
import Commands
import Testing

@Suite("quipu audit")
struct AuditTableTests {
    @Test("shows nodes, account and differences")
    func differences() throws {
        let json = try JSONValue(
            parsing: Array(
                #"""
                {"clean":false,"lagging":1,"healed":5,"differences":[{"kind":"damage",
                "nodes":["n3"],"partition":null,"detail":"a file"},{"kind":"input-output",
                "nodes":[],"partition":null,"detail":"less"},{"kind":"state","nodes":["n1","n2"],
                "partition":7,"detail":"more"}],"as_seen_by":"n1","balance":"different",
                "input":{"events":1000,"counted":990,"dead":10},"output":989,
                "nodes":[{"name":"n1","settled":true,"partitions":256,"lagging":0,"tables":3,
                "verified_bytes":2048,"healed":5,"incidents":1},{"name":"n2","settled":false,
                "partitions":256,"lagging":1,"tables":0,"verified_bytes":0,"healed":0,
                "incidents":0}]}
                """#.utf8))
        #expect(
            AuditTable.lines(json) == [
                "Node  State       Partitions  Lagging  Tables  Verified  Healed  Incidents",
                "n1    settled            256        0       3  2.00 KiB       5          1",
                "n2    recovering         256        1       0   0 bytes       0          0",
                "✗ 1,000 events in: 990 counted, 10 dead; cells hold 989",
                "✗ damage, n3: a file", "✗ input-output, cluster: less",
                "✗ state, n1, n2, partition 7: more",
                "1 replica of partitions lagging: batches are on their way", "✗ 3 differences",
            ])
    }

    @Test("says how far the disks are")
    func progress() throws {
        let json = try JSONValue(
            parsing: Array(#"{"verifying":true,"verified_bytes":1024,"total_bytes":4096}"#.utf8))
        #expect(AuditTable.progress(json) == "reading disks: 25%, 1.00 KiB of 4.00 KiB")
    }

    @Test("a node's files are told in one line, and what is wrong with them below")
    func verified() throws {
        let sound = try JSONValue(
            parsing: Array(
                #"{"node":"n1","clean":true,"tables":1,"verified_bytes":2048,"damage":[]}"#.utf8))
        #expect(
            VerifyText.lines(sound) == [
                "n1: 2.00 KiB read of 1 table, history, log and manifest, all sound"
            ])
        let damaged = try JSONValue(
            parsing: Array(
                #"{"node":"n2","clean":false,"tables":2,"verified_bytes":0,"damage":["x"]}"#.utf8))
        #expect(
            VerifyText.lines(damaged) == [
                "n2: 0 bytes read of 2 tables, history, log and manifest, damaged:", "  x",
            ])
    }
}
