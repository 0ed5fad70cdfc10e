internal import Core
internal import Wire

/// Writes events as a binary batch, the format that a node reads fastest
/// (`application/x-quipu-batch`, docs/formats/binary-batch.md).
///
/// ```swift
/// var writer = BinaryBatchWriter()
/// writer.append(type: "view", key: "abc", time: Timestamp(milliseconds: 1_767_225_600_000))
/// try await producer.send(writer.finish())
/// ```
///
/// The same events in the same order give the same bytes. Events are not judged here: one that a
/// node cannot count (an empty key, a time beyond the year 9999) becomes a dead letter there.
public struct BinaryBatchWriter: Sendable {
    private var types = Table()
    private var keys = Table()
    private var events = ByteWriter()
    private var last: Int64 = 0
    /// Events appended since the last `finish`.
    public private(set) var count = 0

    /// A writer of an empty batch.
    public init() {}

    /// About how many bytes the batch has so far. A node takes batches of at most 16 MiB, of
    /// 65,536 types and 2,097,152 keys; 10,000 events are a good size.
    public var byteCount: Int {
        BinaryBatchHead.size + types.bytes.bytes.count + keys.bytes.bytes.count
            + events.bytes.count
    }

    /// Adds an event.
    ///
    /// - Parameters:
    ///   - type: its type; where empty, the type that the request gives (`type=`).
    ///   - key: what is counted.
    ///   - time: when it happened.
    ///   - millionths: its value, exactly, in millionths: 1,500,000 is 1.5. nil for none.
    public mutating func append(
        type: String, key: String, time: Timestamp, millionths: Int64? = nil
    ) {
        append(type: Array(type.utf8), key: Array(key.utf8), time: time, millionths: millionths)
    }

    /// The same for texts that are UTF-8 already.
    public mutating func append(
        type: [UInt8], key: [UInt8], time: Timestamp, millionths: Int64? = nil
    ) {
        let hasValue: UInt64 = millionths == nil ? 0 : 1
        events.write(varint: types.number(of: type) << 1 | hasValue)
        events.write(varint: keys.number(of: key))
        // Modulo 2^64, as it is read.
        events.write(zigzag: time.milliseconds &- last)
        last = time.milliseconds
        if let millionths { events.write(zigzag: millionths) }
        count += 1
    }

    /// The batch of what was appended. The writer begins the next one.
    public mutating func finish() -> BinaryBatch {
        var body = ByteWriter(capacity: byteCount)
        for table in [types, keys] {
            body.write(count: table.numbers.count)
            body.write(raw: table.bytes.bytes)
        }
        body.write(raw: events.bytes)
        let head = BinaryBatchHead(events: UInt32(count), body: body.bytes)
        let batch = BinaryBatch(bytes: head.bytes + body.bytes, events: count)
        self = BinaryBatchWriter()
        return batch
    }

    /// Texts, each once, numbered in the order of their first appearance.
    private struct Table {
        /// By bytes: `String` takes two normal forms of one text for the same.
        var numbers: [[UInt8]: UInt64] = [:]
        /// Each with its length before it.
        var bytes = ByteWriter()

        mutating func number(of text: [UInt8]) -> UInt64 {
            if let number = numbers[text] { return number }
            let number = UInt64(numbers.count)
            numbers[text] = number
            bytes.write(sized: text)
            return number
        }
    }
}

/// A binary batch, ready to be sent or to be put behind others in a file.
public struct BinaryBatch: Hashable, Sendable {
    /// The whole batch with its head.
    public let bytes: [UInt8]
    /// How many events it has.
    public let events: Int
}
