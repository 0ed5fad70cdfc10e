import Catalog
import Core

/// Rows of attributes: NDJSON, or CSV where the first byte is odd.
enum AttributesTarget {
    static func parse(_ bytes: [UInt8]) {
        let format: AttributeFormat = (bytes.first ?? 0) & 1 == 1 ? .csv : .ndjson
        let body = Array(bytes.dropFirst())
        do throws(AttributeBodyError) {
            let parser = try AttributeParser(body, format: format, keyField: "k")
            let again = try AttributeParser(body, format: format, keyField: "k")
            precondition(parser.entries == again.entries && parser.rejects == again.rejects)
            precondition(parser.rejects.count <= Limits.errorsInAnswerMax)
            for entry in parser.entries {
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
