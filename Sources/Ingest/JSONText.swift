/// Whether bytes are JSON, for who puts them into an event.
package enum JSONText {
    /// True if `bytes` are one value with nothing but white space around it, which can stand inside
    /// an event as the value of a member.
    package static func isMemberValue(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
            return false
        }
        var json = JSONScanner(cursor: start, end: start + bytes.count, acrossLines: true)
        do throws(JSONFault) {
            json.skipSpace()
            try json.skipValue(depth: 1)
            json.skipSpace()
            return json.cursor == json.end
        } catch {
            return false
        }
    }
}
