import Core
import Gossip
import Testing

@Suite("Gossip codec")
struct GossipCodecTests {
    private func bytes(_ message: GossipMessage) -> [UInt8] {
        var bytes: [UInt8] = []
        message.encode(into: &bytes)
        return bytes
    }

    private let delta = EndpointDelta(
        node: NodeID("n2"), generation: 1_760_000_000, heartbeat: 77, after: 3,
        values: [
            GossipValue(key: .status, version: 4, text: "NORMAL"),
            GossipValue(key: .rack, version: 70, text: ""),
            GossipValue(key: GossipKey(number: 250), version: .max, text: "später 𝄞"),
        ])

    private var examples: [GossipMessage] {
        let digests = ["a", "b", "n10", "n2"].map {
            EndpointDigest(node: NodeID($0), generation: .max, version: .max)
        }
        return [
            .syn(cluster: "demo", digests: digests), .syn(cluster: "demo", digests: []),
            .ack(deltas: [delta], requests: digests), .ack(deltas: [], requests: []),
            .ack2(deltas: [delta]), .probe(nonce: .max),
            .probeAnswer(nonce: 0, generation: 1, wall: WallTime(milliseconds: -5)),
            .shutdown(delta),
        ]
    }

    @Test("what is encoded is decoded")
    func roundTrip() throws {
        for message in examples { #expect(try GossipMessage.decode(bytes(message)) == message) }
    }

    @Test("the bytes are those of the layout")
    func golden() {
        let syn = GossipMessage.syn(
            cluster: "c",
            digests: [EndpointDigest(node: NodeID("n1"), generation: 258, version: 3)])
        #expect(
            bytes(syn) == [
                1, 1, 1, 0, 0x63, 1, 0, 2, 0, 0x6e, 0x31, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0,
                0, 0,
            ])
        #expect(bytes(.probe(nonce: 0x0102)) == [1, 4, 2, 1, 0, 0, 0, 0, 0, 0])
    }

    @Test("a message that is cut anywhere, or goes on, is refused")
    func truncation() {
        for message in examples {
            let whole = bytes(message)
            for length in 0..<whole.count {
                #expect(throws: GossipDecodingError.self) {
                    try GossipMessage.decode(Array(whole[..<length]))
                }
            }
            #expect(throws: GossipDecodingError.leftOver(offset: whole.count)) {
                try GossipMessage.decode(whole + [0])
            }
        }
    }

    @Test("each wrong is named")
    func errors() {
        func check(_ bytes: [UInt8], _ error: GossipDecodingError) {
            #expect(throws: error) { try GossipMessage.decode(bytes) }
        }
        check([2, 4], .unknownForm(2))
        check([1, 9], .unknownKind(9))
        check([1, 1, 0, 0], .badText(offset: 2))
        check([1, 1, 2, 0, 0xc3, 0x28], .badText(offset: 2))
        check([1, 1, 0, 1], .badText(offset: 2))
        check([1, 3, 0xff, 0xff], .tooMany(count: 65535, max: Limits.nodesMax, offset: 2))
        check(
            Array(repeating: 1, count: GossipLimits.messageMax + 1),
            .tooLong(bytes: GossipLimits.messageMax + 1))
        // Generation 0 in a delta; a node twice; a value at or below `after`.
        check(
            bytes(.shutdown(EndpointState(generation: 0).delta(of: NodeID("n"), after: 0))),
            .badNumber(offset: 13))
        let twice = bytes(.ack2(deltas: [delta, delta]))
        check(twice, .badOrder(offset: twice.count))
        let low = EndpointDelta(
            node: NodeID("n"), generation: 1, heartbeat: 9, after: 4,
            values: [GossipValue(key: .rack, version: 4, text: "r")])
        check(bytes(.ack2(deltas: [low])), .badNumber(offset: 41))
        #expect("\(GossipDecodingError.unknownKind(9))".contains("unknown kind 9"))
    }

    @Test("the greatest counts and lengths are taken, one more is refused")
    func bounds() throws {
        let digests = (0..<Limits.nodesMax).map {
            EndpointDigest(node: NodeID("\(10_000 + $0)"), generation: 1, version: 1)
        }
        let most = GossipMessage.syn(cluster: "c", digests: digests)
        #expect(try GossipMessage.decode(bytes(most)) == most)
        let last = EndpointDigest(node: NodeID("x"), generation: 1, version: 1)
        #expect(throws: GossipDecodingError.self) {
            try GossipMessage.decode(bytes(.syn(cluster: "c", digests: digests + [last])))
        }

        func shutdown(name: Int, values: Int, text: Int) -> GossipMessage {
            .shutdown(
                EndpointDelta(
                    node: NodeID(String(repeating: "n", count: name)), generation: 1, heartbeat: 1,
                    after: 0,
                    values: (0..<values).map {
                        GossipValue(
                            key: GossipKey(number: UInt8($0)), version: 1,
                            text: String(repeating: "v", count: text))
                    }))
        }
        let (name, values, text) = (
            GossipLimits.nameMax, GossipLimits.valuesMax, GossipLimits.valueMax
        )
        let full = shutdown(name: name, values: values, text: text)
        #expect(try GossipMessage.decode(bytes(full)) == full)
        for over in [
            shutdown(name: name + 1, values: 1, text: 1),
            shutdown(name: 1, values: values + 1, text: 1),
            shutdown(name: 1, values: 1, text: text + 1),
        ] {
            #expect(throws: GossipDecodingError.self) { try GossipMessage.decode(bytes(over)) }
        }
    }

    @Test("random and mutated bytes never trap; what decodes encodes to the same bytes")
    func fuzz() {
        var random = RandomSource(seed: 21)
        let corpus = examples.map(bytes)
        var decoded = 0
        for round in 0..<20_000 {
            var input: [UInt8]
            if round.isMultiple(of: 4) {
                input = (0..<random.below(64)).map { _ in UInt8(random.below(256)) }
                if !input.isEmpty { input[0] = 1 }
            } else {
                input = random.pick(corpus)
                for _ in 0...random.below(3) {
                    switch random.below(3) {
                    case 0: input[random.below(input.count)] = UInt8(random.below(256))
                    case 1: input.insert(UInt8(random.below(4)), at: random.below(input.count))
                    default: input[random.below(input.count)] ^= 1 << UInt8(random.below(8))
                    }
                }
            }
            do {
                let message = try GossipMessage.decode(input)
                #expect(bytes(message) == input)
                decoded += 1
            } catch {
                #expect(!error.description.isEmpty)
            }
        }
        #expect(decoded > 500)
    }
}
