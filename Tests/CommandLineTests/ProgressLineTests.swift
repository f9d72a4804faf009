// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import raystore

@Suite struct ProgressLineTests {
    private let half: TransferState = {
        var state = TransferState()
        state.done = 512 << 20
        state.total = 1 << 30
        state.wire = 128 << 20
        state.seconds = 2
        state.rate = 256 * 1_048_576
        state.wireRate = 64 * 1_048_576
        state.zstdChunks = 96
        state.zstdLevel = 1
        state.lz4Chunks = 32
        return state
    }()

    @Test func aWideTerminalShowsEverything() {
        let line = ProgressLine.drawn("train.jsonl", half, columns: 160)
        #expect(
            line
                == "train.jsonl   50% [==============>               ]  512 MiB of 1 GiB  256 MiB/s  wire 64 MiB/s  zstd+1 75% lz4 25%  2.0 s left"
        )
    }

    @Test(arguments: [1, 5, 10, 20, 40, 60, 79, 80, 100, 120, 160, 300])
    func noLineIsWiderThanItsTerminal(columns: Int) {
        var state = half
        for done in [0, 1, 512 << 20, (1 << 30) - 1, 1 << 30] {
            state.done = done
            let line = ProgressLine.drawn("a rather long file name, 日本語.jsonl", state, columns: columns)
            #expect(line.displayWidth <= max(4, columns - 1), "\(line)")
            #expect(line.contains("%"), "\(line)")
        }
    }

    @Test func aNarrowTerminalKeepsPercentAndRate() {
        let line = ProgressLine.drawn("train.jsonl", half, columns: 40)
        #expect(line.contains("50%"))
        #expect(line.contains("256 MiB/s"))
        #expect(!line.contains("zstd"))
    }

    @Test func theLastLineSaysHowLongItTook() {
        var state = half
        state.done = state.total
        #expect(ProgressLine.drawn("x", state, columns: 120).contains("100% [==============================]  1 GiB"))
        #expect(ProgressLine.drawn("x", state, columns: 120).hasSuffix("2.0 s"))
        #expect(ProgressLine.plain("x", state).hasSuffix("in 2.0 s"))
    }

    @Test func almostDoneIsNotDone() {
        var state = half
        state.done = state.total - 1
        #expect(state.percent == 99)
    }

    @Test func anEmptyObjectIsComplete() {
        let line = ProgressLine.drawn("empty", TransferState(), columns: 80)
        #expect(line.contains("100%"))
        #expect(line.contains("0 bytes"))
    }

    @Test func nothingMovingHasNoTimeLeft() {
        var state = half
        state.rate = 0
        #expect(state.secondsLeft == nil)
        #expect(!ProgressLine.drawn("x", state, columns: 160).contains("left"))
    }

    @Test func aPlainLineHoldsEverything() {
        #expect(
            ProgressLine.plain("train.jsonl", half)
                == "train.jsonl: 512 MiB of 1 GiB, 50%, 256 MiB/s, wire 128 MiB at 64 MiB/s, zstd+1 75% lz4 25%, 2.0 s left")
    }

    @Test func aFileNameCannotDriveTheTerminal() {
        let line = ProgressLine.plain("a\u{1b}[2J\nb", half)
        #expect(line.hasPrefix("a\\u{1b}[2J\\nb: "))
    }

    @Test func oneCodecNeedsNoShare() {
        var state = TransferState()
        #expect(state.codecs == "")
        state.zstdChunks = 3
        state.zstdLevel = -3
        #expect(state.codecs == "zstd-3")
        state.zstdChunks = 0
        state.uncompressedChunks = 1
        #expect(state.codecs == "raw")
    }
}
