/// Why the configuration cannot be used, in one line: where, what, what to do.
package enum ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    case unreadable(file: String, reason: String)
    /// Not YAML, or not a mapping of keys to values.
    case malformed(SettingPlace, reason: String)
    case unknownKey(String, at: SettingPlace, nearest: String?)
    case duplicateKey(String, at: SettingPlace)
    case badValue(key: String, at: SettingPlace, problem: String, remedy: String)
    case missing(key: String, at: SettingPlace, remedy: String)
    case unknownNode(String, file: String, known: [String], nearest: String?)

    package var description: String {
        switch self {
        case .unreadable(let file, let reason):
            return "\(file): cannot be read (\(reason)): name an existing file with --config"
        case .malformed(let place, let reason):
            return "\(place): \(reason): correct the YAML of this line or the one before it"
        case .unknownKey(let key, let place, let nearest):
            let word = key.split(separator: ".").last.map(String.init) ?? key
            guard let nearest else { return "\(place): \(key): unknown key: remove it" }
            let remedy =
                NameDistance.isNear(word, nearest)
                ? "did you mean \(nearest)?" : "remove it; the nearest valid name is \(nearest)"
            return "\(place): \(key): unknown key: \(remedy)"
        case .duplicateKey(let key, let place):
            return "\(place): \(key): stands twice: remove one of them"
        case .badValue(let key, let place, let problem, let remedy):
            return "\(place): \(key): \(problem): \(remedy)"
        case .missing(let key, let place, let remedy):
            return "\(place): \(key): is missing: \(remedy)"
        case .unknownNode(let name, let file, let known, let nearest):
            let remedy = nearest.map { "did you mean \($0)?" } ?? "choose one of them"
            let names = known.joined(separator: ", ")
            return "\(file): --name \(name): no such node among \(names): \(remedy)"
        }
    }
}

/// Where a value was written.
package enum SettingPlace: Hashable, Sendable, CustomStringConvertible {
    case line(Int, file: String)
    case environment(String)

    package var description: String {
        switch self {
        case .line(let line, let file): "\(file):\(line)"
        case .environment(let name): "environment \(name)"
        }
    }
}

/// Which name was meant: the nearest by Levenshtein's distance, if it is near.
package enum NameDistance {
    package static func nearest(to name: String, among names: [String]) -> String? {
        closest(to: name, among: names).flatMap { isNear(name, $0) ? $0 : nil }
    }

    /// The nearest, however far it is; nil of none.
    package static func closest(to name: String, among names: [String]) -> String? {
        names.map { (distance(name.lowercased(), $0.lowercased()), $0) }.min { $0 < $1 }?.1
    }

    /// Whether one may be the other misspelt.
    static func isNear(_ name: String, _ other: String) -> Bool {
        distance(name.lowercased(), other.lowercased()) <= max(2, name.count / 3)
    }

    package static func distance(_ left: String, _ right: String) -> Int {
        let right = Array(right)
        var row = Array(0...right.count)
        for (above, letter) in left.enumerated() {
            var diagonal = row[0]
            row[0] = above + 1
            for column in right.indices {
                let cost = right[column] == letter ? diagonal : diagonal + 1
                diagonal = row[column + 1]
                row[column + 1] = min(cost, min(row[column], diagonal) + 1)
            }
        }
        return row[right.count]
    }
}
