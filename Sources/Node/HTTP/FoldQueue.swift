internal import Core

/// Does work on bodies beside the threads of all requests.
package protocol BodyWorkers: Sendable {
    /// Runs work that is pure and may take as long as folding so many bytes; nil where too much
    /// waits for too long.
    func run<Outcome: Sendable>(
        bytes: Int, _ body: @escaping @Sendable () -> Outcome
    ) async -> Outcome?
}

/// The threads of folding, for requests that wait for them: with each work for `timeout` at most.
package struct FoldQueue: BodyWorkers {
    let folds: FoldPool
    let timeout: Duration
    let clock: @Sendable () -> Now

    package func run<Outcome: Sendable>(
        bytes: Int, _ body: @escaping @Sendable () -> Outcome
    ) async -> Outcome? {
        await whenRoom(isPatient: true) { await folds.run(bytes: bytes, body) }
    }

    /// What `attempt` gives, which is nil where its queue is full; again and again until the
    /// deadline, for who is patient.
    func whenRoom<Outcome>(isPatient: Bool, _ attempt: () async -> Outcome?) async -> Outcome? {
        let end = clock().monotonic + timeout
        while true {
            if let outcome = await attempt() { return outcome }
            guard isPatient, clock().monotonic < end else { return nil }
            do {
                try await Task.sleep(for: HTTPLimits.foldRetry)
            } catch {
                // Whoever asked has gone.
                return nil
            }
        }
    }
}

extension HTTPAPI {
    var foldQueue: FoldQueue {
        FoldQueue(folds: folds, timeout: settings.requestTimeout, clock: clock)
    }
}
