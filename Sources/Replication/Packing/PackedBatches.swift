package import Core

/// The settled entries of an index in 40 to 80 bytes each (docs/decisions/0023-index-memory.md).
///
/// An entry is a row of bytes (`PackedRow`) in a page (`PackedPage`) that belongs to one segment,
/// so that forgetting a segment frees whole pages. A row's place, its page and its offset there in
/// four bytes, is found by id in `SlotTable`. Rows never change: an entry that does is removed and
/// comes back as another row. What removed rows leave is free when the whole page is.
///
/// Nothing depends on the order of the table: what is listed comes from the pages, in the order in
/// which it was packed.
package struct PackedBatches: Sendable {
    private var rows: PackedRows
    private var slots = SlotTable()
    /// The pages of each segment; rows are added to the last.
    private var pagesOf: [Segment: [Int]] = [:]
    package private(set) var count = 0

    package init(
        partitions: Int, mine: PartitionSet, segmentLength: Duration,
        pagesMax: Int = ReplicationLimits.indexPagesMax
    ) {
        rows = PackedRows(
            coding: PackedRow.Coding(
                universe: partitions, mine: mine, segmentLength: segmentLength),
            pagesMax: pagesMax)
    }

    package subscript(id: BatchID) -> BatchEntry? {
        place(of: id).map { rows.entry(at: $0) }
    }

    func header(of id: BatchID) -> BatchHeader? {
        place(of: id).map { rows.header(at: $0) }
    }

    private func place(of id: BatchID) -> UInt32? {
        slots.find(SlotTable.hash(id)) { rows.id(at: $0) == id }
    }

    // MARK: - Changes

    /// False where it has no room, or is no entry for a row: it stays as it is then.
    package mutating func insert(_ entry: BatchEntry, in segment: Segment) -> Bool {
        let id = entry.header.id
        let producer = rows.producers.retain(id)
        guard let place = append(entry, producer, in: segment) else {
            rows.producers.release(producer)
            return false
        }
        slots.insert(SlotTable.hash(id), place) { SlotTable.hash(rows.id(at: $0)) }
        count += 1
        return true
    }

    private mutating func append(
        _ entry: BatchEntry, _ producer: Int?, in segment: Segment
    ) -> UInt32? {
        if let page = pagesOf[segment]?.last,
            let place = rows.append(entry, producer, toPage: page)
        {
            return place
        }
        guard let page = rows.takePage(for: entry, in: segment) else { return nil }
        guard let place = rows.append(entry, producer, toPage: page) else {
            rows.freePage(page)
            return nil
        }
        pagesOf[segment, default: []].append(page)
        return place
    }

    package mutating func remove(_ id: BatchID) -> BatchEntry? {
        guard let place = place(of: id) else { return nil }
        let entry = rows.entry(at: place)
        slots.remove(SlotTable.hash(id), place)
        count -= 1
        let (page, segment, isEmpty) = rows.erase(place)
        if isEmpty {
            rows.freePage(page)
            pagesOf[segment]?.removeAll { $0 == page }
            if pagesOf[segment]?.isEmpty == true { pagesOf[segment] = nil }
        }
        return entry
    }

    package mutating func forget(_ segment: Segment) {
        guard let pages = pagesOf.removeValue(forKey: segment) else { return }
        for page in pages {
            for (place, row) in rows.rows(inPage: page) {
                slots.remove(SlotTable.hash(row.id), place)
                rows.producers.release(row.producer)
                count -= 1
            }
            rows.freePage(page)
        }
    }

    // MARK: - All of a segment

    /// In the order in which they were packed.
    package func ids(in segment: Segment) -> [BatchID] {
        var ids: [BatchID] = []
        forEach(in: segment) { ids.append($0.id) }
        return ids
    }

    func forEach(in segment: Segment, _ visit: (PackedRow.Head) -> Void) {
        for page in pagesOf[segment] ?? [] {
            for (_, row) in rows.rows(inPage: page) { visit(row) }
        }
    }

    /// The oldest file of the log, from `start` on, that one of the segments from `end` on needs;
    /// an older one where an entry that was in it changed since.
    func oldestFile(from end: Segment, notBefore start: UInt32) -> UInt32? {
        var oldest: UInt32?
        // A minimum does not depend on the order.
        for (segment, pages) in pagesOf where segment >= end {
            for page in pages where rows.newestFile(inPage: page) >= start {
                // A page of husks needs none.
                guard rows.oldestFile(inPage: page) < .max else { continue }
                let file = max(start, rows.oldestFile(inPage: page))
                oldest = min(oldest ?? file, file)
            }
        }
        return oldest
    }

    /// Pages with a row, perhaps one that was removed, of which something lies in these files.
    private func pages(of segment: Segment, in files: Range<UInt32>) -> [Int] {
        (pagesOf[segment] ?? []).filter { page in
            let oldest = rows.oldestFile(inPage: page)
            return oldest < files.upperBound && rows.newestFile(inPage: page) >= files.lowerBound
        }
    }

    /// Segments with such a page, in no order.
    func segments(in files: Range<UInt32>) -> [Segment] {
        pagesOf.keys.filter { !pages(of: $0, in: files).isEmpty }
    }

    /// The entries on such pages, in the order in which they were packed.
    func entries(of segment: Segment, in files: Range<UInt32>) -> [BatchEntry] {
        pages(of: segment, in: files).flatMap { page in
            rows.rows(inPage: page).map { rows.entry(at: $0.place) }
        }
    }

    // MARK: - Memory

    package var rowBytes: Int {
        rows.byteCount + DictionaryBytes.of(pagesOf)
            + pagesOf.values.reduce(0) { $0 + ArrayBytes.of($1) }
    }

    package var lookUpBytes: Int { slots.byteCount + rows.producers.byteCount }
}
