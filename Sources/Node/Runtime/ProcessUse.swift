internal import Foundation
internal import Glibc

/// What this process has of the machine, as Prometheus' client libraries name it, and its bound on
/// open files.
package struct ProcessUse: Hashable, Sendable {
    /// Files and sockets.
    package var openFiles: Int
    package var openFilesMax: Int
    package var residentBytes: Int

    /// nil where the system does not say.
    package static var now: ProcessUse? {
        do {
            let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
            let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
            let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) }
            guard let pages, let limit = openFilesLimit else { return nil }
            return ProcessUse(
                openFiles: open, openFilesMax: Int(clamping: limit.rlim_cur),
                residentBytes: pages * Int(getpagesize()))
        } catch {
            return nil
        }
    }

    /// Connections are open as long as they are there, files while they are used (`FileBounds`),
    /// and many systems give a process `openFilesUsual` until it asks for more.
    ///
    /// - Returns: what it may have open now; nil where the system does not say.
    package static func raiseOpenFilesMax() -> Int? {
        guard var limit = openFilesLimit else { return nil }
        let wanted = min(limit.rlim_max, rlim_t(openFilesWanted))
        if limit.rlim_cur < wanted {
            limit.rlim_cur = wanted
            _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
        return openFilesLimit.map { Int(clamping: $0.rlim_cur) }
    }

    package static let openFilesUsual = 1024
    /// All connections, and a table for each tier of each of 1,900 time buckets.
    static let openFilesWanted = 1 << 17
    /// Below, there is not room for all connections, nor for years of tables.
    package static let openFilesFew = 1 << 14

    static var openFilesLimit: rlimit? {
        var limit = rlimit()
        let isKnown = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
        return isKnown ? limit : nil
    }
}
