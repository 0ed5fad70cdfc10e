internal import Core
internal import Foundation
internal import Wire

/// The bytes of a file or of standard input (`-`) in pieces, gzip and LZ4 frames undone where the
/// first bytes say so. It holds two buffers and never more of the file.
package final class ByteSource {
    private static let bufferBytes = 1 << 20

    package let path: String
    /// Bytes read from the file, before compression is undone: what progress is measured by.
    package private(set) var bytesRead = 0

    /// What the file is, under any name; nil for a pipe or a device.
    package let identity: CutInput.Identity?

    package var isStandardInput: Bool { descriptor == STDIN_FILENO }

    private let descriptor: Int32
    private let input: UnsafeMutableRawBufferPointer
    private var output: UnsafeMutableRawBufferPointer?
    private var encoding: StreamEncoding?
    private var decoder: (any StreamDecoder)?
    /// What of `input` is read but not given out.
    private var unread = 0..<0
    private var isAtEnd = false
    private var isStarted = false

    package init(path: String) throws(FileFailure) {
        self.path = path == "-" ? "standard input" : path
        descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw FileFailure(
                path: path, reason: "cannot be opened: \(String(cString: strerror(errno)))")
        }
        var status = stat()
        let known = fstat(descriptor, &status) == 0
        let kind = status.st_mode & S_IFMT
        identity = known && path != "-" ? ByteSource.identity(status) : nil
        input = .allocate(byteCount: ByteSource.bufferBytes, alignment: 16)
        if known, kind == S_IFDIR {
            throw FileFailure(path: path, reason: "is a directory; name its files")
        }
    }

    private static func identity(_ status: stat) -> CutInput.Identity? {
        guard status.st_mode & S_IFMT == S_IFREG else { return nil }
        return CutInput.Identity(
            device: UInt64(truncatingIfNeeded: status.st_dev),
            inode: UInt64(truncatingIfNeeded: status.st_ino))
    }

    /// Of a file that is not opened; nil for pipes, devices and what is missing.
    package static func identity(ofFile path: String) -> CutInput.Identity? {
        var status = stat()
        return stat(path, &status) == 0 ? identity(status) : nil
    }

    /// The size of a file that can be known before it is read; nil for pipes and missing files.
    package static func size(ofFile path: String) -> Int? {
        var status = stat()
        guard path != "-", stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            return nil
        }
        return Int(status.st_size)
    }

    /// Why a file cannot be opened, found out without opening it; nil where nothing speaks against.
    package static func reasonNotToOpen(_ path: String) -> FileFailure? {
        guard path != "-", access(path, R_OK) != 0 else { return nil }
        return FileFailure(
            path: path, reason: "cannot be opened: \(String(cString: strerror(errno)))")
    }

    deinit {
        input.deallocate()
        output?.deallocate()
        if descriptor != STDIN_FILENO, descriptor >= 0 { close(descriptor) }
    }

    /// Whether `read` would return at once: bytes are there, or the end is. Waits for that at most
    /// so long.
    package func isReady(within wait: Duration) -> Bool {
        if !unread.isEmpty || isAtEnd { return true }
        var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        // An interrupted or failed poll says nothing: `read` will find out.
        return poll(&request, 1, Int32(clamping: wait.milliseconds)) != 0
    }

    /// The next bytes, valid until the next call; empty at the end.
    package func read() throws(FileFailure) -> UnsafeRawBufferPointer {
        if !isStarted { try begin() }
        guard let encoding, let decoder, let output else {
            if unread.isEmpty { try fill() }
            let bytes = UnsafeRawBufferPointer(rebasing: input[unread])
            unread = 0..<0
            return bytes
        }
        while true {
            if unread.isEmpty { try fill() }
            if unread.isEmpty {
                guard decoder.isComplete else {
                    throw FileFailure(
                        path: path,
                        reason: "the \(encoding) stream breaks off at byte \(bytesRead)")
                }
                return UnsafeRawBufferPointer(start: nil, count: 0)
            }
            do throws(StreamDamage) {
                let step = try decoder.step(
                    from: UnsafeRawBufferPointer(rebasing: input[unread]), to: output)
                unread = (unread.lowerBound + step.read)..<unread.upperBound
                if step.written > 0 {
                    return UnsafeRawBufferPointer(rebasing: output[..<step.written])
                }
            } catch {
                let place = bytesRead - unread.count
                throw FileFailure(
                    path: path, reason: "damaged \(encoding) near byte \(place): \(error.reason)")
            }
        }
    }

    /// Reads enough to know whether this is compressed.
    private func begin() throws(FileFailure) {
        isStarted = true
        while unread.count < 4, !isAtEnd { try fill() }
        guard let found = StreamEncoding.detect(input[unread]) else { return }
        encoding = found
        decoder = found.decoder()
        output = .allocate(byteCount: ByteSource.bufferBytes, alignment: 16)
    }

    /// Reads behind what is unread, which begins at 0 or is empty.
    private func fill() throws(FileFailure) {
        guard !isAtEnd else { return }
        let kept = unread.count
        while true {
            // Reads at most what is left of the buffer behind the bytes kept at its start.
            let count = Foundation.read(
                descriptor, input.baseAddress.map { $0 + kept }, input.count - kept)
            if count > 0 {
                bytesRead += count
                unread = 0..<(kept + count)
                return
            }
            if count == 0 {
                isAtEnd = true
                return
            }
            guard errno == EINTR else {
                throw FileFailure(
                    path: path,
                    reason: "cannot be read at byte \(bytesRead): "
                        + String(cString: strerror(errno)))
            }
        }
    }
}
