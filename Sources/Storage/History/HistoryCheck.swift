import Core

/// Reads every entry of a history file again, block by block, and holds it against what the footer
/// says.
struct HistoryCheck: FileCheck {
    private let file: HistoryHandle
    /// The next of all blocks: those of outcomes, of letters, of husks.
    private var place = 0
    private var outcomes: UInt64 = 0
    private var letters: UInt64 = 0
    private var husks: UInt64 = 0
    private var last: BatchID?
    private var lastHusk: BatchID?
    private var span: HistorySpan
    private(set) var bytesRead: UInt64

    init(_ file: HistoryHandle) {
        self.file = file
        span = HistorySpan(file.segmentLength)
        let index = file.index
        let blocks = (index.outcomes + index.letters + index.husks).reduce(0) {
            $0 + UInt64($1.length)
        }
        // Index, filter and footer were read whole when it was opened.
        bytesRead = file.meta.size - min(blocks, file.meta.size)
    }

    var size: UInt64 { file.meta.size }

    mutating func run(_ bytes: Int) throws(StorageError) -> Bool {
        let end = bytesRead + UInt64(bytes)
        while let (region, block) = next {
            guard bytesRead < end else { return false }
            place += 1
            bytesRead += UInt64(block.length)
            switch region {
            case .outcomes: try checkOutcomes(block)
            case .letters: try checkLetters(block)
            case nil: try checkHusks(block)
            }
        }
        guard outcomes == file.meta.outcomes, letters == file.meta.letters,
            husks == file.huskCount, span.first == file.meta.firstSegment,
            span.last == file.meta.lastSegment, span.lastHusk == file.lastHuskSegment
        else {
            throw .damaged(
                path: file.path, offset: size, what: "its entries do not add up to its footer")
        }
        return true
    }

    /// nil is the region of husks.
    private var next: (region: HistoryRegion?, block: HistoryBlock)? {
        let index = file.index
        var place = place
        if place < index.outcomes.count { return (.outcomes, index.outcomes[place]) }
        place -= index.outcomes.count
        if place < index.letters.count { return (.letters, index.letters[place]) }
        place -= index.letters.count
        return place < index.husks.count ? (nil, index.husks[place]) : nil
    }

    private mutating func checkOutcomes(_ block: HistoryBlock) throws(StorageError) {
        for entry in try file.entries(block, .outcomes) {
            let id = entry.header.id
            if let last, id <= last { throw disorder(block) }
            last = id
            guard file.mayHold(HistoryHandle.hash(id)) else { throw disorder(block) }
            span.note(entry.header)
            outcomes += 1
        }
    }

    private mutating func checkLetters(_ block: HistoryBlock) throws(StorageError) {
        for entry in try file.entries(block, .letters) {
            span.note(entry.header)
            letters += 1
        }
    }

    private mutating func checkHusks(_ block: HistoryBlock) throws(StorageError) {
        for husk in try file.husks(block) {
            if let lastHusk, husk.header.id <= lastHusk { throw disorder(block) }
            lastHusk = husk.header.id
            span.note(husk: husk.header)
            husks += 1
        }
    }

    private func disorder(_ block: HistoryBlock) -> StorageError {
        .damaged(
            path: file.path, offset: block.offset, what: "an id out of order or not in the filter")
    }
}

/// The segments of what a history file holds. By them it is decided which files are read, and which
/// are never looked at again.
private struct HistorySpan {
    private let length: Duration
    private(set) var first = Segment(.max)
    private(set) var last = Segment.first
    private(set) var lastHusk = Segment.first

    init(_ length: Duration) {
        self.length = length
    }

    @discardableResult
    mutating func note(_ header: BatchHeader) -> Segment {
        let segment = Segment(createdAt: header.createdAt, length: length)
        first = min(first, segment)
        last = max(last, segment)
        return segment
    }

    mutating func note(husk header: BatchHeader) {
        lastHusk = max(lastHusk, note(header))
    }
}
