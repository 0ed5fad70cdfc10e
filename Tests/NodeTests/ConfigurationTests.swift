import Core
import Foundation
import Ingest
import Node
import Ring
import Testing

private let nodes = """
    nodes:
      n1: {http: 127.0.0.1:8181, peer: 127.0.0.1:7181, dc: dc1, rack: r1}
      n2: {http: 127.0.0.1:8182, peer: 127.0.0.1:7182, dc: dc1, rack: r2}
      n3: {http: 127.0.0.1:8183, peer: 127.0.0.1:7183}
    """

private func parse(
    _ text: String, environment: [String: String] = [:]
) throws(ConfigurationError) -> ClusterConfiguration {
    try ClusterConfiguration.parse(text, file: "/etc/quipu/cluster.conf", environment: environment)
}

/// The message for a file of `settings` (whose first line is line 2) and three nodes.
private func complaint(
    _ settings: String, environment: [String: String] = [:], nodes: String = nodes
) -> String {
    do throws(ConfigurationError) {
        _ = try parse("cluster_name: demo\n\(settings)\n\(nodes)\n", environment: environment)
        return "no complaint"
    } catch {
        return error.description.replacingOccurrences(of: "/etc/quipu/", with: "")
    }
}

@Suite struct ConfigurationTests {
    @Test("A cold disk needs an age and a directory, and is no matter of the fingerprint")
    func cold() throws {
        let plain = try parse("cluster_name: demo\n\(nodes)\n")
        #expect(plain.coldAfter == nil && plain.coldDirectory == nil)
        let text = "cluster_name: demo\ncold_after: 90d\ncold_directory: ../cold\n\(nodes)\n"
        let cold = try parse(text)
        #expect(cold.coldAfter == .seconds(90 * 86_400))
        #expect(cold.coldDirectory == "/etc/cold")
        #expect(cold.coldDirectory(of: cold.nodes[0].node) == "/etc/cold/n1")
        #expect(cold.fingerprint == plain.fingerprint)
        let still = try parse(text, environment: ["QUIPU_COLD_AFTER": "never"])
        #expect(still.coldAfter == nil && still.coldDirectory == "/etc/cold")
        let elsewhere = try parse(text, environment: ["QUIPU_COLD_DIRECTORY": "/mnt/a"])
        #expect(elsewhere.coldDirectory == "/mnt/a")
        #expect(
            complaint("cold_after: 90d")
                == "cluster.conf:2: cold_directory: is missing: "
                + "write cold_directory: PATH of another disk, or cold_after: never")
        #expect(
            complaint("cold_directory: /mnt/a")
                == "cluster.conf:2: cold_after: is missing: "
                + "write cold_after: 90d, or never where no more is to move")
        #expect(complaint("cold_after: never") == "no complaint")
        #expect(
            complaint("cold_after: 90d\ncold_directory: data")
                == "cluster.conf:3: cold_directory: is data_directory itself: "
                + "name a directory on another disk")
        #expect(
            complaint("cold_after: 1h\ncold_directory: /mnt/a")
                == "cluster.conf:2: cold_after: 1h is out of bounds: "
                + "choose from 1d to 36500d")
    }

    @Test("The sample file at the root is read, with the defaults of what it leaves out")
    func sample() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let file = root.appendingPathComponent("cluster.conf").path
        guard FileManager.default.fileExists(atPath: file) else {
            Issue.record("\(file) is missing")
            return
        }
        let configuration = try ClusterConfiguration.load(file: file, environment: [:])
        #expect(configuration.clusterName == "demo")
        #expect(configuration.partitions == 256)
        #expect(configuration.replicationFactor == .everywhere(3))
        #expect(configuration.window == .minute)
        #expect(configuration.gossipInterval == .milliseconds(200))
        #expect(configuration.requestTimeout == .seconds(5))
        #expect(configuration.horizon == .seconds(3600))
        #expect(configuration.batchStatusRetention == .seconds(7 * 86_400))
        #expect(configuration.futureLimit == .seconds(86_400))
        #expect(configuration.lateness == nil)
        #expect(configuration.memtableSize == 64 << 20)
        #expect(configuration.compactionShare == 25)
        #expect(configuration.diskReserve == 256 << 20)
        #expect(configuration.deadLettersSizeMax == 10 << 30)
        #expect(configuration.memtableFlushAge == .seconds(600))
        #expect(configuration.logLevel == .info)
        #expect(
            configuration.retention.map(\.window.milliseconds) == [60_000, 3_600_000, 86_400_000])
        #expect(configuration.retention.allSatisfy { $0.keep == nil })
        #expect(configuration.seeds.map(\.name) == ["n1", "n2", "n3"])
        #expect(configuration.nodes.map(\.http.port) == [8181, 8182, 8183])
        #expect(configuration.nodes.map(\.rack) == ["r1", "r2", "r3"])
        #expect(configuration.warnings.isEmpty)
        #expect(configuration.dataDirectory(of: NodeID("n1")) == root.path + "/data/n1")
        #expect(
            configuration.peers(of: NodeID("n1")).keys.sorted() == [NodeID("n2"), NodeID("n3")])
    }

    @Test("Versions of the rules are read in their order; what one does not name stays as it was")
    func rules() throws {
        let configuration = try parse(
            """
            cluster_name: demo
            lateness: 7d
            rules:
              - {from: 2026-12-01T00:00:00Z, future_limit: 10m}
              - from: 2026-12-01T01:00:10+01:00
                lateness: unlimited
            \(nodes)
            """)
        let first = WallTime(milliseconds: 1_796_083_200_000)
        #expect(
            configuration.rules == [
                RuleEntry(from: first, futureLimit: .seconds(600), lateness: .seconds(604_800)),
                RuleEntry(
                    from: first + .seconds(10), futureLimit: .seconds(600), lateness: nil),
            ])
        let table = configuration.ruleTable
        #expect(table.versions.map(\.rules.version.number) == [1, 2, 3])
        #expect(table.rules(at: first - .milliseconds(1)).futureLimit == .seconds(86_400))
        // They are compared apart, since one node after the other gets the file.
        let plain = try parse("cluster_name: demo\nlateness: 7d\n" + nodes)
        #expect(plain.fingerprint == configuration.fingerprint)
    }

    @Test("The lateness of every version is bounded by what is kept")
    func rulesAndRetention() throws {
        let configuration = try parse(
            """
            cluster_name: demo
            retention: {1m: 1d, 1h: 1d, 1d: 90d}
            rules: [{from: 2026-12-01, lateness: 30d}, {from: 2026-12-02, lateness: unlimited}]
            \(nodes)
            """)
        #expect(
            configuration.ruleTable.versions.map(\.rules.lateness)
                == [90, 30, 90].map {
                    .seconds($0 * 86_400)
                })
    }

    @Test(
        "An entry of the rules that cannot hold is refused with the reason",
        arguments: [
            ("[{lateness: 1d}]", "rules.2.from: is missing"),
            ("[{from: now, lateness: 1d}]", "rules.2.from: \"now\" is no time"),
            ("[{from: -1d}]", "rules.2.from: \"-1d\" is no time"),
            (
                "[{from: 2026-12-01T00:00:01Z}]",
                "within a segment of 10s: write 2026-12-01T00:00:10Z"
            ),
            ("[{from: 2026-12-01}, {from: 2026-12-01}]", "rules.3.from: 2026-12-01 is not after"),
            ("[{from: 2026-12-01, latenes: 1d}]", "unknown"),
            ("[{from: 2026-12-01, lateness: 1}]", "rules.2.lateness: \"1\" is no duration"),
            ("{from: 2026-12-01}", "rules: is no list"),
            ("[2026-12-01]", "rules.2: needs keys of its own"),
            (
                "[" + (0..<33).map { "{from: \(2000 + $0)-01-01}" }.joined(separator: ",") + "]",
                "33 versions: write at most 32"
            ),
        ])
    func badRules(text: String, problem: String) throws {
        let error = #expect(throws: ConfigurationError.self) {
            try parse("cluster_name: demo\nrules: \(text)\n" + nodes)
        }
        #expect(error?.description.contains(problem) == true, "\(error?.description ?? "")")
    }

    @Test("Every setting can be given")
    func all() throws {
        let configuration = try parse(
            """
            cluster_name: 'Ünïversum 7'
            partitions: 64
            replication_factor: {dc1: 2, dc2: 1}
            window: 10s
            gossip_interval: 1s
            request_timeout: 30s
            horizon: 2h
            future_limit: 0s
            lateness: 7d
            memtable_size: 1GiB
            compaction_share: 60
            disk_reserve: 2GiB
            memtable_flush_age: 1h
            max_parked_size: 256MiB
            max_dead_letters_size: unlimited
            digest_key: "000102030405060708090a0b0c0d0e0f"
            data_directory: /var/lib/quipu
            retention: {10s: 30d, 1h: 365d}
            seeds: [b1, b1]
            log_level: debug
            nodes:
              b1: {http: "[::1]:1", peer: "localhost:2", dc: dc2}
              a2: {http: 127.0.0.1:3, peer: 127.0.0.1:4}
              a1: {http: 127.0.0.1:5, peer: 127.0.0.1:6}
            """)
        #expect(configuration.clusterName == "Ünïversum 7")
        #expect(configuration.replicationFactor == .perDataCentre(["dc1": 2, "dc2": 1]))
        #expect(configuration.window.milliseconds == 10_000)
        #expect(configuration.futureLimit == .zero)
        #expect(configuration.lateness == .seconds(7 * 86_400))
        #expect(configuration.memtableSize == 1 << 30)
        #expect(configuration.compactionShare == 60)
        #expect(configuration.diskReserve == 2 << 30)
        #expect(configuration.parkedSizeMax == 256 << 20)
        #expect(configuration.deadLettersSizeMax == nil)
        #expect(configuration.digestKey.high == 0x0001_0203_0405_0607)
        #expect(configuration.digestKey.low == 0x0809_0a0b_0c0d_0e0f)
        #expect(configuration.dataDirectory == "/var/lib/quipu")
        #expect(
            configuration.retention.map(\.keep) == [
                .seconds(30 * 86_400), .seconds(365 * 86_400), nil,
            ])
        #expect(configuration.seeds == [NodeID("b1")])
        #expect(configuration.logLevel == .debug)
        #expect(configuration.nodes.map(\.node.name) == ["a1", "a2", "b1"])
        #expect(configuration.members.map(\.dc) == ["dc1", "dc1", "dc2"])
        #expect(configuration.nodes[2].http == Endpoint(host: "::1", port: 1))
    }

    @Test("What is kept for a while bounds lateness, and all nodes must agree on it")
    func retention() throws {
        let forever = try parse("cluster_name: c\n" + nodes)
        #expect(forever.latenessInForce == nil)
        #expect(forever.fingerprint.value(of: "retention") == nil)
        let limited = try parse("cluster_name: c\nretention: {1m: 30d, 1h: 90d, 1d: 60d}\n" + nodes)
        #expect(limited.latenessInForce == .seconds(90 * 86_400))
        let difference = forever.fingerprint.difference(from: limited.fingerprint)
        #expect(difference?.field == "rules")
        let hours = try parse("cluster_name: c\nretention: {1m: 30d}\n" + nodes)
        #expect(hours.latenessInForce == nil)
        #expect(forever.fingerprint.difference(from: hours.fingerprint)?.field == "retention")
        let late = try parse(
            "cluster_name: c\nlateness: 7d\nretention: {1m: 30d, 1h: 30d, 1d: 30d}\n" + nodes)
        #expect(late.latenessInForce == .seconds(7 * 86_400))
    }

    @Test("With fewer than three nodes the default replication factor is their number")
    func smallCluster() throws {
        let one = "cluster_name: c\nnodes: {n1: {http: 127.0.0.1:1, peer: 127.0.0.1:2}}"
        #expect(try parse(one).replicationFactor == .everywhere(1))
    }

    @Test("The environment overrides scalars, those of nodes and of maps as well")
    func environment() throws {
        let configuration = try parse(
            "cluster_name: demo\nretention: {1m: 90d}\nreplication_factor: {dc1: 2}\n" + nodes,
            environment: [
                "QUIPU_GOSSIP_INTERVAL": "2s", "QUIPU_CLUSTER_NAME": "other",
                "QUIPU_NODES_N2_HTTP": "127.0.0.1:9999", "QUIPU_RETENTION_1M": "forever",
                "QUIPU_REPLICATION_FACTOR": "3", "QUIPU_NODE": "127.0.0.1:1", "PATH": "/bin",
            ])
        #expect(configuration.gossipInterval == .seconds(2))
        #expect(configuration.clusterName == "other")
        #expect(configuration.nodes[1].http.port == 9999)
        #expect(configuration.retention[0].keep == nil)
        #expect(configuration.replicationFactor == .everywhere(3))
        #expect(configuration.warnings.isEmpty)
        #expect(
            complaint("", environment: ["QUIPU_HORIZON": "soon"])
                == "environment QUIPU_HORIZON: horizon: \"soon\" is no duration: "
                + "write a whole number with its unit, as 200ms, 5s, 1m, 1h or 1d")
    }

    @Test("A misspelt variable and an address beyond loopback are warned of")
    func warnings() throws {
        let open = nodes.replacingOccurrences(of: "127.0.0.1:7182", with: "10.0.0.2:7182")
        let configuration = try parse(
            "cluster_name: demo\n" + open, environment: ["QUIPU_GOSIP_INTERVAL": "2s"])
        #expect(configuration.warnings.count == 2)
        #expect(configuration.warnings[0].hasPrefix("nodes.n2.peer 10.0.0.2:7182 is reachable"))
        #expect(
            configuration.warnings[1]
                == "environment QUIPU_GOSIP_INTERVAL overrides nothing: "
                + "did you mean QUIPU_GOSSIP_INTERVAL?")
    }

    @Test("An unknown node is answered with the nearest name")
    func unknownNode() throws {
        let configuration = try parse("cluster_name: demo\n" + nodes)
        #expect(try configuration.entry(named: "n2", file: "f").peer.port == 7182)
        do throws(ConfigurationError) {
            _ = try configuration.entry(named: "n4", file: "cluster.conf")
            Issue.record("n4 was found")
        } catch {
            #expect(
                error.description == "cluster.conf: --name n4: no such node among n1, n2, n3: "
                    + "did you mean n1?")
        }
    }

    @Test("A missing, a huge and a binary file are told with the remedy")
    func files() throws {
        let file = FileManager.default.temporaryDirectory
            .appendingPathComponent("conf-\(UUID().uuidString)")
        #expect(throws: ConfigurationError.self) {
            try ClusterConfiguration.load(file: file.path, environment: [:])
        }
        defer { #expect(throws: Never.self) { try FileManager.default.removeItem(at: file) } }
        for bytes in [Data(repeating: 0x20, count: ConfigurationLimits.fileMax + 1), Data([0xff])] {
            try bytes.write(to: file)
            #expect(throws: ConfigurationError.self) {
                try ClusterConfiguration.load(file: file.path, environment: [:])
            }
        }
    }
}

@Suite struct ConfigurationComplaintTests {
    @Test(
        "Each mistake is one line that names line, key and remedy",
        arguments: [
            ("gosip_interval: 1s", "2: gosip_interval: unknown key: did you mean gossip_interval?"),
            ("colour: red", "2: colour: unknown key: remove it; the nearest valid name is nodes"),
            ("partitions: 100", "2: partitions: 100 is no power of two: choose 64 or 128"),
            ("partitions: many", "2: partitions: \"many\" is no whole number: write one in 1…4096"),
            ("partitions: 8192", "2: partitions: 8192 is out of bounds: choose one in 1…4096"),
            (
                "partitions: 2",
                "2: partitions: 2 partitions cannot be shared by 3 nodes: "
                    + "choose a power of two of at least 3"
            ),
            (
                "partitions: [1]",
                "2: partitions: needs a single value: write partitions: VALUE"
            ),
            (
                "replication_factor: 4",
                "2: replication_factor: 4 replicas need 4 nodes and there are 3: "
                    + "set it to at most 3, or list more nodes"
            ),
            (
                "replication_factor: {dc1: 4}",
                "2: replication_factor.dc1: 4 replicas need 4 nodes and in dc1 are 3: "
                    + "set it to at most 3, or list more nodes there"
            ),
            (
                "replication_factor: {dc2: 1}",
                "2: replication_factor.dc2: unknown key: did you mean dc1?"
            ),
            (
                "replication_factor: {}",
                "2: replication_factor.dc1: is missing: "
                    + "3 of the nodes are there: say how many replicas"
            ),
            (
                "replication_factor: 0",
                "2: replication_factor: 0 is out of bounds: choose one in 1…16"
            ),
            (
                "window: 7s",
                "2: window: 7s does not divide an hour: choose 1s, 10s, 1m, 5m, 10m, 15m, 30m or 1h"
            ),
            (
                "gossip_interval: 1ms",
                "2: gossip_interval: 1ms is out of bounds: choose from 50ms to 1m"
            ),
            (
                "request_timeout: 5",
                "2: request_timeout: \"5\" is no duration: "
                    + "write a whole number with its unit, as 200ms, 5s, 1m, 1h or 1d"
            ),
            (
                "commitlog_sync: periodic",
                "2: commitlog_sync: \"periodic\" would acknowledge before the disk has it: "
                    + "write group, or remove the key"
            ),
            (
                "memtable_size: 64MB",
                "2: memtable_size: \"64MB\" is no size: write a whole number of B, KiB, MiB or GiB"
            ),
            (
                "memtable_size: 1KiB",
                "2: memtable_size: 1KiB is out of bounds: choose from 1MiB to 4GiB"
            ),
            (
                "max_parked_size: on",
                "2: max_parked_size: \"on\" is no size: "
                    + "write a whole number of B, KiB, MiB or GiB"
            ),
            (
                "log_level: inf",
                "2: log_level: \"inf\" is not one of trace, debug, info, notice, warning, error, "
                    + "critical: did you mean info?"
            ),
            ("retention: {2m: forever}", "2: retention.2m: unknown key: did you mean 1m?"),
            ("seeds: [n9]", "2: seeds: n9 is not among the nodes: did you mean n1?"),
            ("seeds: n1", "2: seeds: is no list: write seeds: [a, b]"),
            (
                "digest_key: secret",
                "2: digest_key: is no key: write 32 hexadecimal digits in quotes"
            ),
            ("data_directory:", "2: data_directory: has no value: write one, or remove the key"),
        ])
    func complaints(settings: String, message: String) {
        #expect(complaint(settings) == "cluster.conf:" + message)
    }

    @Test(
        "Mistakes among the nodes are told likewise",
        arguments: [
            (
                "nodes: {n1: {http: h:1, peer: h:2}, n2: {http: h:2, peer: h:3}}",
                "nodes.n2.http: h:2 is taken by nodes.n1.peer: give each its own port"
            ),
            (
                "nodes: {n1: {http: 0.0.0.0:1, peer: h:1}}",
                "nodes.n1.peer: h:1 is taken by nodes.n1.http: give each its own port"
            ),
            (
                "nodes: {n1: {http: localhost:1, peer: 127.0.0.1:1}}",
                "nodes.n1.peer: 127.0.0.1:1 is taken by nodes.n1.http: give each its own port"
            ),
            (
                "nodes: {n1: {http: h:1, peer: 0.0.0.0:2}}",
                "nodes.n1.peer: 0.0.0.0:2 is no address that the other nodes can dial: "
                    + "write this node's own address or host name"
            ),
            (
                "nodes: {n1: {http: h:1, peer: h}}",
                "nodes.n1.peer: \"h\" is no address: "
                    + "write host:port with a port from 1 to 65535, as 127.0.0.1:7181"
            ),
            ("nodes: {n1: {http: h:1}}", "nodes.n1.peer: is missing: write peer: HOST:PORT"),
            (
                "nodes: {n1: {http: h:1, peer: h:2, rak: r1}}",
                "nodes.n1.rak: unknown key: did you mean rack?"
            ),
            ("nodes: {n1: 5}", "nodes.n1: needs keys of its own: write n1: {key: value}"),
            (
                "nodes: {../x: {http: h:1, peer: h:2}}",
                "nodes.../x: \"../x\" is no name: use up to 64 letters, digits, -, _ and ., "
                    + "the first a letter or digit"
            ),
        ])
    func nodeComplaints(nodes: String, message: String) {
        #expect(complaint("partitions: 4", nodes: nodes) == "cluster.conf:3: " + message)
    }

    @Test(
        "Every bound is kept",
        arguments: [
            "gossip_interval: 61s", "request_timeout: 99ms", "request_timeout: 601s",
            "horizon: 59s", "horizon: 8d", "batch_status_retention: 59m", "future_limit: 36501d",
            "lateness: 36501d",
            "window: 500ms", "window: 2h", "memtable_size: 5GiB", "memtable_flush_age: 999ms",
            "memtable_flush_age: 8d", "max_parked_size: 1KiB", "max_parked_size: 2000GiB",
            "retention: {1m: 59m}", "replication_factor: 17", "max_dead_letters_size: 1023MiB",
        ])
    func bounds(setting: String) {
        #expect(complaint(setting).contains("out of bounds: choose"))
    }

    @Test("More than nodesMax nodes and a name above nameMax are refused")
    func nodeBounds() {
        let many = (0...Limits.nodesMax).map { "  n\($0): {http: h:\($0 + 1), peer: p:\($0 + 1)}" }
        let all = "nodes:\n" + many.joined(separator: "\n")
        #expect(complaint("partitions: 4096", nodes: all).contains("list at most 1024"))
        let name = String(repeating: "n", count: ConfigurationLimits.nameMax)
        #expect(complaint("", nodes: "nodes: {\(name): {http: h:1, peer: h:2}}") == "no complaint")
        #expect(
            complaint("", nodes: "nodes: {\(name)n: {http: h:1, peer: h:2}}").contains("no name"))
    }

    @Test("A key that stands twice and text that is no YAML are told with their line")
    func yaml() {
        #expect(
            complaint("window: 1m\nwindow: 1h").hasSuffix(
                "window: stands twice: remove one of them"))
        #expect(complaint("window: [1m").hasPrefix("cluster.conf:"))
        #expect(complaint("window: [1m").contains("not YAML"))
        #expect(
            complaint("window: 1m", nodes: "")
                == "cluster.conf:1: nodes: is missing: "
                + "write nodes: {n1: {http: 127.0.0.1:8181, peer: 127.0.0.1:7181}}")
        for text in ["", "- a\n- b\n", "a", "\u{0}", "? [a]\n: b\n"] {
            do throws(ConfigurationError) {
                _ = try parse(text)
                Issue.record("\(text) was read")
            } catch {
                #expect(error.description.hasPrefix("/etc/quipu/cluster.conf:1: "))
                #expect(!error.description.contains("\n"))
            }
        }
    }
}

@Suite struct ConfigurationTextTests {
    @Test("Durations and sizes are read exactly and written back in their largest unit")
    func quantities() {
        for (text, milliseconds) in [
            ("200ms", 200), ("5s", 5000), ("1m", 60_000), ("36h", 129_600_000), ("0s", 0),
        ] as [(String, Int64)] {
            #expect(QuantityText.duration(text) == .milliseconds(milliseconds))
        }
        for text in ["", "5", "s", "-1s", "1.5s", "5 s", "1w", "9223372036854775807d", "٣s", "1M"] {
            #expect(QuantityText.duration(text) == nil)
        }
        #expect(QuantityText.bytes("64MiB") == 64 << 20)
        #expect(QuantityText.bytes("4096") == 4096)
        #expect(QuantityText.bytes("9999999999GiB") == nil)
        #expect(QuantityText.bytes("1MB") == nil)
        for text in ["200ms", "5s", "90m", "2h", "7d"] {
            #expect(QuantityText.duration(text).map(QuantityText.format) == text)
        }
        #expect(QuantityText.format(bytes: 3 << 20) == "3MiB")
    }

    @Test("An address is a host and a port, an IPv6 host in brackets")
    func endpoints() {
        #expect(Endpoint("127.0.0.1:80") == Endpoint(host: "127.0.0.1", port: 80))
        #expect(Endpoint("[::1]:80")?.host == "::1")
        #expect(Endpoint("[::1]:80")?.description == "[::1]:80")
        #expect(Endpoint("n1.example:65535")?.port == 65_535)
        for text in [
            "", ":", "h:", ":1", "h:0", "h:65536", "::1:80", "h:1x", "h h:1", "[h]:1", "h:+1",
        ] {
            #expect(Endpoint(text) == nil)
        }
        let local = ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"]
        #expect(local.allSatisfy { Endpoint($0)?.isLoopback == true })
        let others = ["10.0.0.1:1", "127.0.0.1.example:1", "128.0.0.1:1", "0.0.0.0:1", "n1:1"]
        #expect(others.allSatisfy { Endpoint($0)?.isLoopback == false })
    }

    @Test("The nearest name is the one with the fewest edits, and none if all are far")
    func distance() {
        #expect(NameDistance.distance("kitten", "sitting") == 3)
        #expect(NameDistance.distance("", "abc") == 3)
        #expect(NameDistance.distance("abc", "abc") == 0)
        #expect(
            NameDistance.nearest(to: "partitons", among: ["partitions", "nodes"]) == "partitions")
        #expect(NameDistance.nearest(to: "xyzzy", among: ["partitions", "nodes"]) == nil)
        #expect(NameDistance.nearest(to: "x", among: []) == nil)
    }
}

@Suite struct ConfigurationFingerprintTests {
    @Test("Equal files have equal fingerprints, whatever their order of lines")
    func equal() throws {
        let one = try parse("cluster_name: demo\nwindow: 1m\n" + nodes)
        let lines = nodes.split(separator: "\n")
        let swapped = [lines[0], lines[3], lines[1], lines[2]].joined(separator: "\n")
        let other = try parse(swapped + "\nlog_level: debug\ncluster_name: demo\n")
        #expect(one.fingerprint == other.fingerprint)
        #expect(one.fingerprint.difference(from: other.fingerprint) == nil)
    }

    @Test(
        "A difference names its field and both values",
        arguments: [
            ("cluster_name: other", "cluster_name", "other", "demo"),
            ("cluster_name: demo\npartitions: 64", "partitions", "64", "256"),
            ("cluster_name: demo\nreplication_factor: 2", "replication_factor", "2", "3"),
            ("cluster_name: demo\nwindow: 1h", "window", "3600000 ms", "60000 ms"),
        ])
    func different(text: String, field: String, theirs: String, ours: String) throws {
        let mine = try parse("cluster_name: demo\n" + nodes).fingerprint
        let other = try parse(text + "\n" + nodes).fingerprint
        let difference = mine.difference(from: other)
        #expect(difference?.field == field)
        #expect(difference?.theirs == theirs)
        #expect(difference?.ours == ours)
    }

    @Test("The rules, the digest key and the nodes are in the fingerprint, the key itself is not")
    func secrets() throws {
        let mine = try parse("cluster_name: demo\n" + nodes)
        let key = "ffeeddccbbaa99887766554433221100"
        let keyed = try parse("cluster_name: demo\ndigest_key: '\(key)'\n" + nodes)
        #expect(mine.fingerprint.difference(from: keyed.fingerprint)?.field == "digest_key")
        #expect(keyed.fingerprint.fields.allSatisfy { !$0.value.contains("ffee") })
        let late = try parse("cluster_name: demo\nlateness: 1d\n" + nodes)
        #expect(mine.fingerprint.difference(from: late.fingerprint)?.field == "rules")
        let fewer = try parse(
            "cluster_name: demo\nreplication_factor: 3\n" + nodes + "\n"
                + "  n4: {http: 127.0.0.1:1, peer: 127.0.0.1:2}")
        #expect(mine.fingerprint.difference(from: fewer.fingerprint)?.field == "nodes")
    }

    @Test("A field that only one side has is a difference, from either side")
    func absent() {
        let one = ClusterFingerprint([.init("a", "1")])
        let two = ClusterFingerprint([.init("a", "1"), .init("b", "2")])
        #expect(one.difference(from: two)?.field == "b")
        #expect(two.difference(from: one)?.field == "b")
        let composed = ClusterFingerprint([.init("a", "\u{e9}")])
        let decomposed = ClusterFingerprint([.init("a", "e\u{301}")])
        #expect(composed.difference(from: decomposed)?.field == "a")
    }
}
