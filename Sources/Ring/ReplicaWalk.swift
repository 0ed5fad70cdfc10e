import Core

/// The walk that finds a partition's replicas.
///
/// It goes clockwise from the partition's arc and takes each new node of a data centre that still
/// needs replicas. A second node of one rack is taken only as often as there are more replicas than
/// racks, so that every rack that can have a copy gets one. This is Cassandra's
/// `NetworkTopologyStrategy`; a single factor for the whole cluster treats it as one data centre
/// whose racks are (data centre, rack).
struct ReplicaWalk {
    private struct Area {
        var racks: Int
        var replicas: Int
    }

    private let ownership: Ownership
    /// By position in the ownership's nodes.
    private let area: [Int]
    private let rack: [Int]
    private let areas: [Area]

    init(_ ownership: Ownership, _ members: [NodeID: RingMember], _ replication: ReplicationFactor)
    {
        self.ownership = ownership
        var names: [String] = []
        var places: [(dc: String, rack: String)] = []
        var areas: [Area] = []
        var area: [Int] = []
        var rack: [Int] = []
        var nodes: [Int] = []
        for node in ownership.nodes {
            guard let member = members[node] else { preconditionFailure("\(node) is no member") }
            let name = Self.areaName(member, replication)
            let place = names.firstIndex(of: name) ?? names.count
            if place == names.count {
                names.append(name)
                areas.append(Area(racks: 0, replicas: Self.factor(member, replication)))
                nodes.append(0)
            }
            let spot = places.firstIndex { $0 == (member.dc, member.rack) } ?? places.count
            if spot == places.count {
                places.append((member.dc, member.rack))
                areas[place].racks += 1
            }
            nodes[place] += 1
            area.append(place)
            rack.append(spot)
        }
        // Fewer nodes than copies: each holds one.
        for place in areas.indices {
            areas[place].replicas = min(areas[place].replicas, nodes[place])
        }
        self.area = area
        self.rack = rack
        self.areas = areas
    }

    func replicas(of partition: PartitionID) -> [NodeID] {
        var wanted = areas.map(\.replicas)
        var repeats = areas.map { max(0, $0.replicas - $0.racks) }
        var taken: [Int] = []
        var left = wanted.reduce(0, +)
        let arcs = ownership.positions.count
        var step = 0
        while left > 0 && step < arcs {
            let node = Int(ownership.positions[(Int(partition.index) + step) % arcs])
            step += 1
            let place = area[node]
            guard wanted[place] > 0, !taken.contains(node) else { continue }
            if taken.contains(where: { rack[$0] == rack[node] }) {
                guard repeats[place] > 0 else { continue }
                repeats[place] -= 1
            }
            taken.append(node)
            wanted[place] -= 1
            left -= 1
        }
        return taken.map { ownership.nodes[$0] }
    }

    private static func areaName(_ member: RingMember, _ replication: ReplicationFactor) -> String {
        switch replication {
        case .everywhere: ""
        case .perDataCentre: member.dc
        }
    }

    private static func factor(_ member: RingMember, _ replication: ReplicationFactor) -> Int {
        switch replication {
        case .everywhere(let factor): factor
        case .perDataCentre(let factors): factors[member.dc] ?? 0
        }
    }
}
