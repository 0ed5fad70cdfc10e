import Core
import Storage
import Testing

/// The first operation fails, then the second, then the third, until a life ends without a fault:
/// SQLite's way with errors (its `ioerr` and `diskfull` tests). The life goes on after an error
/// where a node goes on, and ends where a node ends its process. Either way, what is found by the
/// next start is held against what was promised: after the end of the process alone, and after
/// that of the machine.
@Suite struct ErrorLoopTests {
    private static let script = CrashScript(seed: 281) { life in
        try life.identify()
        for round in 1...24 {
            try life.append(1 + life.random.below(4))
            if round % 3 == 0 { try life.flush() }
            if round % 7 == 0 { try life.releaseLog() }
            if round % 3 == 1 { try life.forget(3 + life.random.below(10)) }
            if round == 14 { try life.compact(to: .cold) }
            guard round % 6 == 0, life.tables.count > 1 else { continue }
            try life.compact { life in
                try life.append(2)
                try life.flush()
            }
        }
    }

    /// What a node does with all that is behind it, under a manifest that is written anew at nearly
    /// every edit: checkpoints of its history, letters that are swept, windows that become hours
    /// and expire.
    private static let later = {
        var options = StorageModel.options
        options.manifestFileMax = 300
        return CrashScript(seed: 284, options: options) { life in
            try life.identify()
            for round in 1...9 {
                try life.append(1 + life.random.below(3))
                if round % 2 == 0 { try life.flush() }
                if round % 3 == 0 { try life.checkpoint(3 + life.random.below(6)) }
                if round == 6 { try life.rollUp(to: .hour) }
                if round == 7 { try life.sweep() }
                if round == 8 { try life.expire() }
            }
        }
    }()

    /// How the lives of one loop ended.
    private struct Tally {
        var faults = 0
        /// Without any error that the process ended for.
        var whole = 0
        var fatal = 0
    }

    /// Until the fault comes too late.
    private static func loop(
        _ script: CrashScript, _ fault: MemoryFileSystem.Fault,
        _ loss: MemoryFileSystem.SyncLoss
    ) throws -> Tally {
        var random = RandomSource(seed: 282)
        var tally = Tally()
        while true {
            let what = "\(fault), \(loss), operation \(tally.faults)"
            let files = MemoryFileSystem()
            files.setSyncLoss(loss)
            files.fail(at: tally.faults, with: fault)
            let (book, end) = script.endure(on: files)
            let isOver = files.operations <= tally.faults
            files.clearFaults()
            if let end {
                let error = try #require(end as? StorageError, "\(what): \(end)")
                #expect(isClean(error, after: fault), "\(what): \(error)")
                if error.isFatal { tally.fatal += 1 }
            } else {
                tally.whole += 1
            }
            let oracle = CrashOracle(book.last.slices)
            try oracle.check(files.crash(&random), book.last, "\(what), power cut")
            try oracle.check(files.clone(), book.last, "\(what), killed")
            if isOver {
                #expect(end == nil, "\(what)")
                return tally
            }
            tally.faults += 1
        }
    }

    /// The fault itself, and no second error that it led to.
    private static func isClean(
        _ error: StorageError, after fault: MemoryFileSystem.Fault
    ) -> Bool {
        switch error {
        case .syncFailed: true
        case .failed: fault == .inputOutput || fault == .shortWrite
        case .diskFull: fault == .diskFull || fault == .shortDiskFull
        case .notFound, .writerDead, .damaged, .newerFormat, .locked, .digestMismatch,
            .coldTierMissing, .scanTooLarge:
            false
        }
    }

    @Test(
        "whichever operation fails: a clean error, and then what was promised",
        arguments: [
            MemoryFileSystem.Fault.inputOutput, .diskFull, .shortWrite, .shortDiskFull,
        ])
    func everyOperation(fault: MemoryFileSystem.Fault) throws {
        let tally = try Self.loop(Self.script, fault, .marksClean)
        #expect(tally.faults >= 580, "\(tally)")
        // A full disk ends a node in few places, most of them at the start.
        let isFull = fault == .diskFull || fault == .shortDiskFull
        #expect(tally.whole >= (isFull ? 100 : 40), "\(tally)")
        #expect(tally.fatal >= 60, "\(tally)")
    }

    @Test(
        "whatever a failed fsync does to its bytes and names",
        arguments: [MemoryFileSystem.SyncLoss.keepsDirty, .reverts])
    func everySync(loss: MemoryFileSystem.SyncLoss) throws {
        let tally = try Self.loop(Self.script, .inputOutput, loss)
        #expect(tally.faults >= 580, "\(tally)")
        #expect(tally.fatal >= 60, "\(tally)")
    }

    @Test(
        "nor while history is written, swept and dropped, and the manifest written anew",
        arguments: [
            MemoryFileSystem.Fault.inputOutput, .diskFull, .shortWrite, .shortDiskFull,
        ])
    func everyLaterOperation(fault: MemoryFileSystem.Fault) throws {
        let tally = try Self.loop(Self.later, fault, .marksClean)
        #expect(tally.faults >= 200, "\(tally)")
        #expect(tally.whole >= 20 && tally.fatal >= 20, "\(tally)")
    }

    @Test(
        "nor whatever a failed fsync does meanwhile",
        arguments: [MemoryFileSystem.SyncLoss.keepsDirty, .reverts])
    func everyLaterSync(loss: MemoryFileSystem.SyncLoss) throws {
        let tally = try Self.loop(Self.later, .inputOutput, loss)
        #expect(tally.faults >= 200 && tally.fatal >= 20, "\(tally)")
    }
}
