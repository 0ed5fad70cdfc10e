internal import Foundation

/// Threads whose names `top -H`, `perf` and a debugger show: Foundation keeps a name to itself.
enum NamedThread {
    /// Starts a thread of its own that ends with `body`. The kernel keeps 15 bytes of the name.
    static func start(
        _ name: String, stackBytes: Int? = nil, standing: ThreadStanding = .usual,
        _ body: @escaping @Sendable () -> Void
    ) {
        let thread = Thread {
            tellKernel(name)
            standing.take()
            body()
        }
        thread.name = name
        if let stackBytes { thread.stackSize = stackBytes }
        thread.start()
    }

    /// A thread without a name works as well: where there is no such file, nothing is lost.
    private static func tellKernel(_ name: String) {
        guard let file = fopen("/proc/thread-self/comm", "w") else { return }
        fputs(name, file)
        fclose(file)
    }
}
