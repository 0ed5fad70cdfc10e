import Core

/// Finds an event's fields in its JSON object.
struct EventScanner: ~Copyable {
    /// What stood at a position of the event before: events of one source mostly have the same
    /// members in the same order, so that one comparison replaces the search.
    struct Member: BitwiseCopyable {
        var start: UnsafePointer<UInt8>
        var count: Int
        var leaf: UInt32
        var inner: UInt32
    }

    private static let membersRemembered = 32
    private var members = GrowableBuffer<Member>(capacity: membersRemembered)
    var shape = EventShape()

    /// Before another batch: what is remembered points into the bytes of the last one.
    mutating func forget() {
        members.removeAll()
        shape.forget()
    }

    /// Reads one event. The scanner stands at its first byte, and afterwards behind its last.
    @inline(__always)
    mutating func scanEvent(
        _ json: inout JSONScanner, plan: FieldPlan, into fields: inout EventFields
    ) throws(JSONFault) {
        if shape.members >= 0, scanLikeBefore(&json, plan: plan, into: &fields) { return }
        fields.clear()
        guard json.byte == UInt8(ascii: "{") else { throw .notAnObject }
        let start = json.cursor
        try scanObject(&json, plan: plan, into: &fields, level: 0, active: plan.allMask)
        shape.differs(start, json.cursor, plan: plan)
    }

    /// Reads an event of the shape that is known; false, with the scanner where it stood, if it has
    /// another, or where a value is not right: what is wrong is for the general way to say.
    private mutating func scanLikeBefore(
        _ json: inout JSONScanner, plan: FieldPlan, into fields: inout EventFields
    ) -> Bool {
        fields.clear()
        let start = json.cursor
        let end = json.end
        var cursor = start
        let members = shape.members
        var position = 0
        while true {
            let piece = shape[position]
            guard shape.stands(piece, at: cursor, end) else { break }
            cursor += Int(piece.count)
            if position == members {
                json.cursor = cursor
                return true
            }
            position &+= 1
            if cursor < end, cursor.pointee == UInt8(ascii: "\"") {
                let text = cursor + 1
                let stop = ByteScan.plainEnd(text, end)
                if stop < end, stop.pointee == UInt8(ascii: "\"") {
                    fields.unset(piece.match.inner)
                    fields.set(
                        piece.match.leaf,
                        FieldText(start: text, count: stop - text, kind: .text))
                    cursor = stop + 1
                    continue
                }
            }
            json.cursor = cursor
            do throws(JSONFault) {
                if piece.match.leaf | piece.match.inner == 0 {
                    try json.skipValue(depth: 1)
                } else {
                    try scanField(&json, piece.match, plan: plan, into: &fields, level: 0)
                }
            } catch {
                break
            }
            cursor = json.cursor
        }
        json.cursor = start
        return false
    }

    /// `level` objects lie around this one; `active` are the candidates whose path leads here.
    private mutating func scanObject(
        _ json: inout JSONScanner, plan: FieldPlan, into fields: inout EventFields, level: Int,
        active: UInt32
    ) throws(JSONFault) {
        guard level < ParseLimits.nestingMax else { throw .nesting }
        json.cursor += 1
        json.skipSpace()
        if json.byte == UInt8(ascii: "}") {
            json.cursor += 1
            return
        }
        var position = 0
        while true {
            guard json.byte == UInt8(ascii: "\"") else { throw .name }
            let name = try json.scanString()
            json.skipSpace()
            guard json.byte == UInt8(ascii: ":") else { throw .colon }
            json.cursor += 1
            json.skipSpace()
            let match = try find(
                name, position: position, plan: plan, into: &fields, level: level, active: active)
            if match.leaf | match.inner == 0 {
                try json.skipValue(depth: level + 1)
            } else {
                try scanField(&json, match, plan: plan, into: &fields, level: level)
            }
            json.skipSpace()
            if json.byte == UInt8(ascii: ",") {
                json.cursor += 1
                json.skipSpace()
                position &+= 1
                continue
            }
            guard json.byte == UInt8(ascii: "}") else { throw .commaOrBrace }
            json.cursor += 1
            return
        }
    }

    @inline(__always)
    private mutating func find(
        _ name: JSONScanner.Run, position: Int, plan: FieldPlan, into fields: inout EventFields,
        level: Int, active: UInt32
    ) throws(JSONFault) -> FieldMatch {
        if level == 0, position < members.count, !name.isEscaped {
            let member = members[position]
            if member.count == name.count, ByteScan.areEqual(member.start, name.start, name.count) {
                return FieldMatch(leaf: member.leaf, inner: member.inner)
            }
        }
        return try search(
            name, position: position, plan: plan, into: &fields, level: level, active: active)
    }

    private mutating func search(
        _ name: JSONScanner.Run, position: Int, plan: FieldPlan, into fields: inout EventFields,
        level: Int, active: UInt32
    ) throws(JSONFault) -> FieldMatch {
        if name.isEscaped {
            let text = FieldText(
                start: name.start, count: name.count, kind: .text, isEscaped: true)
            guard let plain = fields.plain(text) else { throw .tooLong }
            return plan.match(plain.start, plain.count, level: level, active: active)
        }
        let match = plan.match(name.start, name.count, level: level, active: active)
        if level == 0 {
            let member = Member(
                start: name.start, count: name.count, leaf: match.leaf, inner: match.inner)
            if position < members.count {
                members[position] = member
            } else if position == members.count, position < EventScanner.membersRemembered {
                members.append(member)
            }
        }
        return match
    }

    /// The value of a member that is a field, or that has one inside.
    private mutating func scanField(
        _ json: inout JSONScanner, _ match: FieldMatch, plan: FieldPlan,
        into fields: inout EventFields, level: Int
    ) throws(JSONFault) {
        // The last of two members with one name counts, with all that is in it.
        fields.unset(match.inner)
        let start = json.cursor
        switch json.byte {
        case UInt8(ascii: "\""):
            let run = try json.scanString()
            fields.set(
                match.leaf,
                FieldText(
                    start: run.start, count: run.count, kind: .text, isEscaped: run.isEscaped))
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            if match.inner != 0, json.byte == UInt8(ascii: "{") {
                try scanObject(
                    &json, plan: plan, into: &fields, level: level + 1, active: match.inner)
            } else {
                try json.skipValue(depth: level + 1)
            }
            fields.set(match.leaf, FieldText(start: start, count: 1, kind: .composite))
        case UInt8(ascii: "n"):
            try json.scanLiteral()
            fields.unset(match.leaf)
        case UInt8(ascii: "t"), UInt8(ascii: "f"):
            try json.scanLiteral()
            fields.set(
                match.leaf,
                FieldText(start: start, count: json.cursor - start, kind: .boolean))
        default:
            try json.skipValue(depth: level + 1)
            fields.set(
                match.leaf, FieldText(start: start, count: json.cursor - start, kind: .number))
        }
    }
}
