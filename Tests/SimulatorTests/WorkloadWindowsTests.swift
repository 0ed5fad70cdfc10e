import Core
import Ring
import Simulator
import Storage
import Testing

@Suite("Windows of other lengths than a minute")
struct WorkloadWindowsTests {
    private let lengths = [1000, 60_000, 300_000, 3_600_000].map {
        WindowLength(milliseconds: $0)
    }

    @Test("a workload's times are the same for each length")
    func times() {
        let minutes = WorkloadWindows(.minute)
        #expect((minutes.longAgo, minutes.recent, minutes.perDay) == (18_408_960, 29_400_000, 1440))
        #expect([-100, 0, 61].map { minutes.after(minutes: $0) } == [-100, 0, 61])
        for length in lengths {
            let windows = WorkloadWindows(length)
            for (here, there) in [
                (windows.longAgo, minutes.longAgo), (windows.recent, minutes.recent),
                (windows.perDay, minutes.perDay),
            ] {
                #expect(length.start(of: here) == WindowLength.minute.start(of: there))
            }
            let late = length.start(of: windows.after(minutes: 61)).milliseconds
            #expect((61 * 60_000..<61 * 60_000 + length.milliseconds).contains(late))
            #expect(length.start(of: windows.after(minutes: -100)).milliseconds < 0)
        }
    }

    /// What retention shows by the day must still spell which contents are in it.
    @Test("no two contents have one bit in a day of long ago")
    func days() throws {
        for length in lengths {
            let placement = KeyPlacement(
                .keyAndDay, try Partitioning(partitions: 4), window: length)
            var maker = ContentMaker(
                keys: 1, placement: placement, window: length, random: RandomSource(seed: 5))
            let ledger = Ledger(window: length)
            for number in 0..<4 * Content.groupSize {
                ledger.add(
                    maker.make(
                        number, id: BatchID(producer: 1, sequence: UInt64(number)),
                        createdAt: WallTime(milliseconds: 0)))
            }
            let recent = WorkloadWindows(length).recent
            let old = ledger.contents.flatMap(\.cells).filter { $0.name.window < recent }
            #expect(old.count > 20)
            for cell in old {
                let day = CellName(
                    key: cell.name.key, type: cell.name.type,
                    window: TimeBuckets(window: length).start(of: cell.name.window, .day))
                let shares = ledger.shares(of: day, by: .day)
                #expect(Set(shares.map(\.measure.count)).count == shares.count)
                let place = placement.partition(of: cell.name.key, window: day.window)
                #expect(cell.partition == place)
            }
        }
    }

    @Test("a sixth of the seeds draws one")
    func drawn() {
        var random = RandomSource(seed: 1)
        var drawn: [WindowLength: Int] = [:]
        for seed in UInt64(0)..<600 {
            var swarm = Swarm(&random, without: [])
            var draw = RandomSource(seed: seed)
            swarm.drawWindow(&draw)
            drawn[swarm.window, default: 0] += 1
        }
        #expect(Set(drawn.keys) == Set(lengths))
        #expect((450...550).contains(drawn[.minute] ?? 0))
    }
}
