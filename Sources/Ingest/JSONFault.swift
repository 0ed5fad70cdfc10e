/// Why a piece of JSON is none.
enum JSONFault: Error {
    case notAnObject
    case name
    case colon
    case commaOrBrace
    case commaOrBracket
    case value
    case number
    case literal
    case escape
    case controlCharacter
    case utf8
    case unclosedString
    case nesting
    case textAfter
    /// Not a fault of the text: it is longer than a line may be.
    case tooLong

    var detail: String {
        switch self {
        case .notAnObject: "an event is a JSON object"
        case .name: "a member's name in quotation marks belongs here"
        case .colon: "a colon belongs here"
        case .commaOrBrace: "a comma or } belongs here"
        case .commaOrBracket: "a comma or ] belongs here"
        case .value: "a value belongs here"
        case .number: "this is no number of JSON"
        case .literal: "only true, false and null are written without quotation marks"
        case .escape: "this is no escape, or half of a surrogate pair"
        case .controlCharacter: "a control character in a string must be escaped"
        case .utf8: "this is no UTF-8"
        case .unclosedString: "a string is not closed"
        case .nesting: "more than \(ParseLimits.nestingMax) objects and arrays inside each other"
        case .textAfter: "there is text after the event"
        case .tooLong: "the event is too long"
        }
    }
}
