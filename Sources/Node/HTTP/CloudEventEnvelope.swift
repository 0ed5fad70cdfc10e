internal import Ingest

/// The attributes of a CloudEvent that came in HTTP's binary mode: in headers, with its data as the
/// body (CloudEvents 1.0, HTTP protocol binding, 3.1).
///
/// It is counted as what it would have been in structured mode, so that there is one way to read an
/// event, and so that a dead letter holds all of it. The text is a function of the attributes and
/// of the body alone: attributes by name, the data at the end.
package struct CloudEventEnvelope: Hashable, Sendable {
    package struct Attribute: Hashable, Sendable {
        package var name: String
        package var value: String
    }

    /// Ascending by name, none twice; the type of the data among them.
    package private(set) var attributes: [Attribute] = []
    private let hasJSON: Bool

    private static let prefix = "ce-"
    private static let dataType = "datacontenttype"
    /// Names that are members of the structured form and no attributes of the binary one.
    private static let reserved: Set<String> = ["data", dataType]

    /// Whether these headers are those of an event in binary mode. A body that says that it is an
    /// event itself is one in structured mode, whatever headers are beside it.
    package static func isBinaryMode(_ header: (String) -> String?) -> Bool {
        header("ce-specversion") != nil
            && !mediaType(header("Content-Type") ?? "").hasPrefix("application/cloudevents")
    }

    package init(fields: [HeaderField], contentType: String?) throws(Problem) {
        for field in fields {
            let header = field.name.lowercased()
            guard header.hasPrefix(Self.prefix) else { continue }
            let name = String(header.dropFirst(Self.prefix.count))
            guard Self.isName(name), !Self.reserved.contains(name) else {
                throw Self.refused("the header \(header) names no attribute of a CloudEvent")
            }
            guard let value = PercentText.text(HeaderText.unquoted(field.value)) else {
                throw Self.refused("the header \(header) is not percent-encoded UTF-8")
            }
            attributes.append(Attribute(name: name, value: value))
        }
        if let contentType {
            attributes.append(Attribute(name: Self.dataType, value: contentType))
        }
        attributes.sort { $0.name < $1.name }
        for (one, next) in zip(attributes, attributes.dropFirst()) where one.name == next.name {
            throw Self.refused("the header ce-\(one.name) comes twice")
        }
        let type = Self.mediaType(contentType ?? "")
        hasJSON = type.hasSuffix("/json") || type.hasSuffix("+json")
    }

    /// The event in its structured form. A body that says that it is JSON, and is, becomes the
    /// value of `data` as it stands; any other is `data_base64`; no body is no data.
    package func text(around body: [UInt8]) -> [UInt8] {
        var json = JSONWriter(capacity: body.count + body.count / 3 + 1024)
        json.object { json in
            for attribute in attributes { json.field(attribute.name, attribute.value) }
            if body.isEmpty { return }
            if hasJSON, body.withUnsafeBytes({ JSONText.isMemberValue($0) }) {
                json.key("data")
                json.raw(body)
            } else {
                json.field("data_base64", Base64.encode(body, .standard))
            }
        }
        return json.bytes
    }

    static func mediaType(_ contentType: String) -> String {
        contentType.prefix { $0 != ";" }.lowercased().filter { $0 != " " && $0 != "\t" }
    }

    /// Letters and digits, as CloudEvents has it.
    private static func isName(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            }
    }

    private static func refused(_ detail: String) -> Problem {
        .badRequest(detail, outcome: .notAttempted)
    }
}

/// A field of a request's head, as it came.
package struct HeaderField: Hashable, Sendable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

enum HeaderText {
    /// A quoted string (RFC 9110, 5.6.4) without its quotes; any other text as it is.
    static func unquoted(_ text: String) -> String {
        guard text.count >= 2, text.first == "\"", text.last == "\"" else { return text }
        var result = ""
        var isEscaped = false
        for character in text.dropFirst().dropLast() {
            if character == "\\" && !isEscaped {
                isEscaped = true
                continue
            }
            isEscaped = false
            result.append(character)
        }
        return result
    }
}
