#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the benchmarks' files: DIRECTORY/KIND.bin of SIZE bytes each, the same on every run. KINDS: random train text floats zeros.

random   does not compress.
train    like training data: blocks of JSON lines and blocks of float32 columns in turn; zstd -1 makes it about three times smaller.
text     prose with natural statistics: 20,000 words whose frequencies follow Zipf's law, each with words that like to follow it, sentences
         and paragraphs. zstd -3 makes it about three times smaller.
floats   a table of float32 columns as tables look, in groups of 65,536 rows: prices, readings with daily and yearly course and
         one or two decimals, coordinates around a few places, counts, shares computed from other columns, gaps.
zeros    zeros, written, not holes.

Making bytes is slow in Python, so train, text and floats come again: after 100 MB, 24 MiB and 24 MiB. A chunk is of 4 MiB and zstd's window of
8 MiB at most at these levels, so no codec can see it.
"""
import array
import bisect
import itertools
import math
import os
import random
import struct
import sys

PERIOD = 24 << 20


def write_again_and_again(path, size, blocks):
    with open(path, "wb") as file:
        left = size
        for block in itertools.cycle(blocks):
            file.write(block[:left])
            left -= min(left, len(block))
            if left == 0:
                break


def random_bytes(path, size):
    generator = random.Random(1)
    with open(path, "wb") as file:
        left = size
        while left > 0:
            block = generator.randbytes(min(left, 8 << 20))
            file.write(block)
            left -= len(block)


# ---- training-like -----------------------------------------------------------------------------------------------------------

WORDS = "the of model data train loss batch token layer weight image label user query answer time value rate score text".split()


def json_block(generator):
    lines = []
    for _ in range(2000):
        words = " ".join(generator.choice(WORDS) for _ in range(generator.randrange(8, 40)))
        lines.append('{"id":%d,"split":"train","score":%.4f,"text":"%s"}\n' % (generator.randrange(1 << 40), generator.random(), words))
    return "".join(lines).encode()


def float_block(generator):
    value = 0.0
    column = []
    for _ in range(100_000):
        value += generator.gauss(0, 0.01)
        column.append(round(value, 3))
    return struct.pack("<100000f", *column)


def training_bytes(path, size):
    generator = random.Random(2)
    write_again_and_again(path, size, [make(generator) for _ in range(150) for make in (json_block, float_block)])


# ---- text --------------------------------------------------------------------------------------------------------------------

ONSETS = "t s w h b c m f p d r l n g st th pr tr ch sh br pl gr cl str".split()
VOWELS = "e a i o u ea ou ai ee io y".split()
CODAS = ["", "", "", "n", "r", "s", "t", "l", "d", "m", "nd", "ng", "st", "ck", "ll"]


def make_words(generator, count):
    """Words of syllables; the frequent ones are short."""
    words = []
    seen = set()
    while len(words) < count:
        syllables = 1 + min(4, int(generator.expovariate(1.0 / (0.2 + math.log10(len(words) + 1) / 4))))
        word = "".join(generator.choice(ONSETS) + generator.choice(VOWELS) + generator.choice(CODAS) for _ in range(syllables))
        if word not in seen:
            seen.add(word)
            words.append(word)
    return words


def text_block(generator, size):
    words = make_words(generator, 20_000)
    weights = list(itertools.accumulate(1.0 / (rank + 2.7) for rank in range(len(words))))

    def any_words(count):
        return [bisect.bisect(weights, generator.random() * weights[-1]) for _ in range(count)]

    # What likes to follow a word; two times in five it does.
    followers = [any_words(6) for _ in words]
    parts = []
    made = 0
    word = 0
    while made < size:
        for _ in range(generator.randrange(3, 9)):
            sentence = []
            for stranger in any_words(generator.randrange(5, 28)):
                word = followers[word][int(6 * generator.random() ** 2)] if generator.random() < 0.4 else stranger
                sentence.append(words[word] + "," if generator.random() < 0.06 else words[word])
            text = " ".join(sentence)
            parts.append(text[0].upper() + text[1:] + generator.choice((". ", ". ", ". ", "? ", "; ")))
            made += len(parts[-1])
        parts.append("\n\n")
        made += 2
    return "".join(parts).encode()[:size]


def text_bytes(path, size):
    write_again_and_again(path, size, [text_block(random.Random(3), PERIOD)])


# ---- columns of floats -------------------------------------------------------------------------------------------------------

ROWS = 65_536


def float_columns(generator, group):
    """Eight columns of a group of rows, a row a minute."""
    rows = range(group * ROWS, (group + 1) * ROWS)
    noise = [generator.gauss(0, 1) for _ in range(4096)]

    def wobble(row, salt):
        return noise[(row * 2654435761 + salt) >> 7 & 4095]

    price = 80.0 + group
    prices = []
    for row in rows:
        price += 0.03 * wobble(row, 11) if row % 3 == 0 else 0.0
        prices.append(round(price, 2))
    temperatures = [round(11 + 9 * math.sin(row / 83_600) + 5 * math.sin(row / 229.2) + 0.3 * wobble(row, 5), 1) for row in rows]
    humidities = [round(70 - 1.8 * t + 1.5 * wobble(row, 77), 1) for row, t in zip(rows, temperatures)]
    places = [(generator.uniform(47, 54), generator.uniform(6, 15)) for _ in range(40)]
    chosen = [places[int(40 * generator.random() ** 2)] for _ in rows]
    latitudes = [round(place[0] + 0.01 * wobble(row, 3), 5) for row, place in zip(rows, chosen)]
    longitudes = [round(place[1] + 0.01 * wobble(row, 9), 5) for row, place in zip(rows, chosen)]
    counts = [float(int(math.exp(3 + wobble(row, 21)))) for row in rows]
    amounts = [count * price for count, price in zip(counts, prices)]
    gap = generator.randrange(ROWS - 4000)
    levels = [math.nan if gap <= i < gap + 4000 else humidity / 100 for i, humidity in enumerate(humidities)]
    return prices, temperatures, humidities, latitudes, longitudes, counts, amounts, levels


def floats_bytes(path, size):
    generator = random.Random(4)
    groups = PERIOD // (8 * 4 * ROWS)
    write_again_and_again(path, size, [array.array("f", column).tobytes() for group in range(groups) for column in float_columns(generator, group)])


def zeros_bytes(path, size):
    write_again_and_again(path, size, [bytes(8 << 20)])


KINDS = {"random": random_bytes, "train": training_bytes, "text": text_bytes, "floats": floats_bytes, "zeros": zeros_bytes}


def main():
    if len(sys.argv) < 3 or not set(sys.argv[3:]) <= set(KINDS):
        sys.exit("usage: make_files.py DIRECTORY SIZE [KIND...]   (" + " ".join(KINDS) + "; random train if none is named)")
    directory, size = sys.argv[1], int(sys.argv[2])
    for name in sys.argv[3:] or ("random", "train"):
        path = os.path.join(directory, name + ".bin")
        if not os.path.exists(path) or os.path.getsize(path) != size:
            KINDS[name](path, size)


main()
