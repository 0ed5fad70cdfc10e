import Client
import Commands
import Core
import Storage
import Testing

@Suite("The command line")
struct CommandLineTests {
    private func words(_ line: String) -> [String] { line.split(separator: " ").map(String.init) }

    private func arranged(_ line: String) throws -> String {
        try ArgumentOrder.arrange(words(line)).joined(separator: " ")
    }

    @Test("keys and times may begin with a dash, and behind two with two")
    func dashes() throws {
        let cases = [
            ("query view -2-9ZncFOHk --from -15m", "query --from=-15m -- view -2-9ZncFOHk"),
            ("query view -2-9ZncFOHk --from=-15m", "query --from=-15m -- view -2-9ZncFOHk"),
            ("query --json view -- --abc", "query --json -- view --abc"),
            ("query view -k --to -1h --step 1h", "query --to=-1h --step=1h -- view -k"),
            ("query view -- --form -1h --json", "query -- view --form -1h --json"),
            ("query -- view --from", "query -- view --from"),
            ("query view", "query -- view"), ("query", "query"), ("query --help", "query --help"),
            ("top view -k 5 --by channel", "top -k 5 --by=channel -- view"),
            ("keys view --prefix -x", "keys --prefix=-x -- view"),
            ("keys view --prefix=--x", "keys --prefix=--x -- view"),
            ("keys view --prefix --json", "keys --prefix --json -- view"),
            ("keys view --prefix --limit=5", "keys --prefix --limit=5 -- view"),
            ("keys --prefix -- view", "keys --prefix -- view"),
            ("endpoints -k --node a:1", "endpoints --node=a:1 -- -k"),
            ("endpoints -k --at -15m", "endpoints --at=-15m -- -k"),
            ("endpoints k --at 2013-01-05", "endpoints --at=2013-01-05 -- k"),
            ("attributes get -- --x-", "attributes get -- --x-"),
            ("attributes delete -a b --json", "attributes delete --json -- -a b"),
            ("batch p 7 --created -15m", "batch --created=-15m -- p 7"),
            ("send - --created -15m --type x", "send - --created=-15m --type x"),
            ("generate --events 5 --from -2h --to now", "generate --events 5 --from=-2h --to now"),
            ("send -- --from -1h", "send -- --from -1h"), ("", ""),
            ("status --from", "status --from"),
        ]
        for (line, expected) in cases {
            #expect(try arranged(line) == expected, "\(line)")
        }
    }

    @Test("a word with two dashes that is no option is wrong usage, and never a key")
    func unknownOptions() async throws {
        let behind = "; a type or key that begins with two dashes stands behind '--'; see 'quipu "
        let cases = [
            ("top --no-such-option", "'quipu top' has no option --no-such-option" + behind),
            ("keys --bogus", "'quipu keys' has no option --bogus" + behind),
            ("endpoints --bogus", "'quipu endpoints' has no option --bogus" + behind),
            ("attributes get --bogus", "'quipu attributes get' has no option --bogus" + behind),
            ("dlq show --bogus", "'quipu dlq show' has no option --bogus" + behind),
            ("batch --bogus 7", "'quipu batch' has no option --bogus" + behind),
            ("query view --x", "'quipu query' has no option --x" + behind),
            (
                "query view key --form -1h",
                "'quipu query' has no option --form, did you mean --format?" + behind
            ),
            ("top view --Limits=5 -k 3", "'quipu top' has no option --Limits=5" + behind),
            ("keys t --Limits=5", "'quipu keys' has no option --Limits=5, did you mean --limit?"),
            ("keys view --json=yes", "'quipu keys' has no option --json=yes, did you mean --json?"),
            (
                "keys view --prefix --x",
                "'quipu keys' has no option --x; a value that begins with two dashes is joined: "
                    + "--prefix=--x; see 'quipu keys --help'"
            ),
        ]
        for (line, expected) in cases {
            let outcome = await Program.outcome(of: words(line))
            #expect(outcome.code == 2, "\(line)")
            #expect(outcome.line?.hasPrefix(expected) == true, "\(outcome.line ?? "no line")")
        }
    }

    @Test("what ArgumentParser itself finds wrong is one line and wrong usage as well")
    func wrongUsage() async throws {
        let lines = [
            "top", "query view", "query view key more", "status --bogus",
            "send --bogus", "keys view --limit 0", "keys view --prefix --json", "nonsense",
            "attributes delete", "dlq purge --parked x",
            "dlq purge --parked 00000000-0000-0000-0000-000000000007/1 --reason bad-json",
        ]
        for line in lines {
            let outcome = await Program.outcome(of: words(line))
            #expect(outcome.code == 2, "\(line)")
            #expect(outcome.line?.contains("; see 'quipu") == true, "\(outcome.line ?? "no line")")
        }
    }

    @Test("tables align columns by what a terminal shows")
    func tables() {
        var table = TextTable([("Key", .left), ("N", .right)])
        table.add(["日本", "1"])
        table.add(["e\u{301}\u{1b}[31m", "12345"])
        #expect(table.lines() == ["Key         N", "日本        1", "e\u{301}\u{fffd}[31m  12345"])
        #expect(TextTable.cut("日本語", columns: 4) == "日…")
        #expect(TextTable.cut("abc", columns: 3) == "abc")
        #expect(TextTable.printable("a\u{202e}b\n") == "a\u{fffd}b\u{fffd}")
    }

    @Test("numbers are written for people and read from them")
    func quantities() {
        #expect(Quantity.grouped(1_234_567) == "1,234,567")
        #expect(Quantity.grouped(-999) == "-999")
        #expect(Quantity.bytes(1536) == "1.50 KiB")
        #expect(Quantity.bytes(12) == "12 bytes")
        #expect(Quantity.fixed(-0.05, digits: 1) == "-0.1")
        #expect(Quantity.fixed(99.999, digits: 2) == "100.00")
        #expect(Quantity.clock(3723) == "1:02:03")
        #expect(Quantity.clock(7) == "0:07")
        #expect(Quantity.duration("60s") == .seconds(60))
        #expect(Quantity.duration("250ms") == .milliseconds(250))
        #expect(Quantity.duration("2") == .seconds(2))
        #expect(Quantity.rate("5000/s") == 5000)
        for text in ["", "s", "-1s", "0s", "1x", "1.5s", "99999999999s"] {
            #expect(Quantity.duration(text) == nil, "\(text)")
        }
        #expect(Quantity.rate("5000/m") == nil)
    }

    private func counts(_ body: String) throws -> CountsAnswer {
        try #require(CountsAnswer(json: JSONValue(parsing: Array(body.utf8))))
    }

    private let body = """
        {"total": {"count": 12}, "consistency": "QUORUM", "replicas": ["n1", "n3"],
         "attributes": {"title": "T"}, "step": "1m",
         "windows": [{"start": "2015-02-22T21:17:00Z", "count": 4, "state": "final"},
                     {"start": "2015-02-22T21:20:00Z", "count": 8, "state": "open"}]}
        """

    @Test("counts are shown as a table, as CSV and as a chart that names its gaps")
    func countsShown() throws {
        let answer = try counts(body)
        #expect(
            CountsTable(answer, type: "view", key: "abc").lines() == [
                "view  abc  (title: T)", "Window                Count  State",
                "2015-02-22T21:17:00Z      4  final", "2015-02-22T21:20:00Z      8  open",
                "Total                    12", "QUORUM by n1, n3",
            ])
        #expect(
            CountsTable.csv(answer) == [
                "start,count,sum,min,max,avg,state", "2015-02-22T21:17:00Z,4,,,,,final",
                "2015-02-22T21:20:00Z,8,,,,,open",
            ])
        let chart = CountsChart(answer, type: "view", key: "abc", columns: 41)
        #expect(
            chart.lines() == [
                "view  abc  (title: T)", "2015-02-22T21:17:00Z  ████████ 4",
                "                      ⋮ 2 without events",
                "2015-02-22T21:20:00Z  ████████████████ 8", "Total 12, QUORUM by n1, n3",
            ])
        #expect(CountsChart.bar(1, of: 1_000_000, columns: 10) == "▏")
        #expect(CountsChart.bar(0, of: 10, columns: 10).isEmpty)
    }

    @Test("a total that was asked for alone is in the table and in the CSV")
    func totalShown() throws {
        let header = "start,count,sum,min,max,avg,state"
        let body = """
            {"total": {"count": 3, "sum": "4.5", "min": "1", "max": "2", "avg": "1.5"},
             "from": null, "step": "all", "windows": [], "consistency": "QUORUM"}
            """
        let answer = try counts(body)
        #expect(CountsTable.csv(answer) == [header, ",3,4.5,1,2,1.5,"])
        let later = try counts(body.replacing("null", with: "\"2015-02-22T00:00:00Z\""))
        #expect(CountsTable.csv(later) == [header, "2015-02-22T00:00:00Z,3,4.5,1,2,1.5,"])
        #expect(
            CountsTable(answer, type: "view", key: "abc").lines().contains {
                $0.hasPrefix("Total") && $0.contains("3") && $0.contains("4.5")
            })
    }

    @Test("groups are shown without the attribute that is their key, keys with all of theirs")
    func topShown() throws {
        let body = """
            {"exact": true, "rows": [
             {"rank": 1, "key": "a", "count": 3, "attributes": {"channel": "a"}},
             {"rank": 2, "key": null, "count": 1, "attributes": {}}]}
            """
        let answer = try #require(TopAnswer(json: JSONValue(parsing: Array(body.utf8))))
        #expect(
            TopTable.lines(answer, by: "channel") == [
                "Rank  channel  Count", "   1  a            3", "   2  (none)       1",
            ])
        #expect(
            TopTable.lines(answer, by: "key") == [
                "Rank  Key  Count  Attributes", "   1  a        3  channel: a",
                "   2           1",
            ])
    }

    @Test("the status has nodetool's layout")
    func status() throws {
        let body = """
            {"cluster": "demo", "epoch": 1, "as_seen_by": "n1", "nodes": [
             {"name": "n1", "state": "UN", "http": "127.0.0.1:8181", "load": 2048, "owns": 0.5,
              "host_id": "h1", "dc": "dc1", "rack": "r1"},
             {"name": "n2", "state": "DN", "http": "127.0.0.1:8182", "load": null, "owns": 0.5,
              "host_id": "h2", "dc": "dc1", "rack": "r2"}]}
            """
        let answer = try #require(ClusterAnswer(json: JSONValue(parsing: Array(body.utf8))))
        #expect(
            ClusterStatus.lines(answer) == [
                "Datacenter: dc1", "===============", "Status=Up/Down",
                "|/ State=Normal/Leaving/Joining/Moving/Recovering",
                "--  Address             Load   Owns  Host ID  Rack  Name",
                "UN  127.0.0.1:8181  2.00 KiB  50.0%  h1       r1    n1",
                "DN  127.0.0.1:8182         ?  50.0%  h2       r2    n2", "",
                "cluster demo, epoch 1, as seen by n1",
            ])
    }

    @Test("work of all nodes: one is asked until it is done, one that fails is named")
    func compaction() async throws {
        let cluster = ScriptedCluster { request, before in
            let addresses = ScriptedCluster.nodes
            guard request.call.target == "/v1/compact" else {
                let nodes = addresses.enumerated().map { place, address in
                    """
                    {"name": "n\(place + 1)", "state": "UN", "http": "\(address)", "load": 1,
                     "owns": 0.5, "host_id": "h", "dc": "dc1", "rack": "r1"}
                    """
                }
                let body = """
                    {"cluster": "demo", "epoch": 1, "as_seen_by": "n1",
                     "nodes": [\(nodes.joined(separator: ","))]}
                    """
                return .reply(HTTPReply(status: 200, body: Array(body.utf8)))
            }
            if request.node == addresses[1] { return .failure(.notConnected("gone")) }
            return .reply(HTTPReply(status: before == 1 ? 202 : 200, body: []))
        }
        var done: [NodeAddress] = []
        let failure = await #expect(throws: CommandFailure.self) {
            try await NodeRound.ask(cluster.client(), "compact", NodeRound.compact) {
                done.append($0.node)
            }
        }
        #expect(done == [ScriptedCluster.nodes[0], ScriptedCluster.nodes[2]])
        #expect(failure?.text.contains("n2") == true)
        let named = "compact: n2: \(ScriptedCluster.nodes[1]): no connection (gone)"
        #expect(failure?.text == "\(named); the other 2 are done")
        let asked = await cluster.requests.filter { $0.call.target == "/v1/compact" }.map(\.node)
        let nodes = ScriptedCluster.nodes
        #expect(asked == [nodes[0], nodes[0], nodes[1], nodes[2]])
    }

    @Test("a node's own report keeps the order of its answer")
    func info() throws {
        let body = #"{"name": "n1", "load": 2048, "reasons": ["a", "b"], "memtable_bytes": 7}"#
        let json = try JSONValue(parsing: Array(body.utf8))
        #expect(
            NodeInfo.lines(json) == [
                "Name                  : n1", "Load                  : 2.00 KiB",
                "Reasons               : a, b", "Memtable bytes        : 7",
            ])
    }

    @Test("each version of the rules has a line of a node's own report")
    func rules() throws {
        let body = """
            {"rule_version": 1, "rules": [
            {"version": 1, "from": null, "future_limit_ms": 86400000, "lateness_ms": null,
            "state": "holds", "standing": null},
            {"version": 2, "from": "2026-12-01T00:00:00Z", "future_limit_ms": 600000,
            "lateness_ms": 2592000000, "state": "ahead", "standing": "confirmed"}]}
            """
        #expect(
            NodeInfo.lines(try JSONValue(parsing: Array(body.utf8))) == [
                "Rule version          : 1",
                "Rules 1               : holds, from the beginning: future_limit 1d, "
                    + "lateness unlimited",
                "Rules 2               : ahead, from 2026-12-01T00:00:00Z, confirmed: "
                    + "future_limit 10m, lateness 30d",
            ])
    }

    @Test("any list of objects becomes a table in the order of its names")
    func objects() throws {
        let body = #"{"items": [{"p": 0, "r": ["a", "b"]}, {"p": 10, "x": true}], "next": null}"#
        let json = try JSONValue(parsing: Array(body.utf8))
        #expect(ObjectTable.lines(json) == [" p  r     x", " 0  a, b", "10        true"])
    }
}

@Suite("The summary of a run")
struct SendSummaryTests {
    /// A producer of three batches: one counted again, one refused, one without an answer.
    private func summary() async throws -> SendSummary {
        let cluster = ScriptedCluster { request, _ in
            switch request.header("Quipu-Sequence") {
            case "0": ScriptedCluster.counted(5, dead: 1, duplicate: true)
            case "1": ScriptedCluster.problem(422, outcome: "not-counted")
            default: .failure(.timedOut)
            }
        }
        let producer = Producer(
            client: cluster.client(), options: ProducerOptions(), time: ScriptedTime().time)
        for _ in 0..<3 {
            try await producer.submit(
                BatchDraft(body: [0x0a], contentType: "application/x-ndjson", events: 1))
        }
        return SendSummary(report: try await producer.finish(), producer: producer.id, seconds: 2)
    }

    @Test("says what was counted, as text and as the JSON that scripts read")
    func counts() async throws {
        let summary = try await summary()
        #expect(summary.text.hasPrefix("5 events: 4 counted, 1 dead; 1 batch (1 duplicate), "))
        #expect(summary.text.hasSuffix("; 2.00 s, 2 events/s"))
        let json = try JSONValue(parsing: Array(summary.json.utf8))
        let names = [
            "events", "counted", "dead", "duplicates", "batches", "retries", "seconds",
            "events_per_second", "parked",
        ]
        #expect(json.members?.map(\.name) == names)
        #expect(names.prefix(5).map { json[$0]?.int } == [5, 4, 1, 1, 1])
        #expect(json["seconds"]?.double == 2)
    }

    @Test("says what the spool keeps and what came of all runs")
    func spooled() async throws {
        let cluster = ScriptedCluster { request, _ in
            request.header("Quipu-Sequence") == "0"
                ? ScriptedCluster.counted(5, dead: 1) : ScriptedCluster.problem(400)
        }
        let spool = try Spool(
            MemorySpool(disk: MemoryFileSystem()), directory: "d", producer: 42,
            bounds: SpoolJournal.Bounds())
        let producer = Producer(
            client: cluster.client(), options: ProducerOptions(), spool: spool,
            time: ScriptedTime().time)
        for _ in 0..<3 {
            try await producer.submit(
                BatchDraft(body: [0x0a], contentType: "application/x-ndjson", events: 1))
        }
        let summary = SendSummary(
            report: try await producer.finish(), producer: producer.id, seconds: 2,
            spool: await spool.status)
        #expect(
            summary.text.hasSuffix(
                "; spool: 2 batches kept, in all runs 5 events with 4 counted, 1 dead"))
        let unresolved = summary.unresolved
        #expect(unresolved?.contains("the spool keeps 2 batches") == true)
        let json = try JSONValue(parsing: Array(summary.json.utf8))["spool"]
        #expect(json?["batches_kept"]?.int == 2)
        #expect(json?["events"]?.int == 5)
        let line = ProgressLine(
            progress: FileSender.Progress(
                bytesRead: 5, report: summary.report, spool: await spool.status),
            totalBytes: 10, seconds: 1)
        #expect(line.text.contains("2 bytes in the spool"))
    }

    @Test("sizes are read in binary units")
    func sizes() {
        #expect(Quantity.byteCount("1GiB") == 1 << 30)
        #expect(Quantity.byteCount("512MiB") == 512 << 20)
        #expect(Quantity.byteCount("12345") == 12_345)
        for text in ["", "GiB", "-1", "0", "1GB", "1.5GiB", "99999999999TiB", "900000000TiB"] {
            #expect(Quantity.byteCount(text) == nil, "\(text)")
        }
    }

    @Test("says how many events are parked, which is no failure")
    func parked() async throws {
        let cluster = ScriptedCluster { request, _ in
            request.header("Quipu-Sequence") == "0"
                ? ScriptedCluster.counted(5) : ScriptedCluster.parked(7)
        }
        var options = ProducerOptions()
        options.consistency = .any
        let producer = Producer(
            client: cluster.client(), options: options, time: ScriptedTime().time)
        for _ in 0..<2 {
            try await producer.submit(
                BatchDraft(body: [0x0a], contentType: "application/x-ndjson", events: 1))
        }
        let summary = SendSummary(
            report: try await producer.finish(), producer: producer.id, seconds: 2)
        #expect(summary.unresolved == nil)
        #expect(
            summary.text.hasPrefix(
                "12 events: 5 counted, 0 dead, 7 parked (see 'quipu dlq list'); 2 batches"))
        let json = try JSONValue(parsing: Array(summary.json.utf8))
        #expect(json["parked"]?.int == 7)
        #expect(json["events"]?.int == 12)
    }

    @Test("names every batch without a certain end, and how to ask for it")
    func unresolved() async throws {
        let unresolved = try await summary().unresolved
        let text = try #require(unresolved)
        let id = "00000000-0000-0000-0000-00000000002a"
        #expect(text.contains("\(id)/1 not counted (says 422)"))
        #expect(text.contains("\(id)/2 unknown (node"))
        #expect(text.contains(": no answer in time; asked at the end, no node could tell)"))
        #expect(text.hasSuffix("ask with 'quipu batch \(id) 1 --created 1767225600000'"))
    }
}

@Suite("Generated events")
struct EventGeneratorTests {
    private func lines(_ settings: EventGenerator.Settings, piece: Int = 1 << 20) -> [Substring] {
        var generator = EventGenerator(settings)
        var all: [UInt8] = []
        var more = true
        while more {
            var bytes: [UInt8] = []
            more = generator.fill(&bytes, upTo: piece)
            all += bytes
        }
        return String(decoding: all, as: UTF8.self).split(separator: "\n")
    }

    @Test("the same settings give the same bytes, another seed gives others")
    func deterministic() {
        var settings = EventGenerator.Settings(events: 3000)
        settings.types = ["view", "like"]
        settings.badPerBillion = 10_000_000
        let first = lines(settings)
        #expect(first == lines(settings, piece: 100))
        settings.seed = 2
        #expect(first != lines(settings))
        #expect(
            lines(EventGenerator.Settings(events: 1))
                == [#"{"type":"view","key":"k0000000009","time":"2026-01-01T00:00:00Z"}"#])
    }

    @Test("broken lines lack what their dead letters will name")
    func faults() {
        var settings = EventGenerator.Settings(events: 4)
        settings.badPerBillion = 1_000_000_000
        settings.keys = 1
        let time = "2026-01-01T00:"
        #expect(
            lines(settings) == [
                #"{"type":"view","key":"k0000000000""#,
                #"{"type":"view","key":"k0000000000","time":"yesterday"}"#,
                "{\"type\":\"view\",\"time\":\"\(time)30:00Z\"}",
                #"{"type":"view","key":"k0000000000"}"#,
            ])
    }

    /// Nil for a line that is broken.
    private func keyAndTime(_ line: Substring) -> (String, String)? {
        do {
            let json = try JSONValue(parsing: Array(line.utf8))
            guard let key = json["key"]?.string, let time = json["time"]?.string,
                time != "yesterday"
            else { return nil }
            return (key, time)
        } catch {
            return nil
        }
    }

    @Test("times rise through the range, keys follow Zipf, broken lines come as often as asked")
    func shape() {
        var settings = EventGenerator.Settings(events: 100_000)
        settings.keys = 100
        settings.badPerBillion = 10_000_000
        var previous = ""
        var counts: [String: Int] = [:]
        var bad = 0
        for line in lines(settings) {
            guard let (key, time) = keyAndTime(line) else {
                bad += 1
                continue
            }
            #expect(time >= previous)
            previous = time
            counts[key, default: 0] += 1
        }
        #expect(previous == "2026-01-01T00:59:59Z")
        #expect((850...1150).contains(bad))
        #expect(counts.count == 100)
        let first = counts["k0000000000"] ?? 0
        // The harmonic number of 100 is 5.187.
        #expect((18_000...20_200).contains(first))
        #expect((8800...10_300).contains(counts["k0000000001"] ?? 0))
        #expect((140...240).contains(counts["k0000000099"] ?? 0))
    }

    @Test("a skew of 0 makes all keys alike")
    func uniform() {
        var random = RandomSource(seed: 1)
        let table = ZipfTable(count: 10, skew: 0)
        var counts = Array(repeating: 0, count: 10)
        for _ in 0..<100_000 { counts[table.draw(&random)] += 1 }
        #expect(counts.allSatisfy { (9500...10_500).contains($0) })
    }
}
