import Catalog
import Core

/// Rows of attributes: NDJSON, or CSV where the first byte is odd.
enum AttributesTarget {
    static func parse(_ bytes: [UInt8]) {
        let format: AttributeFormat = (bytes.first ?? 0) & 1 == 1 ? .csv : .ndjson
        let body = Array(bytes.dropFirst())
        do throws(AttributeBodyError) {
            var parser = try AttributeParser(body, format: format, keyField: "k")
            var again = parser
            let entries = parser.next(rows: .max, bytes: .max) ?? []
            // In slices the same as at once.
            var sliced: [AttributeEntry] = []
            while let slice = again.next(rows: 2, bytes: 1000) { sliced += slice }
            precondition(entries == sliced && parser.rejects == again.rejects)
            precondition(parser.rejects.count <= Limits.errorsInAnswerMax)
            for entry in entries {
                precondition((1...Limits.keyMax).contains(entry.key.count))
                guard let json = entry.json else { continue }
                precondition(json.count <= CatalogLimits.rowMax)
                precondition(String(validating: json, as: UTF8.self) != nil, "no UTF-8")
            }
        } catch {
            return
        }
    }
}
