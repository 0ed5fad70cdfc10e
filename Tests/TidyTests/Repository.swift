import Foundation

/// One text file, its path relative to the root of the repository.
struct SourceFile {
    let path: String
    let text: String
    let lines: [Substring]

    init(path: String, text: String) {
        self.path = path
        self.text = text
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    }

    var isSwift: Bool { path.hasSuffix(".swift") }
    var isMarkdown: Bool { path.hasSuffix(".md") }

    /// The module of a file under `Sources`.
    var module: String? {
        let parts = path.split(separator: "/")
        return parts.count > 2 && parts[0] == "Sources" ? String(parts[1]) : nil
    }

    /// Of the package that fuzzes: the sources that it shares with the house are links.
    var isFuzz: Bool { path.hasPrefix("Fuzz/") }

    var isPure: Bool {
        module.flatMap { House.rooms[$0] }?.isPure ?? false
    }
}

/// The files that are looked at, and which paths exist.
struct Repository {
    let files: [SourceFile]
    let paths: Set<String>

    init(files: [SourceFile], paths: Set<String> = []) {
        self.files = files
        self.paths = paths.union(files.map(\.path))
    }

    /// The repository that this file is part of.
    static func load(from file: String = #filePath) -> Repository {
        let root = URL(fileURLWithPath: file).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().path
        var reader = Reader(root: root)
        let tops = [
            "Sources", "Tests", "scripts", "docs", "Fuzz/Sources", "Examples/SendEvents/Sources",
        ]
        for top in tops { reader.walk(top) }
        for name in ["Fuzz/Package.swift", "Examples/SendEvents/Package.swift"] {
            reader.take(name)
        }
        // At the top may also lie what a run left behind; only what is written by hand counts.
        let written = [".md", ".swift", ".conf", ".yml"]
        for name in reader.names(in: "") where written.contains(where: name.hasSuffix) {
            reader.take(name)
        }
        return Repository(files: reader.files, paths: reader.paths)
    }

    private struct Reader {
        /// Larger files are data, not text that someone wrote.
        static let fileMax = 1 << 20

        let root: String
        var files: [SourceFile] = []
        var paths: Set<String> = []

        func names(in folder: String) -> [String] {
            do {
                return try FileManager.default.contentsOfDirectory(atPath: root + "/" + folder)
                    .filter { !$0.hasPrefix(".") && $0 != "Package.resolved" }.sorted()
            } catch {
                return []
            }
        }

        func isFolder(_ path: String) -> Bool {
            var isFolder: ObjCBool = false
            let exists = FileManager.default.fileExists(
                atPath: root + "/" + path, isDirectory: &isFolder)
            return exists && isFolder.boolValue
        }

        func isLink(_ path: String) -> Bool {
            do {
                let found = try FileManager.default.attributesOfItem(atPath: root + "/" + path)
                return found[.type] as? FileAttributeType == .typeSymbolicLink
            } catch {
                return false
            }
        }

        /// A link is there, and what it leads to is looked at in its own place.
        mutating func walk(_ folder: String) {
            paths.insert(folder)
            for name in names(in: folder) {
                let path = folder + "/" + name
                if isLink(path) {
                    paths.insert(path)
                } else if isFolder(path) {
                    walk(path)
                } else {
                    take(path)
                }
            }
        }

        mutating func take(_ path: String) {
            paths.insert(path)
            guard let data = FileManager.default.contents(atPath: root + "/" + path),
                data.count <= Self.fileMax, let text = String(data: data, encoding: .utf8)
            else { return }
            files.append(SourceFile(path: path, text: text))
        }
    }
}
