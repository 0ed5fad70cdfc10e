import Core
import Foundation
import Ring

extension ClusterConfiguration {
    /// Reads the file; `environment` is the process's own.
    package static func load(
        file: String, environment: [String: String]
    ) throws(ConfigurationError) -> ClusterConfiguration {
        let bytes: Data
        do {
            bytes = try Data(contentsOf: URL(fileURLWithPath: file))
        } catch {
            throw .unreadable(file: file, reason: error.localizedDescription)
        }
        guard bytes.count <= ConfigurationLimits.fileMax else {
            throw .unreadable(
                file: file, reason: "it has more than \(ConfigurationLimits.fileMax) bytes")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .unreadable(file: file, reason: "it is not UTF-8")
        }
        return try parse(text, file: file, environment: environment)
    }

    /// Reads the file's text. `file` is used in messages and to make `data_directory` absolute.
    package static func parse(
        _ text: String, file: String, environment: [String: String] = [:]
    ) throws(ConfigurationError) -> ClusterConfiguration {
        let top = try ConfigurationSection(yaml: text, file: file, environment: environment)
        try top.allowOnly(keys)
        guard let clusterName = try top.setting("cluster_name")?.string(max: 255) else {
            throw .missing(key: "cluster_name", at: top.place, remedy: "write cluster_name: NAME")
        }
        let window = try readWindow(top)
        let nodes = try readNodes(top)
        var configuration = ClusterConfiguration(
            clusterName: clusterName, partitions: try readPartitions(top, nodes: nodes),
            replicationFactor: try readReplicationFactor(top, nodes: nodes), window: window,
            gossipInterval: .seconds(1), requestTimeout: .seconds(5),
            horizon: Limits.horizonDefault, futureLimit: Limits.futureLimitDefault, lateness: nil,
            memtableSize: 64 << 20, memtableFlushAge: .seconds(600),
            diskReserve: DiskWatch.reserveDefault, batchStatusRetention: .seconds(7 * 86_400),
            absenceLimit: .seconds(86_400), parkedSizeMax: 0,
            digestKey: try readDigestKey(top, clusterName: clusterName),
            dataDirectory: try readDataDirectory(top, file: file),
            retention: try readRetention(top, window: window),
            seeds: try readSeeds(top, nodes: nodes), logLevel: .info, nodes: nodes, warnings: [])
        try configuration.readTimes(top)
        try configuration.readRules(top)
        try configuration.readRest(top)
        try configuration.readCold(top, file: file)
        configuration.warnings = warnings(nodes: nodes, environment: environment)
        return configuration
    }

    static let keys =
        scalarKeys + ["replication_factor", "retention", "rules", "seeds", "nodes"]

    private static let scalarKeys = [
        "cluster_name", "partitions", "placement", "window", "gossip_interval", "commitlog_sync",
        "data_directory", "request_timeout", "horizon", "future_limit", "lateness",
        "memtable_size", "memtable_flush_age", "disk_reserve", "max_parked_size",
        "max_dead_letters_size", "digest_key",
        "log_level", "batch_status_retention", "absence_limit", "cold_after", "cold_directory",
        "compaction_share",
    ]

    private mutating func readTimes(_ top: ConfigurationSection) throws(ConfigurationError) {
        if let setting = try top.setting("gossip_interval") {
            gossipInterval = try setting.duration(in: ConfigurationLimits.gossipInterval)
        }
        if let setting = try top.setting("request_timeout") {
            requestTimeout = try setting.duration(in: ConfigurationLimits.requestTimeout)
        }
        if let setting = try top.setting("horizon") {
            horizon = try setting.duration(in: ConfigurationLimits.horizon)
        }
        if let setting = try top.setting("batch_status_retention") {
            batchStatusRetention = try setting.duration(
                in: ConfigurationLimits.batchStatusRetention)
        }
        if let setting = try top.setting("absence_limit") {
            absenceLimit = try setting.durationUnless(
                ["unlimited", "forever"], in: ConfigurationLimits.absenceLimit)
        }
        if let setting = try top.setting("future_limit") {
            futureLimit = try setting.duration(in: ConfigurationLimits.eventDistance)
        }
        if let setting = try top.setting("lateness") {
            lateness = try setting.durationUnless(
                ["unlimited", "forever"], in: ConfigurationLimits.eventDistance)
        }
    }

    private mutating func readRest(_ top: ConfigurationSection) throws(ConfigurationError) {
        if let setting = try top.setting("commitlog_sync"), setting.text != "group" {
            throw setting.bad(
                "\"\(setting.text)\" would acknowledge before the disk has it",
                remedy: "write group, or remove the key")
        }
        if let setting = try top.setting("memtable_size") {
            memtableSize = try setting.bytes(in: ConfigurationLimits.memtableSize)
        }
        if let setting = try top.setting("compaction_share") {
            compactionShare = try setting.integer(in: ConfigurationLimits.compactionShare)
        }
        if let setting = try top.setting("disk_reserve") {
            diskReserve = try setting.bytes(in: ConfigurationLimits.diskReserve)
        }
        if let setting = try top.setting("memtable_flush_age") {
            memtableFlushAge = try setting.duration(in: ConfigurationLimits.memtableFlushAge)
        }
        if let setting = try top.setting("max_parked_size"), setting.text != "off" {
            parkedSizeMax = try setting.bytes(in: ConfigurationLimits.parkedSize)
        }
        if let setting = try top.setting("max_dead_letters_size") {
            deadLettersSizeMax =
                setting.text == "unlimited"
                ? nil : try setting.bytes(in: ConfigurationLimits.deadLettersSize)
        }
        if let setting = try top.setting("placement") {
            let word = try setting.choice(KeyPlacement.Rule.allCases.map(\.rawValue))
            placement = KeyPlacement.Rule(rawValue: word) ?? .key
        }
        if let setting = try top.setting("log_level") {
            let word = try setting.choice(LogLevel.allCases.map(\.rawValue))
            logLevel = LogLevel(rawValue: word) ?? .info
        }
    }

    private static func readWindow(
        _ top: ConfigurationSection
    ) throws(ConfigurationError) -> WindowLength {
        guard let setting = try top.setting("window") else { return .minute }
        let length = try setting.duration(in: ConfigurationLimits.window).milliseconds
        guard 3_600_000 % length == 0 else {
            throw setting.bad(
                "\(setting.text) does not divide an hour",
                remedy: "choose 1s, 10s, 1m, 5m, 10m, 15m, 30m or 1h")
        }
        return WindowLength(milliseconds: length)
    }

    private static func readDigestKey(
        _ top: ConfigurationSection, clusterName: String
    ) throws(ConfigurationError) -> SipKey {
        guard let setting = try top.setting("digest_key") else {
            let derived = SipHash.hash(
                Array(clusterName.utf8),
                key: SipKey(low: 0x7571_6970_752d_6b65, high: 0x792d_6f66_2d6e_616d))
            return SipKey(
                low: UInt64(truncatingIfNeeded: derived),
                high: UInt64(truncatingIfNeeded: derived >> 64))
        }
        let isHex = setting.text.utf8.count == 32 && setting.text.allSatisfy(\.isHexDigit)
        guard isHex, let value = UUIDText.parse(setting.text) else {
            // The text is a secret: the message does not repeat it.
            throw setting.bad("is no key", remedy: "write 32 hexadecimal digits in quotes")
        }
        return SipKey(
            low: UInt64(truncatingIfNeeded: value), high: UInt64(truncatingIfNeeded: value >> 64))
    }

    private static func readDataDirectory(
        _ top: ConfigurationSection, file: String
    ) throws(ConfigurationError) -> String {
        path(try top.setting("data_directory")?.string(max: 1024) ?? "data", besides: file)
    }

    private static func path(_ text: String, besides file: String) -> String {
        let folder = URL(fileURLWithPath: file).deletingLastPathComponent()
        return URL(fileURLWithPath: text, relativeTo: folder).standardizedFileURL.path
    }

    /// Both or neither: a directory without an age is as likely a mistake as an age without one.
    private mutating func readCold(
        _ top: ConfigurationSection, file: String
    ) throws(ConfigurationError) {
        let age = try top.setting("cold_after")
        coldAfter = try age?.durationUnless(["never"], in: ConfigurationLimits.coldAfter)
        guard let setting = try top.setting("cold_directory") else {
            guard coldAfter == nil else {
                throw .missing(
                    key: "cold_directory", at: top.place(of: "cold_after"),
                    remedy: "write cold_directory: PATH of another disk, or cold_after: never")
            }
            return
        }
        guard age != nil else {
            throw .missing(
                key: "cold_after", at: setting.place,
                remedy: "write cold_after: 90d, or never where no more is to move")
        }
        let path = Self.path(try setting.string(max: 1024), besides: file)
        guard path != dataDirectory else {
            throw setting.bad(
                "is data_directory itself", remedy: "name a directory on another disk")
        }
        coldDirectory = path
    }

    private static func readRetention(
        _ top: ConfigurationSection, window: WindowLength
    ) throws(ConfigurationError) -> [RetentionRule] {
        var rules: [RetentionRule] = []
        let section = try top.sectionOrEmpty("retention")
        var names: [String] = []
        for milliseconds in [window.milliseconds, 3_600_000, 86_400_000]
        where !rules.contains(where: { $0.window.milliseconds == milliseconds }) {
            let name = QuantityText.format(.milliseconds(milliseconds))
            names.append(name)
            let keep = try section.setting(name)?.durationUnless(
                ["forever", "unlimited"], in: ConfigurationLimits.retention)
            rules.append(
                RetentionRule(window: WindowLength(milliseconds: milliseconds), keep: keep ?? nil))
        }
        try section.allowOnly(names)
        return rules
    }

    private static func warnings(
        nodes: [NodeEntry], environment: [String: String]
    ) -> [String] {
        var warnings: [String] = []
        for entry in nodes {
            for (name, endpoint) in [("http", entry.http), ("peer", entry.peer)]
            where !endpoint.isLoopback {
                warnings.append(
                    "nodes.\(entry.node).\(name) \(endpoint) is reachable from other machines: "
                        + "whoever reaches it may read and write, so keep it in a private network")
            }
        }
        let known = scalarKeys.map { ConfigurationSection.variable([$0]) }
        for name in environment.keys.sorted() where name.hasPrefix("QUIPU_") {
            if let nearest = NameDistance.nearest(to: name, among: known), nearest != name,
                NameDistance.distance(name, nearest) <= 2
            {
                warnings.append("environment \(name) overrides nothing: did you mean \(nearest)?")
            }
        }
        return warnings
    }
}
