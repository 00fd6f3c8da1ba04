"""A gate in words: what it looks at, its bound and its value, each in the unit of its kind of bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeopt.report import format as fmt
from edgeopt.results.model import Gate
from edgeopt.spec.tasks import THROUGHPUT, TIMED
from edgeopt.statistics.bounds import sure

#: The confidence that a gate has where none is given.
_USUAL = 0.95
UNITS: dict[str, Callable[[float], str]] = {
    "max_drop_relative": fmt.percent,
    "max_mb": lambda value: f"{fmt.significant(value)} MB",
    "max_ms": fmt.milliseconds,
    "min_speedup": fmt.ratio,
    "max_ratio": fmt.ratio,
}


def unit(gate: Gate) -> Callable[[float], str]:
    """How a gate's value and bound are shown."""
    if gate.kind == "max_drop":
        return lambda value: fmt.points(gate.metric, value, sign=False) + fmt.points_unit(gate.metric)
    return fmt.per_second if (gate.metric, gate.kind) == (THROUGHPUT, "min") else UNITS.get(gate.kind, fmt.metric)


def bound(gate: Gate) -> str:
    """`drop ≤ 1.00 points`, `speed-up ≥ 2.00×`: the direction is in the kind's first word."""
    subject = {"max_drop": "drop ", "max_drop_relative": "drop ", "min_speedup": "speed-up ", "max_ratio": "ratio "}
    sign = "≥" if gate.kind.startswith("min") else "≤"
    return f"{subject.get(gate.kind, '')}{sign} {unit(gate)(gate.bound)}"


def value(gate: Gate) -> str:
    """The gate's value in its unit."""
    return fmt.ABSENT if gate.value is None else unit(gate)(gate.value)


def bounds(gate: Gate) -> str:
    """The interval of the value, with the confidence it was asked at."""
    text = fmt.interval(gate.low, gate.high, unit(gate))
    return text if text == fmt.ABSENT else f"{text} at {sure(gate.confidence)[:-1]} %"


def metric(gate: Gate) -> str:
    """What a gate is on: its metric, and behind commas slice, target, sequence and reference where it names them."""
    where = [
        gate.slice and ("worst slice" if gate.slice == "worst" else f"worst slice by {gate.slice}"),
        gate.target,
        None if gate.sequence is None else fmt.sequence(gate.sequence),
    ]
    against = None if gate.against in (None, "baseline") else f"against {gate.against}"
    return ", ".join(part for part in [gate.metric, *where, against] if part)


def in_terminal(gate: Gate, gates: Sequence[Gate]) -> str:
    """`latency.p50 max_ms 20 (cpu-1-thread, 32 tokens)`: target, length and reference where gates are of several."""
    several = len({tuple(_where(g)) for g in gates if g.metric in TIMED}) > 1
    group = ", ".join(_where(gate)) if several and gate.metric in TIMED else ""
    return _named(gate) + f" ({group})" * bool(group)


def title(gate: Gate) -> str:
    """`accuracy max_drop 0.01`: the gate as it stands in the recipe, by a name that no gate of another meaning has."""
    where = " ".join(_where(gate))
    return _named(gate) + f" ({where})" * bool(where)


def _named(gate: Gate) -> str:
    where = f" {gate.slice} slice" if gate.slice == "worst" else f" by {gate.slice}" if gate.slice else ""
    sureness = f" at {sure(gate.confidence)}" if gate.confidence != _USUAL else ""
    return f"{gate.metric}{where} {gate.kind} {gate.bound:.12g}{sureness}"


def _where(gate: Gate) -> list[str]:
    """Target, length and reference, as far as the gate names them; the ONNX baseline is the usual one."""
    length = None if gate.sequence is None else fmt.sequence(gate.sequence)
    return [part for part in (gate.target, length, gate.against == "torch" and "against torch") if part]
