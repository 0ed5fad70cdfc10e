import Core
import Gossip
import Testing

@Suite("Phi accrual")
struct ArrivalWindowTests {
    private let interval = Duration.milliseconds(200)

    private func instant(_ milliseconds: Int64) -> Instant { .zero + .milliseconds(milliseconds) }

    @Test("the first sample is two intervals")
    func first() {
        let window = ArrivalWindow(interval: interval, start: .zero)
        #expect(window.mean == .milliseconds(400))
        #expect(window.phi(at: .zero) == 0)
        // elapsed / (mean ln 10) = 921.034 / (400 * 2.302585) = 1.000
        #expect(window.phi(at: instant(922)) == 1001)
    }

    @Test("with a mean of one interval phi passes 8 after 18.4 intervals of silence")
    func threshold() {
        var window = ArrivalWindow(interval: interval, start: .zero)
        for beat in 1...2000 { window.arrive(at: instant(Int64(beat) * 200)) }
        #expect(window.count == GossipLimits.arrivalsMax)
        #expect(window.mean == interval)
        #expect(window.phi(at: instant(400_000 + 3684)) == 7999)
        #expect(window.phi(at: instant(400_000 + 3685)) == 8001)
    }

    @Test("long intervals are not learnt, and bursts do not pull the mean below the interval")
    func learning() {
        var window = ArrivalWindow(interval: interval, start: .zero)
        window.arrive(at: instant(401))
        #expect(window.count == 1)
        window.arrive(at: instant(801))
        #expect(window.count == 2)
        for step in 0..<500 { window.arrive(at: instant(801 + Int64(step))) }
        #expect(window.mean == interval)
        // Two intervals after the last burst phi is 0.869, as after beats at the interval.
        #expect(window.phi(at: instant(1300 + 400)) == 868)
    }

    @Test("the window forgets the oldest sample first")
    func forgetting() {
        var window = ArrivalWindow(interval: interval, start: .zero)
        var time: Int64 = 0
        for _ in 0..<1000 {
            time += 400
            window.arrive(at: instant(time))
        }
        #expect(window.mean == .milliseconds(400))
        for _ in 0..<500 {
            time += 200
            window.arrive(at: instant(time))
        }
        #expect(window.mean == .milliseconds(300))
    }

    @Test("hostile times neither trap nor exceed a million")
    func extremes() {
        var window = ArrivalWindow(interval: .nanoseconds(1), start: .zero)
        #expect(window.phi(at: Instant(nanoseconds: .max)) == 1_000_000)
        window.arrive(at: instant(500))
        window.arrive(at: instant(100))
        #expect(window.phi(at: instant(100)) == 0)
    }
}

@Suite("Listening clock")
struct ListeningClockTests {
    @Test("a pause of our own counts as one interval, and a grace follows it")
    func pause() {
        var clock = ListeningClock(interval: .milliseconds(200), now: .zero)
        clock.observe(.zero + .milliseconds(1000))
        #expect(clock.listened == .zero + .milliseconds(1000))
        #expect(!clock.isInGrace)
        #expect(clock.listened(at: .zero + .seconds(60)) == .zero + .milliseconds(1200))
        clock.observe(.zero + .seconds(60))
        #expect(clock.listened == .zero + .milliseconds(1200))
        #expect(clock.isInGrace)
        clock.observe(.zero + .milliseconds(60_999))
        #expect(clock.isInGrace)
        clock.observe(.zero + .milliseconds(61_000))
        #expect(!clock.isInGrace)
    }

    @Test("a clock that steps back is not followed")
    func back() {
        var clock = ListeningClock(interval: .milliseconds(200), now: .zero + .seconds(5))
        clock.observe(.zero + .seconds(4))
        #expect(clock.listened == .zero + .seconds(5))
    }
}
