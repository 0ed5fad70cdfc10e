import Catalog
import Core
import Node
import Testing

/// From where a peer's file is read on, while some of its rows come too early.
@Suite struct AttributeReadingTests {
    private static let peer = NodeID("n2")
    private static let durable = CatalogProgress(peer: peer, nonce: 5, sequence: 10)

    private var reading = AttributeReading()
    private var now = Now(monotonic: .zero, wall: WallTime(milliseconds: 1_700_000_000_000))

    private mutating func start(after time: Duration) -> Int64? {
        now.monotonic = now.monotonic + time
        now.wall = now.wall + time
        return reading.start(of: Self.peer, Self.durable, into: 1, at: now.monotonic)?.since
    }

    /// - Parameter ahead: how long until the earliest of its early rows may be taken.
    private mutating func took(_ next: Int64, ahead: Duration? = nil) -> Duration? {
        let early = ahead.map { now.wall + CatalogLimits.versionAheadMax + $0 }
        return reading.took(Self.peer, nonce: 5, into: 1, next: next, early: early, at: now)
    }

    @Test("Without early rows it is read on from the durable progress, which each answer moves")
    mutating func plain() {
        #expect(start(after: .zero) == 10)
        #expect(took(20) == nil)
        #expect(reading.mayAdvance(Self.peer, nonce: 5, into: 1))
        #expect(reading.start(of: Self.peer, nil, into: 1, at: .zero)?.since == 0)
    }

    @Test("Rows behind early ones are read, and all again from before them when their time comes")
    mutating func held() {
        #expect(start(after: .zero) == 10)
        #expect(took(20, ahead: .seconds(30)) == .seconds(30))
        #expect(!reading.mayAdvance(Self.peer, nonce: 5, into: 1))
        #expect(start(after: .seconds(1)) == 20)
        #expect(took(30, ahead: .seconds(500)) == nil)
        #expect(start(after: .seconds(1)) == 30)
        #expect(took(30) == nil)
        #expect(!reading.mayAdvance(Self.peer, nonce: 5, into: 1))
        #expect(start(after: .seconds(28)) == 10)
        #expect(reading.mayAdvance(Self.peer, nonce: 5, into: 1))
        #expect(took(20) == nil)
        #expect(reading.mayAdvance(Self.peer, nonce: 5, into: 1))
    }

    @Test("It is asked for again at a bounded pace, however near or far the time is")
    mutating func pace() {
        #expect(took(20, ahead: .milliseconds(1)) == AttributeLimits.earlyAgainMin)
        #expect(start(after: AttributeLimits.earlyAgainMin) == 10)
        #expect(took(20, ahead: .seconds(86_400)) == AttributeLimits.earlyAgainMax)
        #expect(start(after: AttributeLimits.earlyAgainMax - .seconds(1)) == 20)
        #expect(took(20) == nil)
        #expect(start(after: .seconds(1)) == 10)
        let far = reading.took(
            Self.peer, nonce: 5, into: 1, next: 20, early: WallTime(milliseconds: .max), at: now)
        #expect(far == AttributeLimits.earlyAgainMax)
    }

    @Test("An answer that is late is not taken for one from the durable progress")
    mutating func late() {
        #expect(took(20, ahead: .seconds(10)) == .seconds(10))
        #expect(start(after: .seconds(9)) == 20)
        // Its answer may still come, and would move the progress past the rows that are held.
        #expect(start(after: .seconds(6)) == nil)
        #expect(took(40) == nil)
        #expect(!reading.mayAdvance(Self.peer, nonce: 5, into: 1))
        #expect(start(after: .seconds(1)) == 10)
        #expect(took(20, ahead: .seconds(10)) == .seconds(10))
        #expect(start(after: .seconds(9)) == 20)
        #expect(start(after: .seconds(29)) == nil)
        #expect(start(after: .seconds(1)) == 10)
    }

    @Test("Another file, there or here, has nothing that was held")
    mutating func otherFile() {
        #expect(took(20, ahead: .seconds(60)) == .seconds(60))
        #expect(reading.mayAdvance(Self.peer, nonce: 6, into: 1))
        #expect(reading.mayAdvance(Self.peer, nonce: 5, into: 2))
        #expect(
            reading.start(of: Self.peer, Self.durable, into: 2, at: now.monotonic)?.since == 10)
        #expect(reading.mayAdvance(Self.peer, nonce: 5, into: 1))
    }
}
