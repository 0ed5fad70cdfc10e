package import Core
package import Wire

/// Compares with a peer what both hold below two segments: the home records of the homes that they
/// share, before these segments are closed, and the applied slices of the partitions that they
/// share, before these are sealed.
package struct CloseAsk: Hashable, Sendable {
    package var tag: Tag
    package var closeBelow: Segment
    package var sealBelow: Segment
    /// The last decision about who is left out that the asker knows.
    package var decided: UInt64
    /// The asker wants to let go of payloads of the segments below, and so to know that the peer
    /// holds the same there; nil: it does not.
    package var heldBelow: Segment?

    package init(
        tag: Tag, closeBelow: Segment, sealBelow: Segment, decided: UInt64 = 0,
        heldBelow: Segment? = nil
    ) {
        self.tag = tag
        self.closeBelow = closeBelow
        self.sealBelow = sealBelow
        self.decided = decided
        self.heldBelow = heldBelow
    }

    package init(from reader: inout ByteReader) throws(DecodeError) {
        tag = Tag(try reader.fixed())
        closeBelow = Segment(try reader.fixed())
        sealBelow = Segment(try reader.fixed())
        decided = try reader.fixed()
        heldBelow = try reader.flag() ? Segment(try reader.fixed()) : nil
    }

    package func encode(into writer: inout ByteWriter) {
        writer.write(fixed: tag.number)
        writer.write(fixed: closeBelow.number)
        writer.write(fixed: sealBelow.number)
        writer.write(fixed: decided)
        writer.write(flag: heldBelow != nil)
        if let heldBelow { writer.write(fixed: heldBelow.number) }
    }
}

package struct CloseReply: Hashable, Sendable {
    package var tag: Tag
    package var vote: Vote
    /// Its freeze, durable: it takes nothing new into the segments below but what another home
    /// voter holds.
    package var frozen: Segment
    /// Every home record that it holds below `closeBelow` is bound and applied by a quorum
    /// everywhere.
    package var isReady: Bool
    /// It holds nothing in doubt.
    package var isSettled: Bool
    /// Its home sets below `closeBelow`, over the homes that it shares with the asker; nil where
    /// it has forgotten more than that.
    package var homes: SetDigest?
    /// Its applied sets below `sealBelow`, over the partitions that it shares with the asker.
    package var applied: SetDigest?
    /// Both sets below `heldBelow`, over the partitions that it shares with the asker; nil where it
    /// was not asked for, or more is forgotten.
    package var held: SetDigest?
    /// Members without which it decides, ascending by name, with the life that each must begin
    /// first: all of it on its disk.
    package var leftOut: [Vote.Successor]

    package init(
        tag: Tag, vote: Vote, frozen: Segment, isReady: Bool, isSettled: Bool, homes: SetDigest?,
        applied: SetDigest?, held: SetDigest? = nil, leftOut: [Vote.Successor] = []
    ) {
        self.tag = tag
        self.vote = vote
        self.frozen = frozen
        self.isReady = isReady
        self.isSettled = isSettled
        self.homes = homes
        self.applied = applied
        self.held = held
        self.leftOut = leftOut
    }

    package init(from reader: inout ByteReader, vote: Vote, tag: Tag) throws(DecodeError) {
        self.tag = tag
        self.vote = vote
        frozen = Segment(try reader.fixed())
        isReady = try reader.flag()
        isSettled = try reader.flag()
        homes = try reader.flag() ? try reader.digest() : nil
        applied = try reader.flag() ? try reader.digest() : nil
        held = try reader.flag() ? try reader.digest() : nil
        leftOut = try reader.successors()
    }

    package func encode(into writer: inout ByteWriter) {
        writer.write(fixed: tag.number)
        writer.write(vote)
        writer.write(fixed: frozen.number)
        writer.write(flag: isReady)
        writer.write(flag: isSettled)
        for digest in [homes, applied, held] {
            writer.write(flag: digest != nil)
            if let digest { writer.write(digest) }
        }
        writer.write(leftOut)
    }
}
