import Core
import Storage
import Testing

/// A script of one part of the store, whose every operation fails in its turn.
struct FaultWalk {
    /// Runs until an operation fails, if one does; how much was done for good.
    let script: (MemoryFileSystem) -> Int
    /// Holds what a start finds against how much was done.
    let check: (MemoryFileSystem, Int, String) throws -> Void

    /// How many operations the whole script takes.
    var operations: Int {
        let files = MemoryFileSystem()
        _ = script(files)
        return files.operations
    }

    /// The power fails at each operation, in each way that data and names are lost.
    func cutEverywhere(seed: UInt64) throws {
        var random = RandomSource(seed: seed)
        for operation in 0..<operations {
            let files = MemoryFileSystem()
            files.fail(at: operation, with: .shortWrite, onward: true)
            let done = script(files)
            files.clearFaults()
            for data in MemoryFileSystem.DataLoss.allCases {
                for names in MemoryFileSystem.NameLoss.allCases {
                    let crashed = files.crash(data: data, names: names, &random)
                    try check(crashed, done, "operation \(operation), \(data), \(names)")
                }
            }
        }
    }

    /// The disk is full for the moment of each operation, and the power fails after that run.
    func fillEverywhere(seed: UInt64) throws {
        var random = RandomSource(seed: seed)
        for operation in 0..<operations {
            let files = MemoryFileSystem()
            files.fail(at: operation, with: .diskFull)
            let done = script(files)
            files.clearFaults()
            try check(files.crash(&random), done, "operation \(operation)")
        }
    }
}
