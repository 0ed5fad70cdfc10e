extension RandomAccessCollection {
    /// The first place from which on `isBefore` no longer holds, of elements for which it holds up
    /// to some place and not from there on; `endIndex` where it holds for all.
    @inlinable
    package func partitionPoint(
        where isBefore: (Element) throws -> Bool
    ) rethrows -> Index {
        var low = startIndex
        var left = count
        while left > 0 {
            let half = left / 2
            let middle = index(low, offsetBy: half)
            if try isBefore(self[middle]) {
                low = index(after: middle)
                left -= half + 1
            } else {
                left = half
            }
        }
        return low
    }
}
