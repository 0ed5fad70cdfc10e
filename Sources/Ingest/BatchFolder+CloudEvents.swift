// CloudEvents 1.0 in their JSON format. What they have beyond other JSON events is an envelope: a
// version, an id and a source, without which an event is none. An array of them is read like any
// array; a single one is the whole body, which may span lines.

extension BatchFolder {
    mutating func foldCloudEvent(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) throws(IngestError) {
        var json = JSONScanner(cursor: start, end: end, acrossLines: true)
        json.skipSpace()
        guard json.cursor < end else { throw .noEvent }
        let first = json.cursor
        var last = first
        do throws(JSONFault) {
            try scanner.scanEvent(&json, plan: plan, into: &fields)
            last = json.cursor
            json.skipSpace()
            if json.cursor < end { throw .textAfter }
        } catch {
            var stop = end
            while stop[-1] == 0x20 || stop[-1] == 0x09 || stop[-1] == 0x0a || stop[-1] == 0x0d {
                // `first` is no white space.
                stop -= 1
            }
            let raw = Raw(line: 1, start: first, count: stop - first)
            return try bury(raw, error, at: json.cursor - first)
        }
        try admit(Raw(line: 1, start: first, count: last - first), isText: true)
    }

    /// What is wrong with the envelope of the event in hand; nil where it is whole.
    mutating func attributeFault() -> String? {
        for attribute in plan.attributes {
            guard let field = fields.best(attribute.mask) else {
                return "a CloudEvent has the attribute \(attribute.name)"
            }
            guard field.kind == .text else {
                return "\(attribute.name) is \(field.kindName); a string is right"
            }
            guard let value = attribute.value else { continue }
            guard let text = fields.plain(field), text.count == value.count,
                value.withUnsafeBufferPointer({ buffer in
                    buffer.baseAddress.map { ByteScan.areEqual($0, text.start, text.count) } ?? true
                })
            else {
                let right = String(decoding: value, as: UTF8.self)
                return "\(attribute.name) is \(FoldDetail.quote(field)); \(right) is right"
            }
        }
        return nil
    }
}
