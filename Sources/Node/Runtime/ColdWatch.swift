internal import Core

/// Measures the cold disk, on a thread of its own: the call takes as long as a mount hangs.
final class ColdWatch: Sendable {
    /// As it was measured last.
    let free = FreeDisk()
    private let isStopped = Monitor(false)

    /// - Parameter onSpare: gets the bytes beyond the reserve, again and again; nothing where the
    ///   system does not say.
    init(_ disk: DiskWatch, onSpare: @escaping @Sendable (UInt64) -> Void) {
        NamedThread.start("cold-disk") { [free, isStopped] in
            while true {
                if let bytes = disk.free {
                    free.bytes = Int(clamping: bytes)
                    onSpare(disk.spare(of: bytes))
                }
                let next = SystemClock.monotonic + Self.interval
                let isOver = isStopped.wait(until: next) { $0 ? true : nil }
                if isOver == true { return }
            }
        }
    }

    func stop() {
        isStopped.broadcast { $0 = true }
    }

    private static let interval: Duration = .seconds(1)
}
