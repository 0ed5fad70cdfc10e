import Core
import Ring
import Storage

extension ClusterConfiguration {
    /// What the nodes of this cluster must agree on; compared at each handshake.
    ///
    /// The digest key is shown by a check value. The founding members are part of it, because the
    /// ring of the first epoch is computed from them on each node by itself.
    package var fingerprint: ClusterFingerprint {
        var fields: [ClusterFingerprint.Field] = [
            .init("cluster_name", clusterName),
            .init("partitions", "\(partitions)"),
            .init("token", "murmur3"),
            .init("replication_factor", replicationFactor.description),
            .init("window", "\(window.milliseconds) ms"),
            .init("rules", firstRules),
            .init("digest_key", digestCheck),
            .init("nodes", memberList),
        ]
        // What all keep for ever needs no word, as before there was a choice.
        if retentionPolicy != .forever { fields.append(.init("retention", retentionText)) }
        if placement != .key { fields.append(.init("placement", placement.rawValue)) }
        return ClusterFingerprint(fields)
    }

    private var retentionText: String {
        retention.map { rule in
            "\(rule.window.milliseconds) ms: "
                + (rule.keep.map { "\($0.milliseconds) ms" } ?? "forever")
        }.joined(separator: ", ")
    }

    /// The first version of the rules: what decides what a batch's bytes fold to. Later versions
    /// are compared apart, since they may be put into one file after the other (`RuleWatch`).
    private var firstRules: String {
        let late = latenessInForce.map { "\($0.milliseconds) ms" } ?? "unlimited"
        return "\(RuleVersion.first.number) from the beginning "
            + "(future_limit \(futureLimit.milliseconds) ms, lateness \(late), "
            + "key \(Limits.keyMax), type \(Limits.typeMax), line \(Limits.lineMax))"
    }

    /// Changes with the key and does not give it away.
    private var digestCheck: String {
        let check = SipHash.hash(Array("quipu digest key check".utf8), key: digestKey)
        return Hash128(check).description.prefix(16).description
    }

    private var memberList: String {
        nodes.map { "\($0.node)@\($0.dc)/\($0.rack)" }.joined(separator: " ")
    }
}
