package import Core

/// Attributes: what is known about keys besides their counts (a title, a channel, a category).
///
/// They are enrichment, not part of the fold: they may change at any time and differ between nodes
/// for a moment, so they are joined when a query is answered, and nothing that is counted ever
/// depends on them. Each node keeps all of them in an embedded database (SQLite through GRDB, one
/// file); a row is written on any node and spread to all.
///
/// Rows form a last-writer-wins map (Shapiro et al., *Conflict-free replicated data types*, 2011):
/// of two rows of one key the one with the greater (version, hash) stands, on every node, in
/// whatever order they come. The version is the writing node's wall clock in milliseconds, raised
/// above the row that it replaces, so that whoever overwrites what he has seen wins also with a
/// slow clock. The hash covers key and content; it only breaks ties, and is computed by each node
/// from what it received, never taken from a peer. A deletion is a row without content (a
/// tombstone).
/// Versions more than `CatalogLimits.versionAheadMax` in the future are refused: they would win
/// against every honest write for as long.
///
/// Spreading: each applied row gets the file's next change number, so "what is new since n" is a
/// range of an index. A reader remembers, per peer, the number up to which it has read and the
/// nonce of the peer's file; a file that was made anew has another nonce and is read from 0.
///
/// What holds:
///
/// - Content is bytes. Two texts that differ in Unicode form are two texts; nothing is normalised,
///   neither keys nor values.
/// - Content is one JSON object in canonical form: members sorted by their names' bytes, no blanks,
///   shortest escapes, numbers as they were written. Equal content has equal bytes on all nodes.
/// - A row is held against its hash whenever it is read: SQLite's pages have no checksums.
/// - Losing this file loses nothing that the node's copy of it (docs/formats/attribute-table.md)
///   and its peers do not have: a damaged file is set aside under another name and a new one filled
///   from them, which says that it is being filled. No failure here touches a count.
///
/// The tables are laid out in docs/formats/catalog.md.
package enum CatalogLimits {
    /// One row's canonical JSON.
    package static let rowMax = 64 << 10
    package static let columnsMax = 1024
    /// What an entry takes beside its bytes: itself, and the heads of its two arrays.
    package static let entryOverhead = 128
    package static let jsonDepthMax = 32
    package static let versionAheadMax: Duration = .seconds(300)
    /// Files up to this size are checked page by page when they are opened; larger ones would hold
    /// up the start, and are found damaged when the damaged page is read.
    package static let checkedAtOpenMax = 256 << 20
    package static let busyTimeout: Duration = .seconds(2)
    /// Files that were set aside, of one database: each may be as large as the catalog.
    package static let corruptKeptMax = 2
    /// Bytes of pages that the one connection that writes keeps in memory.
    package static let writerCache = 32 << 20
    /// Pages of 4 KiB in SQLite's log at which they go to its file.
    package static let checkpointPages = 8192
    /// From one key in so many rows on all rows are passed over, instead of looking up each.
    package static let passShare = 8
    /// Of files that were lost since the start, those that can still be asked for.
    package static let incidentsKept = 16
    /// Rows per answer to `changes` when the caller's limit in bytes would allow more.
    package static let changesMax = 10_000
}

/// The content of a row without its version: what a user hands in.
package struct AttributeEntry: Hashable, Sendable {
    package var key: [UInt8]
    /// Canonical JSON; nil deletes.
    package var json: [UInt8]?

    package init(key: [UInt8], json: [UInt8]?) {
        self.key = key
        self.json = json
    }

    /// About what it takes of memory, in bytes.
    package var footprint: Int {
        key.count + (json?.count ?? 0) + CatalogLimits.entryOverhead
    }
}

extension AttributeRow {
    /// Breaks ties between rows of one version, alike on all nodes.
    package var hash: Hash128 {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(5 + key.count + (json?.count ?? 0))
        bytes.append(json == nil ? 1 : 0)
        withUnsafeBytes(of: UInt32(key.count).littleEndian) { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: key)
        bytes.append(contentsOf: json ?? [])
        return Hash128(SipHash.hash(bytes, key: AttributeRow.hashKey))
    }

    /// What a peer sent is checked like what a user sent.
    package var isValid: Bool {
        guard AttributeRow.isKey(key), version >= 0 else { return false }
        guard let json else { return true }
        return json.count <= CatalogLimits.rowMax && JSONCanonical.isCanonicalObject(json)
    }

    package static func isKey(_ key: [UInt8]) -> Bool {
        !key.isEmpty && key.count <= Limits.keyMax
            && String(validating: key, as: UTF8.self) != nil
    }

    private static let hashKey = SipKey(low: 0x6174_7472_6962_7574, high: 0x652d_726f_772d_3031)
}
