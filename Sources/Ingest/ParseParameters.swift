/// The formats of a batch. Part of the content hash: do not change the numbers.
package enum EventFormat: UInt8, Sendable, CaseIterable {
    /// One JSON object per line.
    case ndjson = 1
    /// One array of JSON objects.
    case jsonArray = 2
    /// Comma-separated with a header, quoted as in RFC 4180.
    case csv = 3
    /// Tab-separated with a header, without any quoting.
    case tsv = 4
    /// Common or Combined Log Format.
    case commonLog = 5
    /// One CloudEvent as a JSON object: the whole body.
    case cloudEvent = 6
    /// One array of CloudEvents.
    case cloudEventBatch = 7
    /// Binary batches, one behind the other.
    case binary = 8
}

extension EventFormat {
    /// Events that carry the attributes of CloudEvents, and must.
    package var isCloudEvents: Bool { self == .cloudEvent || self == .cloudEventBatch }

    /// Names with dots may be paths into objects.
    var hasPaths: Bool { self == .ndjson || self == .jsonArray || isCloudEvents }
}

/// How the bytes of a batch are to be read. What is nil takes the format's default.
package struct ParseParameters: Hashable, Sendable {
    package var format: EventFormat
    /// The type of events that name none.
    package var defaultType: String?
    package var keyField: String?
    package var timeField: String?
    package var typeField: String?
    package var valueField: String?

    package init(
        format: EventFormat, defaultType: String? = nil, keyField: String? = nil,
        timeField: String? = nil, typeField: String? = nil, valueField: String? = nil
    ) {
        self.format = format
        self.defaultType = defaultType
        self.keyField = keyField
        self.timeField = timeField
        self.typeField = typeField
        self.valueField = valueField
    }

    /// The parameters as bytes, in one way only, for the content hash: the format, then default
    /// type, key, time, type and value field, each as 0, or as 1, its length in four bytes
    /// (little-endian) and its UTF-8.
    package var canonicalBytes: [UInt8] {
        var bytes = [format.rawValue]
        for text in [defaultType, keyField, timeField, typeField, valueField] {
            guard let text else {
                bytes.append(0)
                continue
            }
            bytes.append(1)
            let length = UInt32(text.utf8.count)
            for shift in [0, 8, 16, 24] {
                bytes.append(UInt8(truncatingIfNeeded: length >> UInt32(shift)))
            }
            bytes.append(contentsOf: text.utf8)
        }
        return bytes
    }
}
