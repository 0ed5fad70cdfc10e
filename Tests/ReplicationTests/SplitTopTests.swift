import Core
import Replication
import Storage
import Testing

/// Top lists where the days of a key lie in several partitions.
@Suite("A top list of keys that lie apart")
struct SplitTopTests {
    private static let tag = Replication.Tag(ReadSession.tagsMax)
    private static let partitions = PartitionSet([PartitionID(0), PartitionID(1)])
    private static let query = ReadQuery.scan(
        ScanSpec(partitions: PartitionSet(), output: .totalsByKey),
        top: TopSpec(k: 1, order: .count))

    /// At level ONE: one voter for each partition, or one for both.
    private struct Run {
        var session: ReadSession
        var effects: [ReadSession.Effect] = []
        let choice: ReadSession.Choice

        init(splits: Bool, voters: [[String]]) {
            choice = ReadSession.Choice(
                replicas: { voters[Int($0.index)].map { NodeID($0) } },
                isReachable: { _ in true }, isLinked: { _ in true }, rank: { _ in 0 },
                patience: .milliseconds(7))
            var options = ReadSession.Options(
                attemptTimeout: .milliseconds(250), deadline: Instant(nanoseconds: 5_000_000_000),
                coordinator: NodeID("n1"), asked: query)
            options.splitsKeys = splits
            session = ReadSession(
                tag: tag, request: RequestID(1), query: query, partitions: partitions,
                consistency: .one, options: options)
            session.start(choice, now: .zero, into: &effects)
        }

        var asks: [(node: NodeID, ask: ReadAsk)] {
            effects.compactMap {
                if case .send(.read(let ask), let node) = $0 { (node, ask) } else { nil }
            }
        }

        var tops: [TopSpec?] {
            asks.map { if case .scan(_, let top) = $0.ask.query { top } else { nil } }
        }

        mutating func reply(_ place: Int, _ totals: [(String, UInt64)]) {
            let rows = totals.map {
                ScanRows.KeyTotal(key: Array($0.0.utf8), measure: Measure(count: $0.1))
            }
            session.receive(
                ReadReply(
                    tag: asks[place].ask.tag,
                    answer: .read(.scan(.totals(rows)), ReadState(digest: .empty))),
                from: asks[place].node, choice: choice, now: .zero, into: &effects)
        }

        var rows: [ScanRows.KeyTotal]? {
            guard case .answer(.read(let answer), _) = effects.last,
                case .scan(.totals(let rows)) = answer.result
            else { return nil }
            return rows
        }
    }

    @Test("asks each part for all totals: the greatest may be first in none")
    func parts() {
        var run = Run(splits: true, voters: [["n1"], ["n2"]])
        #expect(run.tops == [nil, nil])
        run.reply(0, [("a", 5), ("b", 4)])
        #expect(run.rows == nil)
        run.reply(1, [("b", 4), ("c", 5)])
        #expect(run.rows?.map(\.key) == [Array("b".utf8)])
        #expect(run.rows?.map(\.measure.count) == [8])
    }

    @Test("lets one voter choose that reads everything")
    func whole() {
        var run = Run(splits: true, voters: [["n1"], ["n1"]])
        #expect(run.tops == [TopSpec(k: 1, order: .count)])
        run.reply(0, [("b", 8)])
        #expect(run.rows?.map(\.measure.count) == [8])
    }

    @Test("lets each part choose where a key lies in one")
    func together() {
        var run = Run(splits: false, voters: [["n1"], ["n2"]])
        #expect(run.tops == [TopSpec(k: 1, order: .count), TopSpec(k: 1, order: .count)])
        run.reply(0, [("a", 5)])
        run.reply(1, [("c", 6)])
        #expect(run.rows?.map(\.key) == [Array("c".utf8)])
    }

    @Test("by sum, keys without values have no rank, though all totals came")
    func sums() throws {
        let part = { (totals: [(String, Int64?)]) in
            ReadResult.scan(
                .totals(
                    totals.map {
                        ScanRows.KeyTotal(key: Array($0.0.utf8), measure: Measure(event: $0.1))
                    }))
        }
        let query = ReadQuery.scan(
            ScanSpec(partitions: PartitionSet(), output: .totalsByKey),
            top: TopSpec(k: 3, order: .sum))
        let parts = [part([("a", -5), ("b", nil), ("c", nil)]), part([("a", 1), ("c", -9)])]
        guard case .scan(.totals(let rows)) = try #require(ReadResult.merge(parts, query: query))
        else {
            Issue.record("no totals")
            return
        }
        #expect(rows.map(\.key) == [Array("a".utf8), Array("c".utf8)])
        #expect(rows.map { $0.measure.values?.sum } == [-4, -9])
    }

    @Test("keys that several parts name are listed once, and a full page stays full")
    func names() throws {
        let name = { (text: String) in Array(text.utf8) }
        let query = ReadQuery.scan(
            ScanSpec(
                partitions: PartitionSet(), output: .keys(prefix: [], after: nil, limit: 2)),
            top: nil)
        let parts = [["a", "b"], ["a", "c"]].map { ReadResult.scan(.keys($0.map(name))) }
        let merged = try #require(ReadResult.merge(parts, query: query))
        #expect(merged == .scan(.keys([name("a"), name("b")])))
    }
}
