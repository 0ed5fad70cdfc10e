/// Whether a node has room for more dead letters. With a gap between closing and opening: else each
/// one that goes would let one batch in.
package struct LetterRoom: Hashable, Sendable {
    /// Bytes; nil: there is no bound.
    package let max: UInt64?
    package private(set) var isFull = false

    package init(max: UInt64?) {
        self.max = max
    }

    /// - Parameter held: bytes of dead letters in log and history.
    package mutating func judge(held: UInt64) {
        guard let max else { return }
        if held >= max {
            isFull = true
        } else if held < max - max / 8 {
            isFull = false
        }
    }
}
