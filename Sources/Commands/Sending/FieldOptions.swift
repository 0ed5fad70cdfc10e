import ArgumentParser

/// Where an event's parts are, for a format that does not say.
struct FieldOptions: ParsableArguments {
    @Option(help: "The field with the key, as a dotted path (clf: path, host, status, method).")
    var keyField: String?

    @Option(help: "The field with the time.")
    var timeField: String?

    @Option(help: "The field with the type.")
    var typeField: String?

    @Option(help: "The field with the value.")
    var valueField: String?
}
