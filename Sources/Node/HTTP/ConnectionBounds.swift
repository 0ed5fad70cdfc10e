/// How many connections the API holds open. One that has sent no request yet is cheap and there may
/// be many; one that has may hold up to `HTTPLimits.headersMax` of a head and an answer.
package struct ConnectionBounds: Hashable, Sendable {
    /// Of both kinds; one more closes one that waits for its client.
    package var max: Int
    /// Of those that have begun a request.
    package var begunMax: Int
    /// No more are accepted, until those that were told to close have.
    package var acceptedMax: Int { max + HTTPLimits.connectionsSpare }

    package init(max: Int, begunMax: Int) {
        self.max = max
        self.begunMax = begunMax
    }

    /// - Parameter openFilesMax: what the process may have open. A quarter of that is left to files
    ///   (`FileBounds`) and peers.
    package init(openFilesMax: Int) {
        let room = openFilesMax - openFilesMax / 4 - HTTPLimits.connectionsSpare
        max = Swift.max(HTTPLimits.connectionsSpare, min(room, HTTPLimits.connectionsMax))
        begunMax = min(max, HTTPLimits.begunMax)
    }
}
