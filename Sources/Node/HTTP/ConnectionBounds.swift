/// How many connections the API holds open. One that has said nothing yet is cheap and there may be
/// many; one that has begun a request has a parser and up to `HTTPLimits.headersMax` of a head.
package struct ConnectionBounds: Hashable, Sendable {
    package var silent: Int
    package var begun: Int
    /// No more are accepted; of either kind the idle ones have gone before that.
    package var max: Int { silent + begun + HTTPLimits.connectionsSpare }

    /// - Parameter openFilesMax: what the process may have open. Of that, a quarter at least is
    ///   left to files and peers.
    package init(openFilesMax: Int) {
        let room = openFilesMax * 3 / 4 - HTTPLimits.connectionsSpare
        let sum = HTTPLimits.silentMax + HTTPLimits.begunMax
        let share = Swift.max(2 * HTTPLimits.connectionsSpare, min(room, sum))
        begun = share * HTTPLimits.begunMax / sum
        silent = share - begun
    }
}
