import Core
import Foundation
import Node
import Storage
import Synchronization
import Testing

/// What the files do when the system does less than it was asked for, or a signal comes between.
@Suite struct FileCallTests {
    enum Answer {
        /// The real call, for so many bytes at most.
        case atMost(Int)
        case zero
        case failed(Int32)
    }

    /// The system's calls, of which the first answers are scripted and the others real.
    final class ScriptedCalls: Sendable {
        struct Transfer: Equatable {
            var offset: Int64
            var count: Int
        }

        struct State {
            var script: [Answer]
            var transfers: [Transfer] = []
            var syncs = 0
            var closes = 0
        }

        private let state: Mutex<State>

        init(_ script: [Answer] = []) {
            state = Mutex(State(script: script))
        }

        var transfers: [Transfer] { state.withLock { $0.transfers } }
        var syncs: Int { state.withLock { $0.syncs } }
        var closes: Int { state.withLock { $0.closes } }

        private func transfer(_ offset: Int64, _ count: Int, _ real: (Int) -> Int) -> Int {
            let answer = state.withLock { state in
                state.transfers.append(Transfer(offset: offset, count: count))
                return state.script.isEmpty ? .atMost(count) : state.script.removeFirst()
            }
            switch answer {
            case .atMost(let most): return real(min(most, count))
            case .zero: return 0
            case .failed(let code):
                errno = code
                return -1
            }
        }

        /// The code of a call that the script fails.
        private func refusal() -> Int32? {
            state.withLock { state in
                guard case .failed(let code)? = state.script.first else { return nil }
                state.script.removeFirst()
                return code
            }
        }

        var calls: FileCalls {
            let real = FileCalls()
            var calls = FileCalls()
            calls.read = { descriptor, buffer, count, offset in
                self.transfer(offset, count) { real.read(descriptor, buffer, $0, offset) }
            }
            calls.write = { descriptor, bytes, count, offset in
                self.transfer(offset, count) { real.write(descriptor, bytes, $0, offset) }
            }
            let sync: FileCalls.Call = { descriptor in
                self.state.withLock { $0.syncs += 1 }
                guard let code = self.refusal() else { return real.sync(descriptor) }
                errno = code
                return -1
            }
            calls.sync = sync
            calls.syncDirectory = sync
            calls.close = { descriptor in
                self.state.withLock { $0.closes += 1 }
                let result = real.close(descriptor)
                guard let code = self.refusal() else { return result }
                errno = code
                return -1
            }
            return calls
        }
    }

    private static let bytes = (0..<40).map { UInt8($0) }

    /// A file of 40 bytes under scripted calls, in a directory that goes with the scratch.
    private static func file(
        _ calls: ScriptedCalls, in scratch: DirectoryFileSystemTests.Scratch
    ) throws -> any StoredFile {
        try DirectoryFileSystem(root: scratch.path).open("a", .replace).write([bytes], at: 0)
        return try DirectoryFileSystem(root: scratch.path, calls: calls.calls).open("a", .write)
    }

    private static func contents(_ scratch: DirectoryFileSystemTests.Scratch) throws -> [UInt8] {
        try DirectoryFileSystem(root: scratch.path).readAll("a")
    }

    @Test("an interrupted write is tried again, and a short one goes on where it stopped")
    func shortWrites() throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let calls = ScriptedCalls([
            .failed(EINTR), .atMost(3), .failed(EINTR), .failed(EINTR), .atMost(1),
        ])
        let file = try Self.file(calls, in: scratch)
        try file.write([[101, 102, 103], [104, 105], [106]], at: 10)
        #expect(
            calls.transfers.map(\.offset) == [10, 10, 13, 13, 13, 14]
                && calls.transfers.map(\.count) == [6, 6, 3, 3, 3, 2])
        let expected = Self.bytes[0..<10] + [101, 102, 103, 104, 105, 106] + Self.bytes[16...]
        #expect(try Self.contents(scratch) == Array(expected))
    }

    @Test("a large piece is written from where it lies, short calls and all")
    func largeWrites() throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let calls = ScriptedCalls(
            (0..<40).flatMap { [.atMost(50_000 + $0 * 7), .failed(EINTR)] })
        let file = try Self.file(calls, in: scratch)
        let large = (0..<3 << 20).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 5) }
        try file.write([[1, 2, 3], large, [4]], at: 0)
        #expect(calls.transfers.count > 80)
        #expect(try Self.contents(scratch) == [1, 2, 3] + large + [4])
    }

    @Test("an interrupted read is tried again, and a short one goes on where it stopped")
    func shortReads() throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let calls = ScriptedCalls([.failed(EINTR), .atMost(5), .failed(EINTR), .atMost(1)])
        let file = try Self.file(calls, in: scratch)
        #expect(try file.read(at: 20, count: 12) == Array(Self.bytes[20..<32]))
        #expect(
            calls.transfers.map(\.offset) == [20, 20, 25, 25, 26]
                && calls.transfers.map(\.count) == [12, 12, 7, 7, 6])
    }

    @Test("a read of no bytes is the end of the file, and is not asked again")
    func endOfFile() throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let calls = ScriptedCalls([.atMost(5), .zero])
        let file = try Self.file(calls, in: scratch)
        #expect(try file.read(at: 0, count: 12) == Array(Self.bytes[0..<5]))
        #expect(calls.transfers.count == 2)
    }

    @Test("a write of no bytes is an error that names no older one, and is not tried for ever")
    func nothingWritten() throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let calls = ScriptedCalls([.atMost(2), .zero])
        let file = try Self.file(calls, in: scratch)
        errno = ENOSPC
        #expect(
            throws: StorageError.failed(
                operation: "write", path: file.path, detail: "not a byte was taken")
        ) {
            try file.write([[7, 7, 7, 7]], at: 0)
        }
        #expect(calls.transfers.count == 2)
    }

    @Test("a read or a write that fails is not tried again, also after a part of it")
    func failures() throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let calls = ScriptedCalls([
            .atMost(2), .failed(ENOMEM), .atMost(2), .failed(ENOSPC), .failed(EIO),
        ])
        let file = try Self.file(calls, in: scratch)
        #expect(throws: StorageError.self) { try file.read(at: 0, count: 9) }
        #expect(calls.transfers.count == 2)
        #expect(throws: StorageError.diskFull(operation: "write", path: file.path)) {
            try file.write([[7, 7, 7, 7]], at: 0)
        }
        #expect(calls.transfers.count == 4)
        #expect(throws: StorageError.self) { try file.write([[7]], at: 0) }
        #expect(calls.transfers.count == 5)
        #expect(try file.read(at: 0, count: 3) == [7, 7, 2])
    }

    @Test("what the disk cannot read is asked for once more", arguments: [EIO, EBADMSG])
    func readAgain(code: Int32) throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let calls = ScriptedCalls([.atMost(2), .failed(code), .atMost(7)])
        let file = try Self.file(calls, in: scratch)
        #expect(try file.read(at: 20, count: 9) == Array(Self.bytes[20..<29]))
        #expect(calls.transfers.map(\.offset) == [20, 22, 22])
    }

    private static func place(ofDamage error: any Error) -> UInt64? {
        guard case .damaged(_, let offset, _)? = error as? StorageError else { return nil }
        return offset
    }

    @Test("what it cannot read twice is damage, and where it begins is known")
    func unreadable() throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let calls = ScriptedCalls([.atMost(2), .failed(EIO), .failed(EIO)])
        let file = try Self.file(calls, in: scratch)
        #expect { try file.read(at: 20, count: 9) } throws: { Self.place(ofDamage: $0) == 22 }
        #expect(calls.transfers.count == 3)
        #expect(try file.read(at: 20, count: 9) == Array(Self.bytes[20..<29]))
    }

    @Test("no damage is what the process lacks, nor what a cold disk cannot read")
    func noDamage() throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let lacking = ScriptedCalls([.failed(ENOMEM), .failed(EACCES)])
        let file = try Self.file(lacking, in: scratch)
        for _ in 0..<2 {
            #expect { try file.read(at: 0, count: 9) } throws: { error in
                if case .failed? = error as? StorageError { true } else { false }
            }
        }
        let files = DirectoryFileSystem(root: scratch.path)
        try files.createDirectory(FileNames.coldDirectory)
        let path = FileNames.table(1, .cold)
        try files.open(path, .replace).write([Self.bytes], at: 0)
        let failing = ScriptedCalls([.failed(EIO), .failed(EIO)])
        let cold = try DirectoryFileSystem(root: scratch.path, calls: failing.calls)
            .open(path, .read)
        #expect { try cold.read(at: 0, count: 9) } throws: { error in
            if case .failed? = error as? StorageError { true } else { false }
        }
    }

    private final class Sizes: Sendable {
        private let state = Mutex<[Int64]>([])

        var all: [Int64] { state.withLock { $0 } }

        func note(_ size: Int64) { state.withLock { $0.append(size) } }
    }

    @Test("room for the log is asked for in steps within a file, and the rest of it given back")
    func logRoom() throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let (asked, cut) = (Sizes(), Sizes())
        var calls = FileCalls()
        calls.reserve = { _, size in
            asked.note(size)
            // Nothing rests on it.
            errno = EOPNOTSUPP
            return -1
        }
        calls.truncate = { descriptor, size in
            cut.note(size)
            return ftruncate(descriptor, off_t(size))
        }
        let files = DirectoryFileSystem(root: scratch.path, calls: calls)
        try files.createDirectory(FileNames.logDirectory)
        let options = StorageOptions(
            digestKey: SipKey(low: 1, high: 2), logFileMax: 20 << 20)
        var cursor = LogCursor(options: options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        let payload = [UInt8](repeating: 7, count: 3 << 20)
        for _ in 0..<8 { try writer.append([cursor.append(kind: 1, payload: payload)]) }
        try writer.sync()
        // Six records are in the first file, two in the second.
        #expect(asked.all.map { $0 >> 20 } == [8, 16, 20, 8])
        let size = try files.open(FileNames.log(1), .read).size()
        #expect(size > 18 << 20 && cut.all == [Int64(size)])
    }

    @Test("room that is asked for, had or not, is no part of the file")
    func room() throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let file = try Self.file(ScriptedCalls(), in: scratch)
        file.reserve(through: 1 << 20)
        #expect(try file.size() == 40)
        file.releaseReserve()
        #expect(try Self.contents(scratch) == Self.bytes)
    }

    @Test("a sync is tried once, also where a signal came between", arguments: [EINTR, EIO])
    func syncs(code: Int32) throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let calls = ScriptedCalls([.failed(code), .failed(code)])
        let file = try Self.file(calls, in: scratch)
        let files = DirectoryFileSystem(root: scratch.path, calls: calls.calls)
        func isSyncFailure(_ error: any Error) -> Bool {
            guard case .syncFailed? = error as? StorageError else { return false }
            return true
        }
        #expect { try file.sync() } throws: { isSyncFailure($0) }
        #expect(calls.syncs == 1)
        #expect { try files.syncDirectory(".") } throws: { isSyncFailure($0) }
        #expect(calls.syncs == 2)
        try file.sync()
        try files.syncDirectory(".")
        #expect(calls.syncs == 4)
    }

    @Test("a descriptor is closed once, with the last reference, whatever the system answers")
    func closes() throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let calls = ScriptedCalls([.failed(EINTR)])
        do {
            let file = try Self.file(calls, in: scratch)
            #expect(calls.closes == 0)
            withExtendedLifetime(file) {}
        }
        #expect(calls.closes == 1)
        try DirectoryFileSystem(root: scratch.path, calls: calls.calls).syncDirectory(".")
        #expect(calls.closes == 2)
    }
}
