/// What a disk may make of a file: each byte changed, each length, each sector zeroed, old or
/// another one's, each frame exchanged or old.
struct RotSweep {
    static let sector = 512

    let bytes: [UInt8]
    /// The same file at another moment; what it did not have reads as zeroes.
    let old: [UInt8]

    init(_ bytes: [UInt8], old: [UInt8] = []) {
        self.bytes = bytes
        self.old = old
    }

    func flips(
        from first: Int = 0, _ visit: (_ rotten: [UInt8], _ what: String) throws -> Void
    ) rethrows {
        for place in first..<bytes.count {
            for mask in [0x01, 0xff] as [UInt8] {
                var bent = bytes
                bent[place] ^= mask
                try visit(bent, "byte \(place) ^ \(mask)")
            }
        }
    }

    func lengths(_ visit: (_ rotten: [UInt8], _ what: String) throws -> Void) rethrows {
        for length in 0..<bytes.count {
            try visit(Array(bytes.prefix(length)), "\(length) bytes")
        }
    }

    func sectors(_ visit: (_ rotten: [UInt8], _ what: String) throws -> Void) rethrows {
        let places = Array(stride(from: 0, to: bytes.count, by: Self.sector))
        for place in places {
            try visit(Self.overlay(bytes, place, [], from: 0), "sector at \(place) zeroed")
            try visit(Self.overlay(bytes, place, old, from: place), "an old sector at \(place)")
            for other in places where other > place {
                let half = Self.overlay(bytes, place, bytes, from: other)
                try visit(half, "sector \(other) at \(place) too")
                let swapped = Self.overlay(half, other, bytes, from: place)
                try visit(swapped, "sectors \(place), \(other) exchanged")
            }
        }
    }

    /// Of a file that is made of frames.
    func frames(_ visit: (_ rotten: [UInt8], _ what: String) throws -> Void) rethrows {
        let frames = Self.frames(of: bytes)
        let isAlike = Self.frames(of: old) == frames
        for (number, frame) in frames.enumerated() {
            if isAlike {
                var stale = bytes
                stale.replaceSubrange(frame, with: old[frame])
                if stale != bytes { try visit(stale, "old frame \(number)") }
            }
            for (place, other) in frames.enumerated().dropFirst(number + 1) {
                var swapped = bytes
                swapped.replaceSubrange(other, with: bytes[frame])
                swapped.replaceSubrange(frame, with: bytes[other])
                if swapped != bytes { try visit(swapped, "frames \(number), \(place) exchanged") }
            }
        }
    }

    /// The frames of a table, a history file or a table of attributes, from its beginning on.
    static func frames(of bytes: [UInt8]) -> [Range<Int>] {
        var frames: [Range<Int>] = []
        var start = 0
        while start + 16 <= bytes.count - 24 {
            let length = (0..<4).reduce(0) { $0 | Int(bytes[start + 8 + $1]) << ($1 * 8) }
            frames.append(start..<start + 16 + length)
            start += 16 + length
        }
        return frames
    }

    /// Puts the bytes of `donor` from `source` on over a sector.
    private static func overlay(
        _ bytes: [UInt8], _ place: Int, _ donor: [UInt8], from source: Int
    ) -> [UInt8] {
        var changed = bytes
        for offset in 0..<min(sector, bytes.count - place) {
            // What a file never had reads as zeroes.
            changed[place + offset] =
                source + offset < donor.count ? donor[source + offset] : 0
        }
        return changed
    }
}
