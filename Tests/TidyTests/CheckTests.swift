import Testing

/// The checks against samples that they must refuse, and against what looks alike and is right.
@Suite struct CheckTests {
    private static func found(
        _ text: String, in path: String = "Sources/Ring/Arc.swift", paths: Set<String> = []
    ) -> [String] {
        let file = SourceFile(path: path, text: text)
        return Checks.all(Repository(files: [file], paths: paths)).map { "\($0.line) \($0.rule)" }
    }

    @Test(
        "forbidden imports are found",
        arguments: [
            ("Ring", "import Gossip"), ("Core", "package import Ring"),
            ("Core", "import HeapModule"),
            ("Storage", "import Foundation"), ("Ring", "import struct Foundation.Date"),
            ("Gossip", "import NIOCore"), ("Simulator", "import Node"),
            ("NodeCore", "import Catalog"),
            ("Client", "import Storage"), ("Catalog", "import NodeCore"), ("Attic", "import Core"),
            ("Wire", "@preconcurrency import Dispatch"), ("Node", "internal import Client"),
        ])
    func badImports(module: String, line: String) {
        #expect(Self.found(line + "\n", in: "Sources/\(module)/File.swift") == ["1 imports"])
    }

    @Test(
        "imports that the house allows pass",
        arguments: [
            ("Ring", "package import Core"), ("Ingest", "import Wire"),
            ("Storage", "import HeapModule"),
            ("Node", "import NIOCore"), ("Simulator", "import NodeCore"),
            ("Catalog", "import GRDB"),
            ("Ring", "// import Foundation"), ("Ring", "let text = \"import Foundation\""),
            ("Commands", "import ArgumentParser"), ("quipu", "import Commands"),
            ("Core", "let important = 1"),
        ])
    func goodImports(module: String, line: String) {
        #expect(Self.found(line + "\n", in: "Sources/\(module)/File.swift") == [])
    }

    @Test("every banned word is found in code, and neither in comments, strings nor longer words")
    func words() {
        for banned in BannedWord.all {
            let word = banned.word
            #expect(Self.found("let a = b \(word)\n").contains("1 words"), "\(word)")
            #expect(Self.found("// \(word)\n/* \(word) */ let a = \"\(word)\"\n") == [], "\(word)")
            #expect(Self.found("let a = \"\"\"\n    \(word)\n    \"\"\"\n") == [], "\(word)")
        }
        #expect(Self.found("let a = upDate(b) + asyncTask + isTask.b + _print(c)\n") == [])
        let shell = Self.found("let a = await b\nlet c = try? d\n", in: "Sources/Node/Shell.swift")
        #expect(shell == ["2 words"])
        let test = Self.found("let a = await b\nlet c = d as! E\n", in: "Tests/RingTests/T.swift")
        #expect(test == ["2 words"])
        let fuzz = Self.found("let a = await b\nlet c = try? d\n", in: "Fuzz/Sources/fuzz/A.swift")
        #expect(fuzz == ["2 words"])
        let message = Checks.words(
            SourceFile(path: "Sources/Ring/A.swift", text: ""), SwiftText("let a = Date()")
        ).map(\.message)
        #expect(message == ["`Date(` is not allowed here: take `Now` as an input"])
    }

    @Test("promises, tabs, white space at line ends and paths of one machine are found in any file")
    func text() {
        for promise in Checks.promises {
            #expect(Self.found("a\n# \(promise): later\n", in: "scripts/a.sh") == ["2 text"])
            #expect(Self.found("a \(promise.lowercased()) \(promise)S\n", in: "docs/a.txt") == [])
        }
        for home in Checks.homes {
            #expect(Self.found("cd \(home)me/x\n", in: "scripts/a.sh") == ["1 text"])
            #expect(Self.found("`\(home)me`\n", in: "docs/a.md") == ["1 text"])
            #expect(Self.found("GET \(home) HTTP\n", in: "docs/a.md") == [])
            #expect(Self.found("https://a.org\(home)me and .\(home)me\n", in: "docs/a.md") == [])
        }
        #expect(Self.found("\ta\n", in: "docs/a.md") == ["1 text"])
        #expect(Self.found("a \nb\r\n", in: "docs/a.md") == ["1 text", "2 text"])
        #expect(Self.found("a", in: "docs/a.md") == ["1 text"])
    }

    @Test("files, lines and functions that are too long are found, and the longest allowed are not")
    func shape() {
        let line = "let a = 1\n"
        #expect(Self.found(String(repeating: line, count: Checks.fileMax)) == [])
        #expect(Self.found(String(repeating: line, count: Checks.fileMax + 1)) == ["1 shape"])
        let longest = "let a = " + String(repeating: "é", count: Checks.lineMax - 8) + "\n"
        #expect(Self.found(longest) == [])
        #expect(Self.found("\n" + longest.replacing("= ", with: "=  ")) == ["2 shape"])
        func function(_ head: String, lines: Int) -> String {
            head + " {\n" + String(repeating: "    a()\n", count: lines - 2) + "}\n"
        }
        let heads = [
            "func a()", "init(a: Int)", "func b<A>(\n    a: A = { 1 }\n) -> [A: Int]\n",
            "subscript(a: Int) -> Int", "private static func c() throws(E) -> (Int) -> Int",
        ]
        for head in heads {
            let lines = head.split(separator: "\n").count - 1 + (head.hasSuffix("\n") ? 1 : 0)
            #expect(Self.found(function(head, lines: Checks.functionMax - lines)) == [], "\(head)")
            let long = "\n" + function(head, lines: Checks.functionMax - lines + 1)
            #expect(Self.found(long) == ["2 shape"], "\(head)")
        }
        #expect(Self.found(function("let a = B.init()\nstruct C", lines: 90)) == [])
    }

    @Test("braces in strings, comments and interpolations do not end a function")
    func braces() {
        let source = """
            protocol A {
                func requirement() -> Int
                init(b: Int)
                var c: Int { get }
            }
            func d() {
                let text = "} \\(f("}", g: { "\\(1)}" })) }"
                let raw = #"}" \\#(h("}")) "}"#
                let many = \"\"\"
                    } "quoted" \\("}")
                    \"\"\"
                // }
                /* } /* } */ } */
            }
            func e() -> Int { 1 }
            """
        let functions = SwiftText(source).functions
        #expect(functions.map(\.name) == ["d", "e"])
        #expect(functions.map(\.line) == [6, 15])
        #expect(functions.map(\.lineCount) == [9, 1])
        let open = SwiftText("func a() { \"\"\" unfinished } /* ")
        #expect(open.functions.isEmpty)
    }

    @Test("types that bear their module's name, vague folders and public declarations are found")
    func names() {
        #expect(Self.found("package struct Ring {}\n") == ["1 names"])
        #expect(Self.found("package struct RingView {}\n") == [])
        #expect(Self.found("let a = 1\n", in: "Sources/Ring/Helpers/A.swift") == ["1 names"])
        #expect(Self.found("public struct Arc {}\n") == ["1 names"])
        #expect(Self.found("public struct Producer {}\n", in: "Sources/Client/A.swift") == [])
    }

    @Test("links that lead nowhere are found, code and the world outside are left alone")
    func links() {
        func found(_ text: String) -> [String] {
            Self.found(
                text, in: "docs/decisions/0001.md", paths: ["docs", "docs/a.md", "README.md"])
        }
        #expect(found("[a](b.md) and [c](../a.md) and [d](../e.md#f)\n") == ["1 links", "1 links"])
        #expect(found("[a](../a.md#x) [b](../../README.md) [c](#here) [d](..) [e](/docs)\n") == [])
        #expect(found("[a](https://b.org/c.md) `[d](e.md)` [f](mailto:g@h)\n") == [])
        #expect(found("```\n[a](b.md)\n```\n[c](../../../d.md)\n") == ["4 links"])
        #expect(found("![picture](a.png)\n") == ["1 links"])
    }
}
