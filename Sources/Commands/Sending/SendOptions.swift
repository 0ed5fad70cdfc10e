import ArgumentParser
import Client
import Core

/// What `quipu send` can be told.
struct SendOptions: ParsableArguments {
    @Argument(help: ArgumentHelp("Files, in this order; - is standard input.", valueName: "file"))
    var files: [String]

    @Option(help: "auto, ndjson, json, cloudevents, csv, tsv, clf or binary.")
    var format = "auto"

    @Option(help: "The type of events that name none.")
    var type: String?

    @OptionGroup var fields: FieldOptions

    @Option(help: "ONE, QUORUM, ALL, ANY, LOCAL_ONE or LOCAL_QUORUM.")
    var consistency = ConsistencyLevel.quorum

    @Option(help: "Events in a batch (also at most 4 MiB).")
    var batch = 10_000

    @Option(help: "Batches under way at once.")
    var inFlight = 4

    @Option(help: "The producer's UUID, together with --created: repeats a run under the same ids.")
    var producer: String?

    @Option(help: "The time that every batch is sealed with.")
    var created: Timestamp?

    @Option(
        help: ArgumentHelp(
            "Keep every batch and each file's position there until it is counted.",
            discussion: "Run the same again after a crash of this command, as often as needed.",
            valueName: "dir"))
    var spool: String?

    @Option(help: ArgumentHelp("What the spool may hold before reading waits.", valueName: "size"))
    var spoolMax = "1GiB"

    @Option(help: "How long a batch may take with all its retries; give a slow uplink minutes.")
    var timeout = "60s"

    @Flag(help: "Exit 1 when any event becomes a dead letter.")
    var strict = false

    @Option(help: ArgumentHelp("Events per second at most.", valueName: "n/s"))
    var rate: String?

    func validate() throws {
        guard spool == nil || producer == nil else {
            throw ValidationError("--spool keeps its own producer and times: leave out --producer")
        }
        _ = try spoolOptions()
        guard (1...1_000_000).contains(batch) else {
            throw ValidationError("--batch \(batch): give 1 to 1000000 events")
        }
        guard (1...256).contains(inFlight) else {
            throw ValidationError("--in-flight \(inFlight): give 1 to 256 batches")
        }
        guard (producer == nil) == (created == nil) else {
            throw ValidationError(
                "--producer and --created belong together: they repeat a run under the same ids")
        }
        _ = try producerOptions()
        _ = try eventFormat()
        _ = try eventsPerSecond()
    }

    /// Nil for `auto`.
    func eventFormat() throws -> EventFormat? {
        if format == "auto" { return nil }
        guard let known = EventFormat(rawValue: format) else {
            let names = EventFormat.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--format \(format): give auto, \(names)")
        }
        return known
    }

    func eventsPerSecond() throws -> Int? {
        guard let rate else { return nil }
        guard let number = Quantity.rate(rate) else {
            throw ValidationError("--rate \(rate): give events per second, such as 5000/s")
        }
        return number
    }

    func spoolOptions() throws -> SpoolOptions {
        var options = SpoolOptions()
        guard let bytes = Quantity.byteCount(spoolMax), bytes >= SpoolLimits.bytesMin else {
            throw ValidationError("--spool-max \(spoolMax): give at least 32MiB, such as 4GiB")
        }
        options.bytesMax = bytes
        return options
    }

    func producerOptions() throws -> ProducerOptions {
        var options = ProducerOptions()
        if let producer {
            guard let id = UUIDText.parse(producer) else {
                throw ValidationError("--producer \(producer): give a UUID")
            }
            options.producer = id
        }
        guard let limit = Quantity.duration(timeout) else {
            throw ValidationError("--timeout \(timeout): give a duration, such as 60s or 2m")
        }
        options.timeout = limit
        options.createdAt = created
        options.consistency = consistency
        options.batchEvents = batch
        options.inFlight = inFlight
        // A pipe's bytes come once: the spool takes them up while the cluster is away.
        options.failureRule = files.contains("-") ? .stopWhenRefused : .stop
        options.type = type
        options.keyField = fields.keyField
        options.timeField = fields.timeField
        options.typeField = fields.typeField
        options.valueField = fields.valueField
        return options
    }

    /// A paced run sends about a second's events at a time, unless its batches must stay as they
    /// were.
    func cutLimits(_ options: ProducerOptions) throws -> CutLimits {
        var events = batch
        if producer == nil, let rate = try eventsPerSecond() { events = min(events, rate) }
        return CutLimits(events: events, bytes: options.batchBytes)
    }
}
