internal import CFiles

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The system's calls that open a file, and those under an open one, as the system answers them: -1
/// and `errno`, or a number of bytes that may be less than asked for. Values, so that a test can
/// answer in the system's place: no disk gives an interrupted or a short call on demand.
package struct FileCalls: Sendable {
    package typealias Read =
        @Sendable (
            _ descriptor: Int32, _ buffer: UnsafeMutableRawPointer?, _ count: Int, _ offset: Int64
        ) -> Int
    package typealias Write =
        @Sendable (
            _ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int, _ offset: Int64
        ) -> Int
    package typealias Open =
        @Sendable (_ path: String, _ flags: Int32, _ permissions: UInt32) -> Int32
    package typealias Call = @Sendable (_ descriptor: Int32) -> Int32
    package typealias Resize = @Sendable (_ descriptor: Int32, _ size: Int64) -> Int32

    package var open: Open = { SystemCall.open($0, $1, permissions: mode_t($2)) }
    package var read: Read = { pread($0, $1, $2, off_t($3)) }
    package var write: Write = { pwrite($0, $1, $2, off_t($3)) }
    package var truncate: Resize = { ftruncate($0, off_t($1)) }
    /// Blocks up to a byte, beside the file's length.
    package var reserve: Resize = { quipu_reserve($0, $1) }
    /// A file's data and length; its times may lag behind.
    package var sync: Call = {
        #if canImport(Glibc)
            fdatasync($0)
        #else
            fcntl($0, F_FULLFSYNC)
        #endif
    }
    package var syncDirectory: Call = { fsync($0) }
    package var close: Call = { descriptor in
        #if canImport(Glibc)
            Glibc.close(descriptor)
        #else
            Darwin.close(descriptor)
        #endif
    }

    package init() {}
}
