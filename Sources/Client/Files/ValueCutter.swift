internal import Core

/// Cuts a JSON array, or JSON objects one after another, into arrays of fewer elements.
///
/// Only the frame is read: strings and the depth of brackets. What an element holds is the node's
/// to judge, also where it holds nothing (`[1,,2]`) or too much: an element longer than
/// `Limits.lineMax` is a dead letter by that alone. Of such a one only as many bytes are kept as
/// prove its length, and what closes its string and its brackets. An array whose frame is broken
/// (an element without an end, a bracket too many) cannot be cut safely, since every later boundary
/// would be a guess: that is a failure that names the byte, and what came before it is sent.
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
    /// In an array, whether it or a comma has begun an element's place in which nothing is yet.
    private var place = Place.filled
    /// The array to come is the rest of one: an element came before.
    private var resumesArray: Bool
    private var body: [UInt8] = []
    private var events = 0
    /// Of the element under way; stays at `lineMax + 1` once it is longer.
    private var elementLength = 0
    private var elementStart = 0
    /// Of all bytes, for messages.
    private var offset: Int
    package private(set) var isFull = false

    /// Whether a comma or bracket that comes next ends an element that is nothing.
    private enum Place {
        /// Behind `[`: a comma does, `]` ends an empty array.
        case first
        /// Behind a comma: both do.
        case next
        /// Behind an element: neither does.
        case filled
    }

    /// - Parameters:
    ///   - offset: of the first byte to come, in its file.
    ///   - resumesArray: the first byte to come is the `preamble` of a cutter before.
    package init(path: String, limits: CutLimits, offset: Int = 0, resumesArray: Bool = false) {
        self.resumesArray = resumesArray
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
                if try begin(input[position]) { position += 1 }
            case .word:
                position = endOfWord(input, from: position)
            case .string, .nested:
                position = advance(input, from: position)
            }
            offset += position - before
        }
        return position
    }

    /// Copies bytes of the element under way, as many of them as prove that it is too long; returns
    /// whether it became so.
    private mutating func keep(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let room = Limits.lineMax + 1 - elementLength
        guard room > 0 else { return false }
        body.append(contentsOf: bytes.prefix(room))
        elementLength += min(bytes.count, room)
        return bytes.count >= room
    }

    /// Where reading an element stops at the latest: at the byte that makes it too long, so that
    /// what is open there is known.
    private func end(of input: UnsafeRawBufferPointer, from start: Int) -> Int {
        let room = Limits.lineMax + 1 - elementLength
        return room > 0 ? min(input.count, start + room) : input.count
    }

    package var isBetweenRecords: Bool {
        if case .outside = state { events > 0 } else { false }
    }

    package var preamble: [UInt8] { inArray ? [UInt8(ascii: "[")] : [] }

    package mutating func finish() throws(FileFailure) {
        if case .word = state, !inArray { endElement() }
        guard case .outside = state else {
            offset = elementStart
            throw failure("an element begins and does not end")
        }
        guard !inArray else { throw failure("the file ends before the array's ']'") }
        isFull = events > 0
    }

    package mutating func cut() -> CutBody? {
        guard events > 0 else { return nil }
        // Nothing between brackets is no element: where it is alone it goes as a word that is no
        // event either.
        if body.count == 1 { body.append(contentsOf: "null".utf8) }
        body.append(UInt8(ascii: "]"))
        let result = CutBody(bytes: body, events: events)
        body = []
        body.reserveCapacity(result.bytes.count + result.bytes.count / 8)
        events = 0
        isFull = false
        return result
    }

    /// A byte between elements; false where it is to be read again.
    private mutating func begin(_ byte: UInt8) throws(FileFailure) -> Bool {
        switch byte {
        case 0x20, 0x09, 0x0a, 0x0d:
            return true
        case UInt8(ascii: ",") where inArray && place != .filled,
            UInt8(ascii: "]") where inArray && place == .next:
            // Nothing is an element as well. What follows it comes once a full batch is cut, so
            // that every cut lies behind an element.
            beginElement()
            endElement()
            return false
        case UInt8(ascii: ","):
            place = .next
        case UInt8(ascii: "[") where !inArray:
            inArray = true
            place = resumesArray ? .filled : .first
        case UInt8(ascii: "]") where inArray:
            inArray = false
        case UInt8(ascii: "]"), UInt8(ascii: "}"):
            throw failure("a closing bracket without its opening one")
        default:
            // The byte is the element's first: it is read again in the state that it begins.
            beginElement()
            switch byte {
            case UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: "\""): state = .nested(depth: 0)
            default: state = .word
            }
            return false
        }
        resumesArray = false
        return true
    }

    private mutating func beginElement() {
        body.append(events == 0 ? UInt8(ascii: "[") : UInt8(ascii: ","))
        elementLength = 0
        elementStart = offset
    }

    /// Copies a word up to what ends it, which is not part of it.
    private mutating func endOfWord(_ input: UnsafeRawBufferPointer, from start: Int) -> Int {
        var position = start
        while position < input.count {
            let byte = input[position]
            if byte.isJSONSpace || byte == UInt8(ascii: ",") || byte == UInt8(ascii: "]")
                || byte == UInt8(ascii: "}") || byte == UInt8(ascii: "{")
            {
                _ = keep(UnsafeRawBufferPointer(rebasing: input[start..<position]))
                endElement()
                return position
            }
            position += 1
        }
        _ = keep(UnsafeRawBufferPointer(rebasing: input[start..<position]))
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
        let end = end(of: input, from: start)
        while position < end, !ended {
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
        let isTooLong = keep(UnsafeRawBufferPointer(rebasing: input[start..<position]))
        if isTooLong, !ended { close(depth: depth, inString: inString, escaped: escaped) }
        state = inString ? .string(depth: depth, escaped: escaped) : .nested(depth: depth)
        if ended { endElement() }
        return position
    }

    /// Ends what is kept of an element that goes on.
    private mutating func close(depth: Int, inString: Bool, escaped: Bool) {
        // A backslash without its second half would escape the quote.
        if escaped { body.append(UInt8(ascii: "\\")) }
        if inString { body.append(UInt8(ascii: "\"")) }
        // Which bracket closes which is nothing to a node that buries it for its length.
        body.append(contentsOf: repeatElement(UInt8(ascii: "}"), count: depth))
    }

    private mutating func endElement() {
        state = .outside
        place = .filled
        events += 1
        isFull = events >= limits.events || body.count >= limits.bytes
    }

    private func failure(_ reason: String) -> FileFailure {
        FileFailure(
            path: path,
            reason: "\(reason) (byte \(offset)); the array is broken there: mend it and send again")
    }
}
