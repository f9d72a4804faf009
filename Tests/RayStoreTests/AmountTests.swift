// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import RayStore

@Suite struct AmountTests {
    @Test(arguments: [
        (0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"), (8 << 20, "8 MiB"),
        ((1 << 20) - 1, "1 MiB"), (Int.max, "8 EiB"),
    ])
    func bytesAreShownInTheUnitThatReadsBest(count: Int, text: String) {
        #expect(ByteCount(count).description == text)
    }

    @Test func timeoutsAreClampedToWhatTheCoreTakes() {
        #expect(Duration.seconds(-1).nanosecondsClamped == 0)
        #expect(Duration.milliseconds(1500).nanosecondsClamped == 1_500_000_000)
        #expect(Duration.seconds(Int64.max).nanosecondsClamped == .max)
        #expect(Duration?.none.nanosecondsOrForever == .max)
        #expect(Duration?.some(.zero).nanosecondsOrForever == 0)
    }
}
