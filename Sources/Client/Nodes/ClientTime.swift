package import Core
internal import Foundation

/// Time and chance, as the producer sees them: real ones in a program, scripted ones in a test.
package struct ClientTime: Sendable {
    package let now: @Sendable () -> Now
    package let sleep: @Sendable (Duration) async -> Void
    /// What retries draw their jitter from.
    package let seed: UInt64
    /// The identity of a producer that was given none.
    package let identity: UInt128

    package init(
        seed: UInt64, identity: UInt128, now: @escaping @Sendable () -> Now,
        sleep: @escaping @Sendable (Duration) async -> Void
    ) {
        self.now = now
        self.sleep = sleep
        self.seed = seed
        self.identity = identity
    }

    package static var real: ClientTime {
        let start = ContinuousClock.now
        return ClientTime(
            seed: UInt64.random(in: .min ... .max),
            identity: UInt128.random(in: .min ... .max),
            now: {
                let monotonic = Instant.zero + (ContinuousClock.now - start)
                return Now(monotonic: monotonic, wall: ClientTime.wall())
            },
            sleep: { duration in
                do {
                    try await Task.sleep(for: duration)
                } catch {
                    // Cancelled: the caller looks at its deadline next, as after any sleep.
                    return
                }
            })
    }

    private static func wall() -> WallTime {
        WallTime(milliseconds: Int64((Date().timeIntervalSince1970 * 1000).rounded(.down)))
    }
}
