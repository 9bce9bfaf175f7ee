"""Numbers as a reader wants them: an estimate with its interval, and how counts, shares, times and names are written.

Anything that is not a finite number is written as a dash, so that an incomplete file still makes a page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

DASH, MINUS, PERCENT = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}%"


@dataclass(frozen=True)
class Estimate:
    """A value and, where known, its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def read(cls, given: object) -> Estimate | None:
        """Accept {"value","low","high"}, [value, low, high] or a bare number; anything else is no estimate."""
        if isinstance(given, Mapping):
            given = [given.get("value"), given.get("low"), given.get("high")]
        if not isinstance(given, Sequence) or isinstance(given, str):
            given = [given]
        numbers = [number(part) for part in [*given, None, None][:3]]
        if numbers[0] is None:
            return None
        return cls(numbers[0], numbers[1], numbers[2]) if None not in numbers else cls(numbers[0])


def number(given: object) -> float | None:
    """Return a finite number, or None."""
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return float(given) if is_number and math.isfinite(given) else None  # type: ignore[arg-type]


def count(given: object) -> str:
    """Write a count with thousands apart; a dash for nothing.

    >>> count(1234567)
    '1,234,567'
    """
    value = number(given)
    return DASH if value is None else f"{value:,.0f}".replace("-", MINUS)


def decimal(given: object, signed: bool = False) -> str:
    """Write a metric's value: three decimals, fewer for large numbers, a true minus sign.

    >>> decimal(0.84219), decimal(0.0121, signed=True), decimal(1234.5)
    ('0.842', '+0.012', '1,234')
    """
    value = number(given)
    if value is None:
        return DASH
    places = 3 if abs(value) < 10 else 2 if abs(value) < 100 else 0
    text = f"{value:{'+' if signed else ''},.{places}f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else text.lstrip("+-")


def percent(given: object) -> str:
    r"""Write a share as a percentage; small ones keep two figures.

    >>> percent(0.1234), percent(0.00081), percent(1)
    ('12.3\xa0%', '0.081\xa0%', '100\xa0%')
    """
    value = number(given)
    if value is None:
        return DASH
    share = 100 * value
    if share in (0, 100):
        return f"{share:.0f}{PERCENT}"
    return f"{share:.1f}{PERCENT}" if abs(share) >= 1 else f"{share:#.2g}{PERCENT}"


def one_decimal(given: object) -> str:
    """Write a number with one decimal.

    >>> one_decimal(38.14)
    '38.1'
    """
    value = number(given)
    return DASH if value is None else f"{value:,.1f}"


def missing(given: object) -> str:
    r"""Write what is missing: a share between 0 and 1 as a percentage, anything larger as a count.

    >>> missing(0.031), missing(0), missing(512)
    ('3.1\xa0%', 'none', '512')
    """
    value = number(given)
    if value == 0:
        return "none"
    return percent(value) if value is None or (isinstance(given, float) and value <= 1) else count(value)


def duration(given: object) -> str:
    """Write seconds as a reader would say them.

    >>> duration(0.42), duration(75), duration(7260)
    ('0.42 s', '1 min 15 s', '2 h 1 min')
    """
    value = number(given)
    if value is None:
        return DASH
    if value < 60:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def moment(given: object) -> str:
    """Write an ISO time without its fractions, zone UTC unless it says otherwise.

    >>> moment("2024-01-03T07:15:00.123456+00:00")
    '2024-01-03 07:15 UTC'
    """
    if given is None:
        return DASH
    try:
        found = datetime.fromisoformat(str(given))
    except ValueError:
        return short(given)
    zone = found.strftime("%Z") if found.tzinfo else "UTC"
    return f"{found:%Y-%m-%d %H:%M} {zone}"


def short(given: object, most: int = 160) -> str:
    """Shorten a hostile or merely long name to what a page can hold.

    >>> short("a" * 200, most=8)
    'aaaaaaa… (200 characters)'
    """
    text = str(given)
    return text if len(text) <= most else f"{text[: most - 1]}… ({len(text):,} characters)"


def long(given: object) -> str:
    """Shorten a sentence or a command that would fill the page."""
    return short(given, most=2000)


def interval(estimate: Estimate, signed: bool = False) -> str:
    """Write 'low to high'; empty where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{decimal(estimate.low, signed)} to {decimal(estimate.high, signed)}"


def sentence(given: object) -> str:
    """Write what somebody noted as a sentence: a capital (unless a name is quoted first) and a full stop.

    >>> sentence("3 rows were left out"), sentence("random by entity.")
    ('3 rows were left out.', 'Random by entity.')
    """
    text = long(given).strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", ":")) else ".")
