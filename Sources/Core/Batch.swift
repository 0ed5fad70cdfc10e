/// The identity of a batch: what a producer may send any number of times and what is counted once.
package struct BatchID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// 128 bits chosen by the producer (a UUID).
    package let producer: UInt128
    package let sequence: UInt64

    package init(producer: UInt128, sequence: UInt64) {
        self.producer = producer
        self.sequence = sequence
    }

    package static func < (left: BatchID, right: BatchID) -> Bool {
        (left.producer, left.sequence) < (right.producer, right.sequence)
    }

    package var description: String {
        "\(UUIDText.format(producer))/\(sequence)"
    }
}

/// A 128-bit hash of content.
package struct Hash128: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let value: UInt128

    package init(_ value: UInt128) {
        self.value = value
    }

    package static func < (left: Hash128, right: Hash128) -> Bool {
        left.value < right.value
    }

    package var description: String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: 32 - text.count) + text
    }
}

/// The rules of decoding, windows, lateness, future allowance and size caps under which a batch is
/// folded. Selected by the segment of `createdAt`, so that every attempt of a batch folds alike.
package struct RuleVersion: Hashable, Comparable, Sendable {
    package let number: UInt16

    package init(_ number: UInt16) {
        self.number = number
    }

    package static let first = RuleVersion(1)

    /// Of batches that a node seals to retire a dead letter
    /// (docs/decisions/0031-retired-letters.md).
    /// Two of them under one id are two who want the same, and no producer's mistake.
    package static let retirement = RuleVersion(.max)

    package static func < (left: RuleVersion, right: RuleVersion) -> Bool {
        left.number < right.number
    }
}

/// `floor(createdAt / length)`: a pure function of the sealed batch, so that all replicas file an
/// id in the same place.
package struct Segment: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Of every cluster; simulations use shorter ones.
    package static let lengthDefault: Duration = .seconds(10)
    /// Before every time that can be written.
    package static let first = Segment(.min)

    package let number: Int64

    package init(_ number: Int64) {
        self.number = number
    }

    package init(createdAt: WallTime, length: Duration) {
        number = floorDivide(createdAt.milliseconds, length.milliseconds)
    }

    /// When it begins; nil for one that lies outside of all time.
    package func start(length: Duration) -> WallTime? {
        let (start, isOver) = number.multipliedReportingOverflow(by: length.milliseconds)
        return isOver ? nil : WallTime(milliseconds: start)
    }

    package var description: String { number == .min ? "none" : "\(number)" }

    package static func < (left: Segment, right: Segment) -> Bool {
        left.number < right.number
    }
}

/// What a producer seals before the first send, and what every attempt carries unchanged.
package struct BatchHeader: Hashable, Sendable {
    package var id: BatchID
    package var createdAt: WallTime
    package var contentHash: Hash128
    package var rule: RuleVersion

    package init(id: BatchID, createdAt: WallTime, contentHash: Hash128, rule: RuleVersion) {
        self.id = id
        self.createdAt = createdAt
        self.contentHash = contentHash
        self.rule = rule
    }
}

/// What became of a batch's events: `counted + dead = events`, always.
package struct BatchTotals: Hashable, Sendable {
    package var events: UInt32
    package var counted: UInt32
    package var dead: UInt32

    package init(events: UInt32, counted: UInt32, dead: UInt32) {
        precondition(
            UInt64(counted) + UInt64(dead) == UInt64(events),
            "totals do not balance: \(counted) counted + \(dead) dead != \(events) events")
        self.events = events
        self.counted = counted
        self.dead = dead
    }
}

/// Division that rounds toward negative infinity, so that windows before 1970 are half open as
/// well.
package func floorDivide(_ dividend: Int64, _ divisor: Int64) -> Int64 {
    let quotient = dividend / divisor
    return dividend % divisor < 0 ? quotient - 1 : quotient
}
