import Testing

@Suite struct TidyTests {
    @Test("the repository keeps the rules of the house")
    func tidy() {
        let repository = Repository.load()
        #expect(repository.files.contains { $0.path == "Tests/TidyTests/TidyTests.swift" })
        #expect(repository.files.contains { $0.module == "Core" })
        #expect(repository.files.contains { $0.path == "Fuzz/Sources/fuzz/Fuzz.swift" })
        #expect(!repository.paths.contains("Fuzz/Sources/Core/Batch.swift"))
        let (left, _) = Exception.apply(Exception.all, to: Checks.all(repository))
        for violation in left { Issue.record("\(violation)") }
    }

    @Test("every exception is still needed and says why")
    func exceptions() {
        let (_, unused) = Exception.apply(Exception.all, to: Checks.all(Repository.load()))
        for exception in unused {
            Issue.record("\(exception.file) keeps rule \(exception.rule): remove its exception")
        }
        #expect(Exception.all.allSatisfy { !$0.why.isEmpty })
    }

    @Test("an exception excuses its rule in its file, and one that excuses nothing is found")
    func exceptionsApply() {
        let violations = ["a", "b"].map {
            Violation(rule: "shape", file: $0, line: 1, message: "too long")
        }
        let (left, unused) = Exception.apply(
            [
                Exception(rule: "shape", file: "a", why: "a table"),
                Exception(rule: "words", file: "b", why: "gone"),
            ], to: violations)
        #expect(left == [violations[1]])
        #expect(unused.map(\.file) == ["b"])
    }
}
