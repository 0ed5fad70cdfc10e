"""How the run speaks: headings, claims that hold, claims that do not, and a live line."""

from __future__ import annotations

import os
import sys
import time

_styled = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
_live_width = 0


def _style(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if _styled else text


def _print(text: str) -> None:
    global _live_width
    if _live_width:
        sys.stdout.write("\r" + " " * _live_width + "\r")
        _live_width = 0
    print(text, flush=True)


def title(text: str) -> None:
    _print("\n" + _style("1", text))


def say(text: str) -> None:
    _print(text)


def hold(text: str) -> None:
    """A claim that was checked and holds."""
    _print(_style("32", "✓") + " " + text)


def fail(text: str) -> None:
    """A claim that was checked and does not hold."""
    _print(_style("31", "✗ " + text))


class LiveLine:
    """One line that is written over each second on a terminal, and a plain line every ten seconds
    elsewhere, so that a log of a run stays readable."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, text: str) -> None:
        global _live_width
        if _styled:
            sys.stdout.write("\r" + text.ljust(_live_width))
            sys.stdout.flush()
            _live_width = max(_live_width, len(text))
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + 10
            _print(text)
