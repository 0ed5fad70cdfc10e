internal import Synchronization

extension WorkerPool {
    /// Runs `body` on one of the threads; nil where the queue is full, or where it has not ended in
    /// time: then it goes on for nobody.
    package func run<Result: Sendable>(
        within: Duration?, _ body: @escaping @Sendable () -> Result
    ) async -> Result? {
        guard let within else { return await run(body) }
        return await withCheckedContinuation { continuation in
            let first = FirstAnswer(continuation)
            let timer = Task {
                do {
                    try await Task.sleep(for: within)
                    first.give(nil)
                } catch {
                    // The answer is there: nobody waits for the time any more.
                }
            }
            let isTaken = submit {
                first.give(body())
                timer.cancel()
            }
            if !isTaken {
                timer.cancel()
                first.give(nil)
            }
        }
    }
}

/// Of several answers the first is given.
private final class FirstAnswer<Value: Sendable>: Sendable {
    private let continuation: Mutex<CheckedContinuation<Value?, Never>?>

    init(_ continuation: CheckedContinuation<Value?, Never>) {
        self.continuation = Mutex(continuation)
    }

    func give(_ value: Value?) {
        continuation.withLock { $0.take() }?.resume(returning: value)
    }
}
