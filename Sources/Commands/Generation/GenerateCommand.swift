import ArgumentParser
import Client
import Foundation

struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Make events, the same for the same options, to standard output.",
        discussion: """
            Keys k0000000000, k0000000001… follow Zipf's law (the lower the more frequent), times \
            rise evenly from --from to --to, by default the hour from 2026-01-01T00:00:00Z on. \
            Binary batches hold the same events as the lines do.

            Example: quipu generate --events 1000000 --types view,like --bad 0.001 | quipu send -
            """)

    private static let bufferBytes = 1 << 20
    private static let batchEvents = 10_000

    @Option(help: "How many events.")
    var events: Int

    @Option(help: "ndjson or binary (batches of 10,000).")
    var format = "ndjson"

    @Option(help: "How many different keys.")
    var keys = 10_000

    @Option(help: "Zipf's exponent; 0 makes all keys alike.")
    var skew = 1.0

    @Option(help: "Types to draw from, by commas.")
    var types = "view"

    @Option(help: "The first event's time.")
    var from: Timestamp?

    @Option(help: "Where the events' times end.")
    var to: Timestamp?

    @Option(help: "Another seed gives other events.")
    var seed: UInt64 = 1

    @Option(help: "The share of broken events, such as 0.001.")
    var bad = 0.0

    func validate() throws {
        guard events >= 0 else { throw ValidationError("--events \(events): give 0 or more") }
        guard ["ndjson", "binary"].contains(format) else {
            throw ValidationError("--format \(format): give ndjson or binary")
        }
        guard (1...10_000_000).contains(keys) else {
            throw ValidationError("--keys \(keys): give 1 to 10000000")
        }
        guard (0...10).contains(skew) else { throw ValidationError("--skew \(skew): give 0 to 10") }
        guard (0...1).contains(bad) else { throw ValidationError("--bad \(bad): give 0 to 1") }
        let settings = settings()
        guard settings.from < settings.to else {
            throw ValidationError("--from \(settings.from) does not lie before --to \(settings.to)")
        }
        guard !settings.types.isEmpty else { throw ValidationError("--types is empty: give one") }
    }

    func run() throws {
        // A reader that has enough (`| head`) ends this process quietly, as it does others.
        signal(SIGPIPE, SIG_DFL)
        var generator = EventGenerator(settings())
        if format == "binary" {
            while let batch = generator.nextBatch(of: GenerateCommand.batchEvents) {
                try writeOut(batch.bytes)
            }
            return
        }
        var buffer: [UInt8] = []
        buffer.reserveCapacity(GenerateCommand.bufferBytes + 4096)
        var more = true
        while more {
            more = generator.fill(&buffer, upTo: GenerateCommand.bufferBytes)
            try writeOut(buffer)
            buffer.removeAll(keepingCapacity: true)
        }
    }

    private func settings() -> EventGenerator.Settings {
        var settings = EventGenerator.Settings(events: events)
        settings.keys = keys
        settings.skew = skew
        settings.types = types.split(separator: ",").map(String.init)
        let start = from ?? to.map { Timestamp(milliseconds: $0.milliseconds - 3_600_000) }
        settings.from = start ?? settings.from
        settings.to = to ?? Timestamp(milliseconds: settings.from.milliseconds + 3_600_000)
        settings.seed = seed
        settings.badPerBillion = Int((bad * 1e9).rounded())
        return settings
    }

    private func writeOut(_ bytes: [UInt8]) throws {
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes {
                write(STDOUT_FILENO, $0.baseAddress, $0.count)
            }
            if count < 0, errno != EINTR {
                throw CommandFailure(
                    "generate: standard output cannot be written: "
                        + String(cString: strerror(errno)))
            }
            written += max(0, count)
        }
    }
}
