package import Core
internal import Wire

// What the node that keeps a batch says of it, where its home has closed without it.

extension ParkingLot {
    /// What this node knows of an id that its home does not.
    private enum Known {
        case counted(BatchTotals)
        /// It is kept here, or may be: it may still be counted.
        case kept
        case nothing
    }

    /// The answer to a client who wants to know what became of a batch, or sent it below ANY.
    /// - Parameter hash: the content that was sent; nil: whichever came under the id.
    package func word(
        _ response: ClientResponse, on id: BatchID, _ hash: Hash128?, createdAt: WallTime?
    ) -> ClientResponse {
        switch response {
        case .status(let status):
            .status(word(status, on: id, hash, createdAt))
        case .write(.expired(let status)):
            .write(.expired(word(status, on: id, hash, createdAt)))
        case .write, .read, .audit, .flushed, .compacted, .verified, .parked, .failed:
            response
        }
    }

    /// The answer to a client who sent it at ANY: what lies here is parked, whenever it comes.
    func word(_ response: ClientResponse, on header: BatchHeader) -> ClientResponse {
        let word = word(
            response, on: header.id, header.contentHash, createdAt: header.createdAt)
        switch word {
        case .write(.expired(.unknown)), .failed:
            let key = ParkedKey(id: header.id, contentHash: header.contentHash)
            return isSafe(key) ? .write(.parked) : word
        case .write, .status, .read, .audit, .flushed, .compacted, .verified, .parked:
            return word
        }
    }

    private func word(
        _ status: BatchStatus, on id: BatchID, _ hash: Hash128?, _ createdAt: WallTime?
    ) -> BatchStatus {
        switch (status, known(of: id, hash, createdAt)) {
        case (.counted, _), (_, .nothing), (.unknown, .kept): status
        case (_, .counted(let totals)): .counted(totals)
        case (.notCounted, .kept): .unknown(heldBy: 0)
        }
    }

    private func known(of id: BatchID, _ hash: Hash128?, _ createdAt: WallTime?) -> Known {
        let isAsked = { (found: Hash128) in hash.map { $0 == found } ?? true }
        if let renewed = memory[id], isAsked(renewed.key.contentHash) {
            return .counted(renewed.totals)
        }
        // Before the file is read, and where its memory was full, nobody knows.
        guard isListed, !memory.mayHaveForgotten(createdAt) else { return .kept }
        if entries.keys.contains(where: { $0.id == id && isAsked($0.contentHash) }) {
            return .kept
        }
        // An attempt that is under way may still end in the lot.
        let isBegun = attempts.values.contains { attempt in
            guard case .first(_, let record, _) = attempt else { return false }
            return record.header.id == id && isAsked(record.header.contentHash)
        }
        return isBegun ? .kept : .nothing
    }

    /// It is on disk here, and is submitted until it is counted.
    private func isSafe(_ key: ParkedKey) -> Bool {
        guard let entry = entries[key] else { return false }
        return switch entry.phase {
        case .waiting, .loading: entry.canBeReliedUpon
        case .submitting: true
        case .storing, .removing, .damaged, .forgotten: false
        }
    }
}
