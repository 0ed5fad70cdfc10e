/// # Attributes: spreading what is known about keys
///
/// Each node keeps all attributes in its own catalog (SQLite). A row that is put on any node
/// reaches the others by anti-entropy alone (Demers et al., *Epidemic algorithms for replicated
/// database maintenance*, 1987): every second a node asks one peer, round robin, what changed since
/// it last asked, and a node that was given rows nudges all peers to ask at once. There is no queue
/// of undelivered rows: what a peer missed is behind a number that it remembers, durably and
/// together with the rows.
///
/// Asking is idempotent, answers may be lost, repeated and reordered: a row stands or falls by its
/// (version, hash), and progress is only ever moved by rows that were stored with it: rows of a
/// version that lies too far ahead hold it back, and are asked for again (`AttributeReading`). A
/// peer whose file was made anew has another nonce and is read from the beginning.
///
/// Below the disk's reserve nothing is asked for and nothing copied: what room is left is for
/// flushes. Answers to peers and to clients go on.
///
/// The catalog is copied to files without a database (docs/decisions/0034-attribute-tables.md).
/// `AttributeStore` joins the two: where the catalog is locked, unreadable or lost, the copy
/// answers for it, and a new catalog is filled from copy and peers, on a running node too.
///
/// `AttributeMessage` is what peers say, `AttributeSpread` decides whom to ask and what to do with
/// an answer, `AttributeService` runs both and the store on threads that may block. Nothing here
/// touches a count: where all fails, answers come without attributes, and in time.
package enum AttributeLimits {
    /// Bytes of rows in one answer.
    package static let answerBytes = 1 << 20
    /// Between two questions.
    package static let interval: Duration = .seconds(1)
    /// A question without an answer for so long is asked again.
    package static let answerTimeout: Duration = .seconds(5)
    /// Rows of one answer that are looked at.
    package static let rowsMax = 20_000
    /// How long an answer waits for the attributes of its keys; for those of more than
    /// `lookupKeysMax`, and where it groups by one, `passMax`.
    package static let lookupMax: Duration = .seconds(1)
    package static let lookupKeysMax = 10_000
    package static let passMax: Duration = .seconds(60)
    /// The same failure of lookups is logged again after so long.
    package static let repeatAfter: Duration = .seconds(60)
    /// How long a node that stops waits for its last copy.
    package static let lastCopyMax: Duration = .seconds(3)
    /// Rows of a version too far ahead of this node's clock are asked for again when they may be
    /// taken, but not sooner than the one and not later than the other.
    package static let earlyAgainMin: Duration = .seconds(10)
    package static let earlyAgainMax: Duration = .seconds(600)
    /// No answer comes later than that.
    package static let answerLateMax: Duration = .seconds(30)
    /// Between two attempts to open a catalog that cannot be opened.
    package static let openInterval: Duration = .seconds(5)
    /// Changes are copied when none has come for so long, or so long after the first of them.
    package static let copyQuiet: Duration = .seconds(3)
    package static let copyAfter: Duration = .seconds(60)
    /// Tables of changes behind the whole one at which they become one.
    package static let tablesMax = 8
    /// Rows of a copy that go into the catalog in one transaction.
    package static let restoredAtOnce = 2000
    /// When catalog and copy are read whole: soon after a start, then so often.
    package static let firstCheckAfter: Duration = .seconds(60)
    package static let checkInterval: Duration = .seconds(6 * 3600)
}
