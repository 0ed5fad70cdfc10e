import Storage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The system's calls as the files here need them: tried again when a signal came between, and
/// their failures as values.
enum SystemCall {
    /// Not for syncs nor for closing, which `DescriptorFile` tries once.
    static func retrying<Number: SignedInteger>(_ call: () -> Number) -> Number {
        while true {
            let result = call()
            if result != -1 || errno != EINTR { return result }
        }
    }

    /// Three of them need another name than the methods that call them.
    static func open(_ path: String, _ flags: Int32, permissions: mode_t) -> Int32 {
        #if canImport(Glibc)
            Glibc.open(path, flags, permissions)
        #else
            Darwin.open(path, flags, permissions)
        #endif
    }

    static func rename(_ path: String, _ target: String) -> Int32 {
        #if canImport(Glibc)
            Glibc.rename(path, target)
        #else
            Darwin.rename(path, target)
        #endif
    }

    static func link(_ path: String, _ target: String) -> Int32 {
        #if canImport(Glibc)
            Glibc.link(path, target)
        #else
            Darwin.link(path, target)
        #endif
    }

    /// What `errno`, or a code that was kept of it, says of an operation that failed.
    static func error(
        _ operation: String, _ path: String, code: Int32 = errno
    ) -> StorageError {
        switch code {
        case ENOENT: .notFound(path: path)
        case ENOSPC, EDQUOT: .diskFull(operation: operation, path: path)
        default: .failed(operation: operation, path: path, detail: message(code))
        }
    }

    /// What it says of a read that failed, also of the one that opening is.
    static func readError(
        _ path: String, at offset: UInt64, code: Int32 = errno
    ) -> StorageError {
        guard isUnreadable(code) else { return error("read", path, code: code) }
        return .damaged(
            path: path, offset: offset, what: "the disk cannot read it: \(message(code))")
    }

    /// The disk was asked and cannot say what it holds, or the file system found its own words for
    /// it wrong. All other codes are about the process, or the moment.
    static func isUnreadable(_ code: Int32) -> Bool {
        #if canImport(Glibc)
            code == EIO || code == EUCLEAN || code == EBADMSG
        #else
            code == EIO || code == EBADMSG
        #endif
    }

    static func message(_ code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        let status = buffer.withUnsafeMutableBufferPointer { buffer in
            describe(code, buffer.baseAddress, buffer.count)
        }
        guard status == 0 else { return "error \(code)" }
        let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func describe(
        _ code: Int32, _ buffer: UnsafeMutablePointer<CChar>?, _ count: Int
    ) -> Int32 {
        guard let buffer else { return -1 }
        return strerror_r(code, buffer, count)
    }
}
