# SPDX-License-Identifier: Apache-2.0
"""Which tests of Swift Testing have begun and not ended, read from what a run says."""
import re
from collections import Counter

BEGUN = re.compile(r"^\S+ Test (?!run |case )(.+) started\.$")
ENDED = re.compile(r"^\S+ Test (?!run |case )(.+?)(?: with \d+ test cases?)? (?:passed|failed) after ")
# Only with its arguments does one see which case of a test it was.
CASE = re.compile(r"^\S+ Test case passing (.+) to (\S+) started\.$")


class UnderWay:
    def __init__(self) -> None:
        self.rest = b""
        self.counts: Counter[str] = Counter()
        self.cases: dict[str, list[str]] = {}
        self.last = ""

    def read(self, data: bytes) -> None:
        *whole, self.rest = (self.rest + data).split(b"\n")
        for line in whole:
            self.line(line.decode("utf-8", "replace").rstrip())

    def line(self, line: str) -> None:
        if line:
            self.last = line
        if begun := BEGUN.match(line):
            self.counts[begun[1]] += 1
        elif ended := ENDED.match(line):
            self.counts[ended[1]] -= 1
            if self.counts[ended[1]] <= 0:
                del self.counts[ended[1]]
                self.cases.pop(ended[1], None)
        elif case := CASE.match(line):
            self.cases.setdefault(case[2], []).append(case[1])

    def names(self) -> list[str]:
        return sorted(self.counts)

    def summary(self) -> str:
        names = self.names()
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        return f"{len(names)} tests have begun and not ended: {', '.join(names[:8])}{more}" if names else f"its last line: {self.last}"

    def lines(self) -> list[str]:
        names = self.names()
        if not names:
            return [f"its last line was: {self.last}"]
        shown = [f"  {name}{self.suffix(name)}" for name in names[:60]]
        if len(names) > 60:
            shown.append(f"  and {len(names) - 60} more")
        return [f"{len(names)} tests had begun and not ended:", *shown]

    def suffix(self, name: str) -> str:
        cases = self.cases.get(name, [])
        return f"   cases begun: {'; '.join(cases)}"[:200] if cases else ""
