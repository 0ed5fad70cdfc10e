import Core
import Storage
import Testing

/// Files that are read again, from the first byte to the last.
@Suite("Verification")
struct VerificationTests {
    private static func verify(
        _ file: DataFile, in files: MemoryFileSystem
    ) throws -> [Damage] {
        let runner = StorageRunner(fileSystem: files, options: StorageModel.options)
        guard case .verified(let damage) = try runner.run(.verify([file])).get() else {
            throw TableTests.Unexpected()
        }
        return damage
    }

    @Test("what is found wrong must be found twice")
    func twice() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 31, slices: 20)
        let table = DataFile.table(tables[0])
        #expect(try Self.verify(table, in: files).isEmpty)
        files.misread(table.path, 1)
        #expect(try Self.verify(table, in: files).isEmpty)
        files.misread(table.path, 2)
        #expect(try Self.verify(table, in: files).count == 1)
        #expect(try Self.verify(table, in: files).isEmpty)
    }

    @Test("a sector that cannot be read is damage, and where it lies is said")
    func unreadable() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 31, slices: 20)
        let table = DataFile.table(tables[0])
        files.makeUnreadable(table.path, at: 0)
        let damage = try Self.verify(table, in: files)
        // Where the read began: a table is read from its end.
        #expect(damage.map(\.what).allSatisfy { $0.contains("damaged at byte ") })
        #expect(damage.count == 1)
    }

    @Test("a file that cannot be opened for now is not said to be damaged")
    func noDescriptor() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 31, slices: 20)
        files.fail(at: files.operations, with: .inputOutput)
        #expect {
            try Self.verify(.table(tables[0]), in: files)
        } throws: { error in
            if case .failed? = error as? StorageError { true } else { false }
        }
        #expect(try Self.verify(.table(tables[0]), in: files).isEmpty)
    }
}
