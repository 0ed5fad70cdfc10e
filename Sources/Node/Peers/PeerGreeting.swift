package import Core
package import Wire

/// Which process speaks: its name, the life of its data directory, a number drawn at each start.
package struct PeerIdentity: Hashable, Sendable {
    package var node: NodeID
    package var incarnation: Incarnation
    package var startNonce: UInt64

    package init(node: NodeID, incarnation: Incarnation, startNonce: UInt64) {
        self.node = node
        self.incarnation = incarnation
        self.startNonce = startNonce
    }
}

/// What both sides say first.
package struct PeerGreeting: Hashable, Sendable {
    /// Rises with every change of the frames or of what messages mean.
    package static let protocolVersion: UInt16 = 2
    static let magic: [UInt8] = Array("quipupp\n".utf8)

    package var version: UInt16
    package var identity: PeerIdentity
    /// Whom the speaker believes to be speaking with: a wrong address is found out here.
    package var target: NodeID
    package var fingerprint: ClusterFingerprint

    package init(
        version: UInt16 = PeerGreeting.protocolVersion, identity: PeerIdentity, target: NodeID,
        fingerprint: ClusterFingerprint
    ) {
        self.version = version
        self.identity = identity
        self.target = target
        self.fingerprint = fingerprint
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 512)
        writer.write(raw: PeerGreeting.magic)
        writer.write(fixed: version)
        writer.write(identity.node)
        writer.write(fixed: identity.incarnation.number)
        writer.write(fixed: identity.startNonce)
        writer.write(target)
        writer.write(count: fingerprint.fields.count + fingerprint.rules.count)
        for field in fingerprint.fields { writer.write(field) }
        for (index, notice) in fingerprint.rules.enumerated() {
            writer.write(sized: "\(RuleNotice.prefix)\(ruleVersion(at: index).number)")
            writer.write(sized: notice.text)
        }
        return writer.bytes
    }

    /// Reads a greeting of this version; the rest of one of another version may mean anything.
    package static func decode(_ bytes: [UInt8]) throws(PeerRejection) -> PeerGreeting {
        var reader = ByteReader(bytes)
        let version: UInt16
        do throws(DecodeError) {
            version = try self.version(&reader)
            if version == protocolVersion { return try body(&reader) }
        } catch {
            throw PeerRejection(.garbled, field: "greeting", theirs: "\(error)", ours: "")
        }
        throw PeerRejection.version(theirs: version)
    }

    private static func version(_ reader: inout ByteReader) throws(DecodeError) -> UInt16 {
        guard try reader.raw(magic.count) == magic else { throw reader.fail("no magic") }
        return try reader.fixed()
    }

    private static func body(_ reader: inout ByteReader) throws(DecodeError) -> PeerGreeting {
        let identity = PeerIdentity(
            node: try reader.node(), incarnation: Incarnation(try reader.fixed()),
            startNonce: try reader.fixed())
        let target = try reader.node()
        let fingerprint = try fingerprint(&reader)
        try reader.finish()
        return PeerGreeting(identity: identity, target: target, fingerprint: fingerprint)
    }

    private static func fingerprint(
        _ reader: inout ByteReader
    ) throws(DecodeError) -> ClusterFingerprint {
        let count = try reader.count(ofSize: 2)
        guard count <= PeerLimits.fingerprintFieldsMax else { throw reader.fail("\(count) fields") }
        var fingerprint = ClusterFingerprint([])
        for _ in 0..<count {
            let field = try reader.fingerprintField()
            let next = "\(RuleNotice.prefix)\(ruleVersion(at: fingerprint.rules.count).number)"
            // A version that cannot be read is a field like any other: it differs.
            if field.name == next, let notice = RuleNotice(text: field.value) {
                fingerprint.rules.append(notice)
            } else {
                fingerprint.fields.append(field)
            }
        }
        return fingerprint
    }
}

/// Why a peer is not taken, said to it in words before the connection ends. The layout of its bytes
/// is the same in all versions.
package struct PeerRejection: Error, Hashable, Sendable, CustomStringConvertible {
    /// Sent: do not change the numbers.
    package enum Reason: UInt8, Sendable, CaseIterable {
        case garbled = 1
        case version = 2
        /// A field of the fingerprint differs.
        case fingerprint = 3
        /// The speaker is not in this node's cluster.
        case stranger = 4
        /// The dialled address belongs to another node.
        case wrongAddress = 5
        /// Another live process speaks under this name.
        case twin = 6
        /// Not a fault: another connection of the same process took this one's place.
        case superseded = 7
    }

    package var reason: Reason
    package var field: String
    /// The value of the side that was refused, then of the side that refuses.
    package var theirs: String
    package var ours: String

    package init(_ reason: Reason, field: String, theirs: String, ours: String) {
        self.reason = reason
        self.field = field
        self.theirs = theirs
        self.ours = ours
    }

    static func version(theirs: UInt16) -> PeerRejection {
        PeerRejection(
            .version, field: "protocol", theirs: "\(theirs)",
            ours: "\(PeerGreeting.protocolVersion)")
    }

    package var description: String { sentence(heard: false) }

    /// The refusal in words: for the side that refuses, or for the one that `heard` it.
    package func sentence(heard: Bool) -> String {
        let (there, here) = heard ? (ours, theirs) : (theirs, ours)
        switch reason {
        case .garbled:
            return "the \(field) cannot be read (\(theirs)): is this a peer port?"
        case .version:
            return "the peer protocol is version \(there) there and \(here) here: "
                + "run one release on all nodes"
        case .fingerprint where isAboutRules:
            return "\(field) is \(there) there and \(here) here, and is in force or nearly so: "
                + "give the node that is behind the cluster.conf of the others and start it again"
        case .fingerprint:
            return "another cluster: \(field) is \(there) there and \(here) here; "
                + "give all nodes the same cluster.conf"
        case .stranger:
            let whose = heard ? "the peer's" : "this node's"
            return "node \(theirs) is not in \(whose) cluster.conf: "
                + "add it there, or correct its --name"
        case .wrongAddress:
            return "\(ours) was dialled as \(theirs): correct the peer addresses in cluster.conf"
        case .twin:
            return "another live process runs as \(theirs): stop one of the two"
        case .superseded:
            return "a newer connection of the same process took its place"
        }
    }

    /// The clusters are the same, and their rules part.
    package var isAboutRules: Bool {
        reason == .fingerprint && field.hasPrefix(RuleNotice.prefix)
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.write(reason.rawValue)
        for text in [field, theirs, ours] {
            writer.write(sized: Array(text.utf8.prefix(PeerRejection.textMax)))
        }
        return writer.bytes
    }

    package static func decode(_ bytes: [UInt8]) throws(DecodeError) -> PeerRejection {
        var reader = ByteReader(bytes)
        guard let reason = Reason(rawValue: try reader.byte()) else {
            throw reader.fail("unknown reason of a refusal")
        }
        // A text that was cut inside a letter is still worth showing: it is repaired, not refused.
        let field = String(decoding: try reader.sized(max: textMax), as: UTF8.self)
        let theirs = String(decoding: try reader.sized(max: textMax), as: UTF8.self)
        let ours = String(decoding: try reader.sized(max: textMax), as: UTF8.self)
        return PeerRejection(reason, field: field, theirs: theirs, ours: ours)
    }

    private static let textMax = 1024
}
