internal import Foundation

/// Threads whose names `top -H`, `perf` and a debugger show: Foundation keeps a name to itself.
enum NamedThread {
    /// Starts a thread of its own that ends with `body`. The kernel keeps 15 bytes of the name.
    static func start(
        _ name: String, stackBytes: Int? = nil, nice: Int32 = 0,
        _ body: @escaping @Sendable () -> Void
    ) {
        let thread = Thread {
            tellKernel(name)
            // Linux keeps a niceness for each thread; 0 is the one that calls.
            if nice != 0 { setpriority(Int32(PRIO_PROCESS.rawValue), 0, nice) }
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
