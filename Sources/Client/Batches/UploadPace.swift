/// How long a body may take on its way to a node, beside the time that the node has for its answer.
///
/// A slow uplink and a node that hangs look alike to whoever waits. So the time follows what was
/// seen: it begins with what a quick link takes, an attempt that was cut gives the next ones twice
/// as long, and one that got through in less than half of it takes that back. What hangs is left
/// soon, and what is slow gets through in a few attempts.
///
/// Invariant: the pace stays between its bounds, and attempts that were cut together count once.
package struct UploadPace: Hashable, Sendable {
    /// Bytes per second that are hoped for at first.
    package static let bytesPerSecondMax = 1 << 20
    /// Whose uplink gives a batch fewer needs smaller batches, or fewer at once.
    package static let bytesPerSecondMin = 64 << 10
    /// An attempt takes no longer, whatever its bytes: the transport waits no longer for an answer.
    package static let attemptMax = HTTPTransport.silenceMax

    package private(set) var bytesPerSecond = UploadPace.bytesPerSecondMax

    package init() {}

    /// The time of an attempt: `answering` for the node, and what the bytes take.
    package func timeout(answering: Duration, bytes: Int) -> Duration {
        max(answering, min(answering + time(for: bytes), UploadPace.attemptMax))
    }

    private func time(for bytes: Int) -> Duration {
        .seconds(bytes) / bytesPerSecond
    }

    /// An attempt got its answer.
    package mutating func succeeded(_ bytes: Int, taking time: Duration) {
        guard time < self.time(for: bytes) / 2 else { return }
        bytesPerSecond = min(bytesPerSecond * 2, UploadPace.bytesPerSecondMax)
    }

    /// An attempt was cut that began at a pace of `begun` bytes per second, and had its whole time.
    package mutating func timedOut(_ bytes: Int, begun: Int) {
        // A body of less than a second was not cut for its length.
        guard bytes >= UploadPace.bytesPerSecondMin, begun == bytesPerSecond else { return }
        bytesPerSecond = max(bytesPerSecond / 2, UploadPace.bytesPerSecondMin)
    }
}
