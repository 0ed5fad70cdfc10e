package import Client

/// The counts of a key as bars, one row a window. Where windows without events lie between two rows
/// the gap is named, so that the eye does not take neighbours in print for neighbours in time.
package struct CountsChart {
    private static let eighths: [Character] = ["▏", "▎", "▍", "▌", "▋", "▊", "▉"]

    private let answer: CountsAnswer
    private let heading: String
    private let stepSeconds: Int?
    private let columns: Int

    package init(_ answer: CountsAnswer, type: String, key: String, columns: Int) {
        self.answer = answer
        heading = CountsTable.heading(answer, type: type, key: key)
        stepSeconds = Self.seconds(answer.step)
        self.columns = columns
    }

    package func lines() -> [String] {
        let greatest = answer.windows.map(\.measure.count).max() ?? 0
        let labels = answer.windows.map(\.start)
        let labelWidth = labels.map(\.count).max() ?? 0
        let countWidth = String(greatest).count
        let room = max(8, columns - labelWidth - countWidth - 4)
        var lines = [heading]
        var previous: Timestamp?
        for window in answer.windows {
            let start = Timestamp(window.start, now: Timestamp(milliseconds: 0))
            // Bars of longer windows are no neighbours in this scale.
            if window.step == nil, let empty = emptyWindows(from: previous, to: start), empty > 0 {
                let space = String(repeating: " ", count: labelWidth)
                lines.append("\(space)  ⋮ \(Quantity.grouped(empty)) without events")
            }
            previous = window.step == nil ? start : nil
            let label =
                window.start + String(repeating: " ", count: labelWidth - window.start.count)
            let bar = CountsChart.bar(window.measure.count, of: greatest, columns: room)
            lines.append("\(label)  \(bar) \(window.measure.count)")
        }
        lines += answer.retained.remarks + answer.attributesState.remarks
        lines.append("Total \(answer.total.count), \(CountsTable.source(answer))")
        return lines
    }

    /// Of `10s`, `5m`, `1h`, `1d`; nil for `all`.
    private static func seconds(_ step: String) -> Int? {
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let unit = step.last.flatMap({ units[$0] }), let number = Int(step.dropLast()) else {
            return nil
        }
        return number * unit
    }

    private func emptyWindows(from previous: Timestamp?, to next: Timestamp?) -> Int? {
        guard let previous, let next, let stepSeconds else { return nil }
        return Int((next.milliseconds - previous.milliseconds) / 1000) / stepSeconds - 1
    }

    /// A bar in eighths of a column; what is not zero shows at least one.
    package static func bar(_ count: Int, of greatest: Int, columns: Int) -> String {
        guard count > 0, greatest > 0 else { return "" }
        let share = Double(count) / Double(greatest)
        let units = max(1, Int((share * Double(columns * 8)).rounded()))
        var bar = String(repeating: "█", count: units / 8)
        if units % 8 > 0 { bar.append(eighths[units % 8 - 1]) }
        return bar
    }
}
