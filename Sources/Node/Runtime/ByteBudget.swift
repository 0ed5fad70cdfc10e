package import Core
internal import Synchronization

/// A number of bytes that all requests together may hold.
///
/// Where there is no room left, who waits for its client gives way: a body that holds much and
/// comes slowly would keep all others out, and a few kilobytes can be a body of many megabytes.
/// Whoever works on what it holds gives way to nobody.
package final class ByteBudget: Sendable {
    /// A body that waits for its client.
    private struct Waiting {
        var bytes: Int
        /// Since it came, or since its last part was dealt with.
        var since: Instant
        /// Ends its connection.
        var hangUp: @Sendable () -> Void
    }

    private struct State {
        var used = 0
        var next: UInt64 = 0
        var waiting: [UInt64: Waiting] = [:]

        /// Those that give way for `missing` bytes, of those that have had some time: who held most
        /// for longest first. None where all of them together do not hold as much.
        mutating func takeVictims(for missing: Int, at now: Instant) -> [Waiting] {
            func weight(_ body: Waiting) -> Double {
                Double(body.bytes) * Double((now - body.since).nanoseconds)
            }
            let old = waiting.filter { now - $0.value.since >= ByteBudget.patience }
            guard old.reduce(0, { $0 + $1.value.bytes }) >= missing else { return [] }
            var victims: [Waiting] = []
            var freed = 0
            for (number, body) in old.sorted(by: { weight($0.value) > weight($1.value) })
            where freed < missing {
                waiting[number] = nil
                victims.append(body)
                freed += body.bytes
            }
            used -= freed
            return victims
        }
    }

    /// Bodies of less do not give way: all of them together leave room.
    package static let heldMin = 64 << 10
    /// As long as a body may take whatever others need.
    package static let patience: Duration = .seconds(1)

    package let max: Int
    private let clock: @Sendable () -> Instant
    private let state = Mutex(State())
    private let refused = Counter()

    package init(max: Int, clock: @escaping @Sendable () -> Instant = { SystemClock.monotonic }) {
        self.max = max
        self.clock = clock
    }

    package var inUse: Int { state.withLock { $0.used } }

    package var reading: QueueReading {
        QueueReading(name: "bodies", refused: refused.value)
    }

    /// False where it would exceed the budget, and nobody gives way: nothing is taken then.
    ///
    /// What a body held that gave way counts as free at once, and is so when its task has ended: at
    /// once as well, since its connection is closed whatever waits to be taken on it.
    package func take(_ bytes: Int) -> Bool {
        let now = clock()
        let (isTaken, victims) = state.withLock { state in
            let missing = state.used + bytes - max
            let victims = missing > 0 ? state.takeVictims(for: missing, at: now) : []
            guard state.used + bytes <= max else { return (false, victims) }
            state.used += bytes
            return (true, victims)
        }
        if !isTaken { refused.increment() }
        for victim in victims { victim.hangUp() }
        return isTaken
    }

    package func give(back bytes: Int) {
        state.withLock { state in
            precondition(bytes <= state.used, "\(bytes) bytes given back of \(state.used)")
            state.used -= bytes
        }
    }

    fileprivate var now: Instant { clock() }

    /// A body waits from here on; its number.
    fileprivate func wait(
        holding bytes: Int, since: Instant, hangUp: @escaping @Sendable () -> Void
    ) -> UInt64 {
        state.withLock { state in
            state.next += 1
            state.waiting[state.next] = Waiting(bytes: bytes, since: since, hangUp: hangUp)
            return state.next
        }
    }

    /// It waits no longer. False where it gave way: what it held is given back already.
    fileprivate func goOn(_ number: UInt64) -> Bool {
        state.withLock { $0.waiting.removeValue(forKey: number) != nil }
    }
}

/// What one body holds of the budget of all, until it ends. One task or thread at a time has it.
package final class BodyRoom {
    package private(set) var held = 0
    private let budget: ByteBudget
    private var since: Instant
    private let hangUp: @Sendable () -> Void

    /// - Parameter hangUp: ends the connection that the body comes on, where others need its room;
    ///   called from any thread.
    package init(of budget: ByteBudget, hangUp: @escaping @Sendable () -> Void) {
        self.budget = budget
        self.hangUp = hangUp
        since = budget.now
    }

    deinit {
        close()
    }

    /// A part of it is dealt with: it came as it should.
    package func renew() {
        since = budget.now
    }

    /// The body is over: holds nothing any more.
    package func close() {
        budget.give(back: held)
        held = 0
    }

    /// Of all bodies.
    package var max: Int { budget.max }

    /// False where there is no room: nothing is taken then.
    package func take(_ bytes: Int) -> Bool {
        guard budget.take(bytes) else { return false }
        held += bytes
        return true
    }

    package func give(back bytes: Int) {
        held -= bytes
        budget.give(back: bytes)
    }

    /// What `next` gives, which comes from the client: while it does not, this body gives way to
    /// others. Nil where it did; then it holds nothing any more.
    package func wait<Value, Failure>(
        isolation: isolated (any Actor)? = #isolation,
        for next: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value? {
        guard held >= ByteBudget.heldMin else { return try await next() }
        let number = budget.wait(holding: held, since: since, hangUp: hangUp)
        let result: Result<Value, Failure>
        do throws(Failure) {
            result = .success(try await next())
        } catch {
            result = .failure(error)
        }
        guard budget.goOn(number) else {
            held = 0
            return nil
        }
        return try result.get()
    }
}
