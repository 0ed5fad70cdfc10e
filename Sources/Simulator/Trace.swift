package import Core
import Wire

/// The hash of a history: every event that was delivered, with its time, its place and its bytes.
/// Two processes that run one seed must agree on it (S16).
package struct Trace: Hashable, Sendable {
    package private(set) var hash: UInt64 = 0x7175_6970_75
    package private(set) var events = 0

    package init() {}

    /// What happened. Persisted nowhere; the numbers only have to differ.
    package enum Kind: UInt64, Sendable {
        case tick = 1
        case message = 2
        case link = 3
        case logWritten = 4
        case logSynced = 5
        case jobRun = 6
        case jobDone = 7
        case request = 8
        case reply = 9
        case start = 10
        case crash = 11
        case wipe = 12
        case client = 13
        case nemesis = 14
        case parking = 15
    }

    package mutating func note(_ kind: Kind, at time: Instant, node: Int, _ word: UInt64 = 0) {
        events += 1
        mix(kind.rawValue << 8 | UInt64(truncatingIfNeeded: node))
        mix(UInt64(bitPattern: time.nanoseconds))
        mix(word)
    }

    package mutating func note(
        _ kind: Kind, at time: Instant, node: Int, bytes: [UInt8]
    ) {
        note(kind, at: time, node: node, UInt64(Checksum.crc32c(bytes)) << 32 | UInt64(bytes.count))
    }

    private mutating func mix(_ word: UInt64) {
        var mixed = (hash ^ word) &* 0x9e37_79b9_7f4a_7c15
        mixed = (mixed ^ mixed >> 29) &* 0xbf58_476d_1ce4_e5b9
        hash = mixed ^ mixed >> 32
    }
}

/// The last events of a run, for people. Kept only when a seed is run again because it failed.
package struct Journal: Sendable {
    private var lines: [String] = []
    private let max: Int

    package init(max: Int) {
        self.max = max
    }

    package mutating func note(_ line: String) {
        lines.append(line)
        if lines.count > 2 * max { lines.removeFirst(lines.count - max) }
    }

    package var last: [String] { Array(lines.suffix(max)) }
}
