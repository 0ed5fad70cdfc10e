package import Core
import Foundation

/// Draws ranks `0 ..< count` with probability proportional to `1 / (rank + 1)^skew`, in constant
/// time.
///
/// Source: Walker's alias method as Vose builds it (1991). The probabilities are rounded to 2^-32,
/// so a draw is one comparison of integers and the same on every machine with the same table.
package struct ZipfTable: Sendable {
    private struct Slot {
        /// Of 2^32: below it the slot's own rank is drawn, else its alias.
        var threshold: UInt64
        var alias: UInt32
    }

    private let slots: [Slot]

    package init(count: Int, skew: Double) {
        precondition(count > 0 && count <= Int(UInt32.max), "a table has 1 to 2^32 - 1 ranks")
        let weights = (1...count).map { 1 / pow(Double($0), skew) }
        let mean = weights.reduce(0, +) / Double(count)
        var shares = weights.map { $0 / mean }
        var slots = Array(repeating: Slot(threshold: 1 << 32, alias: 0), count: count)
        var small = shares.indices.filter { shares[$0] < 1 }
        var large = shares.indices.filter { shares[$0] >= 1 }
        while let lesser = small.popLast() {
            guard let greater = large.last else { break }
            let threshold = UInt64(min(max(shares[lesser], 0), 1) * 4_294_967_296)
            slots[lesser] = Slot(threshold: threshold, alias: UInt32(greater))
            shares[greater] -= 1 - shares[lesser]
            if shares[greater] < 1 {
                large.removeLast()
                small.append(greater)
            }
        }
        self.slots = slots
    }

    package func draw(_ random: inout RandomSource) -> Int {
        let bits = random.next()
        let index = Int(bits.multipliedFullWidth(by: UInt64(slots.count)).high)
        let slot = slots[index]
        return random.next() >> 32 < slot.threshold ? index : Int(slot.alias)
    }
}
