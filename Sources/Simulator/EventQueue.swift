package import Core

/// What is to happen, ordered by (time, sequence): events of one instant happen in the order in
/// which they were put in. A binary heap of places; the events themselves, which are large, lie
/// still beside it.
package struct EventQueue<Event> {
    private struct Entry {
        var time: Instant
        var sequence: UInt64
        var place: Int

        func precedes(_ other: Entry) -> Bool {
            time == other.time ? sequence < other.sequence : time < other.time
        }
    }

    private var heap: [Entry] = []
    private var events: [Event?] = []
    /// Places in `events` that hold nothing.
    private var free: [Int] = []
    private var sequence: UInt64 = 0

    package init() {}

    package var count: Int { heap.count }

    package var nextTime: Instant? { heap.first?.time }

    package mutating func put(_ event: Event, at time: Instant) {
        sequence += 1
        let place: Int
        if let last = free.popLast() {
            place = last
            events[place] = event
        } else {
            place = events.count
            events.append(event)
        }
        heap.append(Entry(time: time, sequence: sequence, place: place))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].precedes(heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    package mutating func take() -> (time: Instant, event: Event)? {
        guard let last = heap.popLast() else { return nil }
        guard let first = heap.first else { return (last.time, lift(last.place)) }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in 2 * parent + 1...2 * parent + 2
            where child < heap.count && heap[child].precedes(heap[least]) {
                least = child
            }
            if least == parent { break }
            heap.swapAt(parent, least)
            parent = least
        }
        return (first.time, lift(first.place))
    }

    private mutating func lift(_ place: Int) -> Event {
        guard let event = events[place].take() else {
            preconditionFailure("place \(place) of the queue holds no event")
        }
        free.append(place)
        return event
    }
}
