import Core
import Storage
import Testing

/// A life that is lived again and again, each time with another fault; and what every recovery is
/// held against.
struct CrashScript: Sendable {
    let seed: UInt64
    private let options: StorageOptions
    let acts: @Sendable (inout StoreLife) throws -> Void

    init(
        seed: UInt64, options: StorageOptions = StorageModel.options,
        _ acts: @escaping @Sendable (inout StoreLife) throws -> Void
    ) {
        self.seed = seed
        self.options = options
        self.acts = acts
    }

    /// Lives until an operation fails, if one does; what it promised before stands.
    ///
    /// - Parameter disk: what the life takes for its disk, whose bytes are in `files`.
    @discardableResult
    func live(
        on files: MemoryFileSystem, through disk: (any FileSystem)? = nil
    ) -> PromiseBook {
        let book = PromiseBook()
        do {
            var life = try StoreLife(files, seed: seed, book, through: disk, options: options)
            try acts(&life)
        } catch {
            // The fault that ended this life.
        }
        return book
    }

    /// Lives as a node does, which goes on after some errors; what ended it, if anything did.
    func endure(on files: MemoryFileSystem) -> (book: PromiseBook, end: (any Error)?) {
        let book = PromiseBook()
        do {
            var life = try StoreLife(files, seed: seed, book, endures: true, options: options)
            try acts(&life)
            return (book, nil)
        } catch {
            return (book, error)
        }
    }

    /// How many operations the whole script takes.
    var operations: Int {
        let files = MemoryFileSystem()
        live(on: files)
        return files.operations
    }

    /// How many of them change what a power cut leaves.
    var changes: Int {
        let files = MemoryFileSystem()
        live(on: files)
        return files.changes
    }

    /// A moment at which the power may fail.
    private struct Moment {
        let state: MemoryFileSystem
        let promise: StorePromise
        let what: String
    }

    /// Those before each change of one life, and its end.
    private func moments() -> (all: [Moment], oracle: CrashOracle) {
        let files = MemoryFileSystem()
        files.keepStates()
        let book = live(on: files)
        let all = files.keptStates.map { state in
            Moment(
                state: state, promise: book.promise(before: state.operations),
                what: "operation \(state.operations)")
        }
        return (all, CrashOracle(book.last.slices))
    }

    /// The power fails before each change, in each way that data and names are lost; how many
    /// disks were recovered.
    func cutEverywhere(_ random: inout RandomSource) throws -> Int {
        let (moments, oracle) = moments()
        var recoveries = 0
        for moment in moments {
            for data in MemoryFileSystem.DataLoss.allCases {
                for names in MemoryFileSystem.NameLoss.allCases {
                    let crashed = moment.state.crash(data: data, names: names, &random)
                    try oracle.check(
                        crashed, moment.promise, "\(moment.what), \(data), \(names)")
                    recoveries += 1
                }
            }
        }
        let end = try #require(moments.last)
        try oracle.check(end.state, end.promise, "the end", series: .max)
        return recoveries
    }

    /// The power fails before each change in some way, and once more at some operation of the
    /// start that follows; how many disks were recovered.
    func cutStartsEverywhere(_ random: inout RandomSource) throws -> Int {
        let (moments, oracle) = moments()
        for moment in moments {
            let crashed = moment.state.crash(&random)
            let whole = crashed.clone()
            let before = whole.operations
            _ = try Recovery.open(whole, options: StorageModel.options) { _, _ in }
            let inner = random.below(whole.operations - before)
            let second = crashed.clone()
            second.fail(at: second.operations + inner, with: .inputOutput, onward: true)
            do {
                _ = try Recovery.open(second, options: StorageModel.options) { _, _ in }
            } catch {
                // The power that failed in this start.
            }
            second.clearFaults()
            try oracle.check(
                second.crash(&random), moment.promise,
                "\(moment.what), then \(inner) of the start")
        }
        return moments.count
    }

    /// One operation fails, each in its turn, and the power fails after that life.
    func failEverywhere(
        with fault: MemoryFileSystem.Fault, _ random: inout RandomSource
    ) throws {
        for operation in 0..<operations {
            let files = MemoryFileSystem()
            files.fail(at: operation, with: fault)
            let book = live(on: files)
            files.clearFaults()
            try CrashOracle(book.last.slices).check(
                files.crash(&random), book.last, "operation \(operation), \(fault)")
        }
    }
}
