import Core

/// The first dead letters of some, in their order: at most so many, and none behind the one with
/// which their bytes come to `StorageLimits.letterPageBytes`. So a page fits into a frame and into
/// memory however large its letters are, and has at least one where there is any.
///
/// Files, replicas and the coordinator fill their lists by this one rule. A list that is full has
/// all letters up to its last, and one that is not has all there are. Put together they are full
/// no later than any of them is, so that none is missing from the list of several.
package struct LetterList: Sendable {
    package let limit: Int
    /// Ascending.
    package private(set) var items: [LetterItem] = []
    private var bytes = 0

    package init(limit: Int) {
        self.limit = limit
    }

    /// The first of `items`, which may be in any order.
    package init(limit: Int, of items: [LetterItem]) {
        self.limit = limit
        for item in items.sorted(by: { $0.place < $1.place }) where !isFull { add(item) }
    }

    /// There may be more behind its last letter.
    package var isFull: Bool { items.count >= limit || bytes >= StorageLimits.letterPageBytes }

    /// Takes the next letter, unless it is full.
    package mutating func add(_ item: LetterItem) {
        guard !isFull else { return }
        bytes += item.letter.contentBytes
        items.append(item)
    }
}

extension DeadLetter {
    /// What it takes beside numbers and lengths.
    var contentBytes: Int {
        raw.count + detail.utf8.count + (type?.count ?? 0) + (key?.count ?? 0)
    }
}
