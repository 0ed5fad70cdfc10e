import Core
import Simulator
import Testing

@Suite("The event queue")
struct EventQueueTests {
    @Test("gives events by time, and those of one instant in the order they came")
    func order() {
        var random = RandomSource(seed: 7)
        var queue = EventQueue<Int>()
        var expected: [(time: Int64, number: Int)] = []
        for number in 0..<2000 {
            let time = Int64(random.below(50))
            queue.put(number, at: Instant(nanoseconds: time))
            expected.append((time, number))
        }
        expected.sort { ($0.time, $0.number) < ($1.time, $1.number) }
        var taken: [Int] = []
        while let next = queue.take() { taken.append(next.event) }
        #expect(taken == expected.map(\.number))
        #expect(queue.count == 0)
        #expect(queue.nextTime == nil)
    }

    @Test("keeps that order while events are put in between")
    func interleaved() {
        var random = RandomSource(seed: 8)
        var queue = EventQueue<Int64>()
        var last: Int64 = 0
        for _ in 0..<3000 {
            if random.chance(1, in: 2) || queue.count == 0 {
                let time = last + Int64(random.below(100))
                queue.put(time, at: Instant(nanoseconds: time))
            } else if let next = queue.take() {
                #expect(next.event >= last)
                #expect(next.time.nanoseconds == next.event)
                last = next.event
            }
        }
    }
}
