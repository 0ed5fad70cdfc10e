import Core
import Testing

@Suite struct PartitionSetTests {
    @Test("a thousand random operations agree with Set", arguments: 1...4)
    func model(seed: Int) {
        var random = RandomSource(seed: UInt64(seed))
        var sets = [PartitionSet](repeating: PartitionSet(), count: 3)
        var models = [Set<PartitionID>](repeating: [], count: 3)
        let range = [3, 64, 200, Limits.partitionsMax][seed - 1]
        for _ in 0..<1000 {
            let index = random.below(3)
            let other = random.below(3)
            let partition = PartitionID(random.below(range))
            switch random.below(7) {
            case 0, 1:
                sets[index].insert(partition)
                models[index].insert(partition)
            case 2, 3:
                sets[index].remove(partition)
                models[index].remove(partition)
            case 4:
                sets[index] = sets[index].union(sets[other])
                models[index].formUnion(models[other])
            case 5:
                sets[index] = sets[index].subtracting(sets[other])
                models[index].subtract(models[other])
            default:
                sets[index] = sets[index].intersection(sets[other])
                models[index].formIntersection(models[other])
            }
            #expect(Array(sets[index]) == models[index].sorted())
            #expect(sets[index].count == models[index].count)
            #expect(sets[index].isEmpty == models[index].isEmpty)
            #expect(sets[index].contains(partition) == models[index].contains(partition))
            let isSubset = models[index].isSubset(of: models[other])
            #expect(sets[index].isSubset(of: sets[other]) == isSubset)
            let third = random.below(3)
            let isHeld = models[other].intersection(models[third]).isSubset(of: models[index])
            #expect(sets[index].isSuperset(of: sets[other], within: sets[third]) == isHeld)
            #expect((sets[index] == sets[other]) == (models[index] == models[other]))
            #expect(PartitionSet(bitmap: sets[index].bitmap) == sets[index])
        }
    }

    @Test("sets are equal however they came about")
    func canonical() {
        var set = PartitionSet([PartitionID(1), PartitionID(4000)])
        set.remove(PartitionID(4000))
        #expect(set == PartitionSet([PartitionID(1)]))
        #expect(set.bitmap == [2])
        #expect(PartitionSet(bitmap: [2, 0, 0]) == set)
        #expect(set.hashValue == PartitionSet(bitmap: [2, 0]).hashValue)
    }
}
