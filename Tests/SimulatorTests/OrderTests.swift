import Simulator
import Testing

@Suite("The simulate command")
struct OrderTests {
    private func run(_ order: SimulationOrder) -> (code: Int32, out: [String], err: [String]) {
        var out: [String] = []
        var err: [String] = []
        let code = Simulation.run(order, output: { out.append($0) }, progress: { err.append($0) })
        return (code, out, err)
    }

    @Test("sums up what it ran and exits 0 when every seed held")
    func sums() {
        let result = run(SimulationOrder(seed: 3, runs: 2))
        #expect(result.code == 0)
        #expect(result.out.count == 1)
        #expect(result.out[0].hasPrefix("2 seeds from 3, 0 failed; "))
        #expect(result.err.isEmpty)
    }

    @Test("prints one JSON object per seed, the same each time")
    func json() {
        let first = run(SimulationOrder(seed: 5, runs: 2, printsJSON: true))
        let second = run(SimulationOrder(seed: 5, runs: 2, printsJSON: true))
        #expect(first.out == second.out)
        #expect(first.out.count == 2)
        #expect(first.out[0].hasPrefix("{\"seed\": 5, \"trace\": \""))
    }

    @Test("refuses a number of runs out of its bounds", arguments: [0, -1, 10_000_001])
    func bounds(runs: Int) {
        let result = run(SimulationOrder(seed: 1, runs: runs))
        #expect(result.code == 2)
        #expect(result.err.count == 1)
    }
}
