/// The bounds of what the file may say.
package enum ConfigurationLimits {
    package static let fileMax = 1 << 20
    package static let nameMax = 64
    package static let gossipInterval = Duration.milliseconds(50)...Duration.seconds(60)
    package static let requestTimeout = Duration.milliseconds(100)...Duration.seconds(600)
    package static let horizon = Duration.seconds(60)...Duration.seconds(7 * 86_400)
    package static let eventDistance = Duration.zero...Duration.seconds(36_500 * 86_400)
    package static let window = Duration.seconds(1)...Duration.seconds(3600)
    package static let memtableSize = (1 << 20)...(4 << 30)
    package static let compactionShare = 1...100
    package static let diskReserve = (64 << 20)...(1 << 50)
    package static let memtableFlushAge = Duration.seconds(1)...Duration.seconds(7 * 86_400)
    package static let batchStatusRetention =
        Duration.seconds(3600)...Duration.seconds(3650 * 86_400)
    package static let absenceLimit = Duration.seconds(60)...Duration.seconds(3650 * 86_400)
    /// Whole buckets move. On the day after its end one still gets late events with each flush,
    /// and each would be a file of its own on the cold disk.
    package static let coldAfter = Duration.seconds(86_400)...Duration.seconds(36_500 * 86_400)
    package static let parkedSize = (1 << 20)...(1 << 40)
    /// Letters lie in the log before they lie in files from which they can be taken: less than some
    /// files of the log could be full of what was purged.
    package static let deadLettersSize = (1 << 30)...(1 << 50)
    package static let deadLettersSizeDefault = 10 << 30
    package static let retention = Duration.seconds(3600)...Duration.seconds(36_500 * 86_400)
}
