import Node
import Synchronization
import Testing

@Suite("Open connections") struct OpenConnectionsTests {
    private let metrics = NodeMetrics()

    private func table(max: Int, begunMax: Int) -> OpenConnections {
        OpenConnections(ConnectionBounds(max: max, begunMax: begunMax), metrics: metrics)
    }

    private final class Closed: Sendable {
        private let names = Mutex<[String]>([])

        var all: [String] { names.withLock { $0 } }

        func close(_ name: String) -> @Sendable () -> Void {
            { self.names.withLock { $0.append(name) } }
        }
    }

    @Test("the connection that waited longest goes when too many are open, one that works never")
    func idle() {
        let connections = table(max: 3, begunMax: 3)
        let closed = Closed()
        func open(_ name: String) -> UInt64 { connections.open(.begun, close: closed.close(name)) }
        let a = open("a")
        let b = open("b")
        let c = open("c")
        connections.work(a)
        connections.work(b)
        #expect(connections.count(of: .begun) == 3 && connections.idle == 1)
        let d = open("d")
        #expect(closed.all == ["c"])
        connections.close(c)
        connections.rest(b, close: closed.close("b again"))
        _ = open("e")
        #expect(closed.all == ["c", "d"], "d waited longer than b")
        connections.close(d)
        _ = open("f")
        #expect(closed.all == ["c", "d", "b again"])
        connections.close(b)
        connections.rest(b, close: closed.close("never"))
        #expect(connections.count(of: .begun) == 3 && connections.idle == 2)
        #expect(metrics.connectionsGivenWay.value == 3)
    }

    @Test("those that sent nothing go first, and where all of them work nobody does")
    func kinds() {
        let connections = table(max: 4, begunMax: 3)
        let closed = Closed()
        func open(_ kind: OpenConnections.Kind, _ name: String) -> UInt64 {
            connections.open(kind, close: closed.close(name))
        }
        let old = open(.begun, "old")
        let silent = open(.silent, "silent")
        let one = open(.begun, "one")
        connections.work(one)
        let two = open(.silent, "two")
        _ = open(.silent, "three")
        #expect(closed.all == ["silent"])
        for number in [silent, two] { connections.close(number) }
        connections.work(open(.begun, "four"))
        connections.work(old)
        #expect(connections.count(of: .begun) == 3 && connections.idle == 1)
        connections.work(open(.begun, "five"))
        #expect(closed.all == ["silent"], "three of them work, and the silent one is no help")
        _ = open(.silent, "six")
        #expect(closed.all == ["silent", "three"])
    }

    @Test("one that gives way counts no more, so that one newcomer never costs two connections")
    func givenWay() {
        let connections = table(max: 3, begunMax: 3)
        let closed = Closed()
        for name in ["a", "b", "c"] { _ = connections.open(.begun, close: closed.close(name)) }
        let door = connections.open(.silent, close: closed.close("door"))
        #expect(closed.all == ["a"])
        // It enters before the other is gone.
        connections.close(door)
        let number = connections.open(.begun, close: closed.close("new"))
        #expect(closed.all == ["a"] && connections.count(of: .begun) == 3)
        connections.close(number)
        #expect(connections.count(of: .begun) == 2)
        #expect(metrics.connectionsEnded[1].value == 2)
    }

    @Test("a connection that has rested a thousand times is still the youngest, and closed last")
    func restedOften() {
        let connections = table(max: 2, begunMax: 2)
        let closed = Closed()
        let busy = connections.open(.begun, close: closed.close("busy"))
        _ = connections.open(.begun, close: closed.close("quiet"))
        for _ in 0..<1000 {
            connections.work(busy)
            connections.rest(busy, close: closed.close("busy"))
        }
        _ = connections.open(.begun, close: closed.close("third"))
        #expect(closed.all == ["quiet"])
        #expect(connections.idle == 2)
    }

    @Test("many threads at once leave nothing behind")
    func threads() async {
        let connections = table(max: 40, begunMax: 20)
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    for turn in 0..<2000 {
                        let number = connections.open(turn % 3 == 0 ? .silent : .begun) {}
                        if turn % 2 == task % 2 { connections.work(number) }
                        connections.rest(number) {}
                        connections.close(number)
                    }
                }
            }
        }
        #expect(connections.idle == 0)
        for kind in OpenConnections.Kind.allCases {
            #expect(connections.count(of: kind) == 0)
            let opened = metrics.connectionsOpened[kind.rawValue].value
            #expect(opened > 0 && opened == metrics.connectionsEnded[kind.rawValue].value)
        }
    }

    @Test("a quarter of what may be open is left to files, and requests come before silence")
    func bounds() {
        let ample = ConnectionBounds(openFilesMax: 1 << 17)
        #expect(ample.max == HTTPLimits.connectionsMax && ample.begunMax == HTTPLimits.begunMax)
        #expect(ample.begunMax > RuntimeLimits.requestsMax)
        let few = ConnectionBounds(openFilesMax: 1024)
        #expect(few.acceptedMax == 768 && few.begunMax == few.max)
        #expect(ConnectionBounds(openFilesMax: 0).max > 0)
    }
}
