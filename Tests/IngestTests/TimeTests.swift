import Core
import Ingest
import Testing

@Suite struct TimeTests {
    @Test(
        "Every documented form of a time is read",
        arguments: [
            ("2015-02-22T21:17:00Z", 1_424_639_820_000),
            ("2015-02-22t21:17:00z", 1_424_639_820_000),
            ("2015-02-22 21:17:00Z", 1_424_639_820_000),
            ("2015-02-22T21:17:00", 1_424_639_820_000),
            ("2015-02-22 21:17", 1_424_639_820_000),
            ("2015-02-22T21:17", 1_424_639_820_000),
            ("2015-02-22T21:17Z", 1_424_639_820_000),
            ("2015-02-22T23:17+02:00", 1_424_639_820_000),
            ("2015-02-22", 1_424_563_200_000),
            ("2015-02-22T21:17:00.5Z", 1_424_639_820_500),
            ("2015-02-22T21:17:00.05", 1_424_639_820_050),
            ("2015-02-22 21:17:00.1239999999999999999999Z", 1_424_639_820_123),
            ("2015-02-22T23:17:00+02:00", 1_424_639_820_000),
            ("2015-02-22T14:47:00.250-06:30", 1_424_639_820_250),
            ("2015-02-22T21:17:00-00:00", 1_424_639_820_000),
            ("22/Feb/2015:21:17:00 +0000", 1_424_639_820_000),
            ("[22/Feb/2015:21:17:00 +0000]", 1_424_639_820_000),
            ("22/Feb/2015:22:17:00 +0100", 1_424_639_820_000),
            ("1424639820", 1_424_639_820_000), ("1424639820.25", 1_424_639_820_250),
            ("1424639820000", 1_424_639_820_000), ("1424639820000.9", 1_424_639_820_000),
            ("1424639820000999", 1_424_639_820_000), ("-1", -1000), ("-0.001", -1),
            ("-0.0001", -1), ("0", 0), ("-0", 0), ("0517", 517_000), ("1.5e3", 1_500_000),
            ("15e-1", 1500), ("1e-30", 0), ("0e99999999999999999999", 0),
            ("99999999999", 99_999_999_999_000), ("100000000000", 100_000_000_000),
            ("99999999999999", 99_999_999_999_999), ("100000000000000", 100_000_000_000),
            ("99999999999999999", 99_999_999_999_999), ("-62135596800", -62_135_596_800_000),
            ("0001-01-01", -62_135_596_800_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("1969-12-31T23:59:59.999Z", -1), ("1600-02-29", -11_670_998_400_000),
            ("2000-02-29", 951_782_400_000), ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("2016-12-31T23:59:60.5Z", 1_483_228_800_500),
            ("2017-01-01T08:59:60+09:00", 1_483_228_800_000),
            ("31/Dec/2016:23:59:60 +0000", 1_483_228_800_000),
            ("[01/Jan/2017:08:59:60 +0900]", 1_483_228_800_000),
        ] as [(String, Int64)])
    func forms(text: String, expected: Int64) throws {
        #expect(try FoldFixture.milliseconds(text) == expected, "\(text)")
    }

    @Test(
        "What is no time, or no time of the years 1 to 9999, is a dead letter",
        arguments: [
            "NA", "now", "2015-02", "2015-2-22", "2015-02-30", "2015-13-01", "2015-00-10",
            "2015-01-00", "1900-02-29", "2015-02-22T", "2015-02-22T21", "2015-02-22T24:00:00Z",
            "2015-02-22T21:60:00Z", "2015-02-22T21:17:61Z", "2015-02-22T21:17:60Z",
            "2015-02-22T21:17:00.Z", "2015-02-22T21:17:00,5Z", "2015-02-22T21:17:00+0000",
            "2015-02-22T21:17:00+24:00", "2015-02-22T21:17:00+00:60", "2015-02-22T21:17:00ZZ",
            "2015-02-22T21:17:00 Z", " 2015-02-22", "2015-02-22 ", "20150222T211700Z",
            "0000-01-01", "0000-12-31T23:59:59Z", "0001-01-01T00:00:00+00:01", "10000-01-01",
            "9999-12-31T23:59:59-00:01", "9999-12-31T23:59:60Z", "-0001-01-01",
            "22/Foo/2015:21:17:00 +0000", "22/feb/2015:21:17:00 +0000",
            "22/Feb/2015:21:17:60 +0000", "31/Dec/2016:23:59:60 +0100",
            "31/Dec/2016:23:59:61 +0000", "22/Feb/2015:21:17:00", "[22/Feb/2015:21:17:00 +0000",
            "30/Feb/2015:21:17:00 +0000",
            "22/Feb/2015:21:17:00 +00:00", "1e5x", "1.", ".5", "+5", "0x10", "1_000", "--1", "-",
            "100000000000000000", "1e17", "1e99", "253402300800000000", "٣", "1 000",
            "-99999999999999999",
        ])
    func refused(text: String) throws {
        #expect(try FoldFixture.milliseconds(text) == nil, "\(text)")
    }

    @Test("Numbers in JSON are epoch times as their text is")
    func numbers() throws {
        #expect(try FoldFixture.milliseconds(json: "1424639820") == 1_424_639_820_000)
        #expect(try FoldFixture.milliseconds(json: "1.42463982e9") == 1_424_639_820_000)
        #expect(try FoldFixture.milliseconds(json: "1424639820.0009") == 1_424_639_820_000)
        #expect(try FoldFixture.milliseconds(json: "-0.5") == -500)
        #expect(try FoldFixture.milliseconds(json: "2015") == 2_015_000)
        #expect(try FoldFixture.milliseconds(json: "1e17") == nil)
    }

    @Test("All days from the year 1 to 9999 follow each other")
    func calendar() throws {
        // An independent walk: day by day, month by month, in steps that leave out no month.
        var expected: Int64 = -62_135_596_800_000
        var lines: [String] = []
        var times: [Int64] = []
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        func pad(_ number: Int, _ width: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: width - text.count) + text
        }
        for year in 1...9999 {
            let isLeap = year % 400 == 0 || (year % 4 == 0 && year % 100 != 0)
            for month in 1...12 {
                let length = lengths[month - 1] + (month == 2 && isLeap ? 1 : 0)
                if year % 13 == 0 || year > 9990 || year < 10 || isLeap && month == 2 {
                    lines.append(
                        "{\"time\":\"\(pad(year, 4))-\(pad(month, 2))-\(pad(length, 2))\"}")
                    times.append(expected + Int64(length - 1) * 86_400_000)
                }
                expected += Int64(length) * 86_400_000
            }
        }
        let parameters = ParseParameters(format: .ndjson, defaultType: "t", keyField: "time")
        let folded = try Folded(
            lines.joined(separator: "\n"), parameters, rules: FoldFixture.exactTimes)
        #expect(folded.batch.totals.dead == 0)
        #expect(folded.cells.keys.map(\.window).sorted() == times)
    }

    @Test("Late and future are judged against the batch's creation, to the millisecond")
    func lateness() throws {
        let rules = FoldRules(futureLimit: .seconds(60), lateness: .seconds(3600))
        let created = WallTime(milliseconds: 1_000_000_000_000)
        func reasons(_ offset: Int64) throws -> [String] {
            let text = #"{"key":"k","type":"t","time":\#(created.milliseconds + offset)}"#
            return try Folded(text, createdAt: created, rules: rules).reasons
        }
        #expect(try reasons(60_000) == [])
        #expect(try reasons(60_001) == ["in-the-future"])
        #expect(try reasons(-3_600_000) == [])
        #expect(try reasons(-3_600_001) == ["too-late"])
        let old = #"{"key":"k","type":"t","time":"0001-01-01"}"#
        #expect(try Folded(old, createdAt: created).batch.totals.counted == 1)
    }

    @Test("A creation time at the end of all numbers does not overflow")
    func extremes() throws {
        let text = #"{"key":"k","type":"t","time":0}"#
        let rules = FoldRules(lateness: .seconds(1))
        for created in [Int64.min, Int64.max] {
            let folded = try Folded(text, createdAt: WallTime(milliseconds: created), rules: rules)
            #expect(folded.reasons == [created < 0 ? "in-the-future" : "too-late"])
        }
    }

    @Test("Windows before 1970 are half open as well")
    func negativeWindows() throws {
        let text = [-60_000.0, -59.999, -0.001, 0].map { time in
            #"{"key":"k","type":"t","time":"\#(time == -60_000 ? "-60" : String(time))"}"#
        }
        let folded = try Folded(text.joined(separator: "\n"))
        #expect(folded.byWindow == [-1: 3, 0: 1])
    }
}
