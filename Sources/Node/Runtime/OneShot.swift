/// Hands a value that cannot be copied, or is not Sendable, to the thread that is made for it.
///
/// Sendable because the value is put in before anybody else sees this object, and taken out once,
/// by one thread.
package final class OneShot<Value: ~Copyable>: @unchecked Sendable {
    private var value: Value?

    package init(_ value: consuming sending Value) {
        self.value = consume value
    }

    package func take() -> Value {
        guard let taken = value.take() else {
            preconditionFailure("a one-shot value was taken twice")
        }
        return taken
    }
}
