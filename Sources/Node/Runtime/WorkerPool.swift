package import Core

/// Threads that may block or compute for long, fed through a bounded queue. Tasks of Swift's
/// concurrency must do neither: their threads are as many as there are processors, and all of HTTP
/// runs on them.
package final class WorkerPool: Sendable {
    package typealias Job = @Sendable () -> Void

    private struct State {
        var queue: [Job?] = []
        var head = 0
        var isStopping = false
        var running = 0

        var waiting: Int { queue.count - head }

        mutating func take() -> Job? {
            guard head < queue.count else { return nil }
            let job = queue[head].take()
            head += 1
            if head == queue.count {
                queue.removeAll(keepingCapacity: true)
                head = 0
            }
            return job
        }
    }

    package let name: String
    private let queueMax: Int
    private let monitor = Monitor(State())

    package init(
        name: String, threads: Int, queueMax: Int, standing: ThreadStanding = .usual
    ) {
        precondition(threads > 0, "a pool has threads")
        self.name = name
        self.queueMax = queueMax
        monitor.withLock { $0.running = threads }
        for number in 1...threads {
            NamedThread.start(
                "\(name)-\(number)", stackBytes: 4 << 20, standing: standing
            ) { [monitor] in
                Self.work(monitor)
            }
        }
    }

    /// Jobs that no thread has taken yet.
    package var waiting: Int { monitor.withLock(\.waiting) }

    /// False where the queue is full or the pool has stopped: the job will not run.
    package func submit(_ job: @escaping Job) -> Bool {
        monitor.signal { state in
            guard !state.isStopping, state.waiting < queueMax else { return false }
            state.queue.append(job)
            return true
        }
    }

    /// Runs `body` on one of the threads; nil where the queue is full.
    package func run<Result: Sendable>(
        _ body: @escaping @Sendable () -> Result
    ) async -> Result? {
        await withCheckedContinuation { continuation in
            let isTaken = submit { continuation.resume(returning: body()) }
            if !isTaken { continuation.resume(returning: nil) }
        }
    }

    /// Takes no more jobs, lets those that wait finish, and returns when all threads have ended, or
    /// at the deadline: then false.
    @discardableResult
    package func stop(by deadline: Instant) -> Bool {
        monitor.broadcast { $0.isStopping = true }
        return monitor.wait(until: deadline) { $0.running == 0 ? true : nil } ?? false
    }

    private static func work(_ monitor: Monitor<State>) {
        while true {
            let next: Job?? = monitor.wait { state in
                if let job = state.take() { return .some(job) }
                return state.isStopping ? .some(nil) : nil
            }
            guard let job = next ?? nil else { break }
            job()
        }
        monitor.broadcast { $0.running -= 1 }
    }
}
