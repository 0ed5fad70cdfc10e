/// Arranges arguments so that keys and times may begin with a dash.
///
/// ArgumentParser takes every word with a dash for an option. So a relative time is joined to its
/// option (`--from -15m` becomes `--from=-15m`), and the words of a command that takes a key are
/// sorted: known options first, then `--`, then the rest in their order. A word with two dashes
/// that is no known option stays where ArgumentParser finds and names it, unless the command still
/// lacks a word: video ids begin with two dashes as well.
package enum ArgumentOrder {
    /// Options whose value may begin with a dash, in every command.
    private static let times: Set<String> = ["--from", "--to", "--created", "--at"]

    /// A command that takes words which may begin with a dash.
    private struct Command {
        let path: [String]
        /// How many words it takes.
        let words: Int
        /// Its options with a value, beside `--node`.
        let valued: Set<String>
    }

    private static let commands = [
        Command(
            path: ["query"], words: 2,
            valued: ["--from", "--to", "--step", "--by", "--consistency", "--format"]),
        Command(
            path: ["top"], words: 1,
            valued: ["--from", "--to", "-k", "--by", "--measure", "--consistency"]),
        Command(path: ["keys"], words: 1, valued: ["--prefix", "--limit", "--page"]),
        Command(path: ["endpoints"], words: 1, valued: ["--at"]),
        Command(path: ["batch"], words: 2, valued: ["--created"]),
        Command(path: ["dlq", "show"], words: 3, valued: []),
        Command(path: ["attributes", "get"], words: 1, valued: []),
    ]

    private static let flags: Set<String> = ["--json", "--help", "-h", "--version"]

    package static func arrange(_ arguments: [String]) -> [String] {
        let joined = joinTimes(arguments)
        guard let command = commands.first(where: { joined.starts(with: $0.path) }) else {
            return joined
        }
        return sort(joined, for: command)
    }

    private static func joinTimes(_ arguments: [String]) -> [String] {
        var result: [String] = []
        var index = 0
        while index < arguments.count {
            let word = arguments[index]
            if word == "--" {
                result.append(contentsOf: arguments[index...])
                break
            }
            if times.contains(word), index + 1 < arguments.count,
                isDashed(arguments[index + 1]), !arguments[index + 1].hasPrefix("--")
            {
                result.append("\(word)=\(arguments[index + 1])")
                index += 2
            } else {
                result.append(word)
                index += 1
            }
        }
        return result
    }

    private static func sort(_ arguments: [String], for command: Command) -> [String] {
        let valued = command.valued.union(["--node"])
        var options: [String] = []
        var words: [(position: Int, text: String)] = []
        var doubtful: [(position: Int, text: String)] = []
        var index = command.path.count
        while index < arguments.count {
            let word = arguments[index]
            let name = String(word.prefix { $0 != "=" })
            if word == "--" {
                words += arguments[(index + 1)...].enumerated().map {
                    (index + 1 + $0.offset, $0.element)
                }
                break
            }
            if flags.contains(word) || (valued.contains(name) && name != word) {
                options.append(word)
            } else if valued.contains(word) {
                let value = index + 1 < arguments.count ? arguments[index + 1] : nil
                if let value, !valued.contains(value), !flags.contains(value) {
                    options += word.hasPrefix("--") ? ["\(word)=\(value)"] : [word, value]
                    index += 1
                } else {
                    options.append(word)
                }
            } else if word.hasPrefix("--") {
                doubtful.append((index, word))
            } else {
                words.append((index, word))
            }
            index += 1
        }
        for word in doubtful {
            if words.count < command.words { words.append(word) } else { options.append(word.text) }
        }
        words.sort { $0.position < $1.position }
        return command.path + options + (words.isEmpty ? [] : ["--"] + words.map(\.text))
    }

    private static func isDashed(_ word: String) -> Bool {
        word.hasPrefix("-") && word.count > 1
    }
}
