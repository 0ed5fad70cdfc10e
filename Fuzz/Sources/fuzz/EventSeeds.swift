import CLZ4
import CZlib
import Core
import Wire

/// The committed corpus of what users send.
enum EventSeeds {
    static func of(_ target: Target, _ number: Int) -> [UInt8] {
        let options = UInt8([0, 1, 2, 4, 16, 32][number % 6])
        let body: [UInt8] =
            switch target {
            case .ndjson: Array(events(number).joined(separator: "\n").utf8)
            case .array: Array("[\(events(number).joined(separator: ", "))]".utf8)
            case .csv: table(number, separator: ",")
            case .tsv: table(number, separator: "\t")
            case .clf: logLines(number)
            case .cloudevent: Array(cloudEvent(number).utf8)
            case .cloudevents:
                Array("[\((0...number % 4).map(cloudEvent).joined(separator: ","))]".utf8)
            case .binary: binary(number)
            case .gzip: gzip(text(number)) + (number % 3 == 0 ? gzip([1, 2, 3]) : [])
            case .lz4: lz4(text(number), number) + (number % 3 == 0 ? lz4([1], 0) : [])
            case .time: Array(times[number % times.count].utf8)
            case .attributes: rows(number)
            case .block, .table, .log, .logindex, .manifest, .history, .attributetable, .records,
                .peer, .connection, .spool:
                []
            }
        switch target {
        case .time: return body
        case .attributes: return [UInt8(number & 1)] + body
        default: return [options] + body
        }
    }

    private static func events(_ number: Int) -> [String] {
        let all = [
            #"{"type":"view","key":"abc","time":"2026-01-01T00:00:00Z","value":1.5}"#,
            #"{"key":"\u00e9\ud83d\ude00","ts":1767225600,"type":"t"}"#,
            #"{"data":{"k":"x","l":[1,{"a":null}]},"time":"2026-01-01","k":0}"#,
            #"{"type":"view","time":1e3,"subject":true,"v":"-2e-6"}"#, "{\"type\":",
            #"{"key":"k","type":"t","time":"2015-02-22 21:17:00.5+02:00","value":null}"#,
        ]
        return (0...number % 4).map { all[(number + $0) % all.count] }
    }

    private static func table(_ number: Int, separator: String) -> [UInt8] {
        let rows = [
            ["key", "type", "time", "value", "v"], ["a", "t", "2026-01-01T00:00:00Z", "1", ""],
            ["\"b,\"\"\n\"", "t", "0", "", "x"], ["c", "", "1e9", "-0.5"],
            ["\"d", "t", "1", "2", "3"],
        ]
        let lines = rows.prefix(2 + number % 4).map { $0.joined(separator: separator) }
        return Array(lines.joined(separator: number % 2 == 0 ? "\n" : "\r\n").utf8)
    }

    private static func logLines(_ number: Int) -> [UInt8] {
        let request = ["GET /a?b HTTP/1.1", "-", "\\x16\\x03", "GET /a b"][number % 4]
        let tail = number % 2 == 0 ? "" : #" "http://r/" "agent \"x\"" more"#
        let line = #"h - u v [22/Feb/2015:21:17:00 +0000] "\#(request)" 200 12\#(tail)"#
        return Array("\(line)\n\nno line\n\(line)".utf8)
    }

    private static func cloudEvent(_ number: Int) -> String {
        let version = number % 5 == 4 ? "0.3" : "1.0"
        let time = number % 3 == 2 ? "" : #","time":"2026-01-01T00:00:0\#(number % 10).25Z""#
        return #"{"specversion":"\#(version)","id":"\#(number)","source":"/s","type":"t","#
            + #""subject":"k"\#(time),"data":{"k":"v","v":\#(number)}}"#
    }

    private static func binary(_ number: Int) -> [UInt8] {
        var body = ByteWriter()
        let keys: [[UInt8]] = [Array("key".utf8), [], [0xff], Array("é".utf8)]
        body.write(count: 2)
        for type in ["view", ""] { body.write(sized: type) }
        body.write(count: keys.count)
        for key in keys { body.write(sized: key) }
        for event in 0...number {
            let hasValue = event % 3 == 0
            body.write(varint: UInt64(event % 2) << 1 | (hasValue ? 1 : 0))
            body.write(varint: UInt64(event % keys.count))
            body.write(zigzag: event == 0 ? 1_767_225_600_000 : Int64(event * 999))
            if hasValue { body.write(zigzag: Int64(event) - 5) }
        }
        let batch = BinaryBatchHead(events: UInt32(number + 1), body: body.bytes).bytes + body.bytes
        return number % 4 == 3 ? batch + batch : batch
    }

    private static let times = [
        "2026-01-01T00:00:00Z", "2015-02-22t21:17:00.123456+02:30", "2016-02-29", "1424639820",
        "-0.5", "1.4e12", "22/Feb/2015:21:17:00 +0000", "[22/Feb/2015:21:17:00 -0130]",
        "2016-12-31T23:59:60Z", "0001-01-01 00:00", "9999-12-31T23:59:59.999Z", "99999999999999999",
    ]

    private static func rows(_ number: Int) -> [UInt8] {
        if number & 1 == 1 {
            let rows = ["k,title,n", "a,\"b \"\"c\"\"\nd\",1", "e,,2", "f,g"]
            return Array(rows.prefix(2 + number % 3).joined(separator: "\n").utf8)
        }
        let rows = [
            #"{"k":"a","title":"b","n":1.50,"deep":{"x":[1,null,true]}}"#, #"{"title":"no key"}"#,
            #"{"k":"\u00e9","a":"\ud83d\ude00\n","b":-1e5}"#, #"{"k":"d"}"#,
        ]
        return Array(rows.prefix(1 + number % 4).joined(separator: "\n").utf8)
    }

    // MARK: - Streams

    private static func text(_ number: Int) -> [UInt8] {
        Array(String(repeating: "{\"key\":\"k\(number)\"}\n", count: number * number).utf8)
    }

    private static func gzip(_ bytes: [UInt8]) -> [UInt8] {
        var stream = z_stream()
        precondition(
            deflateInit2_(
                &stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                Int32(MemoryLayout<z_stream>.size)) == Z_OK)
        defer { deflateEnd(&stream) }
        var input = bytes
        let room = Int(deflateBound(&stream, UInt(bytes.count)))
        return input.withUnsafeMutableBufferPointer { source in
            [UInt8](unsafeUninitializedCapacity: room) { target, count in
                stream.next_in = source.baseAddress
                stream.avail_in = UInt32(source.count)
                stream.next_out = target.baseAddress
                stream.avail_out = UInt32(room)
                precondition(deflate(&stream, Z_FINISH) == Z_STREAM_END)
                count = room - Int(stream.avail_out)
            }
        }
    }

    private static func lz4(_ bytes: [UInt8], _ number: Int) -> [UInt8] {
        var preferences = LZ4F_preferences_t()
        preferences.frameInfo.blockMode = number % 2 == 0 ? LZ4F_blockLinked : LZ4F_blockIndependent
        preferences.frameInfo.contentChecksumFlag =
            number % 3 == 0 ? LZ4F_contentChecksumEnabled : LZ4F_noContentChecksum
        if number % 4 == 1 { preferences.frameInfo.contentSize = UInt64(bytes.count) }
        let bound = LZ4F_compressFrameBound(bytes.count, &preferences)
        return [UInt8](unsafeUninitializedCapacity: bound) { target, count in
            bytes.withUnsafeBytes { source in
                count = LZ4F_compressFrame(
                    target.baseAddress, bound, source.baseAddress, source.count, &preferences)
            }
        }
    }
}
