import Foundation

/// Standard output and standard error.
enum Output {
    /// Bytes as they are, with a newline behind them unless they end with one.
    static func body(_ bytes: [UInt8]) {
        // What `print` left in its buffer comes first.
        fflush(nil)
        write(bytes.last == 0x0a ? bytes : bytes + [0x0a], to: STDOUT_FILENO)
    }

    /// A part of a body; `end` comes behind the last.
    static func part(_ bytes: [UInt8]) {
        fflush(nil)
        write(bytes, to: STDOUT_FILENO)
    }

    /// The newline behind a body that was written in parts.
    static func end() {
        write([0x0a], to: STDOUT_FILENO)
    }

    static func error(_ line: String) {
        write(Array((line + "\n").utf8), to: STDERR_FILENO)
    }

    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Columns of the terminal behind standard output, 80 where there is none.
    static var columns: Int {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 20 else {
            return 80
        }
        return Int(size.ws_col)
    }

    /// Text without a newline, for a line that is drawn again.
    static func progress(_ text: String) {
        write(Array(text.utf8), to: STDERR_FILENO)
    }

    /// Nobody is left to be told of a standard output or error that is closed.
    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes {
                Foundation.write(descriptor, $0.baseAddress, $0.count)
            }
            if count <= 0, errno != EINTR { return }
            written += max(0, count)
        }
    }
}
