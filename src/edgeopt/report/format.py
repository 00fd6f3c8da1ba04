"""How a number is written, once, so that Markdown, HTML and the model card cannot differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from edgeopt.results.model import tokens_in_words

ABSENT = "–"
MINUS = "−"

# Metrics that are errors in the label's own unit: a difference of these is not in points of 0.01.
ERRORS = frozenset({"mse", "rmse", "mae", "loss", "perplexity"})


def _signed(text: str) -> str:
    return text.replace("-", MINUS)


def metric(value: float | None) -> str:
    """A metric, to four digits."""
    return ABSENT if value is None else _signed(f"{value:z.4f}")


def points(name: str, value: float, *, sign: bool = True) -> str:
    """A difference of metric `name`: in points (hundredths) for a score, in its own unit for an error."""
    plus = "+" if sign else ""
    if name in ERRORS:
        return _signed(f"{value:{plus}z.4f}")
    return _signed(f"{value * 100:{plus}z.2f}")


def points_unit(name: str) -> str:
    """The unit that `points` shows a metric's difference in, to be put behind it; nothing for an error."""
    return "" if name in ERRORS else " points"


def interval(low: float | None, high: float | None, show: Callable[[float], str]) -> str:
    """Both bounds as [low, high]; a single one as an inequality."""
    if low is not None and high is not None:
        return f"[{show(low)}, {show(high)}]"
    if low is not None:
        return f"≥ {show(low)}"
    return ABSENT if high is None else f"≤ {show(high)}"


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits and never an exponent; whole numbers are not cut."""
    if value == 0:
        return "0"
    if not math.isfinite(value):  # a bound that too few samples leave open
        return "not a number" if math.isnan(value) else "∞" if value > 0 else f"{MINUS}∞"
    exponent = math.floor(math.log10(abs(value)))
    return _signed(f"{value:,.{max(digits - 1 - exponent, 0)}f}")


def megabytes(size: float | None) -> str:
    """Decimal megabytes: 10^6 bytes, the unit of the size gate."""
    return ABSENT if size is None else f"{significant(size / 1e6)} MB"


def energy(kwh: float) -> str:
    """An energy in the unit that needs the fewest noughts: `4.21 mWh`, `18.3 Wh`."""
    return _scaled(kwh * 1000, (("kWh", 1e3), ("Wh", 1.0), ("mWh", 1e-3), ("µWh", 1e-6)))


def flops(value: float) -> str:
    """A number of floating-point operations: `12.3 G`."""
    return _scaled(value, (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)))


def grams(value: float) -> str:
    """A mass given in grams, in the unit that suits it."""
    return _scaled(value, (("kg", 1e3), ("g", 1.0), ("mg", 1e-3), ("µg", 1e-6)))


def _scaled(value: float, units: tuple[tuple[str, float], ...]) -> str:
    """Three significant digits in the largest unit of which there is one, else in the smallest."""
    unit, size = next(((unit, size) for unit, size in units if abs(value) >= size), units[-1])
    return f"{significant(value / size)} {unit}"


def milliseconds(value: float | None) -> str:
    """A latency to three significant digits."""
    return ABSENT if value is None else f"{significant(value)} ms"


def per_second(value: float | None) -> str:
    """Queries a second, to three significant digits."""
    return ABSENT if value is None else f"{significant(value)}/s"


def ratio(value: float) -> str:
    """A ratio to three significant digits: `3.28×`."""
    return f"{significant(value)}×"


def shrink(before: float, after: float, words: tuple[str, str] = ("smaller", "larger")) -> str:
    """How much smaller `after` is, said so that no one has to guess which way the ratio goes."""
    if before == after:
        return "same"
    if min(before, after) <= 0:
        return ABSENT
    return f"{ratio(before / after)} {words[0]}" if after < before else f"{ratio(after / before)} {words[1]}"


def count(value: int) -> str:
    """Exact below a million; above, four digits, as the exact number is in report.json."""
    return f"{value:,}" if value < 1_000_000 else f"{significant(value / 1e6, 4)} M"


def percent(fraction: float | None) -> str:
    """A share as a percentage to one digit."""
    return ABSENT if fraction is None else _signed(f"{fraction * 100:.1f} %")


def share(fraction: float | None) -> str:
    """A percentage of which small ones keep their digits: `0.241 %`."""
    return ABSENT if fraction is None else f"{significant(fraction * 100)} %"


def short(value: float) -> str:
    """A round number for an axis: `500`, `20 k`, `1 M`."""
    for unit, word in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{word}"
    return f"{value:g}"


def plus_minus(
    mean: float, std: float | None, show: Callable[[float], str], show_std: Callable[[float], str] | None = None
) -> str:
    """`0.8407 ± 0.0031`; without a spread the value alone."""
    return show(mean) if std is None else f"{show(mean)} ± {(show_std or show)(std)}"


def duration(seconds: float) -> str:
    """Seconds in the units that one would say them in: `4.2 s`, `3 min 05 s`, `1 h 20 min`."""
    if seconds < 60:
        return f"{significant(seconds, 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def sequence(length: int | Literal["task"] | None) -> str:
    """A sequence length in words; absent where there is none."""
    return ABSENT if length is None else tokens_in_words(length)


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows of two columns: `cpu.model`, `Xeon`."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows.extend(flatten(value, f"{name}."))
        elif isinstance(value, (list, tuple)):
            rows.append((name, ", ".join(map(str, value)) or ABSENT))
        else:
            rows.append((name, ABSENT if value is None else str(value)))
    return rows
