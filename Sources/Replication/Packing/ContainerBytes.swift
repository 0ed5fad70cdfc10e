/// What an array takes: its capacity, not what is in it.
enum ArrayBytes {
    /// An allocation's own words, and the object's.
    static let overhead = 48

    static func of<Element>(_ array: [Element]) -> Int {
        array.capacity == 0 ? 0 : overhead + array.capacity * MemoryLayout<Element>.stride
    }
}

/// What a dictionary takes: a power of two of places, of which it fills three quarters, and a bit
/// for each.
enum DictionaryBytes {
    static func of<Key, Value>(_ dictionary: [Key: Value]) -> Int {
        bytes(dictionary.capacity, MemoryLayout<Key>.stride + MemoryLayout<Value>.stride)
    }

    /// A set is one without values.
    static func of<Element>(_ set: Set<Element>) -> Int {
        bytes(set.capacity, MemoryLayout<Element>.stride)
    }

    private static func bytes(_ capacity: Int, _ stride: Int) -> Int {
        guard capacity > 0 else { return 0 }
        var places = 1
        while places * 3 / 4 < capacity { places *= 2 }
        return ArrayBytes.overhead + places * stride + places / 8
    }
}
