import Core

// CSV and TSV. The first row is the header. A row that cannot be read is one dead letter and ends
// at its first line feed: a quotation mark that is never closed must not swallow the rows behind
// it.
//
// That keeps the work linear. A quoted field is searched beyond its line at most to the first mark
// that is not doubled; the lines up to there hold only doubled ones, which open nothing that a
// second reading would have to search again.

extension BatchFolder {
    mutating func foldRows(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, dialect: RowDialect,
        parameters: ParseParameters
    ) throws(IngestError) {
        var rows = RowScanner(end: end, dialect: dialect, cursor: start)
        var line = 1
        while rows.isBlank {
            rows.skipLine()
            line += 1
        }
        guard rows.cursor < end else { return }
        let first = rows.cursor
        let columns = try header(&rows)
        line += BatchFolder.lines(first, rows.cursor)
        let masks = plan.masks(ofColumns: columns)
        try plan.requireColumns(masks, of: columns, parameters: parameters)
        if rows.cursor < end { rows.cursor += 1 }
        while rows.cursor < end {
            if rows.isBlank {
                rows.skipLine()
                line += 1
                continue
            }
            let first = rows.cursor
            try foldRow(&rows, masks: masks, line: line)
            line += dialect == .csv ? BatchFolder.lines(first, rows.cursor) : 1
            if rows.cursor < end { rows.cursor += 1 }
        }
    }

    /// The names of the columns. Bounded as it is read: a column takes many times its bytes, and
    /// all of a body could be one line.
    private mutating func header(_ rows: inout RowScanner) throws(IngestError) -> [[UInt8]] {
        var columns: [[UInt8]] = []
        let start = rows.cursor
        var isLast = false
        while !isLast {
            let field: RowScanner.Field
            do throws(RowScanner.Fault) {
                field = try rows.next()
            } catch {
                throw .badHeader(detail: error.detail)
            }
            let length = rows.cursor - start
            guard length <= Limits.lineMax else {
                throw .badHeader(
                    detail: "it has more than the \(Limits.lineMax) bytes that a line may have")
            }
            guard columns.count < ParseLimits.columnsMax else {
                throw .badHeader(detail: "it has more than \(ParseLimits.columnsMax) columns")
            }
            columns.append(BatchFolder.name(of: field))
            isLast = field.isLast
        }
        return columns
    }

    private static func name(of field: RowScanner.Field) -> [UInt8] {
        guard field.isDoubled else {
            return [UInt8](UnsafeBufferPointer(start: field.start, count: field.count))
        }
        return [UInt8](unsafeUninitializedCapacity: field.count) { buffer, count in
            count =
                buffer.baseAddress.map { RowScanner.undouble(field.start, field.count, into: $0) }
                ?? 0
        }
    }

    /// One row; the cursor ends on the line feed behind it, or at the end.
    private mutating func foldRow(
        _ rows: inout RowScanner, masks: [UInt32], line: Int
    ) throws(IngestError) {
        let first = rows.cursor
        fields.clear()
        var column = 0
        var isOverlong = false
        do throws(RowScanner.Fault) {
            var isLast = false
            while !isLast {
                let field = try rows.next()
                isLast = field.isLast
                if column < masks.count, masks[column] != 0, !set(masks[column], field) {
                    isOverlong = true
                }
                column &+= 1
            }
        } catch {
            rows.cursor = ByteScan.first(0x0a, first, rows.end)
            let raw = BatchFolder.line(line, first, rows.cursor)
            if raw.count > Limits.lineMax { return try buryLong(raw) }
            return try bury(raw, .badRow, "column \(column + 1): \(error.detail)")
        }
        let raw = BatchFolder.line(line, first, rows.cursor)
        if isOverlong || raw.count > Limits.lineMax { return try buryLong(raw) }
        guard column == masks.count else {
            return try bury(
                raw, .badRow, "the row has \(column) fields, the header \(masks.count)")
        }
        try admit(raw, isText: false)
    }

    /// False if the row is longer than a line may be.
    @inline(__always)
    private mutating func set(_ mask: UInt32, _ field: RowScanner.Field) -> Bool {
        var text = FieldText(start: field.start, count: field.count, kind: .text)
        if field.isDoubled {
            guard let room = fields.room(for: field.count) else { return false }
            text.count = RowScanner.undouble(field.start, field.count, into: room)
            text.start = UnsafePointer(room)
        }
        fields.set(mask, text)
        return true
    }

    /// The lines that a row takes: one, and one for each line feed inside it.
    private static func lines(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> Int {
        var lines = 1
        var cursor = ByteScan.first(0x0a, start, end)
        while cursor < end {
            lines += 1
            cursor = ByteScan.first(0x0a, cursor + 1, end)
        }
        return lines
    }
}
