"""Numbers that an option takes, with an error that says what is wrong."""

from __future__ import annotations

import argparse


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is no number greater than 0")
    return number


def count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number greater than 0")
    return number


def port(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1024 <= number <= 65000:
        raise argparse.ArgumentTypeError(f"{text} is no port from 1024 to 65000")
    return number
