import ArgumentParser
import Client
import Core

/// Which dead letters are meant: all that match every option given.
struct LetterOptions: ParsableArguments {
    @Option(help: "Only those with this reason.")
    var reason: String?

    @Option(help: "Only those of this type.")
    var type: String?

    @Option(help: ArgumentHelp("Only those of this batch.", valueName: "producer/sequence"))
    var batch: String?

    @OptionGroup var range: RangeOptions

    func validate() throws {
        let reasons = DeadLetterReason.allCases.map(\.name)
        if let reason, !reasons.contains(reason) {
            throw ValidationError(
                "--reason \(reason): give one of \(reasons.joined(separator: ", "))")
        }
        if let batch, LetterOptions.parts(of: batch) == nil {
            throw ValidationError(
                "--batch \(batch): give PRODUCER/SEQUENCE, as 'quipu dlq list' shows it")
        }
    }

    /// Whether any letter is meant.
    var isEmpty: Bool { query.allSatisfy { $0.1 == nil } }

    /// For the query of a request. Times are those at which batches were created.
    var query: [(String, String?)] {
        let batch = batch.flatMap { LetterOptions.parts(of: $0) }
        return [
            ("reason", reason), ("type", type), ("producer", batch?.producer),
            ("sequence", batch?.sequence), ("from", range.from.map { String($0.milliseconds) }),
            ("to", range.to.map { String($0.milliseconds) }),
        ]
    }

    static func parts(of batch: String) -> (producer: String, sequence: String)? {
        let parts = batch.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, UUIDText.parse(String(parts[0])) != nil,
            UInt64(parts[1]) != nil
        else { return nil }
        return (producer: String(parts[0]), sequence: String(parts[1]))
    }
}

/// How dead letters are written.
enum LetterText {
    /// `producer/sequence`, whether the answer writes it as text or as an object.
    static func batch(_ json: JSONValue?) -> String {
        guard let json else { return "" }
        guard let producer = json["producer"], let sequence = json["sequence"] else {
            return json.plain
        }
        return "\(producer.plain)/\(sequence.plain)"
    }

    static func count(_ number: Int) -> String {
        Quantity.plural(number, "dead letter", "dead letters")
    }
}
