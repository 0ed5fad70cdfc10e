import Core

package enum AttributeFormat: Hashable, Sendable {
    case csv
    case ndjson
}

/// A body that cannot be read at all.
package enum AttributeBodyError: Error, Hashable, Sendable, CustomStringConvertible {
    case noHeader
    case malformedHeader(String)
    case columnTwice(String)
    /// Of all columns but the key's: no row can be kept.
    case namesTooLong(bytes: Int)
    case noKeyColumn(String, columns: [String])

    package var description: String {
        switch self {
        case .noHeader:
            "the CSV is empty: its first line names the columns"
        case .malformedHeader(let reason):
            "the CSV's first line cannot be read: \(reason)"
        case .columnTwice(let name):
            "the CSV's first line names the column \(name) twice: rename one of them"
        case .namesTooLong(let bytes):
            "the names of the CSV's columns take \(bytes) bytes of each row's attributes, of which "
                + "at most \(CatalogLimits.rowMax) are kept: shorten them"
        case .noKeyColumn(let name, let columns):
            "no column is named \(name): name the key's with key_field, one of "
                + columns.prefix(20).joined(separator: ", ")
        }
    }
}

/// Turns the body of a load into entries, slice by slice: entries may take many times the bytes of
/// the body (a row of commas has each column's name), so that they are never all there at once. A
/// bad row is told and left out; the others go in.
package struct AttributeParser: Sendable {
    package struct Reject: Hashable, Sendable {
        /// The physical line on which the row begins, counted from 1.
        package var line: Int
        package var detail: String
    }

    /// Where the body is read.
    private enum Source: Sendable {
        case csv(CSVReader, Table)
        case ndjson(Lines)
    }

    private static let emptyValue = JSONCanonical.string([])

    private struct Table: Sendable {
        var columns: [[UInt8]]
        var key: Int
        /// All other columns, ascending by name: sorted once, not for each row.
        var attributes: [Int]
        /// The JSON of a row whose values are all empty, in bytes.
        var emptyBytes: Int

        init(_ columns: [[UInt8]], key: Int) {
            self.columns = columns
            self.key = key
            attributes = columns.indices.filter { $0 != key }.sorted {
                columns[$0].lexicographicallyPrecedes(columns[$1])
            }
            let members = attributes.map {
                JSONCanonical.Member(name: columns[$0], value: AttributeParser.emptyValue)
            }
            emptyBytes = JSONCanonical.object(members).count
        }
    }

    private struct Lines: Sendable {
        var start: Int
        var number = 0

        /// The next line that is not blank; nil at the end of the body.
        mutating func next(of body: [UInt8]) -> ArraySlice<UInt8>? {
            while start < body.count {
                number += 1
                let end = body[start...].firstIndex(of: 0x0a) ?? body.count
                let text = body[start..<end]
                start = end + 1
                if !text.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0d }) { return text }
            }
            return nil
        }
    }

    /// Rows that were read, also those that were left out.
    package private(set) var rows = 0
    /// The first `Limits.errorsInAnswerMax` rows that were left out.
    package private(set) var rejects: [Reject] = []
    package private(set) var rejectedCount = 0
    private let body: [UInt8]
    private let keyField: [UInt8]
    private var source: Source

    /// CSV: the first line names the columns, all values are strings. NDJSON: an object per line,
    /// values stay what they are. The field `keyField` is the row's key and none of its attributes.
    package init(
        _ body: [UInt8], format: AttributeFormat, keyField: String = "key"
    ) throws(AttributeBodyError) {
        self.body = body
        self.keyField = Array(keyField.utf8)
        switch format {
        case .csv:
            var reader = CSVReader(body)
            guard let (header, _) = reader.next() else { throw .noHeader }
            let columns = try Self.columns(header, key: self.keyField)
            guard let key = columns.firstIndex(of: self.keyField) else {
                throw .noKeyColumn(
                    keyField, columns: columns.map { String(decoding: $0, as: UTF8.self) })
            }
            let table = Table(columns, key: key)
            guard table.emptyBytes <= CatalogLimits.rowMax else {
                throw .namesTooLong(bytes: table.emptyBytes)
            }
            source = .csv(reader, table)
        case .ndjson:
            source = .ndjson(Lines(start: body.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0))
        }
    }

    /// The entries of the next `rows` rows, or of fewer once they take `bytes`: each of the body
    /// or, if that is more, of memory. Rows that are left out take as well, so that a slice is
    /// never more than a short while's work. Empty where all of them are left out, nil at the end
    /// of the body.
    package mutating func next(rows: Int, bytes: Int) -> [AttributeEntry]? {
        var entries: [AttributeEntry] = []
        var size = 0
        let first = self.rows
        while self.rows - first < rows, size < bytes {
            let before = bytesRead
            guard let row = nextRow() else { return self.rows > first ? entries : nil }
            let read = bytesRead - before
            switch row {
            case .entry(let entry):
                size += max(read, entry.footprint)
                entries.append(entry)
            case .rejected:
                size += read
            }
        }
        return entries
    }

    /// Of the body.
    private var bytesRead: Int {
        switch source {
        case .csv(let reader, _): reader.bytesRead
        case .ndjson(let lines): lines.start
        }
    }

    private enum Row {
        case entry(AttributeEntry)
        case rejected
    }

    /// Nil at the end of the body.
    private mutating func nextRow() -> Row? {
        let row: Row?
        switch source {
        case .csv(var reader, let table):
            let next = reader.next()
            source = .csv(reader, table)
            row = next.map { take($0.record, table, line: $0.line) }
        case .ndjson(var lines):
            let text = lines.next(of: body)
            source = .ndjson(lines)
            row = text.map { take(text: $0, line: lines.number) }
        }
        if row != nil { rows += 1 }
        return row
    }

    // MARK: - CSV

    private static func columns(
        _ header: CSVReader.Record, key: [UInt8]
    ) throws(AttributeBodyError) -> [[UInt8]] {
        guard case .fields(let columns) = header else {
            if case .malformed(let problem) = header { throw .malformedHeader(problem) }
            throw .noHeader
        }
        // Before any of them is shown or made part of anything: they may be as long as the body.
        let bytes = columns.reduce(0) { $0 + ($1 == key ? 0 : $1.count) }
        guard bytes <= CatalogLimits.rowMax else { throw .namesTooLong(bytes: bytes) }
        var seen: Set<[UInt8]> = []
        for column in columns {
            guard let name = String(validating: column, as: UTF8.self) else {
                throw .malformedHeader("a column's name is no UTF-8")
            }
            guard seen.insert(column).inserted else { throw .columnTwice(name) }
        }
        return columns
    }

    private mutating func take(_ record: CSVReader.Record, _ table: Table, line: Int) -> Row {
        let fields: [[UInt8]]
        switch record {
        case .malformed(let problem):
            return reject(line, problem)
        case .fields(let found):
            fields = found
        }
        let columns = table.columns
        guard fields.count == columns.count else {
            return reject(line, "\(fields.count) fields, the first line names \(columns.count)")
        }
        var members: [JSONCanonical.Member] = []
        var bytes = table.emptyBytes
        for position in table.attributes {
            let field = fields[position]
            guard String(validating: field, as: UTF8.self) != nil else {
                let column = String(decoding: columns[position], as: UTF8.self)
                return reject(line, "the column \(column) is no UTF-8")
            }
            let value = JSONCanonical.string(field)
            bytes += value.count - Self.emptyValue.count
            members.append(JSONCanonical.Member(name: columns[position], value: value))
        }
        // The names may be many times what the row takes of the body: only of a row that is kept
        // they are written out.
        guard bytes <= CatalogLimits.rowMax else { return rejectLong(line, bytes) }
        return take(key: fields[table.key], members, line: line)
    }

    // MARK: - NDJSON

    private mutating func take(text: ArraySlice<UInt8>, line: Int) -> Row {
        // Canonical form is no longer than what was written, but for a few escapes.
        guard text.count <= 8 * CatalogLimits.rowMax else {
            return reject(line, "longer than \(8 * CatalogLimits.rowMax) bytes")
        }
        do throws(JSONTextError) {
            return try take(JSONCanonical.members(of: text), line: line)
        } catch {
            return reject(line, "no JSON object: \(error)")
        }
    }

    private mutating func take(_ object: [JSONCanonical.Member], line: Int) -> Row {
        var members = object
        guard let position = members.firstIndex(where: { $0.name == keyField }) else {
            let name = String(decoding: keyField, as: UTF8.self)
            return reject(line, "no field \(name)")
        }
        let key = members.remove(at: position).value
        switch key.first {
        case UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: "n"):
            return reject(line, "the key is no string or number")
        default:
            return take(key: JSONCanonical.plain(key), members, line: line)
        }
    }

    // MARK: - Both

    private mutating func take(
        key: [UInt8], _ members: [JSONCanonical.Member], line: Int
    ) -> Row {
        guard AttributeRow.isKey(key) else {
            return reject(
                line, key.isEmpty ? "an empty key" : "the key is no UTF-8 of up to \(Limits.keyMax)"
            )
        }
        let json = JSONCanonical.object(members)
        guard json.count <= CatalogLimits.rowMax else { return rejectLong(line, json.count) }
        return .entry(AttributeEntry(key: key, json: json))
    }

    private mutating func rejectLong(_ line: Int, _ bytes: Int) -> Row {
        reject(line, "\(bytes) bytes of attributes, at most \(CatalogLimits.rowMax) are kept")
    }

    /// - Parameter detail: made only where it is listed; it may show a long name.
    private mutating func reject(_ line: Int, _ detail: @autoclosure () -> String) -> Row {
        rejectedCount += 1
        if rejects.count < Limits.errorsInAnswerMax {
            rejects.append(Reject(line: line, detail: detail()))
        }
        return .rejected
    }
}
