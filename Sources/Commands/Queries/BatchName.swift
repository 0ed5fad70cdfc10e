import ArgumentParser
import Core

/// Names a batch: two words.
struct BatchName: ParsableArguments {
    @Argument(help: "The producer's UUID.")
    var producer: String

    @Argument(help: "The batch's sequence.")
    var sequence: UInt64

    func validate() throws {
        guard UUIDText.parse(producer) != nil else {
            throw ValidationError("\(producer) is no UUID: give the producer's, then the sequence")
        }
    }

    /// As lists show it.
    var text: String { "\(producer)/\(sequence)" }
}
