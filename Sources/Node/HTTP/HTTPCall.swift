package import HummingbirdCore

/// A request, before anything is made of it.
package struct HTTPCall: Sendable {
    package var method: String
    /// The path and query as they came, for messages.
    package var target: String
    /// The path's segments, each percent-decoded once; `/` alone has none.
    package var path: [String]
    package var query: HTTPQuery
    package var header: @Sendable (String) -> String?
    /// All fields of the head, for headers that are not known by name.
    package var fields: [HeaderField]
    package var body: RequestBody
    /// Ends the connection without an answer, from any thread.
    package var hangUp: @Sendable () -> Void

    /// Splits at `/` before it decodes, so that `%2F` belongs to its segment. An empty segment at
    /// the end (`/v1/types/`) is dropped, others are kept: an empty key is an error, not another
    /// path.
    package init(
        method: String, target: String, header: @escaping @Sendable (String) -> String?,
        fields: [HeaderField] = [], body: RequestBody,
        hangUp: @escaping @Sendable () -> Void = {}
    ) throws(Problem) {
        self.method = method
        self.target = target
        self.header = header
        self.fields = fields
        self.body = body
        self.hangUp = hangUp
        let withoutFragment = target.prefix { $0 != "#" }
        let parts = withoutFragment.split(
            separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var segments = (parts.first ?? "").split(separator: "/", omittingEmptySubsequences: false)
        if segments.first == "" { segments.removeFirst() }
        if segments.last == "" { segments.removeLast() }
        path = []
        for segment in segments {
            guard let text = PercentText.text(segment) else {
                throw .badRequest("the path's \(segment) is not percent-encoded UTF-8")
            }
            path.append(text)
        }
        do throws(Problem) {
            query = try HTTPQuery(parts.count > 1 ? String(parts[1]) : nil)
        } catch {
            var problem = error
            if Self.sendsEvents(method, path) { problem.outcome = .notAttempted }
            throw problem
        }
    }

    /// A request to count events: whatever is wrong with it, its answer says what became of them.
    private static func sendsEvents(_ method: String, _ path: [String]) -> Bool {
        method == "POST" && path == ["v1", "events"]
    }
}
