package import Core

/// What waits for its time, each element once.
package struct DueQueue<Element: Comparable & Sendable>: Sendable {
    private struct Due: Comparable {
        var at: Instant
        var element: Element

        static func < (left: Due, right: Due) -> Bool {
            (left.at, left.element) < (right.at, right.element)
        }
    }

    /// The earliest is the last.
    private var queue: [Due] = []

    package init() {}

    package var nextDue: Instant? { queue.last?.at }

    package mutating func insert(_ element: Element, at time: Instant) {
        let due = Due(at: time, element: element)
        var low = 0
        var high = queue.count
        while low < high {
            let middle = (low + high) / 2
            if queue[middle] > due { low = middle + 1 } else { high = middle }
        }
        queue.insert(due, at: low)
    }

    /// The earliest of those whose time has come.
    package mutating func takeDue(_ now: Instant) -> Element? {
        guard let last = queue.last, last.at <= now else { return nil }
        queue.removeLast()
        return last.element
    }
}
