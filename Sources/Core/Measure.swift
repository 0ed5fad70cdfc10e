/// What is kept per cell: how many events, and of those with a value how many, their sum, minimum
/// and maximum. Values are exact decimals in millionths; no floating point, so the order of
/// additions never matters.
package struct Measure: Hashable, Sendable {
    package var count: UInt64
    package var values: Values?

    package struct Values: Hashable, Sendable {
        /// Events that carried a value; at most the cell's count.
        package var count: UInt64
        /// In millionths.
        package var sum: Int128
        package var min: Int64
        package var max: Int64

        package init(count: UInt64, sum: Int128, min: Int64, max: Int64) {
            self.count = count
            self.sum = sum
            self.min = min
            self.max = max
        }
    }

    package init(count: UInt64, values: Values? = nil) {
        self.count = count
        self.values = values
    }

    package static let zero = Measure(count: 0)

    /// One event. `value` in millionths, nil where the event carries none.
    package init(event value: Int64?) {
        count = 1
        values = value.map { Values(count: 1, sum: Int128($0), min: $0, max: $0) }
    }

    /// Adds another measure. Arithmetic is checked: a cell that overflows stops the process loudly.
    package mutating func add(_ other: Measure) {
        count += other.count
        guard let theirs = other.values else { return }
        guard var mine = values else {
            values = theirs
            return
        }
        mine.count += theirs.count
        mine.sum += theirs.sum
        mine.min = Swift.min(mine.min, theirs.min)
        mine.max = Swift.max(mine.max, theirs.max)
        values = mine
    }
}

/// The length of a window. Event time is cut into half-open slices `floor(time / length)`.
package struct WindowLength: Hashable, Sendable {
    package let milliseconds: Int64

    package init(milliseconds: Int64) {
        precondition(milliseconds > 0, "a window has a positive length")
        self.milliseconds = milliseconds
    }

    package static let minute = WindowLength(milliseconds: 60_000)

    package func window(of time: WallTime) -> Int64 {
        floorDivide(time.milliseconds, milliseconds)
    }

    package func start(of window: Int64) -> WallTime {
        WallTime(milliseconds: window * milliseconds)
    }
}
