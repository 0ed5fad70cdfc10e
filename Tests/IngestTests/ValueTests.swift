import Core
import Ingest
import Testing

@Suite struct ValueTests {
    private func value(_ json: String) throws -> Int64? {
        let folded = try Folded("{\"key\":\"k\",\"type\":\"t\",\"time\":0,\"value\":\(json)}")
        return folded.only?.measure.values?.min
    }

    @Test(
        "Decimals are held exactly, in millionths",
        arguments: [
            ("0", 0), ("-0", 0), ("1", 1_000_000), ("-12.5", -12_500_000), ("0.000001", 1),
            ("1.0000000000000000000000000000000", 1_000_000), ("1e2", 100_000_000),
            ("1.5E-3", 1500), ("123456e-6", 123_456), ("1e-6", 1), ("0e-999", 0),
            ("9223372036854.775807", Int64.max), ("-9223372036854.775808", Int64.min),
            ("0.0000010e0", 1), ("100000000000000000000e-20", 1_000_000), ("\"7\"", 7_000_000),
            ("\"007.10\"", 7_100_000), ("9.2e12", 9_200_000_000_000_000_000),
        ] as [(String, Int64)])
    func exact(json: String, millionths: Int64) throws {
        #expect(try value(json) == millionths, "\(json)")
    }

    @Test(
        "What is not exact, too large or no number is refused",
        arguments: [
            ("0.0000001", "value-not-exact"), ("1e-7", "value-not-exact"),
            ("1e-999999999999999999999999", "value-not-exact"),
            ("12345678901234567890.1234567", "value-not-exact"),
            ("9223372036854.775808", "bad-value"), ("-9223372036854.775809", "bad-value"),
            ("1e13", "bad-value"), ("1e999999999999999999999999", "bad-value"),
            ("99999999999999999999", "bad-value"), ("\"1,5\"", "bad-value"),
            ("\" 1\"", "bad-value"),
            ("\"+1\"", "bad-value"), ("\".5\"", "bad-value"), ("\"1.\"", "bad-value"),
            ("\"1e\"", "bad-value"), ("\"NaN\"", "bad-value"), ("\"-\"", "bad-value"),
        ])
    func refused(json: String, reason: String) throws {
        let folded = try Folded("{\"key\":\"k\",\"type\":\"t\",\"time\":0,\"value\":\(json)}")
        #expect(folded.reasons == [reason], "\(json)")
    }

    @Test("Null or an empty text is no value, and the event is counted")
    func absent() throws {
        for json in ["null", "\"\""] {
            let folded = try Folded("{\"key\":\"k\",\"type\":\"t\",\"time\":0,\"value\":\(json)}")
            #expect(folded.only?.measure == Measure(count: 1))
        }
    }

    @Test("A cell holds the number, sum, minimum and maximum of its values")
    func measures() throws {
        let lines = ["5", "null", "-2.25", "3"].map {
            "{\"key\":\"k\",\"type\":\"t\",\"time\":0,\"value\":\($0)}"
        }
        let measure = try #require(try Folded(lines.joined(separator: "\n")).only?.measure)
        #expect(
            measure
                == Measure(
                    count: 4,
                    values: .init(count: 3, sum: 5_750_000, min: -2_250_000, max: 5_000_000)))
    }

    @Test("Sums go beyond 64 bits")
    func wideSums() throws {
        let line = #"{"key":"k","type":"t","time":0,"value":-9223372036854.775808}"#
        let folded = try Folded(Array(repeating: line, count: 1000).joined(separator: "\n"))
        #expect(folded.only?.measure.values?.sum == Int128(Int64.min) * 1000)
    }
}
