"""Numbers as people read them: rounded by their uncertainty, and never a NaN."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from gansearch.errors import listed
from gansearch.study import records

DASH = "\N{EN DASH}"
"""Stands where there is no number."""

_NOT_NUMBERS = ((r"[-+]?\binf(inity)?\b", "infinite"), (r"\bnan\b", "not a number"))


PLACES, HUGE = 8, 1e15
"""Decimals, and a size, beyond which a number is written with a power of ten."""


def missing(value: Any) -> bool:
    """Whether a value is no value: None, NaN, NA, NaT or an infinity."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return isinstance(value, Real) and not math.isfinite(value)


def number(value: Any) -> str:
    """Four significant digits: `12.35`, `0.0004312`, `1.2e-5`, `60,000`, `1.5e30`."""
    if missing(value):
        return DASH
    value = float(value)
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if 9999.5 <= abs(value) < HUGE:
        return f"{value:,.0f}"
    return re.sub(r"e([-+])0?", lambda sign: "e" + sign[1].replace("+", ""), f"{value:.4g}")


def interval(value: Any, low: Any, high: Any) -> str:
    """`12.3 [11.8, 13.1]`: as many digits as the interval's width is worth; an en dash for no value."""
    if missing(value):
        return DASH
    if missing(low) or missing(high):
        return number(value)
    shown = _alike([value, low, high], half=(float(high) - float(low)) / 2)
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def spread(mean: Any, sd: Any) -> str:
    """`29.6 ± 1.6`, or the mean alone."""
    if missing(mean):
        return DASH
    if missing(sd):
        return number(mean)
    return " ± ".join(_alike([mean, sd], half=float(sd)))


def share(value: Any, low: Any = None, high: Any = None) -> str:
    """`83 %`, or `83 % [66, 93]`."""
    if missing(value):
        return DASH
    if missing(low) or missing(high):
        return f"{100 * value:.0f} %"
    return f"{100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def probability(value: Any, low: Any = None, high: Any = None) -> str:
    """`0.87 [0.70, 0.95]`."""
    if missing(value):
        return DASH
    if missing(low) or missing(high):
        return f"{value:.2f}"
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def duration(seconds: Any) -> str:
    """`95 s`, `12 min`, `3.4 h`; an en dash for no value."""
    return DASH if missing(seconds) else records.duration(float(seconds))


def words(value: Any) -> str:
    """Any value for a cell: numbers rounded, flags as yes and no, text without `nan` and `inf`."""
    if value is None or value is pd.NA or value is pd.NaT:
        return DASH
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Real):
        return number(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return listed([words(v) for v in value]) or DASH
    text = str(value)
    for pattern, said in _NOT_NUMBERS:
        text = re.sub(pattern, said, text, flags=re.IGNORECASE)
    return text or DASH


def rounded(text: Any) -> str:
    """A sentence whose long numbers have three digits: `0.000138393` becomes `0.000138`."""
    return re.sub(
        r"\d+\.\d{3,}(e[-+]?\d+)?", lambda found: number(float(f"{float(found[0]):.3g}")), words(text)
    )


def _alike(values: Sequence[Any], half: float) -> list[str]:
    """Numbers with as many decimals as the first is worth, whose uncertainty is `half` a width."""
    decimals = _decimals(half, float(values[0]))
    if decimals > PLACES or max(abs(value) for value in values) >= HUGE:
        return [number(value) for value in values]
    return [f"{_nonzero(value, decimals):,.{decimals}f}" for value in values]


def _decimals(half: float, value: float) -> int:
    """So many that the half width has one digit, or two where the first is 1 or 2."""
    if half <= 0 or not math.isfinite(half):
        size = abs(value)
        return 0 if size == 0 else max(0, 3 - math.floor(math.log10(size)))
    exponent = math.floor(math.log10(half))
    leading = half / 10.0**exponent
    return max(0, int(leading < 2.95) - exponent)


def _nonzero(value: float, decimals: int) -> float:
    """Without the sign of a zero."""
    return round(float(value), decimals) + 0.0
