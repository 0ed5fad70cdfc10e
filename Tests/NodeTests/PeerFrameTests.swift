import Core
import Node
import Testing

private let all = Set(PeerFrameKind.allCases)

/// Decodes `bytes` given in pieces of the sizes that `random` draws.
private func decode(
    _ bytes: [UInt8], due: Set<PeerFrameKind> = all, random: inout RandomSource
) throws(PeerFrameError) -> [PeerFrame] {
    var decoder = PeerFrameDecoder(due: due)
    var frames: [PeerFrame] = []
    var start = 0
    while start < bytes.count {
        let end = min(bytes.count, start + 1 + random.below(40))
        try feed(Array(bytes[start..<end]), to: &decoder, into: &frames)
        start = end
    }
    return frames
}

private func feed(
    _ bytes: [UInt8], to decoder: inout PeerFrameDecoder, into frames: inout [PeerFrame]
) throws(PeerFrameError) {
    var offset = 0
    while offset < bytes.count {
        let result = bytes.withUnsafeBytes { pointer -> Result<PeerFrame?, PeerFrameError> in
            do throws(PeerFrameError) {
                return .success(try decoder.next(pointer, from: &offset))
            } catch {
                return .failure(error)
            }
        }
        if let frame = try result.get() { frames.append(frame) }
    }
}

@Suite struct PeerFrameTests {
    @Test("Frames come out as they went in, however the stream is cut")
    func roundTrip() throws {
        var random = RandomSource(seed: 3)
        for _ in 0..<100 {
            var frames: [PeerFrame] = []
            for _ in 0..<random.below(6) {
                let kind = random.pick(PeerFrameKind.allCases)
                let size = random.below(min(kind.sizeMax, 200) + 1)
                let payload = (0..<size).map { _ in UInt8(random.below(256)) }
                frames.append(PeerFrame(kind: kind, payload: payload))
            }
            let bytes = frames.flatMap(\.encoded)
            #expect(try decode(bytes, random: &random) == frames)
        }
    }

    @Test("The layout is the documented one")
    func layout() {
        let frame = PeerFrame(kind: .message, payload: Array("123456789".utf8)).encoded
        #expect(Array(frame[0..<4]) == [9, 0, 0, 0])
        #expect(frame[8] == 6)
        #expect(frame.count == PeerFrameHeader.size + 9)
        #expect(PeerFrameKind.allCases.map(\.rawValue) == [1, 2, 3, 4, 5, 6])
    }

    @Test("No flipped bit passes")
    func damage() {
        let bytes = PeerFrame(kind: .message, payload: Array("quipu".utf8)).encoded
        var random = RandomSource(seed: 4)
        for bit in 0..<bytes.count * 8 {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            do {
                // A longer length waits for bytes that never come; nothing is delivered.
                #expect(try decode(damaged, random: &random).isEmpty)
            } catch {
                continue
            }
        }
    }

    @Test("A length above the kind's bound is refused by the header alone", arguments: all)
    func bounds(kind: PeerFrameKind) {
        var random = RandomSource(seed: 5)
        let declared = UInt32(kind.sizeMax) + 1
        let header =
            withUnsafeBytes(of: declared.littleEndian) { Array($0) } + [0, 0, 0, 0, kind.rawValue]
        #expect(throws: PeerFrameError.tooLarge(kind, declared: declared)) {
            try decode(header, random: &random)
        }
        let huge: [UInt8] = [0, 0, 0, 0x40, 0, 0, 0, 0, kind.rawValue]
        #expect(throws: PeerFrameError.tooLarge(kind, declared: 1 << 30)) {
            try decode(huge, random: &random)
        }
    }

    @Test("A frame of exactly the bound is taken")
    func largest() throws {
        var decoder = PeerFrameDecoder(due: all)
        var frames: [PeerFrame] = []
        let payload = [UInt8](repeating: 7, count: PeerLimits.greetingMax)
        try feed(PeerFrame(kind: .hello, payload: payload).encoded, to: &decoder, into: &frames)
        #expect(frames.first?.payload.count == PeerLimits.greetingMax)
    }

    @Test("What is announced but not sent takes no memory")
    func memory() throws {
        var decoder = PeerFrameDecoder(due: all)
        var frames: [PeerFrame] = []
        let length = UInt32(Limits.frameMax)
        let header = withUnsafeBytes(of: length.littleEndian) { Array($0) } + [0, 0, 0, 0, 6]
        try feed(header + [1, 2, 3], to: &decoder, into: &frames)
        #expect(frames.isEmpty)
        #expect(decoder.pendingBytes == 3)
    }

    @Test("A kind that is not due or not known is refused by the header")
    func kinds() {
        var random = RandomSource(seed: 6)
        let message = PeerFrame(kind: .message, payload: [1]).encoded
        #expect(throws: PeerFrameError.unexpectedKind(.message)) {
            try decode(message, due: [.hello], random: &random)
        }
        #expect(throws: PeerFrameError.unknownKind(0x54)) {
            try decode(Array("GET / HTTP/1.1\r\n".utf8), random: &random)
        }
    }

    @Test("Bytes at random never trap, and never become a message")
    func fuzz() {
        var random = RandomSource(seed: 8)
        for _ in 0..<2000 {
            var bytes = (0..<random.below(64)).map { _ in UInt8(random.below(256)) }
            if bytes.count > 9 && random.chance(1, in: 2) {
                bytes[0] = UInt8(random.below(20))
                (bytes[1], bytes[2], bytes[3]) = (0, 0, 0)
                bytes[8] = UInt8(1 + random.below(6))
            }
            do {
                #expect(try decode(bytes, random: &random).isEmpty)
            } catch {
                #expect(!error.description.isEmpty)
            }
        }
    }
}

@Suite struct PeerGreetingTests {
    private let greeting = PeerGreeting(
        identity: PeerIdentity(node: NodeID("n1"), incarnation: Incarnation(3), startNonce: .max),
        target: NodeID("n2"),
        fingerprint: ClusterFingerprint([.init("cluster_name", "Ünï"), .init("partitions", "256")]))

    @Test("A greeting comes out as it went in")
    func roundTrip() throws {
        #expect(try PeerGreeting.decode(greeting.encoded) == greeting)
    }

    @Test("Versions of the rules travel in their order; one that cannot be read differs")
    func rules() throws {
        var other = greeting
        let from = WallTime(milliseconds: 1_800_000_000_000)
        let entry = RuleEntry(from: from, futureLimit: .seconds(1), lateness: nil)
        other.fingerprint.rules = [
            RuleNotice(entry, .confirmed),
            RuleNotice(
                RuleEntry(from: from + .seconds(10), futureLimit: .zero, lateness: .zero), .late),
        ]
        #expect(try PeerGreeting.decode(other.encoded) == other)
        var unknown = greeting
        unknown.fingerprint.fields.append(.init("rules.2", "from=1 moon=full"))
        let decoded = try PeerGreeting.decode(unknown.encoded)
        #expect(decoded.fingerprint.rules.isEmpty)
        #expect(greeting.fingerprint.difference(from: decoded.fingerprint)?.field == "rules.2")
    }

    @Test("Another version is told by its number, whatever follows")
    func version() {
        var other = greeting.encoded
        other[8] = 9
        other.removeLast(20)
        #expect(throws: PeerRejection(.version, field: "protocol", theirs: "9", ours: "2")) {
            try PeerGreeting.decode(other)
        }
    }

    @Test("A cut, lengthened or foreign greeting is garbled, not a trap")
    func garbled() {
        let bytes = greeting.encoded
        for count in 0..<bytes.count {
            #expect(throws: PeerRejection.self) { try PeerGreeting.decode(Array(bytes[..<count])) }
        }
        #expect(throws: PeerRejection.self) { try PeerGreeting.decode(bytes + [0]) }
        var random = RandomSource(seed: 9)
        for _ in 0..<3000 {
            var mutated = bytes
            for _ in 0...random.below(3) {
                mutated[random.below(mutated.count)] = UInt8(random.below(256))
            }
            do throws(PeerRejection) {
                #expect(try PeerGreeting.decode(mutated).fingerprint.fields.count <= 64)
            } catch {
                #expect([.garbled, .version].contains(error.reason))
            }
        }
    }

    @Test("More than fingerprintFieldsMax fields are refused")
    func fields() {
        var large = greeting
        large.fingerprint.fields = (0...PeerLimits.fingerprintFieldsMax).map { .init("f\($0)", "") }
        #expect(throws: PeerRejection.self) { try PeerGreeting.decode(large.encoded) }
        large.fingerprint.fields.removeLast()
        #expect(throws: Never.self) { try PeerGreeting.decode(large.encoded) }
    }

    @Test(
        "A refusal comes out as it went in, long texts are cut, and each reads well on both sides")
    func rejections() throws {
        for reason in PeerRejection.Reason.allCases {
            let rejection = PeerRejection(reason, field: "window", theirs: "a", ours: "b")
            #expect(try PeerRejection.decode(rejection.encoded) == rejection)
            #expect(!rejection.sentence(heard: true).isEmpty)
            #expect(rejection.encoded.count <= PeerLimits.refusalMax)
        }
        let long = String(repeating: "é", count: 3000)
        let rejection = PeerRejection(.fingerprint, field: long, theirs: long, ours: long)
        #expect(rejection.encoded.count <= PeerLimits.refusalMax)
        #expect(try PeerRejection.decode(rejection.encoded).field.hasPrefix("éé"))
        let refusal = PeerRejection(.fingerprint, field: "window", theirs: "1m", ours: "1h")
        #expect(refusal.description.contains("window is 1m there and 1h here"))
        #expect(refusal.sentence(heard: true).contains("window is 1h there and 1m here"))
        var random = RandomSource(seed: 10)
        for _ in 0..<1000 {
            let bytes = (0..<random.below(30)).map { _ in UInt8(random.below(256)) }
            do {
                #expect(try !PeerRejection.decode(bytes).sentence(heard: false).isEmpty)
            } catch {
                #expect(!"\(error)".isEmpty)
            }
        }
    }
}
