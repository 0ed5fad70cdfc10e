import Yams

/// A mapping of the file with the way to it, and the environment that overrides its scalars.
struct ConfigurationSection {
    let path: [String]
    let place: SettingPlace
    private let file: String
    private let environment: [String: String]
    private let entries: [Entry]

    private struct Entry {
        let name: String
        let line: Int
        let node: Yams.Node
    }

    /// The file's outermost mapping; an empty file is an empty one.
    init(
        yaml: String, file: String, environment: [String: String]
    ) throws(ConfigurationError) {
        let root: Yams.Node?
        do {
            root = try Yams.compose(yaml: yaml)
        } catch let error as YamlError {
            throw Self.error(error, file: file)
        } catch {
            throw .malformed(.line(1, file: file), reason: "\(error)")
        }
        try self.init(
            root ?? .mapping(Yams.Node.Mapping([])), path: [], line: 1, file: file,
            environment: environment)
    }

    private init(
        _ node: Yams.Node, path: [String], line: Int, file: String, environment: [String: String]
    ) throws(ConfigurationError) {
        self.path = path
        self.file = file
        self.environment = environment
        place = .line(line, file: file)
        guard case .mapping(let mapping) = node else {
            if path.isEmpty {
                throw .malformed(place, reason: "the file is no mapping of keys to values")
            }
            throw .badValue(
                key: path.joined(separator: "."), at: place,
                problem: "needs keys of its own", remedy: "write \(path.last ?? ""): {key: value}")
        }
        var entries: [Entry] = []
        for (key, value) in mapping {
            let line = key.mark?.line ?? line
            guard case .scalar(let scalar) = key else {
                throw .malformed(.line(line, file: file), reason: "a key is no word")
            }
            entries.append(Entry(name: scalar.string, line: line, node: value))
        }
        self.entries = entries
    }

    var names: [String] { entries.map(\.name) }

    func allowOnly(_ known: [String]) throws(ConfigurationError) {
        for entry in entries where !known.contains(entry.name) {
            throw .unknownKey(
                key(entry.name), at: .line(entry.line, file: file),
                nearest: NameDistance.closest(to: entry.name, among: known))
        }
    }

    /// A scalar, from the environment or the file; nil where neither has it.
    func setting(_ name: String) throws(ConfigurationError) -> Setting? {
        let variable = Self.variable(path + [name])
        if let text = environment[variable] {
            return Setting(key: key(name), text: text, place: .environment(variable))
        }
        guard let entry = entry(name) else { return nil }
        return try setting(entry.node, key: key(name), line: entry.line)
    }

    /// A mapping; nil where the file has none.
    func section(_ name: String) throws(ConfigurationError) -> ConfigurationSection? {
        guard let entry = entry(name) else { return nil }
        return try ConfigurationSection(
            entry.node, path: path + [name], line: entry.line, file: file, environment: environment)
    }

    /// A mapping, without entries where the file has none: the environment may have them.
    func sectionOrEmpty(_ name: String) throws(ConfigurationError) -> ConfigurationSection {
        if let section = try section(name) { return section }
        return try ConfigurationSection(
            .mapping(Yams.Node.Mapping([])), path: path + [name], line: 1, file: file,
            environment: environment)
    }

    /// Is there a mapping under this name, and no scalar in the environment that replaces it?
    func isSection(_ name: String) -> Bool {
        guard environment[Self.variable(path + [name])] == nil, let entry = entry(name) else {
            return false
        }
        if case .mapping = entry.node { return true }
        return false
    }

    func list(_ name: String) throws(ConfigurationError) -> [Setting]? {
        guard let entry = entry(name) else { return nil }
        guard case .sequence(let sequence) = entry.node else {
            throw .badValue(
                key: key(name), at: .line(entry.line, file: file), problem: "is no list",
                remedy: "write \(name): [a, b]")
        }
        var settings: [Setting] = []
        for node in sequence {
            settings.append(try setting(node, key: key(name), line: entry.line))
        }
        return settings
    }

    /// A list of mappings; nil where the file has none. They are named by numbers, from `first` on.
    func sections(
        _ name: String, from first: Int
    ) throws(ConfigurationError) -> [ConfigurationSection]? {
        guard let entry = entry(name) else { return nil }
        guard case .sequence(let sequence) = entry.node else {
            throw .badValue(
                key: key(name), at: .line(entry.line, file: file), problem: "is no list",
                remedy: "write \(name): and below it a line that begins with - for each entry")
        }
        var sections: [ConfigurationSection] = []
        for (index, node) in sequence.enumerated() {
            sections.append(
                try ConfigurationSection(
                    node, path: path + [name, "\(first + index)"],
                    line: node.mark?.line ?? entry.line, file: file, environment: environment))
        }
        return sections
    }

    func place(of name: String) -> SettingPlace {
        let variable = Self.variable(path + [name])
        if environment[variable] != nil { return .environment(variable) }
        return entry(name).map { .line($0.line, file: file) } ?? place
    }

    static func variable(_ path: [String]) -> String {
        let words = path.joined(separator: "_").uppercased()
        return "QUIPU_"
            + String(words.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
    }

    private func entry(_ name: String) -> Entry? {
        entries.first { $0.name == name }
    }

    private func key(_ name: String) -> String {
        (path + [name]).joined(separator: ".")
    }

    private func setting(
        _ node: Yams.Node, key: String, line: Int
    ) throws(ConfigurationError) -> Setting {
        let place = SettingPlace.line(node.mark?.line ?? line, file: file)
        guard case .scalar(let scalar) = node else {
            throw .badValue(
                key: key, at: place, problem: "needs a single value",
                remedy: "write \(key.split(separator: ".").last ?? ""): VALUE")
        }
        return Setting(key: key, text: scalar.string, place: place)
    }

    private static func error(_ error: YamlError, file: String) -> ConfigurationError {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return .malformed(.line(mark.line, file: file), reason: "not YAML, \(problem)")
        case .duplicatedKeysInMapping(let duplicates, let context):
            return .duplicateKey(
                duplicates.joined(separator: ", "), at: .line(context.mark.line, file: file))
        case .reader(let problem, let offset, _, let yaml):
            let line = yaml.prefix(offset ?? 0).count { $0.isNewline } + 1
            return .malformed(.line(line, file: file), reason: "not YAML, \(problem)")
        case .no, .memory, .writer, .emitter, .representer, .dataCouldNotBeDecoded:
            return .malformed(.line(1, file: file), reason: "not YAML, \(error)")
        }
    }
}
