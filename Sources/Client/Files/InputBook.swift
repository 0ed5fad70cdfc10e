internal import Foundation
internal import Wire

/// The files that a spool has begun, and how far each is sealed: where a run goes on.
///
/// A file is found again by what it is (device and inode), so that a log that was renamed is the
/// same log, and by its path, so that a file that was copied back is the same file. Either way its
/// sealed bytes must be those that they were. A file that grew goes on where it ended.
package struct InputBook: Sendable {
    private var inputs: [InputProgress]

    package init(_ inputs: [InputProgress] = []) {
        self.inputs = inputs
    }

    /// What a file may be a continuation of, the likeliest first.
    func candidates(path: String, identity: CutInput.Identity) -> [InputProgress] {
        let same = inputs.filter { $0.input.identity == identity }
        return same + inputs.filter { $0.input.identity != identity && $0.input.path == path }
    }

    /// The input under its present name; a new one where `known` is nil.
    mutating func claim(
        _ known: CutInput?, path: String, identity: CutInput.Identity, format: EventFormat
    ) -> CutInput {
        let number = known?.number ?? inputs.count
        let input = CutInput(number: number, path: path, identity: identity, format: format)
        if known == nil {
            inputs.append(InputProgress(input: input))
        } else {
            inputs[number].input = input
        }
        return input
    }

    /// A new input that gave no batch is none: a spool numbers inputs by their first batch.
    mutating func drop(_ input: CutInput) {
        guard let last = inputs.last, last.input.number == input.number, last.position.offset == 0
        else { return }
        inputs.removeLast()
    }

    /// Nothing was cut of the input since `tracker` began.
    func isAtStart(of tracker: CutTracker) -> Bool {
        inputs[tracker.input.number].position.offset == tracker.start
    }

    static func absolute(_ path: String) -> String {
        URL(fileURLWithPath: path).standardized.path
    }

    mutating func advance(_ mark: CutMark) {
        inputs[mark.input.number].position = mark.end
    }
}

/// Follows how far batches are cut from one input.
struct CutTracker {
    let input: CutInput
    /// Where this run began.
    let start: Int
    private var position: CutPosition
    private var lastByte: UInt8

    init(_ input: CutInput, from position: CutPosition) {
        self.input = input
        self.position = position
        start = position.offset
        lastByte = position.isWithinLine ? 0 : UInt8(ascii: "\n")
    }

    mutating func take(_ bytes: UnsafeRawBufferPointer) {
        guard let last = bytes.last else { return }
        position.offset += bytes.count
        position.checksum = Checksum.crc32c(bytes, extending: position.checksum)
        lastByte = last
    }

    /// The end of a batch that was just cut.
    func mark(preamble: [UInt8]) -> CutMark {
        var end = position
        end.preamble = preamble
        end.isWithinLine = input.format.isByLines && lastByte != UInt8(ascii: "\n")
        return CutMark(input: input, end: end)
    }
}

extension ByteSource {
    /// Reads up to `position` and returns what was read beyond it, nil where these are not the
    /// bytes that were sealed.
    func skip(to position: CutPosition) throws(FileFailure) -> UnsafeRawBufferPointer? {
        var checksum: UInt32 = 0
        var missing = position.offset
        var rest = UnsafeRawBufferPointer(start: nil, count: 0)
        while missing > 0 {
            let bytes = try read()
            if bytes.isEmpty { return nil }
            let count = min(missing, bytes.count)
            checksum = Checksum.crc32c(
                UnsafeRawBufferPointer(rebasing: bytes[..<count]), extending: checksum)
            missing -= count
            rest = UnsafeRawBufferPointer(rebasing: bytes[count...])
        }
        guard checksum == position.checksum else { return nil }
        if rest.isEmpty { rest = try read() }
        return rest
    }
}

extension EventFormat {
    /// A record ends with a line, so that a file that ends within one may grow within a record.
    var isByLines: Bool {
        switch self {
        case .ndjson, .csv, .tsv, .clf: true
        default: false
        }
    }
}
