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
/// (version, hash), and progress is only ever moved by rows that were stored with it. A peer whose
/// file was made anew has another nonce and is read from the beginning.
///
/// `AttributeMessage` is what peers say, `AttributeSpread` decides whom to ask and what to do with
/// an answer, `AttributeService` runs both and the catalog on threads that may block. Nothing here
/// touches a count: where the catalog fails, answers come without attributes.
package enum AttributeLimits {
    /// Bytes of rows in one answer.
    package static let answerBytes = 1 << 20
    /// Between two questions.
    package static let interval: Duration = .seconds(1)
    /// A question without an answer for so long is asked again.
    package static let answerTimeout: Duration = .seconds(5)
    /// Rows of one answer that are looked at.
    package static let rowsMax = 20_000
}
