/// How many files that are only read stay open: tables and history files, which are there for
/// years. Those that are written, a few at a time, come on top.
package struct FileBounds: Hashable, Sendable {
    /// Beside the log.
    package var hot: Int
    /// On the cold disk, where there is one.
    package var cold: Int

    /// However little the process may have open.
    package static let least = 32

    package init(hot: Int, cold: Int) {
        self.hot = hot
        self.cold = cold
    }

    /// - Parameter openFilesMax: what the process may have open. Connections take three quarters of
    ///   it (`ConnectionBounds`), each disk a sixteenth, and an eighth is left to peers, databases,
    ///   the log, and what is written.
    package init(openFilesMax: Int = ProcessUse.openFilesUsual) {
        let share = max(Self.least, openFilesMax / 16)
        self.init(hot: share, cold: share)
    }
}

/// What is known of the open files of one disk at the moment of a scrape.
package struct OpenFilesReading: Hashable, Sendable {
    /// Descriptors of files that are only read.
    package var open: Int
    package var max: Int
    /// Files that were opened again since the start.
    package var reopened: UInt64

    package init(open: Int, max: Int, reopened: UInt64) {
        self.open = open
        self.max = max
        self.reopened = reopened
    }
}
