internal import Core
internal import Wire

/// Cuts a file of binary batches (docs/formats/binary-batch.md) between them. A batch is never
/// taken apart: it is checked by a sum of its own.
///
/// What does not begin like a batch, or is longer than a node takes, is a failure that names the
/// byte: where the next batch begins would be a guess.
package struct BinaryCutter: BatchCutter {
    private let path: String
    private let limits: CutLimits
    /// Whole batches, and the one under way behind its head.
    private var body: [UInt8] = []
    private var events = 0
    /// The head of the next batch, as far as it is read.
    private var head: [UInt8] = []
    /// Bytes of the batch under way that are to come; 0 between batches.
    private var missing = 0
    /// Of all bytes, for messages.
    private var offset: Int
    package private(set) var isFull = false

    /// - Parameter offset: of the first byte to come, in its file.
    package init(path: String, limits: CutLimits, offset: Int = 0) {
        self.path = path
        self.limits = limits
        self.offset = offset
        head.reserveCapacity(BinaryBatchHead.size)
    }

    package mutating func take(_ input: UnsafeRawBufferPointer) throws(FileFailure) -> Int {
        var position = 0
        while !isFull {
            // A head that was read before the last cut, or a batch without a body.
            if head.count == BinaryBatchHead.size { try begin() }
            if isFull || position == input.count { break }
            if missing == 0 {
                let count = min(BinaryBatchHead.size - head.count, input.count - position)
                head.append(contentsOf: input[position..<position + count])
                position += count
                offset += count
            } else {
                let count = min(missing, input.count - position)
                body.append(contentsOf: input[position..<position + count])
                position += count
                offset += count
                missing -= count
                if missing == 0 { end() }
            }
        }
        return position
    }

    /// The head is whole: its batch begins, unless it does not fit beside those before it.
    private mutating func begin() throws(FileFailure) {
        let start = offset - BinaryBatchHead.size
        let read: BinaryBatchHead
        do throws(DecodeError) {
            read = try head.withUnsafeBytes { bytes in
                Result { () throws(DecodeError) in try BinaryBatchHead(bytes) }
            }.get()
        } catch {
            throw FileFailure(path: path, reason: "\(error.what) at byte \(start + error.offset)")
        }
        let length = BinaryBatchHead.size + Int(read.length)
        guard length <= Limits.bodySentMax else {
            throw FileFailure(
                path: path,
                reason: "the batch at byte \(start) has \(length) bytes, \(Limits.bodySentMax) "
                    + "are allowed; write smaller ones")
        }
        guard body.isEmpty || body.count + length <= Limits.bodySentMax else {
            isFull = true
            return
        }
        body += head
        head.removeAll(keepingCapacity: true)
        events += Int(read.events)
        missing = Int(read.length)
        if missing == 0 { end() }
    }

    private mutating func end() {
        isFull = events >= limits.events || body.count >= limits.bytes
    }

    package mutating func finish() throws(FileFailure) {
        guard missing == 0, head.isEmpty else {
            throw FileFailure(
                path: path, reason: "the file ends within a batch, at byte \(offset)")
        }
        isFull = !body.isEmpty
    }

    /// The head of a batch that did not fit beside those before it.
    package var preamble: [UInt8] { head }

    package var isBetweenRecords: Bool { !body.isEmpty && missing == 0 && head.isEmpty }

    package mutating func cut() -> CutBody? {
        guard !body.isEmpty else { return nil }
        let result = CutBody(bytes: body, events: events)
        body = []
        events = 0
        isFull = false
        return result
    }
}
