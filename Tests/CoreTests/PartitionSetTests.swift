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

    @Test("the least count over a set is that of its partitions taken one by one")
    func leastCount() {
        var random = RandomSource(seed: 11)
        for _ in 0..<2_000 {
            let span = random.pick([3, 64, 130])
            func draw(_ chance: Int) -> PartitionSet {
                PartitionSet(
                    (0..<span).filter { _ in random.chance(chance, in: 8) }.map { PartitionID($0) })
            }
            let all = draw(4)
            guard !all.isEmpty else { continue }
            let sets = (0..<random.below(5)).map { _ in
                random.chance(1, in: 2) ? draw(6) : all.union(draw(1))
            }
            let counts = all.map { partition in sets.count { $0.contains(partition) } }
            #expect(all.leastCount(among: sets) == counts.min())
        }
    }

    @Test("groups of replicas hold each partition once, with its replicas")
    func groups() {
        var random = RandomSource(seed: 12)
        let nodes = (1...5).map { NodeID("n\($0)") }
        for _ in 0..<200 {
            let table = (0..<random.below(40)).map { _ in
                var picked = nodes
                random.shuffle(&picked)
                return Array(picked.prefix(3))
            }
            let all = PartitionSet(table.indices.map { PartitionID($0) })
            let groups = ReplicaGroup.groups(of: all) { table[Int($0.index)] }
            #expect(Set(groups.map(\.nodes)).count == groups.count)
            for (place, replicas) in table.enumerated() {
                let mine = groups.filter { $0.partitions.contains(PartitionID(place)) }
                #expect(mine.map(\.nodes) == [replicas.sorted()])
            }
            let some = PartitionSet(table.indices.filter { $0 % 3 == 0 }.map { PartitionID($0) })
            let cut = groups.intersection(some)
            #expect(cut.allSatisfy { !$0.partitions.isEmpty })
            #expect(cut.reduce(PartitionSet()) { $0.union($1.partitions) } == some)
        }
    }
}
