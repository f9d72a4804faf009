# SPDX-License-Identifier: Apache-2.0
"""The matrix as a picture: throughput against the link's speed, a panel for each kind of data, a line for each codec and for automatic."""

import math

SPEEDS = ("100m", "1g", "10g", "unshaped")  # from left to right
LABELS = {"100m": "100 Mbit/s", "1g": "1 Gbit/s", "10g": "10 Gbit/s", "unshaped": "unshaped"}
TITLES = {"random": "random bytes", "text": "text", "floats": "float columns", "zeros": "zeros"}
# zstd's levels go from light to dark; what is not zstd has hues of its own.
LOOKS = {
    "raw": ("#6b7280", "2,3", 1.6), "lz4": ("#d97706", "", 1.6),
    "zstd-5": ("#c6dbef", "", 1.6), "zstd-1": ("#9ecae1", "", 1.6), "zstd1": ("#6baed6", "", 1.6),
    "zstd3": ("#4292c6", "", 1.6), "zstd5": ("#2171b5", "", 1.6), "zstd9": ("#08306b", "", 1.6),
    "auto": ("#dc2626", "", 3.2),
}
NAMES = {"auto": "automatic"}
WIDTH, HEIGHT = 420, 300
LEFT, TOP, GAP_X, GAP_Y, LEGEND = 62, 62, 64, 74, 46
LOW, HIGH = 0.008, 8.0  # GB/s


def _x(column, speed):
    return LEFT + column * (WIDTH + GAP_X) + WIDTH * SPEEDS.index(speed) / (len(SPEEDS) - 1)


def _y(row, value):
    share = (math.log(min(max(value, LOW), HIGH)) - math.log(LOW)) / (math.log(HIGH) - math.log(LOW))
    return TOP + LEGEND + row * (HEIGHT + GAP_Y) + HEIGHT * (1 - share)


def _text(x, y, words, size=12, anchor="middle", colour="#374151", weight="normal"):
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}">{words}</text>'


def _line(x1, y1, x2, y2, colour, width=1.0, dash=""):
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"{dashes}/>'


def _panel(parts, rates, kind, ways, column, row):
    left, right = _x(column, SPEEDS[0]), _x(column, SPEEDS[-1])
    parts.append(_text((left + right) / 2, _y(row, HIGH) - 10, TITLES[kind], 14, weight="bold"))
    for value in (0.01, 0.1, 1.0):
        parts.append(_line(left, _y(row, value), right, _y(row, value), "#e5e7eb"))
        parts.append(_text(left - 8, _y(row, value) + 4, f"{value:g}", anchor="end"))
    parts.append(_text(left - 8, _y(row, HIGH) + 4, "GB/s", anchor="end"))
    for speed in SPEEDS:
        parts.append(_line(_x(column, speed), _y(row, LOW), _x(column, speed), _y(row, HIGH), "#f3f4f6"))
        parts.append(_text(_x(column, speed), _y(row, LOW) + 18, LABELS[speed]))
    # Automatic is drawn first and wide, so that a codec that is just as fast stays visible on it.
    for way in ways:
        colour, dash, width = LOOKS[way]
        points = " ".join(f"{_x(column, speed):.1f},{_y(row, rates[speed, kind, way]):.1f}" for speed in SPEEDS)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        opacity = ' stroke-opacity="0.55"' if way == "auto" else ""
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width * (2 if way == "auto" else 1)}"'
                     f'{dashes}{opacity} stroke-linejoin="round"><title>{NAMES.get(way, way)}</title></polyline>')


def svg(rates, kinds, ways):
    """`rates` maps (speed, kind, way) to GB/s of the file's own bytes."""
    width = LEFT + 2 * WIDTH + GAP_X + 40
    height = TOP + LEGEND + 2 * HEIGHT + GAP_Y + 40
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
             "<!-- SPDX-License-Identifier: Apache-2.0; made by Benchmarks/results.py -->",
             f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
             _text(LEFT, 24, "How fast a file arrives, by the link's speed and by codec", 16, "start", "#111827", "bold")]
    for i, way in enumerate(ways):
        colour, dash, line_width = LOOKS[way]
        x = LEFT + i * 104
        parts.append(_line(x, 48, x + 26, 48, colour, line_width * (2 if way == "auto" else 1), dash))
        parts.append(_text(x + 32, 52, NAMES.get(way, way), 12, "start"))
    for i, kind in enumerate(kinds):
        _panel(parts, rates, kind, ways, i % 2, i // 2)
    parts.append("</svg>\n")
    return "\n".join(parts)
