internal import Core

/// Cuts a JSON array, or JSON objects one after another, into arrays of fewer elements.
///
/// Only the frame is read: strings and the depth of brackets. What an element holds is the node's
/// to judge. An array whose frame is broken (an element without an end, a bracket too many) cannot
/// be cut safely, since every later boundary would be a guess: that is a failure that names the
/// byte, and what came before it is sent.
package struct ValueCutter: BatchCutter {
    private enum State {
        /// Between elements.
        case outside
        /// Within an object or array, this deep.
        case nested(depth: Int)
        /// Within a number, `true`, `false`, `null` or what takes their place.
        case word
        /// Within a string; `depth` brackets around it.
        case string(depth: Int, escaped: Bool)
    }

    private let path: String
    private let limits: CutLimits
    private var state = State.outside
    private var inArray = false
    private var body: [UInt8] = []
    private var events = 0
    private var elementLength = 0
    /// Of all bytes, for messages.
    private var offset: Int
    package private(set) var isFull = false

    /// - Parameter offset: of the first byte to come, in its file.
    package init(path: String, limits: CutLimits, offset: Int = 0) {
        self.path = path
        self.limits = limits
        self.offset = offset
    }

    package mutating func take(_ input: UnsafeRawBufferPointer) throws(FileFailure) -> Int {
        var position = 0
        while position < input.count, !isFull {
            let before = position
            switch state {
            case .outside:
                try begin(input[position])
                if case .outside = state { position += 1 }
            case .word:
                position = endOfWord(input, from: position)
            case .string, .nested:
                position = advance(input, from: position)
            }
            offset += position - before
            if case .outside = state { continue }
            elementLength += position - before
            guard elementLength <= Limits.lineMax else { throw tooLong() }
        }
        return position
    }

    package var isBetweenRecords: Bool {
        if case .outside = state { events > 0 } else { false }
    }

    package var preamble: [UInt8] { inArray ? [UInt8(ascii: "[")] : [] }

    package mutating func finish() throws(FileFailure) {
        if case .word = state, !inArray { endElement() }
        guard case .outside = state else {
            throw failure("the file ends within an element")
        }
        guard !inArray else { throw failure("the file ends before the array's ']'") }
        isFull = events > 0
    }

    package mutating func cut() -> CutBody? {
        guard events > 0 else { return nil }
        body.append(UInt8(ascii: "]"))
        let result = CutBody(bytes: body, events: events)
        body = []
        body.reserveCapacity(result.bytes.count + result.bytes.count / 8)
        events = 0
        isFull = false
        return result
    }

    /// A byte between elements.
    private mutating func begin(_ byte: UInt8) throws(FileFailure) {
        switch byte {
        case 0x20, 0x09, 0x0a, 0x0d, UInt8(ascii: ","):
            return
        case UInt8(ascii: "[") where !inArray:
            inArray = true
        case UInt8(ascii: "]") where inArray:
            inArray = false
        case UInt8(ascii: "]"), UInt8(ascii: "}"):
            throw failure("a closing bracket without its opening one")
        default:
            // The byte is the element's first: it is read again in the state that it begins.
            body.append(events == 0 ? UInt8(ascii: "[") : UInt8(ascii: ","))
            elementLength = 0
            switch byte {
            case UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: "\""): state = .nested(depth: 0)
            default: state = .word
            }
        }
    }

    /// Copies a word up to what ends it, which is not part of it.
    private mutating func endOfWord(_ input: UnsafeRawBufferPointer, from start: Int) -> Int {
        var position = start
        while position < input.count {
            let byte = input[position]
            if byte.isJSONSpace || byte == UInt8(ascii: ",") || byte == UInt8(ascii: "]")
                || byte == UInt8(ascii: "}") || byte == UInt8(ascii: "{")
            {
                body.append(contentsOf: input[start..<position])
                endElement()
                return position
            }
            position += 1
        }
        body.append(contentsOf: input[start..<position])
        return position
    }

    /// Copies an object, array or string up to its end or the end of the input.
    private mutating func advance(_ input: UnsafeRawBufferPointer, from start: Int) -> Int {
        var depth: Int
        var inString: Bool
        var escaped = false
        switch state {
        case .nested(let nested): (depth, inString) = (nested, false)
        case .string(let outer, let afterBackslash):
            (depth, inString, escaped) = (outer, true, afterBackslash)
        case .outside, .word: preconditionFailure("no element is under way")
        }
        var position = start
        var ended = false
        while position < input.count, !ended {
            let byte = input[position]
            position += 1
            if inString {
                if escaped {
                    escaped = false
                } else if byte == UInt8(ascii: "\\") {
                    escaped = true
                } else if byte == UInt8(ascii: "\"") {
                    inString = false
                    ended = depth == 0
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): inString = true
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                ended = depth == 0
            default: break
            }
        }
        body.append(contentsOf: input[start..<position])
        state = inString ? .string(depth: depth, escaped: escaped) : .nested(depth: depth)
        if ended { endElement() }
        return position
    }

    private mutating func endElement() {
        state = .outside
        events += 1
        isFull = events >= limits.events || body.count >= limits.bytes
    }

    private func tooLong() -> FileFailure {
        failure("an element does not end within \(Limits.lineMax) bytes")
    }

    private func failure(_ reason: String) -> FileFailure {
        FileFailure(
            path: path,
            reason: "\(reason) (byte \(offset)); the array is broken there: mend it and send again")
    }
}
