/// A rule that one file may break. The list may only shrink: a test fails for an exception that is
/// no longer needed.
struct Exception {
    let rule: String
    let file: String
    let why: String

    static let all: [Exception] = []

    /// What is left of the violations, and the exceptions that excused nothing.
    static func apply(
        _ exceptions: [Exception], to violations: [Violation]
    ) -> (left: [Violation], unused: [Exception]) {
        let left = violations.filter { violation in
            !exceptions.contains { $0.rule == violation.rule && $0.file == violation.file }
        }
        let unused = exceptions.filter { exception in
            !violations.contains { $0.rule == exception.rule && $0.file == exception.file }
        }
        return (left, unused)
    }
}
