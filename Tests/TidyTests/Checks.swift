import Foundation

/// What is wrong where.
struct Violation: Equatable, CustomStringConvertible {
    let rule: String
    let file: String
    let line: Int
    let message: String

    var description: String { "\(file):\(line): \(rule): \(message)" }
}

/// The rules that a formatter cannot check.
enum Checks {
    static let lineMax = 100
    static let fileMax = 600
    static let functionMax = 70

    static func all(_ repository: Repository) -> [Violation] {
        repository.files.flatMap { file in
            var found = text(file) + links(file, in: repository)
            if file.isSwift {
                let swift = SwiftText(file.text)
                found += imports(file, swift) + words(file, swift) + shape(file, swift)
                found += names(file, swift)
            }
            return found
        }
    }

    // MARK: Imports

    static func imports(_ file: SourceFile, _ swift: SwiftText) -> [Violation] {
        guard let module = file.module else { return [] }
        guard let room = House.rooms[module] else {
            let message = "module \(module) has no place in the house: list it in House.swift"
            return [Violation(rule: "imports", file: file.path, line: 1, message: message)]
        }
        var found: [Violation] = []
        for (index, line) in swift.lines.enumerated() {
            guard let imported = importedModule(line) else { continue }
            let isOurs = House.everything.contains(imported)
            let isAllowed =
                isOurs
                ? room.ours.contains(imported)
                : !room.isPure || room.theirs.contains(imported)
                    || module != "Core" && House.pureLibraries.contains(imported)
            if isAllowed { continue }
            let message =
                isOurs
                ? "\(module) must not import \(imported): an arrow never points up"
                : "\(module) is pure and must not import \(imported): leave it to the shell"
            found.append(
                Violation(rule: "imports", file: file.path, line: index + 1, message: message))
        }
        return found
    }

    /// The module of a line like `package import struct Foundation.Date`.
    private static func importedModule(_ line: Substring) -> String? {
        let words = line.split(separator: " ")
        guard let place = words.firstIndex(of: "import") else { return nil }
        let modifiers: Set<Substring> = ["package", "public", "internal", "private", "fileprivate"]
        guard words[..<place].allSatisfy({ modifiers.contains($0) || $0.hasPrefix("@") }) else {
            return nil
        }
        let kinds: Set<Substring> = [
            "struct", "enum", "class", "func", "protocol", "typealias", "var",
        ]
        guard let name = words[(place + 1)...].first(where: { !kinds.contains($0) }) else {
            return nil
        }
        return String(name.prefix { $0 != "." })
    }

    // MARK: Words

    static func words(_ file: SourceFile, _ swift: SwiftText) -> [Violation] {
        var found: [Violation] = []
        for banned in BannedWord.all where applies(banned.scope, to: file) {
            for (index, line) in swift.lines.enumerated() where contains(line, banned.word) {
                let message = "`\(banned.word)` is not allowed here: \(banned.instead)"
                found.append(
                    Violation(rule: "words", file: file.path, line: index + 1, message: message))
            }
        }
        return found
    }

    private static func applies(_ scope: BannedWord.Scope, to file: SourceFile) -> Bool {
        switch scope {
        case .pureModules: file.isPure
        case .sources: file.module != nil || file.isFuzz
        case .sourcesAndTests:
            file.module != nil || file.isFuzz || file.path.hasPrefix("Tests/")
        }
    }

    /// Whether the word stands in the line, and not as a part of a longer one.
    static func contains(_ line: some StringProtocol, _ word: String) -> Bool {
        let bytes = Array(line.utf8)
        let wanted = Array(word.utf8)
        guard let first = wanted.first, let last = wanted.last, bytes.count >= wanted.count else {
            return false
        }
        return (0...bytes.count - wanted.count).contains { start in
            guard bytes[start...].starts(with: wanted) else { return false }
            let end = start + wanted.count
            let isBegun = start > 0 && isWordByte(first) && isWordByte(bytes[start - 1])
            let goesOn = end < bytes.count && isWordByte(last) && isWordByte(bytes[end])
            return !isBegun && !goesOn
        }
    }

    // MARK: Shape

    static func shape(_ file: SourceFile, _ swift: SwiftText) -> [Violation] {
        var found: [Violation] = []
        let lineCount = file.text.hasSuffix("\n") ? file.lines.count - 1 : file.lines.count
        if lineCount > fileMax {
            let message = "\(lineCount) lines are more than \(fileMax): split by topic"
            found.append(Violation(rule: "shape", file: file.path, line: 1, message: message))
        }
        for (index, line) in file.lines.enumerated() where line.count > lineMax {
            let message = "\(line.count) columns are more than \(lineMax)"
            found.append(
                Violation(rule: "shape", file: file.path, line: index + 1, message: message))
        }
        for function in swift.functions where function.lineCount > functionMax {
            let message =
                "\(function.name) has \(function.lineCount) lines, more than \(functionMax)"
            found.append(
                Violation(rule: "shape", file: file.path, line: function.line, message: message))
        }
        return found
    }

    // MARK: Names

    private static let vagueFolders: Set<Substring> = [
        "Utils", "Utilities", "Helpers", "Common", "Manager", "Managers", "Impl", "Misc", "Shared",
    ]

    /// The product's API, and the command line, whose arguments conform to a public protocol.
    private static let publicModules: Set<String> = ["Client", "Commands"]

    static func names(_ file: SourceFile, _ swift: SwiftText) -> [Violation] {
        guard let module = file.module else { return [] }
        var found: [Violation] = []
        for folder in file.path.split(separator: "/").dropLast() where vagueFolders.contains(folder)
        {
            let message = "folder \(folder) names no idea: use a noun of the domain"
            found.append(Violation(rule: "names", file: file.path, line: 1, message: message))
        }
        let kinds = ["struct", "enum", "class", "actor", "protocol", "typealias"]
        for (index, line) in swift.lines.enumerated() {
            if kinds.contains(where: { contains(line, "\($0) \(module)") }) {
                let message = "a type must not bear its module's name"
                found.append(
                    Violation(rule: "names", file: file.path, line: index + 1, message: message))
            }
            if !publicModules.contains(module) && contains(line, "public")
                && !line.contains("import")
            {
                let message = "`public` is for the client's product: use `package`"
                found.append(
                    Violation(rule: "names", file: file.path, line: index + 1, message: message))
            }
        }
        return found
    }

    // MARK: Text

    /// Put together here, so that this file does not contain what it looks for.
    static let promises = ["TO" + "DO", "FIX" + "ME", "XX" + "X"]
    static let homes = ["work", "home", "root", "Users"].map { "/" + $0 + "/" }

    static func text(_ file: SourceFile) -> [Violation] {
        var found: [Violation] = []
        func add(_ line: Int, _ message: String) {
            found.append(Violation(rule: "text", file: file.path, line: line + 1, message: message))
        }
        for (index, line) in file.lines.enumerated() {
            for promise in promises where contains(line, promise) {
                add(index, "\(promise) is a promise: do it, or write it down as an issue")
            }
            for home in homes where namesPath(line, home) {
                add(index, "\(home)… is a path of one machine: name it relatively")
            }
            if line.contains("\t") { add(index, "a tab: indent with spaces") }
            if line.last == " " || line.last == "\r" { add(index, "white space at the end") }
        }
        if !file.text.isEmpty && !file.text.hasSuffix("\n") {
            add(file.lines.count - 1, "the last line has no end")
        }
        return found
    }

    /// Whether an absolute path below `home` stands in the line; `site.org/home/page` is none.
    private static func namesPath(_ line: Substring, _ home: String) -> Bool {
        let bytes = Array(line.utf8)
        let wanted = Array(home.utf8)
        guard bytes.count > wanted.count else { return false }
        return (0..<bytes.count - wanted.count).contains { start in
            guard bytes[start...].starts(with: wanted) else { return false }
            let before = start > 0 ? bytes[start - 1] : UInt8(ascii: " ")
            let isAbsolute = !isWordByte(before) && !"./-~*}".utf8.contains(before)
            return isAbsolute && isWordByte(bytes[start + wanted.count])
        }
    }

    // MARK: Links

    static func links(_ file: SourceFile, in repository: Repository) -> [Violation] {
        guard file.isMarkdown else { return [] }
        let folder = file.path.split(separator: "/").dropLast().map(String.init)
        var found: [Violation] = []
        var isFenced = false
        for (index, line) in file.lines.enumerated() {
            if line.drop(while: { $0 == " " }).hasPrefix("```") { isFenced.toggle() }
            if isFenced { continue }
            for target in linkTargets(line) where !resolves(target, folder, repository) {
                let message = "the link to \(target) leads nowhere"
                found.append(
                    Violation(rule: "links", file: file.path, line: index + 1, message: message))
            }
        }
        return found
    }

    /// What stands in parentheses after a bracket, outside of code, unless it leads out of the
    /// house.
    private static func linkTargets(_ line: Substring) -> [String] {
        let prose = line.split(separator: "`", omittingEmptySubsequences: false).enumerated()
            .map { $0.offset.isMultiple(of: 2) ? String($0.element) : "code" }.joined()
        return prose.components(separatedBy: "](").dropFirst().compactMap { rest in
            let target = rest.prefix { $0 != ")" && $0 != " " && $0 != "#" }
            let isOutside = target.contains("://") || target.hasPrefix("mailto:")
            return target.isEmpty || isOutside ? nil : String(target)
        }
    }

    private static func resolves(
        _ target: String, _ folder: [String], _ repository: Repository
    ) -> Bool {
        var parts = target.hasPrefix("/") ? [] : folder
        for part in target.split(separator: "/") {
            switch part {
            case ".": continue
            case "..":
                if parts.isEmpty { return false }
                parts.removeLast()
            default: parts.append(String(part))
            }
        }
        return parts.isEmpty || repository.paths.contains(parts.joined(separator: "/"))
    }
}
