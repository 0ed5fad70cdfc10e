/// What a batch costs a node that folds it, and what none may.
package struct FoldCost: Hashable, Sendable {
    /// The bytes of the greatest batch of which the bounds speak.
    package static let size = 16 << 20
    /// Of one processor.
    package static let secondsMax = 1.0
    /// Of the whole process, the batch among it.
    package static let peakMebibytesMax = 256

    /// Of the processor, of one thread.
    package var seconds: Double
    /// The greatest memory of the process; nil where the system does not say.
    package var peakMebibytes: Int?

    package init(seconds: Double, peakMebibytes: Int?) {
        self.seconds = seconds
        self.peakMebibytes = peakMebibytes
    }

    /// What of it is too much, in words; nil where nothing is.
    package var excess: String? {
        var words: [String] = []
        if seconds > Self.secondsMax {
            words.append(
                "\(Quantity.fixed(seconds, digits: 3)) s, at most "
                    + Quantity.fixed(Self.secondsMax, digits: 0))
        }
        if let peakMebibytes, peakMebibytes > Self.peakMebibytesMax {
            words.append("\(peakMebibytes) MiB, at most \(Self.peakMebibytesMax)")
        }
        return words.isEmpty ? nil : words.joined(separator: ", ")
    }
}
