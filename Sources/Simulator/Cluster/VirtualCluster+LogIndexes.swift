import Core
import NodeCore
import Storage

/// Indexes of log files: whatever becomes of one, a start knows what it knows without.
extension VirtualCluster {
    /// Before a start an index changes now and then. Nothing is lost by it, and nobody is told.
    func bendIndex(of node: VirtualNode) {
        guard swarm.logIndex != nil, swarm.has(.rot), indexRandom.chance(1, in: 4) else { return }
        let paths = node.disk.contents.keys.filter { $0.hasSuffix(FileNames.logIndexSuffix) }
        guard !paths.isEmpty else { return }
        let path = indexRandom.pick(paths.sorted())
        guard var bytes = node.disk.contents[path], !bytes.isEmpty else { return }
        let place = indexRandom.below(bytes.count)
        if indexRandom.chance(1, in: 4) {
            bytes.removeLast(bytes.count - place)
        } else {
            bytes[place] ^= 1 << UInt8(indexRandom.below(8))
        }
        log("\(node.id): \(path) changes at byte \(place)")
        node.disk.overwrite(path, with: bytes)
    }

    /// S10: a start that reads indexes comes to what one comes to that reads all of the log.
    func checkIndexes(
        _ opened: borrowing NodeStart, of node: VirtualNode
    ) throws(Violation) {
        guard !opened.recovered.indexed.isEmpty else { return }
        checks.hit(.indexRead)
        let copy = node.disk.clone()
        copy.setCapacity(.max)
        var options = storageOptions
        options.readsLogIndexes = false
        let differences: [String]
        do throws(StorageError) {
            let whole = try NodeStart(
                configuration(of: node), ring: ring, fileSystem: copy, options: options,
                hostID: 0, nonce: 0, wall: wall + node.skew)
            differences = opened.differences(from: whole)
        } catch {
            throw Violation("S10", "\(node.id) cannot start without indexes: \(error)")
        }
        guard differences.isEmpty else {
            throw Violation(
                "S10", "\(node.id) starts to something else by its indexes: \(differences)")
        }
    }

    /// A job of indexes takes its draws from its own generator, so that it shifts none of the
    /// others.
    func drawingApart<Value>(
        _ work: StorageJob, _ body: () throws(Violation) -> Value
    ) throws(Violation) -> Value {
        guard case .indexLog = work else { return try body() }
        swap(&diskRandom, &indexRandom)
        defer { swap(&diskRandom, &indexRandom) }
        return try body()
    }
}
