import Core
import Replication
import Testing
import Wire

@Suite("Packing")
struct PackingTests {
    @Test("a set comes back, in at most a byte more than its bitmap", arguments: [4, 8, 256, 300])
    func sets(universe: Int) throws {
        var random = RandomSource(seed: UInt64(universe))
        for round in 0..<2000 {
            var set = PartitionSet()
            // All sizes, the empty and the full one among them.
            let size = round <= universe ? round : random.below(universe + 1)
            var order = (0..<universe).map { PartitionID($0) }
            random.shuffle(&order)
            for partition in order.prefix(size) { set.insert(partition) }
            let bytes = try packed(set, universe)
            #expect(bytes <= (universe + 7) / 8 + (universe > 256 ? 2 : 1))
            #expect(!set.isEmpty && (size < universe || universe < 16) || bytes == 1)
            // One of a ring that is larger comes back as well.
            set.insert(PartitionID(universe + random.below(100)))
            _ = try packed(set, universe)
        }
    }

    private func packed(_ set: PartitionSet, _ universe: Int) throws -> Int {
        var writer = ByteWriter()
        writer.write(packed: set, of: universe)
        var reader = ByteReader(writer.bytes)
        #expect(try reader.packedSet(of: universe) == set)
        #expect(reader.isAtEnd)
        return writer.bytes.count
    }

    @Test("the table finds what is in it and nothing else, through growth and removal")
    func slots() {
        var random = RandomSource(seed: 5)
        var table = SlotTable()
        var ids: [UInt32: BatchID] = [:]
        var places: [BatchID: UInt32] = [:]
        func id(_ number: Int) -> BatchID {
            BatchID(producer: UInt128(number % 7), sequence: UInt64(number / 7))
        }
        for round in 0..<30_000 {
            let id = id(random.below(round < 20_000 ? 9000 : 300))
            let hash = SlotTable.hash(id)
            let found = table.find(hash) { ids[$0] == id }
            #expect(found == places[id])
            if let found {
                table.remove(hash, found)
                ids[found] = nil
                places[id] = nil
            } else {
                let place = UInt32(round)
                ids[place] = id
                places[id] = place
                table.insert(hash, place) { place in ids[place].map { SlotTable.hash($0) } ?? 0 }
            }
        }
        for (id, place) in places {
            #expect(table.find(SlotTable.hash(id)) { ids[$0] == id } == place)
        }
        for (id, place) in places { table.remove(SlotTable.hash(id), place) }
        #expect(table.byteCount == SlotTable().byteCount)
    }

    @Test("a producer has a number while a row names it, one that is met once has none")
    func producers() {
        var table = ProducerTable()
        let single = BatchID(producer: 9, sequence: 0)
        #expect(table.retain(single) == nil)
        #expect(table.number(of: 9) == nil)
        let first = table.retain(BatchID(producer: 1, sequence: 7))
        let second = table.retain(BatchID(producer: 2, sequence: .max))
        #expect(first == 0 && second == 1)
        // With a number, all of its ids name it, also those before the first and far behind it.
        #expect(table.retain(BatchID(producer: 1, sequence: 0)) == 0)
        #expect(table.id(0, after: -7) == BatchID(producer: 1, sequence: 0))
        #expect(table.id(1, after: 1) == BatchID(producer: 2, sequence: 0))
        table.release(first)
        #expect(table.number(of: 1) == 0)
        table.release(first)
        #expect(table.number(of: 1) == nil)
        #expect(table.retain(BatchID(producer: 3, sequence: 1)) == 0)
        table.release(nil)
    }
}
