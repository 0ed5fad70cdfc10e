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
    case noKeyColumn(String, columns: [String])

    package var description: String {
        switch self {
        case .noHeader:
            "the CSV is empty: its first line names the columns"
        case .malformedHeader(let reason):
            "the CSV's first line cannot be read: \(reason)"
        case .columnTwice(let name):
            "the CSV's first line names the column \(name) twice: rename one of them"
        case .noKeyColumn(let name, let columns):
            "no column is named \(name): name the key's with key_field, one of "
                + columns.prefix(20).joined(separator: ", ")
        }
    }
}

/// Turns the body of a load into entries. A bad row is told and left out; the others go in.
package struct AttributeParser: Sendable {
    package struct Reject: Hashable, Sendable {
        /// The physical line on which the row begins, counted from 1.
        package var line: Int
        package var detail: String
    }

    package private(set) var entries: [AttributeEntry] = []
    /// The first `Limits.errorsInAnswerMax` rows that were left out.
    package private(set) var rejects: [Reject] = []
    package private(set) var rejectedCount = 0
    private let keyField: [UInt8]

    /// CSV: the first line names the columns, all values are strings. NDJSON: an object per line,
    /// values stay what they are. The field `keyField` is the row's key and none of its attributes.
    package init(
        _ body: [UInt8], format: AttributeFormat, keyField: String = "key"
    ) throws(AttributeBodyError) {
        self.keyField = Array(keyField.utf8)
        switch format {
        case .csv: try readCSV(body)
        case .ndjson: readNDJSON(body)
        }
    }

    private mutating func readCSV(_ body: [UInt8]) throws(AttributeBodyError) {
        var reader = CSVReader(body)
        guard let (header, _) = reader.next() else { throw .noHeader }
        let columns = try columns(header)
        guard let keyColumn = columns.firstIndex(of: keyField) else {
            throw .noKeyColumn(
                String(decoding: keyField, as: UTF8.self),
                columns: columns.map { String(decoding: $0, as: UTF8.self) })
        }
        while let (record, line) = reader.next() {
            switch record {
            case .malformed(let problem):
                reject(line, problem)
            case .fields(let fields) where fields.count != columns.count:
                reject(line, "\(fields.count) fields, the first line names \(columns.count)")
            case .fields(let fields):
                take(fields, columns, keyColumn, line: line)
            }
        }
    }

    private func columns(_ header: CSVReader.Record) throws(AttributeBodyError) -> [[UInt8]] {
        guard case .fields(let columns) = header else {
            if case .malformed(let problem) = header { throw .malformedHeader(problem) }
            throw .noHeader
        }
        var seen: Set<[UInt8]> = []
        for column in columns {
            guard let name = String(validating: column, as: UTF8.self) else {
                throw .malformedHeader("a column's name is no UTF-8")
            }
            guard seen.insert(column).inserted else { throw .columnTwice(name) }
        }
        return columns
    }

    private mutating func take(
        _ fields: [[UInt8]], _ columns: [[UInt8]], _ keyColumn: Int, line: Int
    ) {
        var members: [JSONCanonical.Member] = []
        for (position, field) in fields.enumerated() where position != keyColumn {
            guard String(validating: field, as: UTF8.self) != nil else {
                let column = String(decoding: columns[position], as: UTF8.self)
                return reject(line, "the column \(column) is no UTF-8")
            }
            members.append(
                JSONCanonical.Member(name: columns[position], value: JSONCanonical.string(field)))
        }
        take(key: fields[keyColumn], JSONCanonical.sorted(members), line: line)
    }

    private mutating func readNDJSON(_ body: [UInt8]) {
        var start = body.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0
        var line = 0
        while start < body.count {
            line += 1
            let end = body[start...].firstIndex(of: 0x0a) ?? body.count
            let text = body[start..<end]
            start = end + 1
            if text.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0d }) { continue }
            // Canonical form is no longer than what was written, but for a few escapes.
            guard text.count <= 8 * CatalogLimits.rowMax else {
                reject(line, "longer than \(8 * CatalogLimits.rowMax) bytes")
                continue
            }
            do throws(JSONTextError) {
                try take(JSONCanonical.members(of: text), line: line)
            } catch {
                reject(line, "no JSON object: \(error)")
            }
        }
    }

    private mutating func take(_ object: [JSONCanonical.Member], line: Int) {
        var members = object
        guard let position = members.firstIndex(where: { $0.name == keyField }) else {
            return reject(line, "no field \(String(decoding: keyField, as: UTF8.self))")
        }
        let key = members.remove(at: position).value
        switch key.first {
        case UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: "n"):
            reject(line, "the key is no string or number")
        default:
            take(key: JSONCanonical.plain(key), members, line: line)
        }
    }

    private mutating func take(key: [UInt8], _ members: [JSONCanonical.Member], line: Int) {
        guard AttributeRow.isKey(key) else {
            return reject(
                line, key.isEmpty ? "an empty key" : "the key is no UTF-8 of up to \(Limits.keyMax)"
            )
        }
        let json = JSONCanonical.object(members)
        guard json.count <= CatalogLimits.rowMax else {
            return reject(
                line, "\(json.count) bytes of attributes, at most \(CatalogLimits.rowMax) are kept")
        }
        entries.append(AttributeEntry(key: key, json: json))
    }

    private mutating func reject(_ line: Int, _ detail: String) {
        rejectedCount += 1
        if rejects.count < Limits.errorsInAnswerMax {
            rejects.append(Reject(line: line, detail: detail))
        }
    }
}
