import ArgumentParser
import Node

/// Arranges arguments so that keys and times may begin with a dash.
///
/// ArgumentParser takes every word with a dash for an option. So a relative time is joined to its
/// option (`--from -15m` becomes `--from=-15m`), and the words of a command that takes a key are
/// sorted: known options first, then `--`, then the rest in their order. A word with two dashes
/// that is no option of the command is a slip of the hand far more often than a key, and a slip
/// must not be counted as a key that nobody has: it is wrong usage. A key that begins with two
/// dashes, as some video ids do, stands behind `--`, where every word is one.
package enum ArgumentOrder {
    /// Options whose value may begin with a dash, in every command.
    private static let times: Set<String> = ["--from", "--to", "--created", "--at"]

    /// A command that takes words which may begin with a dash.
    private struct Command {
        let path: [String]
        /// Its options with a value, beside `--node`.
        let valued: Set<String>

        /// All its options.
        var options: Set<String> { valued.union(["--node"]).union(ArgumentOrder.flags) }
    }

    private static let commands = [
        Command(
            path: ["query"],
            valued: ["--from", "--to", "--step", "--by", "--consistency", "--format"]),
        Command(
            path: ["top"],
            valued: ["--from", "--to", "-k", "--by", "--measure", "--consistency"]),
        Command(path: ["keys"], valued: ["--prefix", "--limit", "--page"]),
        Command(path: ["endpoints"], valued: ["--at"]),
        Command(path: ["batch"], valued: ["--created"]),
        Command(path: ["dlq", "show"], valued: []),
        Command(path: ["attributes", "get"], valued: []),
        Command(path: ["attributes", "delete"], valued: []),
    ]

    private static let flags: Set<String> = ["--json", "--help", "-h", "--version"]

    /// Throws what ArgumentParser throws for wrong usage.
    package static func arrange(_ arguments: [String]) throws -> [String] {
        let joined = joinTimes(arguments)
        guard let command = commands.first(where: { joined.starts(with: $0.path) }) else {
            return joined
        }
        return try sort(joined, for: command)
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

    private static func sort(_ arguments: [String], for command: Command) throws -> [String] {
        let known = command.options
        let valued = known.subtracting(flags)
        var options: [String] = []
        var words: [String] = []
        var index = command.path.count
        while index < arguments.count {
            let word = arguments[index]
            let name = String(word.prefix { $0 != "=" })
            index += 1
            if word == "--" {
                words += arguments[index...]
                break
            }
            if flags.contains(word) || (valued.contains(name) && name != word) {
                options.append(word)
            } else if valued.contains(word) {
                // Without a value ArgumentParser says that it lacks.
                guard index < arguments.count, arguments[index] != "--",
                    !known.contains(String(arguments[index].prefix { $0 != "=" }))
                else {
                    options.append(word)
                    continue
                }
                let value = arguments[index]
                index += 1
                if value.hasPrefix("--") { throw unknown(value, of: command, behind: word) }
                options += word.hasPrefix("--") ? ["\(word)=\(value)"] : [word, value]
            } else if word.hasPrefix("--") {
                throw unknown(word, of: command, behind: nil)
            } else {
                words.append(word)
            }
        }
        return command.path + options + (words.isEmpty ? [] : ["--"] + words)
    }

    /// - Parameter option: stands before the word and takes a value.
    private static func unknown(
        _ word: String, of command: Command, behind option: String?
    ) -> ValidationError {
        let name = String(word.prefix { $0 != "=" }.drop { $0 == "-" })
        let names = command.options.filter { $0.hasPrefix("--") }.map { String($0.dropFirst(2)) }
        // Of two letters any other two are near.
        let nearest = NameDistance.nearest(to: name, among: names).flatMap {
            NameDistance.distance(name.lowercased(), $0) < name.count ? $0 : nil
        }
        let hint = nearest.map { ", did you mean --\($0)?" } ?? ""
        let remedy =
            option.map { "a value that begins with two dashes is joined: \($0)=\(word)" }
            ?? "a type or key that begins with two dashes stands behind '--'"
        let path = command.path.joined(separator: " ")
        return ValidationError("'quipu \(path)' has no option \(word)\(hint); \(remedy)")
    }

    private static func isDashed(_ word: String) -> Bool {
        word.hasPrefix("-") && word.count > 1
    }
}
