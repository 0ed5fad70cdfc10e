import Core
import Testing

@Suite struct UUIDTextTests {
    @Test("text and value are each other's inverse")
    func inverse() {
        var random = RandomSource(seed: 21)
        for _ in 0..<200 {
            let value = UInt128(random.next()) << 64 | UInt128(random.next())
            let text = UUIDText.format(value)
            #expect(UUIDText.parse(text) == value)
            #expect(UUIDText.parse(text.uppercased()) == value)
            #expect(UUIDText.parse(text.filter { $0 != "-" }) == value)
        }
        #expect(UUIDText.format(0) == "00000000-0000-0000-0000-000000000000")
        #expect(
            UUIDText.format(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)
                == "01234567-89ab-cdef-0123-456789abcdef")
        #expect(UUIDText.parse("ffffffff-ffff-ffff-ffff-ffffffffffff") == .max)
    }

    @Test(
        "anything else is refused",
        arguments: [
            "", "-", "01234567-89ab-cdef-0123-456789abcde", "01234567-89ab-cdef-0123-456789abcdef0",
            "0123456-789ab-cdef-0123-456789abcdef", "01234567-89ab-cdef-0123-456789abcdeg",
            "01234567-89abcdef-0123-456789abcdef", " 0123456789abcdef0123456789abcdef",
            "{01234567-89ab-cdef-0123-456789abcdef}", "0123456789abcdef0123456789abcdef-",
            "01234567-89ab-cdef-0123-456789abcdé", "--------------------------------",
        ])
    func refused(text: String) {
        #expect(UUIDText.parse(text) == nil)
    }
}
