"""Numbers, times and lists in a person's words."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence

ARROW = " → "
_MAX_DIGITS = 17
_LONG_INT = 10**18
_LONGEST_UNGROUPED = len("9,999")
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]{4,}")


def clipped(text: str, limit: int) -> str:
    """The beginning of `text`, in characters that every encoding has."""
    short = text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"
    # Half a character has no place in any encoding.
    return short if short.isascii() else short.encode("utf-8", "backslashreplace").decode("utf-8")


def one_line(text: str, limit: int) -> str:
    """The beginning of `text` without its line breaks."""
    return clipped(" ".join(text[: 4 * limit].split()), limit)


def without_addresses(text: str) -> str:
    """`text` without where in memory things are, which is another place in every run."""
    return _ADDRESS.sub("", text) if " at 0x" in text else text


def number(value: float, digits: int = 6) -> str:
    """`2012`, `12,345`, `1.2e-09`: so many significant digits, and no zeros that say nothing.

    Four digits, which may well be a year, are no group; counts have `counted`, which groups them.
    """
    return _grouped(_digits(value, digits))[0]


def _digits(value: float, digits: int) -> str:
    if isinstance(value, int):
        if abs(value) < _LONG_INT:
            return f"{value:,}"
        return str(value) if value.bit_length() < 400 else f"an int of {value.bit_length():,} bits"
    if not math.isfinite(value):
        return "NaN" if value != value else ("inf" if value > 0 else "-inf")
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    exponent = math.floor(math.log10(abs(value)))
    if -5 <= exponent < 15:
        return _trimmed(f"{value:,.{max(0, digits - 1 - exponent)}f}")
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    return f"{_trimmed(mantissa)}e{int(power)}"


def _grouped(*numbers: str) -> tuple[str, ...]:
    """Numbers that stand side by side, all of them in groups of three digits or none."""
    if any(len(text.lstrip("-").partition(".")[0]) > _LONGEST_UNGROUPED for text in numbers):
        return numbers
    return tuple(text.replace(",", "") for text in numbers)


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def number_pair(before: float, after: float, digits: int = 6) -> tuple[str, str]:
    """Both in as few digits as tell them apart, and with the same decimals: `41.2`, `43.0`."""
    for precision in range(digits, _MAX_DIGITS):
        old, new = _digits(before, precision), _digits(after, precision)
        if old != new:
            break
    else:
        return repr(before), repr(after)
    if isinstance(before, int) or isinstance(after, int) or "e" in old + new:
        old, new = _grouped(old, new)
        return old, new
    decimals = max(len(old.partition(".")[2]), len(new.partition(".")[2]))
    if 0 < decimals <= 4 and before and after and math.isfinite(before) and math.isfinite(after):
        old, new = f"{before:,.{decimals}f}", f"{after:,.{decimals}f}"
    old, new = _grouped(old, new)
    return old, new


def growth(before: float, after: float) -> str:
    """`+4.4 %` or `×12`; empty where a share says nothing."""
    try:
        if not (before * after > 0 and math.isfinite(before) and math.isfinite(after)):
            return ""
        factor = after / before
    except OverflowError:
        return ""
    if factor >= 10:
        return f"×{number(factor, 3)}"
    percent = (factor - 1) * 100 if before > 0 else (1 - factor) * 100
    if abs(percent) < 0.001:
        return ""
    return f"{percent:+.0f} %" if abs(percent) >= 10 else f"{percent:+.2g} %"


def duration(change: datetime.timedelta) -> str:
    """`+2 days`, `-3 h 5 min`, `+0.5 s`."""
    sign, rest = ("-", -change) if change < datetime.timedelta(0) else ("+", change)
    hours, seconds = divmod(rest.seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    exact = seconds + rest.microseconds / 1e6
    parts = [
        *([counted(rest.days, "day")] if rest.days else []),
        *([f"{hours} h"] if hours else []),
        *([f"{minutes} min"] if minutes else []),
        *([f"{number(exact)} s"] if exact else []),
    ]
    return sign + " ".join(parts[:2]) if parts else "+0 s"


def counted(count: int, what: str) -> str:
    """`1 row`, `998 rows`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def by(shape: Sequence[int]) -> str:
    """`1,000 × 5`."""
    return " × ".join(f"{n:,}" for n in shape)


def listed(names: Sequence[str], shown: int = 3) -> str:
    """`a, b and c`, or `a, b, c and 4 more`."""
    if len(names) > shown:
        return f"{', '.join(names[:shown])} and {len(names) - shown:,} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
