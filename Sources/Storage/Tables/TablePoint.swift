import Core

/// A place in the order of a table's cells.
struct TablePoint: Hashable, Sendable, Comparable {
    var partition: PartitionID
    var key: [UInt8]
    var type: [UInt8]
    var window: Int64

    static func < (left: TablePoint, right: TablePoint) -> Bool {
        if left.partition != right.partition { return left.partition < right.partition }
        let keys = ByteOrder.compare(left.key, right.key)
        if keys != 0 { return keys < 0 }
        let types = ByteOrder.compare(left.type, right.type)
        return types != 0 ? types < 0 : left.window < right.window
    }
}
