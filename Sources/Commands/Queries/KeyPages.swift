package import Client

/// The keys of a type, as many as were asked for. They come page by page, and no more than a page
/// is held.
package struct KeyPages {
    /// Of lines the first shall come soon.
    package static let pageOfLines = 1000

    private let client: QuipuClient
    private let type: String
    private let prefix: String?
    private let pageKeys: Int
    /// How many are still to come.
    private var left: Int
    /// The token of the page after the last one; nil: there is none.
    private var following: String?
    private var isAtStart = true

    /// - Parameters:
    ///   - limit: How many keys at most; nil for all.
    ///   - page: The token to begin with; nil for the first page.
    ///   - pageKeys: How many to ask for at once, at most `HTTPLimits.pageMax`.
    package init(
        client: QuipuClient, type: String, prefix: String?, limit: Int?, page: String?,
        pageKeys: Int
    ) {
        self.client = client
        self.type = type
        self.prefix = prefix
        self.pageKeys = pageKeys
        left = limit ?? .max
        following = page
    }

    /// The next page, as it came and as it is read; nil: all are there, or as many as were asked
    /// for.
    package mutating func next() async throws -> (reply: NodeAnswer, list: ListAnswer)? {
        guard isAtStart || following != nil, left > 0 else { return nil }
        isAtStart = false
        let reply = try await client.perform(
            QueryCall.keys(
                type: type, prefix: prefix, limit: min(left, pageKeys), page: following))
        let list = try reply.reading(ListAnswer.init(json:))
        left -= min(left, list.items.count)
        following = list.next
        return (reply: reply, list: list)
    }

    /// Writes one JSON body: the node's, unchanged, where one page is all; else that of one long
    /// page, joined as the pages come.
    package mutating func writeBody(to write: ([UInt8]) -> Void) async throws {
        guard let first = try await next() else { return }
        guard first.list.next != nil, left > 0 else {
            write(first.reply.body)
            return
        }
        write(Array(#"{"items":["#.utf8))
        write(KeyPages.text(first.list.items))
        while let page = try await next() {
            // The page behind a last one that was full has none.
            guard !page.list.items.isEmpty else { continue }
            write([UInt8(ascii: ",")] + KeyPages.text(page.list.items))
        }
        let next = following.map { JSONValue.string($0) } ?? .null
        write(Array(#"],"next":\#(next)}"#.utf8))
    }

    private static func text(_ items: [JSONValue]) -> [UInt8] {
        Array(items.map(\.description).joined(separator: ",").utf8)
    }
}
