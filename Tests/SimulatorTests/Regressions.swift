import Ring
import Simulator
import Testing

/// A history that once broke a promise, and why. The histories of seeds change with the simulator
/// and the workload, so an entry shows what it says only until then; it stays as a seed like any
/// other, and the part that was wrong has a test of its own where one can be written.
struct Regression: Sendable, CustomTestStringConvertible {
    let seed: UInt64
    var schedule = FaultSchedule.all
    let why: String

    var testDescription: String { "\(seed)\(schedule.options): \(why)" }

    static let all: [Regression] = [
        Regression(
            seed: 3_081_448_861_888_163,
            schedule: FaultSchedule(without: [.rot], keep: [15], placement: .key),
            why: "one was left out while another had lost its disk, and each needed the other"),
        Regression(
            seed: 145_984_035_876_326,
            schedule: FaultSchedule(placement: .keyAndDay),
            why: "a content that was sealed anew was held to have taken its first id from another"),
        Regression(
            seed: 145_381_064_968_534,
            schedule: FaultSchedule(
                without: [.lies], keep: [1, 3, 4, 5, 6, 7, 8, 9, 10, 12], placement: .key),
            why: "the same, while the others had not noticed yet that the second was gone"),
        Regression(
            seed: 46,
            schedule: FaultSchedule(
                without: [.bursts, .cuts, .pauses, .skew, .swizzles, .tornJobs, .wipes], keep: [0]),
            why: "a read with one partition that nobody may answer asked the others in a hot loop"),
        Regression(
            seed: 1239,
            why: "equal digests hid from a wiped voter what its source held in doubt"),
        Regression(
            seed: 1239,
            schedule: FaultSchedule(without: [.loss], keep: [10, 13, 14, 17]),
            why: "a wiped voter that had taken a batch again did not inherit the doubt about it"),
        Regression(
            seed: 168,
            schedule: FaultSchedule(without: [.lies], keep: [4, 5, 6, 9, 11]),
            why: "a record that its source listed in doubt came by a bind, and without the doubt"),
        Regression(
            seed: 150_231_643_436_638,
            why: "an audit held old sums against a catch-up that ended after they were taken"),
        Regression(
            seed: 2_990_237_621_005_749, schedule: FaultSchedule(keep: [23]),
            why: "who was left out dropped a rotten table unread, and was held to have missed it"),
        Regression(
            seed: 4747, schedule: FaultSchedule(keep: [0, 17, 19]),
            why: "two disks were lost while the third rotted, and memory was expected of it"),
        Regression(
            seed: 4_974_286_853_182_835, schedule: FaultSchedule(without: [.cuts], keep: [3, 6]),
            why: "a batch was marked as applied while the log that held it was being set aside"),
        Regression(
            seed: 191_509_204_858_887,
            schedule: FaultSchedule(
                without: [.diskFull], keep: [11, 14, 25, 29, 35, 36, 38, 39, 40]),
            why: "a fetched record that nobody had decided met another content, bound meanwhile"),
        Regression(
            seed: 4_269_728_911_985_132,
            schedule: FaultSchedule(keep: [1, 2, 5, 6, 8, 9, 11, 14, 17]),
            why: "a bind wrote again a record whose home a copy had brought as history"),
        Regression(
            seed: 4_269_728_911_985_959, schedule: FaultSchedule(keep: [1]),
            why: "who was left out before anyone knew its life was left out of none"),
        Regression(
            seed: 4_269_728_911_987_162, schedule: FaultSchedule(keep: [2, 5, 8]),
            why: "a log that rot had shortened to before its checkpoint passed for a whole one"),
        Regression(
            seed: 5_542_596_249_447_803,
            why: "history files that came kept the scrubber from a table that had rotted"),
        Regression(
            seed: 79_857_320_479_186,
            schedule: FaultSchedule(
                without: [
                    .bursts, .delay, .diskFull, .duplication, .killAll, .lateRetries, .loss,
                    .slowLinks, .slowNodes, .tornJobs,
                ], keep: [1, 4, 5, 13, 18]),
            why: "what was parked on a node that was down at the heal was not waited for"),
        Regression(
            seed: 7_299_528_338_826_831,
            why: "who came back drove on what it alone held of a segment that closed without it: "
                + "it gave up only what a restart had put in doubt, and its new life was on disk "
                + "before what it had given up"),
        Regression(
            seed: 6_463_229_555_189_819,
            schedule: FaultSchedule(
                without: [
                    .crashes, .cuts, .diskFull, .killAll, .lies, .partialCuts, .rot, .slowLinks,
                    .slowNodes, .swizzles,
                ], keep: [1, 2, 3]),
            why: "a copy held records that were not yet synced, and was taken for an older one"),
        Regression(
            seed: 1_433_408_698_153_940,
            why: "of the simulator: final questions to a cluster that lost too much waited until "
                + "few of the producers' endless writes were open"),
        Regression(
            seed: 1_077_815_961_310_037,
            why: "of the simulator: it waited for damage in a table that had expired meanwhile"),
        Regression(
            seed: 2_877_970_982_521_726,
            why: "of the simulator: a client waited without end for a node that was paused twice"),
        Regression(
            seed: 2_552_924_835_133_614,
            why: "of the simulator: what was parked was counted while a majority alone was asked, "
                + "after it had been decided what must be found"),
        Regression(
            seed: 212_518_208_591_834,
            why: "of the simulator: a start had set condemned data aside and crashed, and the next "
                + "one had nothing to say of it"),
        Regression(
            seed: 44_954_867_826_691,
            schedule: FaultSchedule(
                without: [.killAll, .misreads, .zombies], keep: [2, 7, 11, 12]),
            why: "a disk without room for a word could not condemn what was wrong on it"),
        Regression(
            seed: 8_255_510_643_829_200,
            schedule: FaultSchedule(without: [.unreadable], keep: [1, 2, 3]),
            why: "who recovered from one source that knew a batch as bound and another that held "
                + "it in doubt voted without what only the second could give"),
        Regression(
            seed: 8_866_247_964_627_251,
            schedule: FaultSchedule(
                without: [.diskFull, .lies, .misreads, .slowLinks, .unreadable, .wipes],
                keep: [1, 2, 4, 5, 7, 8, 10, 11, 14]),
            why: "a source that held in doubt what it could not list to a node without its home "
                + "passed for one that gave everything"),
        Regression(
            seed: 8_866_247_964_614_130,
            schedule: FaultSchedule(
                without: [.clockSteps, .cuts, .diskFull, .loss, .misreads, .zombies],
                keep: [1, 3]),
            why: "of the simulator: who condemned its data was not heard to confess where rot was "
                + "possible as well"),
        Regression(
            seed: 8_866_247_964_618_495,
            schedule: FaultSchedule(
                without: [
                    .diskFull, .killAll, .misreads, .oldDisks, .rot, .unreadable, .wipes,
                ], keep: [1, 2, 3]),
            why: "of the simulator: a bit flipped in a table that a compaction was about to replace"
        ),
        Regression(
            seed: 144_463_449_158_697,
            schedule: FaultSchedule(without: [.misreads, .zombies], keep: [1, 6]),
            why: "damage of a file of history that a whole copy had replaced was told for ever"),
        Regression(
            seed: 84_683_105_829_963,
            schedule: FaultSchedule(without: [.misreads, .unreadable], keep: [1]),
            why: "of the simulator: an answer about rot was on its way when its node had set it "
                + "aside"),
        Regression(
            seed: 8_255_510_643_834_182,
            why: "of the simulator: a node was asked before it had read what it has parked, and "
                + "denied nothing"),
        Regression(
            seed: 288,
            why: "of the simulator: a client left a node that had answered, and the answer was "
                + "waited for once more"),
        Regression(
            seed: 281_854_635_945,
            why: "of the simulator: a producer that was to come back later was taken for one that "
                + "an overload had kept from its answer"),
    ]
}
