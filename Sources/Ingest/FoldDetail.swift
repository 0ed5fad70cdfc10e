import Core

/// The sentences of dead letters. Each names what stood there and what would have been right.
enum FoldDetail {
    static func wanted(_ plan: FieldPlan, _ mask: UInt32) -> String {
        var names: [String] = []
        for name in plan.names(mask) where !names.contains(name) { names.append(name) }
        return names.isEmpty ? "type is given" : "field " + names.joined(separator: " or ")
    }

    static func keyReason(_ fault: BatchFolder.NameFault) -> DeadLetterReason {
        switch fault {
        case .composite: .badKey
        case .tooLong: .keyTooLong
        case .notUTF8: .badUTF8
        }
    }

    static func typeReason(_ fault: BatchFolder.NameFault) -> DeadLetterReason {
        switch fault {
        case .composite: .badType
        case .tooLong: .typeTooLong
        case .notUTF8: .badUTF8
        }
    }

    static func name(
        _ role: String, _ fault: BatchFolder.NameFault, _ text: FieldText, _ max: Int
    ) -> String {
        switch fault {
        case .composite: "the \(role) is an object or array; text, a number or a boolean is right"
        case .tooLong: "the \(role) has \(text.count) bytes, \(max) are allowed"
        case .notUTF8(let offset): "byte \(offset + 1) of the \(role) is no UTF-8"
        }
    }

    static func time(_ text: FieldText) -> String {
        if text.kind == .composite || text.kind == .boolean {
            return "the time is \(text.kindName); RFC 3339 or epoch is right"
        }
        return
            "\(quote(text)) is no time of the years 0001 to 9999; RFC 3339 or epoch is right"
    }

    static func time(milliseconds: Int64) -> String {
        "\(milliseconds) ms is no time of the years 0001 to 9999"
    }

    static func value(_ text: FieldText) -> String {
        if text.kind == .composite || text.kind == .boolean {
            return "the value is \(text.kindName); a decimal number is right"
        }
        return "\(quote(text)) is no decimal number"
    }

    static func notExact(_ text: FieldText) -> String {
        "\(quote(text)) has more than 6 digits behind the point"
    }

    static func tooLarge(_ text: FieldText) -> String {
        "\(quote(text)) is beyond ±9223372036854.775807"
    }

    static func tooLate(_ shown: String) -> String {
        "\(shown) lies further before the batch's creation than lateness allows"
    }

    static func future(_ shown: String) -> String {
        "\(shown) lies further after the batch's creation than the future limit allows"
    }

    static func quote(_ text: FieldText) -> String {
        UTF8Check.quote(text.start, text.count)
    }

    /// A detail of at most `deadLetterDetailMax` bytes.
    static func cut(_ detail: String) -> String {
        guard detail.utf8.count > Limits.deadLetterDetailMax else { return detail }
        var bytes = Array(detail.utf8)
        bytes.removeLast(
            bytes.count
                - bytes.withUnsafeBufferPointer { buffer in
                    buffer.baseAddress.map {
                        UTF8Check.cut($0, buffer.count, to: Limits.deadLetterDetailMax)
                    } ?? 0
                })
        return String(decoding: bytes, as: UTF8.self)
    }
}
