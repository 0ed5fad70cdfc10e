/// Rows under a header, each column as wide as its widest cell.
package struct TextTable {
    package enum Side: Sendable {
        case left
        case right
    }

    private let header: [String]
    private let sides: [Side]
    private var rows: [[String]] = []

    package init(_ columns: [(String, Side)]) {
        header = columns.map(\.0)
        sides = columns.map(\.1)
    }

    package mutating func add(_ cells: [String]) {
        precondition(cells.count == header.count, "a row has a cell for each column")
        rows.append(cells.map(TextTable.printable))
    }

    package var isEmpty: Bool { rows.isEmpty }

    /// The lines, without trailing spaces.
    package func lines() -> [String] {
        let all = [header] + rows
        let widths = header.indices.map { column in
            all.map { TextTable.width($0[column]) }.max() ?? 0
        }
        return all.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                let space = String(repeating: " ", count: widths[column] - TextTable.width(cell))
                line += sides[column] == .left ? cell + space : space + cell
                if column + 1 < row.count { line += "  " }
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }

    package func print() {
        for line in lines() { Swift.print(line) }
    }

    /// Text from outside without the characters that steer a terminal.
    package static func printable(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .surrogate: result.append("\u{fffd}")
            default:
                // Marks that reorder text would let one cell rewrite its neighbours.
                let reorders =
                    (0x202a...0x202e).contains(scalar.value)
                    || (0x2066...0x2069).contains(scalar.value)
                result.append(reorders ? "\u{fffd}" : scalar)
            }
        }
        return String(result)
    }

    /// The text cut to at most `columns` columns.
    package static func cut(_ text: String, columns: Int) -> String {
        guard width(text) > columns else { return text }
        var result = ""
        var used = 0
        for character in text {
            used += width(String(character))
            if used >= columns { break }
            result.append(character)
        }
        return result + "…"
    }

    /// How many columns a terminal gives the text, as Unicode's East Asian width has it.
    package static func width(_ text: String) -> Int {
        text.reduce(0) { $0 + width($1) }
    }

    private static func width(_ character: Character) -> Int {
        guard let first = character.unicodeScalars.first else { return 0 }
        switch first.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format: return 0
        default: break
        }
        if first.value < 0x1100 { return 1 }
        let wide =
            first.properties.isEmojiPresentation
            || character.unicodeScalars.contains("\u{fe0f}")
            || TextTable.wide.contains { $0.contains(first.value) }
        return wide ? 2 : 1
    }

    private static let wide: [ClosedRange<UInt32>] = [
        0x1100...0x115f, 0x2e80...0x303e, 0x3041...0xa4cf, 0xa960...0xa97f, 0xac00...0xd7a3,
        0xf900...0xfaff, 0xfe30...0xfe6f, 0xff00...0xff60, 0xffe0...0xffe6, 0x1f300...0x1f64f,
        0x1f900...0x1faff, 0x20000...0x3fffd,
    ]
}
