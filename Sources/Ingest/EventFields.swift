import Core

/// The text of one field: bytes of the batch, or of the scratch memory where an escape was undone.
struct FieldText: BitwiseCopyable {
    enum Kind: UInt8 {
        case text
        case number
        case boolean
        /// A JSON object or array.
        case composite
    }

    var start: UnsafePointer<UInt8>
    var count: Int
    var kind: Kind
    /// Escapes are still in it: `EventFields.plain` undoes them.
    var isEscaped = false

    /// Kinds are shown to people in details of dead letters.
    var kindName: String {
        switch kind {
        case .text: "a string"
        case .number: "a number"
        case .boolean: "a boolean"
        case .composite: "an object or array"
        }
    }
}

/// The fields of the event that is being read, by candidate. Reused for every event.
///
/// All pointers in it die with the event: `clear` forgets them before the next one is read.
struct EventFields: ~Copyable {
    /// One bit per candidate that has a text; the others' slots mean nothing.
    private(set) var present: UInt32 = 0
    private let slots: UnsafeMutablePointer<FieldText>
    /// Memory for unescaped text. It never moves while an event is read: texts point into it.
    private var scratch: UnsafeMutablePointer<UInt8>?
    private var scratchUsed = 0

    /// No line of `lineMax` bytes needs more: unescaping only shortens, a name is unescaped once, a
    /// value once for each of the four roles that it may have, and a default type may come on top.
    private static let scratchMax = 4 * Limits.lineMax + Limits.typeMax

    init() {
        slots = .allocate(capacity: FieldPlan.candidatesMax)
    }

    deinit {
        slots.deallocate()
        scratch?.deallocate()
    }

    @inline(__always)
    mutating func clear() {
        present = 0
        scratchUsed = 0
    }

    /// Sets the candidates of `mask`. A field that comes twice has its last value.
    @inline(__always)
    mutating func set(_ mask: UInt32, _ text: FieldText) {
        guard text.count > 0 else {
            present &= ~mask
            return
        }
        var rest = mask
        while rest != 0 {
            slots[rest.trailingZeroBitCount] = text
            rest &= rest &- 1
        }
        present |= mask
    }

    @inline(__always)
    mutating func unset(_ mask: UInt32) {
        present &= ~mask
    }

    /// The best candidate of a role that is present.
    @inline(__always)
    func best(_ mask: UInt32) -> FieldText? {
        let found = present & mask
        // Masks have bits below `candidatesMax` only, and a present bit has an initialised slot.
        return found == 0 ? nil : slots[found.trailingZeroBitCount]
    }

    /// Room for `count` bytes that stays valid for this event; nil if the event is longer than a
    /// line may be.
    mutating func room(for count: Int) -> UnsafeMutablePointer<UInt8>? {
        guard count <= EventFields.scratchMax - scratchUsed else { return nil }
        let base = scratch ?? .allocate(capacity: EventFields.scratchMax)
        scratch = base
        let start = base + scratchUsed
        scratchUsed += count
        return start
    }

    /// The text without its escapes; nil if the event is longer than a line may be.
    @inline(__always)
    mutating func plain(_ text: FieldText) -> FieldText? {
        text.isEscaped ? unescaped(text) : text
    }

    private mutating func unescaped(_ text: FieldText) -> FieldText? {
        guard let room = room(for: text.count) else { return nil }
        let count = JSONEscapes.undo(text.start, text.count, into: room)
        return FieldText(start: UnsafePointer(room), count: count, kind: text.kind)
    }
}
