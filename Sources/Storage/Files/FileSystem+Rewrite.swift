import Core

extension FileSystem {
    /// Writes the bytes of an existing file anew and puts them in its place, durable with their
    /// name.
    ///
    /// After an fsync that failed, the kernel may go on to show bytes that are not on the disk, and
    /// take them for clean: to sync the file again would succeed and do nothing (Rebello et al.,
    /// "Can applications recover from fsync failures?", ATC 2020). So a start does not ask whether
    /// what it reads is on the disk; it puts it there, under another name first, since the blocks
    /// of the old file may be the ones that cannot be written.
    ///
    /// - Returns: the new file.
    @discardableResult
    package func rewrite(
        _ path: String, as draft: String, in directory: String, _ bytes: [UInt8]
    ) throws(StorageError) -> any StoredFile {
        let file = try open(draft, .replace)
        do throws(StorageError) {
            try file.write([bytes], at: 0)
            try file.sync()
        } catch {
            // The room that the draft takes may be what is missing. Whether it can be removed or
            // not, the first error is the one to tell.
            let first = error
            do throws(StorageError) { try remove(draft) } catch { throw first }
            throw first
        }
        try rename(draft, to: path)
        try syncDirectory(directory)
        return file
    }

    /// What comes of a draft while it is written. Where that fails the draft goes: the room that it
    /// takes may be what is missing, and what one left behind would stay until the next start. It
    /// stays where the process ends with the error. Whether it can be removed or not, the first
    /// error is the one to tell.
    func drafting<Value>(
        _ draft: String, _ body: () throws(StorageError) -> Value
    ) throws(StorageError) -> Value {
        do throws(StorageError) {
            return try body()
        } catch {
            let first = error
            guard !first.isFatal else { throw first }
            do throws(StorageError) { try remove(draft) } catch { throw first }
            throw first
        }
    }
}
