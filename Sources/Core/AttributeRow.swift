/// One version of one key's attributes, as it is stored, copied and spread.
package struct AttributeRow: Hashable, Sendable {
    package var key: [UInt8]
    /// Milliseconds since 1970.
    package var version: Int64
    /// Canonical JSON; nil is a tombstone.
    package var json: [UInt8]?

    package init(key: [UInt8], version: Int64, json: [UInt8]?) {
        self.key = key
        self.version = version
        self.json = json
    }
}
