package import Client

/// A line on the terminal that is drawn anew a few times a second while files are sent.
final class ProgressBar: Sendable {
    private static let interval = Duration.milliseconds(200)
    private let task: Task<Void, Never>

    init(sender: FileSender, totalBytes: Int?) {
        task = Task {
            let clock = ContinuousClock()
            let start = clock.now
            while !Task.isCancelled {
                let elapsed = clock.now - start
                let line = ProgressLine(
                    progress: await sender.progress, totalBytes: totalBytes,
                    seconds: Double(elapsed.components.seconds)
                        + Double(elapsed.components.attoseconds) / 1e18)
                Output.progress("\r\u{1b}[K" + line.text)
                do {
                    try await Task.sleep(for: ProgressBar.interval)
                } catch {
                    break
                }
            }
        }
    }

    /// Clears the line.
    func stop() async {
        task.cancel()
        await task.value
        Output.progress("\r\u{1b}[K")
    }
}

/// What the bar shows at one moment.
package struct ProgressLine {
    private static let cells = 24
    private let progress: FileSender.Progress
    private let totalBytes: Int?
    private let seconds: Double

    package init(progress: FileSender.Progress, totalBytes: Int?, seconds: Double) {
        self.progress = progress
        self.totalBytes = totalBytes
        self.seconds = seconds
    }

    package var text: String {
        let report = progress.report
        let rate = seconds > 0 ? Int(Double(report.events) / seconds) : 0
        var text = "\(Quantity.grouped(report.events)) events, \(Quantity.grouped(rate))/s"
        if report.dead > 0 { text += ", \(Quantity.grouped(report.dead)) dead" }
        if report.retries > 0 { text += ", \(Quantity.grouped(report.retries)) retries" }
        if let spool = progress.spool {
            text += ", \(Quantity.bytes(Double(spool.batchBytes))) in the spool"
        }
        guard let totalBytes, totalBytes > 0 else { return text }
        let share = min(1, Double(progress.bytesRead) / Double(totalBytes))
        let filled = Int(share * Double(ProgressLine.cells))
        let bar =
            String(repeating: "█", count: filled)
            + String(repeating: "░", count: ProgressLine.cells - filled)
        let percent = Int(share * 100)
        guard share > 0.01, share < 1 else { return "\(bar) \(percent)%  \(text)" }
        let left = Int(seconds / share * (1 - share))
        return "\(bar) \(percent)%  \(text)  ETA \(Quantity.clock(left))"
    }
}
