package import Core
package import Crypto
package import Ingest

/// The hash that names a batch's content: the first 128 bits of SHA-256 over
///
///     1 byte   version of this layout: 1, or 2 where lateness is limited; 3 of later rules
///     2 bytes  rule version, little-endian
///     8 bytes  createdAt in epoch milliseconds, little-endian
///     4 bytes  length of the parse parameters, little-endian
///     …        the parse parameters, canonical
///     8 bytes  layout 2 and 3: the lateness in milliseconds, little-endian; -1: unlimited
///     8 bytes  layout 3: the future limit in milliseconds, little-endian
///     …        the decoded bytes
///
/// All that a batch and the rules say about what is counted is in it, and nothing else: whoever
/// changes a byte, a field's name or the time gets another hash, and two attempts with the same
/// hash fold to the same cells in one release. Not in any two: how a format is read is no part of
/// it, and has changed (a carriage return before a line feed, a leap second in a log). The node
/// that is asked folds, and its voters store what it made of the bytes; but an attempt that is
/// repeated through a node of another release may come to other cells under the same hash, which
/// nobody would notice when it is bound. docs/operating.md, "Upgrades", says how that is avoided.
package enum ContentHash {
    package static func of(
        _ bytes: UnsafeRawBufferPointer, parameters: ParseParameters, createdAt: WallTime,
        rules: FoldRules
    ) -> Hash128 {
        let canonical = parameters.canonicalBytes
        let isLater = rules.version > .first
        var prefix: [UInt8] = [isLater ? 3 : rules.lateness == nil ? 1 : 2]
        append(rules.version.number, to: &prefix)
        append(createdAt.milliseconds, to: &prefix)
        append(UInt32(canonical.count), to: &prefix)
        prefix.append(contentsOf: canonical)
        if isLater || rules.lateness != nil {
            append(rules.lateness?.milliseconds ?? -1, to: &prefix)
        }
        if isLater { append(rules.futureLimit.milliseconds, to: &prefix) }
        var hasher = SHA256()
        hasher.update(data: prefix)
        hasher.update(bufferPointer: bytes)
        return Hash128(first128(hasher.finalize()))
    }

    /// The first sixteen bytes, big-endian, so that the number reads like the usual hexadecimal
    /// form.
    package static func first128(_ digest: SHA256.Digest) -> UInt128 {
        digest.prefix(16).reduce(0) { $0 << 8 | UInt128($1) }
    }

    private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
}
