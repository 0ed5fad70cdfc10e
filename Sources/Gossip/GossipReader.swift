import Core

/// Reads a message from bytes that may be anything. Nothing is allocated for a count that was only
/// claimed: lists grow with the entries that were really there.
struct GossipReader {
    private var rest: ArraySlice<UInt8>
    private let start: Int

    init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
        start = bytes.startIndex
    }

    private var offset: Int { rest.startIndex - start }

    mutating func byte() throws(GossipDecodingError) -> UInt8 {
        guard let byte = rest.popFirst() else { throw .truncated(offset: offset) }
        return byte
    }

    mutating func number<Number: FixedWidthInteger>() throws(GossipDecodingError) -> Number {
        let size = Number.bitWidth / 8
        guard rest.count >= size else { throw .truncated(offset: offset) }
        var number: Number = 0
        for byte in rest.prefix(size).reversed() {
            number = number << 8 | Number(truncatingIfNeeded: byte)
        }
        rest.removeFirst(size)
        return number
    }

    mutating func generation(min: Int64) throws(GossipDecodingError) -> Int64 {
        let generation: Int64 = try number()
        guard generation >= min else { throw .badNumber(offset: offset) }
        return generation
    }

    mutating func wallTime() throws(GossipDecodingError) -> WallTime {
        let milliseconds: Int64 = try number()
        guard PeerClock.believable.contains(milliseconds) else {
            throw .badNumber(offset: offset)
        }
        return WallTime(milliseconds: milliseconds)
    }

    mutating func text(min: Int = 1, max: Int) throws(GossipDecodingError) -> String {
        let place = offset
        let length = Int(try number() as UInt16)
        guard length >= min, length <= max else { throw .badText(offset: place) }
        guard rest.count >= length else { throw .truncated(offset: offset) }
        guard let text = String(validating: rest.prefix(length), as: UTF8.self) else {
            throw .badText(offset: place)
        }
        rest.removeFirst(length)
        return text
    }

    mutating func node() throws(GossipDecodingError) -> NodeID {
        NodeID(try text(max: GossipLimits.nameMax))
    }

    mutating func count(max: Int) throws(GossipDecodingError) -> Int {
        let place = offset
        let count = Int(try number() as UInt16)
        guard count <= max else { throw .tooMany(count: count, max: max, offset: place) }
        return count
    }

    mutating func digests() throws(GossipDecodingError) -> [EndpointDigest] {
        var digests: [EndpointDigest] = []
        for _ in 0..<(try count(max: Limits.nodesMax)) {
            let node = try node()
            if let last = digests.last, last.node >= node { throw .badOrder(offset: offset) }
            let generation = try generation(min: 0)
            digests.append(
                EndpointDigest(node: node, generation: generation, version: try number()))
        }
        return digests
    }

    mutating func deltas() throws(GossipDecodingError) -> [EndpointDelta] {
        var deltas: [EndpointDelta] = []
        for _ in 0..<(try count(max: Limits.nodesMax)) {
            let delta = try delta()
            if let last = deltas.last, last.node >= delta.node { throw .badOrder(offset: offset) }
            deltas.append(delta)
        }
        return deltas
    }

    mutating func delta() throws(GossipDecodingError) -> EndpointDelta {
        let node = try node()
        let generation = try generation(min: 1)
        let heartbeat: UInt64 = try number()
        let after: UInt64 = try number()
        let place = offset
        let count = Int(try byte())
        guard count <= GossipLimits.valuesMax else {
            throw .tooMany(count: count, max: GossipLimits.valuesMax, offset: place)
        }
        var values: [GossipValue] = []
        for _ in 0..<count {
            let key = GossipKey(number: try byte())
            if let last = values.last, last.key >= key { throw .badOrder(offset: offset) }
            let version: UInt64 = try number()
            guard version > after else { throw .badNumber(offset: offset) }
            let text = try text(min: 0, max: GossipLimits.valueMax)
            values.append(GossipValue(key: key, version: version, text: text))
        }
        return EndpointDelta(
            node: node, generation: generation, heartbeat: heartbeat, after: after, values: values)
    }

    func end() throws(GossipDecodingError) {
        guard rest.isEmpty else { throw .leftOver(offset: offset) }
    }
}
