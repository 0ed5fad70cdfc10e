import Client
import Node

/// As many dead letters as were asked for. A node's answer may hold fewer, where they are large;
/// so they come page by page.
struct LetterPages {
    private let client: QuipuClient
    private let query: [(String, String?)]
    private let limit: Int
    /// The token of the page after the last one; nil: there is none.
    private(set) var following: String?
    /// The first answer: what it tells beside its letters.
    private(set) var head = JSONValue.null
    /// The last answer, as it came.
    private(set) var body: [UInt8] = []
    /// Letters so far.
    private(set) var seen = 0
    private var isAtStart = true

    init(client: QuipuClient, query: [(String, String?)], limit: Int, page: String?) {
        self.client = client
        self.query = query
        self.limit = limit
        following = page
    }

    /// The next letters, in order; nil: all are there, or as many as were asked for.
    mutating func next() async throws -> [JSONValue]? {
        guard isAtStart || following != nil, seen < limit else { return nil }
        let reply = try await client.perform(
            QueryCall.deadLetters(
                query, limit: min(limit - seen, HTTPLimits.pageMax), page: following))
        let answer = try reply.reading(ListAnswer.init(json:))
        if isAtStart { head = try reply.json() }
        isAtStart = false
        body = reply.body
        following = answer.next
        seen += answer.items.count
        return answer.items
    }
}
