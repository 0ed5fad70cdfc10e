import Client
package import Ingest
package import Wire

/// Batches for `quipu measure-fold`: an ordinary one in each format, and such as someone would make
/// who wants to cost a node time or memory. The same bytes from every run.
package struct FoldInput: Sendable {
    package let name: String
    package let parameters: ParseParameters
    /// As they are sent.
    package let encoding: StreamEncoding?
    package let bytes: [UInt8]

    init(
        _ name: String, _ format: Ingest.EventFormat, type: String? = nil,
        encoding: StreamEncoding? = nil, _ bytes: [UInt8]
    ) {
        self.name = name
        self.encoding = encoding
        parameters = ParseParameters(format: format, defaultType: type)
        self.bytes = bytes
    }

    /// The names of all, in their order.
    package static let names = [
        "ndjson", "binary", "csv", "cloudevents", "clf", "empty lines", "blank objects",
        "one string", "long strings", "escapes", "deep", "too deep", "open brackets", "members",
        "array of commas", "array of numbers", "quotes", "open quotes", "doubled quotes", "columns",
        "brackets in logs", "distinct keys", "distinct keys, binary", "distinct keys, values",
        "distinct types", "distinct windows", "distinct windows, values", "dead letters",
        "dead letters, binary", "texts without events", "bomb, gzip", "bomb, lz4",
        "empty streams, gzip", "empty streams, lz4",
    ]

    /// About `size` bytes of it; nil for a name that is none.
    package static func named(_ name: String, size: Int) -> FoldInput? {
        func input(
            _ format: Ingest.EventFormat, _ bytes: [UInt8], type: String? = "t"
        ) -> FoldInput {
            FoldInput(name, format, type: type, bytes)
        }
        func lines(_ format: Ingest.EventFormat, head: String = "", _ line: String) -> FoldInput {
            input(format, fill(size, head: head, with: line))
        }
        let event = #"{"key":"k","time":0,"x":"#
        switch name {
        case "ndjson": return input(.ndjson, ordinary(size), type: nil)
        case "binary": return input(.binary, ordinaryBatches(size), type: nil)
        case "csv": return lines(.csv, head: "time,key\n", "2026-01-01T00:00:00Z,k0000000001\n")
        case "cloudevents": return input(.cloudEventBatch, cloudEvents(size), type: nil)
        case "clf":
            return lines(
                .commonLog, #"h - - [22/Feb/2015:21:17:00 +0000] "GET /a HTTP/1.1" 200 12"# + "\n")
        case "empty lines": return lines(.ndjson, "\n")
        case "blank objects": return lines(.ndjson, "{}\n")
        case "one string": return input(.ndjson, fill(size, head: #"{"key":""#, with: "x"))
        case "long strings":
            let text = String(repeating: "x", count: 1_000_000)
            return lines(.ndjson, #"{"time":0,"key":""# + text + "\"}\n")
        case "escapes":
            let text = String(repeating: #"\u0041"#, count: 1000)
            return lines(.ndjson, #"{"time":"\u0030","key":""# + text + "\"}\n")
        case "deep": return lines(.ndjson, event + nested(62) + "}\n")
        case "too deep": return lines(.ndjson, event + nested(70) + "}\n")
        case "open brackets": return input(.ndjson, fill(size, head: "{\"a\":", with: "["))
        case "members":
            let members = String(repeating: #""\u0061":1,"a":2,"#, count: 30_000)
            return lines(.ndjson, "{" + members + "\n")
        case "array of commas":
            return input(.jsonArray, fill(size, head: "[", with: "{,", tail: "]"))
        case "array of numbers":
            return input(.jsonArray, fill(size, head: "[0", with: ",1", tail: "]"))
        default: return rows(name, size: size)
        }
    }

    private static func rows(_ name: String, size: Int) -> FoldInput? {
        func input(_ format: Ingest.EventFormat, _ bytes: [UInt8]) -> FoldInput {
            FoldInput(name, format, type: "t", bytes)
        }
        let header = "key,time\n"
        switch name {
        case "quotes": return input(.csv, fill(size, head: header, with: "\""))
        case "open quotes": return input(.csv, fill(size, head: header, with: "\"a\n"))
        case "doubled quotes": return input(.csv, fill(size, head: header + "\"\n", with: "\"\"\n"))
        case "columns":
            let columns = String(repeating: ",", count: 1_000_000)
            let head = "key,time" + columns + "\n"
            return input(.csv, fill(size, head: head, with: "a,0" + columns + "\n"))
        case "brackets in logs": return input(.commonLog, fill(size, head: "h - [", with: "["))
        case "distinct keys":
            return input(.csv, numbered(size, head: header) { "\($0),0\n" })
        case "distinct keys, values":
            return input(.csv, numbered(size, head: "key,time,value\n") { "\($0),0,1\n" })
        case "distinct types":
            return input(.csv, numbered(size, head: "type,key,time\n") { "\($0),k,0\n" })
        case "distinct windows":
            return input(.csv, numbered(size, head: header) { "k,\($0 * 60)\n" })
        case "distinct windows, values":
            return input(.csv, numbered(size, head: "key,time,value\n") { "k,\($0 * 60),1\n" })
        case "distinct keys, binary":
            // Eight bytes of text, and five of an event.
            let count = min(size / 13, FoldBounds.standard.cellsMax)
            let keys = (0..<count).map { "\($0 + 1_000_000)" }
            return input(.binary, batch(keys: keys, events: count))
        case "dead letters":
            let line = #"{"key":"k","time":"never"}"#
            let padding = String(repeating: " ", count: max(0, size / 260_000 - line.utf8.count))
            return input(.ndjson, fill(size - 100, with: line + padding + "\n"))
        case "dead letters, binary":
            return input(.binary, batch(keys: [""], events: min(size / 3, 260_000)))
        case "texts without events":
            return input(.binary, texts(size))
        default: return compressed(name, size: size)
        }
    }

    // MARK: - Making

    private static func fill(
        _ size: Int, head: String = "", with piece: String, tail: String = ""
    ) -> [UInt8] {
        var bytes = Array(head.utf8)
        bytes.reserveCapacity(size + piece.utf8.count)
        while bytes.count < size { bytes.append(contentsOf: piece.utf8) }
        bytes.append(contentsOf: tail.utf8)
        return bytes
    }

    private static func numbered(
        _ size: Int, head: String, _ line: (Int) -> String
    ) -> [UInt8] {
        var bytes = Array(head.utf8)
        var number = 0
        // As many distinct cells as a batch may have.
        while bytes.count < size, number < FoldBounds.standard.cellsMax {
            bytes.append(contentsOf: line(number).utf8)
            number += 1
        }
        return bytes
    }

    private static func nested(_ depth: Int) -> String {
        String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    }

    private static func settings(_ size: Int) -> EventGenerator.Settings {
        var settings = EventGenerator.Settings(events: size / 66)
        settings.types = ["view", "like"]
        return settings
    }

    private static func ordinary(_ size: Int) -> [UInt8] {
        var generator = EventGenerator(settings(size))
        var bytes: [UInt8] = []
        while generator.fill(&bytes, upTo: size) {}
        return bytes
    }

    /// The events of `ordinary`, in much fewer bytes, over and over.
    private static func ordinaryBatches(_ size: Int) -> [UInt8] {
        var generator = EventGenerator(settings(size))
        var bytes: [UInt8] = []
        while let batch = generator.nextBatch(of: 10_000) { bytes += batch.bytes }
        while bytes.count < size / 2 { bytes += bytes }
        return bytes
    }

    private static func cloudEvents(_ size: Int) -> [UInt8] {
        let event =
            #"{"specversion":"1.0","id":"1234","source":"/shop","type":"sold","subject":"book","#
            + #""time":"2026-01-01T00:00:00Z","data":{"amount":1.5}}"#
        return fill(size, head: "[" + event, with: "," + event, tail: "]")
    }

    /// A batch of nothing but keys.
    private static func texts(_ size: Int) -> [UInt8] {
        let count = min(size / 8, ParseLimits.binaryKeysMax)
        return batch(keys: (0..<count).map { "\($0 + 1_000_000)" }, events: 0)
    }

    /// One batch of these keys and an event of each, or as many of the first. What writes batches
    /// for others would keep its memory for long.
    private static func batch(keys: [String], events: Int) -> [UInt8] {
        var body = ByteWriter()
        body.write(count: 1)
        body.write(sized: "t")
        body.write(count: keys.count)
        for key in keys { body.write(sized: key) }
        for event in 0..<events {
            body.write(UInt8(0))
            body.write(count: keys.count > 1 ? event : 0)
            body.write(UInt8(0))
        }
        return BinaryBatchHead(events: UInt32(events), body: body.bytes).bytes + body.bytes
    }
}
