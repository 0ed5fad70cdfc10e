/// Writes Prometheus' text format.
package struct MetricText {
    package private(set) var text = ""

    package init() {}

    package mutating func counter(_ name: String, _ help: String, _ value: UInt64) {
        head(name, "counter", help)
        text += "\(name) \(value)\n"
    }

    package mutating func counter(
        _ name: String, _ help: String, by label: String, _ values: [(String, UInt64)]
    ) {
        head(name, "counter", help)
        for (key, value) in values {
            text += "\(name){\(label)=\"\(Self.escape(key))\"} \(value)\n"
        }
    }

    package mutating func gauge(_ name: String, _ help: String, _ value: Int) {
        head(name, "gauge", help)
        text += "\(name) \(value)\n"
    }

    package mutating func gauge(
        _ name: String, _ help: String, by label: String, _ values: [(String, Int)]
    ) {
        head(name, "gauge", help)
        for (key, value) in values {
            text += "\(name){\(label)=\"\(Self.escape(key))\"} \(value)\n"
        }
    }

    /// A counter of time.
    package mutating func seconds(
        _ name: String, _ help: String, by label: String, _ microseconds: [(String, UInt64)]
    ) {
        head(name, "counter", help)
        for (key, value) in microseconds {
            text += "\(name){\(label)=\"\(Self.escape(key))\"} \(Self.seconds(value))\n"
        }
    }

    package mutating func histogram(_ name: String, _ help: String, _ histogram: Histogram) {
        head(name, "histogram", help)
        var sum: UInt64 = 0
        let counts = histogram.counts
        for (bound, count) in zip(Histogram.bounds, counts) {
            sum += count
            text += "\(name)_bucket{le=\"\(Self.seconds(UInt64(bound)))\"} \(sum)\n"
        }
        sum += counts[Histogram.bounds.count]
        text += "\(name)_bucket{le=\"+Inf\"} \(sum)\n"
        text += "\(name)_sum \(Self.seconds(histogram.sumMicroseconds))\n"
        text += "\(name)_count \(sum)\n"
    }

    private mutating func head(_ name: String, _ type: String, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    /// Microseconds as seconds, exactly.
    private static func seconds(_ microseconds: UInt64) -> String {
        let fraction = String(microseconds % 1_000_000)
        return "\(microseconds / 1_000_000)."
            + String(repeating: "0", count: 6 - fraction.count) + fraction
    }

    private static func escape(_ label: String) -> String {
        var escaped = ""
        for scalar in label.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
