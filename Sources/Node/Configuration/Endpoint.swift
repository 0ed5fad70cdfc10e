/// `host:port`, the host a name, an IPv4 address or an IPv6 address in brackets.
package struct Endpoint: Hashable, Sendable, CustomStringConvertible {
    package var host: String
    package var port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Nil for anything else, also for port 0.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard digits.allSatisfy({ $0.isASCII && $0.isNumber }), let port = Int(digits),
            (1...65_535).contains(port)
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("[") && host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard host.contains(":") else { return nil }
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, host.allSatisfy({ !$0.isWhitespace && $0 != "/" && $0 != "@" })
        else { return nil }
        self.init(host: String(host), port: port)
    }

    package var description: String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Reached by this machine alone.
    package var isLoopback: Bool {
        host == "localhost" || host == "::1" || isIPv4Loopback
    }

    /// All addresses of the machine: fine to listen on, nothing that others could dial.
    package var isWildcard: Bool { host == "0.0.0.0" || host == "::" }

    /// Two listeners that cannot both have what they ask for.
    package func collides(with other: Endpoint) -> Bool {
        port == other.port
            && (host == other.host || isWildcard || other.isWildcard
                || isLocalhost && other.isLocalhost)
    }

    private var isLocalhost: Bool { host == "localhost" || host == "127.0.0.1" }

    private var isIPv4Loopback: Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
