package import Client

/// The counts of a key as lines of text.
package struct CountsTable {
    private let answer: CountsAnswer
    private let heading: String

    package init(_ answer: CountsAnswer, type: String, key: String) {
        self.answer = answer
        heading = CountsTable.heading(answer, type: type, key: key)
    }

    package func lines() -> [String] {
        let valued = answer.total.sum != nil
        let hasSteps = answer.windows.contains { $0.step != nil }
        var table = TextTable(
            [("Window", .left), ("Count", .right)]
                + (valued
                    ? [("Sum", .right), ("Min", .right), ("Max", .right), ("Average", .right)] : [])
                + [("State", .left)] + (hasSteps ? [("Length", .left)] : []))
        for window in answer.windows {
            table.add(
                [window.start, String(window.measure.count)]
                    + (valued ? CountsTable.values(window.measure) : []) + [window.state]
                    + (hasSteps ? [window.step ?? ""] : []))
        }
        table.add(
            ["Total", String(answer.total.count)]
                + (valued ? CountsTable.values(answer.total) : []) + [""]
                + (hasSteps ? [""] : []))
        return [heading] + table.lines() + answer.retained.remarks
            + answer.attributesState.remarks
            + [CountsTable.source(answer)]
    }

    /// RFC 4180 with a header, one line a window; where the total alone was asked for, one with it
    /// from the start of the range.
    package static func csv(_ answer: CountsAnswer) -> [String] {
        if answer.step == "all" {
            let row = [answer.from ?? "", String(answer.total.count)] + values(answer.total) + [""]
            return [
                "start,count,sum,min,max,avg,state", row.map(quoted).joined(separator: ","),
            ]
        }
        let hasSteps = answer.windows.contains { $0.step != nil }
        return ["start,count,sum,min,max,avg,state" + (hasSteps ? ",step" : "")]
            + answer.windows.map { window in
                ([window.start, String(window.measure.count)] + values(window.measure)
                    + [window.state] + (hasSteps ? [window.step ?? ""] : []))
                    .map(quoted).joined(separator: ",")
            }
    }

    static func heading(_ answer: CountsAnswer, type: String, key: String) -> String {
        if let by = answer.by, let keys = answer.keys {
            let count = keys == 1 ? "1 key" : "\(keys) keys"
            return TextTable.printable("\(type)  \(by) = \(key)  (\(count))")
        }
        let attributes = answer.attributes.map { "\($0.name): \($0.value.plain)" }
        let names = attributes.isEmpty ? "" : "  (\(attributes.joined(separator: ", ")))"
        return TextTable.printable("\(type)  \(key)\(names)")
    }

    static func source(_ answer: CountsAnswer) -> String {
        let replicas =
            answer.replicas.isEmpty ? "" : " by " + answer.replicas.joined(separator: ", ")
        return answer.consistency + replicas
    }

    static func values(_ measure: MeasureAnswer) -> [String] {
        [measure.sum ?? "", measure.min ?? "", measure.max ?? "", measure.average ?? ""]
    }

    private static func quoted(_ cell: String) -> String {
        let plain = cell.utf8.allSatisfy { byte in
            byte != UInt8(ascii: ",") && byte != UInt8(ascii: "\"") && byte >= 0x20
        }
        return plain
            ? cell
            : "\""
                + cell.split(separator: "\"", omittingEmptySubsequences: false)
                .joined(separator: "\"\"") + "\""
    }
}
