// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import raystore

@Suite struct TableTests {
    @Test func columnsAreAsWideAsTheirWidestCell() {
        var table = Table(.init("NAME"), .init("SIZE", .right))
        table.add("a", "1 byte")
        table.add("longer", "512 MiB")
        #expect(table.lines() == ["NAME       SIZE", "a        1 byte", "longer  512 MiB"])
    }

    @Test func wideCharactersTakeTwoColumns() {
        var table = Table(.init("N"), .init("X"))
        table.add("日本", "1")
        table.add("abcd", "2")
        #expect(table.lines() == ["N     X", "日本  1", "abcd  2"])
    }

    @Test func noLineEndsInSpaces() {
        var table = Table(.init("NAME"), .init("WHERE"))
        table.add("a", "")
        #expect(table.lines(indent: 2) == ["  NAME  WHERE", "  a"])
    }

    @Test func controlCharactersAreWrittenOut() {
        var table = Table(.init("NAME"))
        table.add("a\u{1b}[31m\u{202e}b")
        #expect(table.lines()[1] == "a\\u{1b}[31m\\u{202e}b")
    }

    @Test func clippingKeepsToTheColumns() {
        #expect("abcdef".clipped(to: 6) == "abcdef")
        #expect("abcdef".clipped(to: 5) == "abcd…")
        #expect("日本語".clipped(to: 4) == "日…")
        #expect("abc".clipped(to: 0) == "")
    }

    @Test(arguments: [
        (0.034, "0.03 s"), (3.21, "3.2 s"), (45.4, "45 s"), (185, "3 min 5 s"), (7620, "2 h 7 min"), (.infinity, "-"),
    ])
    func secondsAreShort(seconds: Double, text: String) {
        #expect(Amounts.seconds(seconds) == text)
    }
}
