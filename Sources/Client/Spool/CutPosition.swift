/// How far into an input batches were cut: all that a later run needs to go on behind the last one.
package struct CutPosition: Hashable, Sendable {
    /// Bytes of the input, compression undone, up to the end of the last batch.
    package var offset: Int
    /// CRC-32C of these bytes: the input is still the one that was begun.
    package var checksum: UInt32
    /// What a new cutter must take first, to cut on as if it had taken all before: a table's
    /// header, an array's bracket.
    package var preamble: [UInt8]
    /// The last batch ended with the file, within a line: one that has no end yet.
    package var isWithinLine: Bool

    package init(
        offset: Int = 0, checksum: UInt32 = 0, preamble: [UInt8] = [], isWithinLine: Bool = false
    ) {
        self.offset = offset
        self.checksum = checksum
        self.preamble = preamble
        self.isWithinLine = isWithinLine
    }
}

/// A file of which a spool keeps the position.
package struct CutInput: Hashable, Sendable {
    /// The same file under another name has the same identity.
    package struct Identity: Hashable, Sendable {
        package let device: UInt64
        package let inode: UInt64

        package init(device: UInt64, inode: UInt64) {
            self.device = device
            self.inode = inode
        }
    }

    /// Inputs count from 0 in each spool.
    package let number: Int
    /// Absolute.
    package let path: String
    package let identity: Identity
    package let format: EventFormat

    package init(number: Int, path: String, identity: Identity, format: EventFormat) {
        self.number = number
        self.path = path
        self.identity = identity
        self.format = format
    }
}

/// Where a batch was cut, and how far its input is with it.
package struct CutMark: Hashable, Sendable {
    package let input: CutInput
    package let end: CutPosition

    package init(input: CutInput, end: CutPosition) {
        self.input = input
        self.end = end
    }
}
