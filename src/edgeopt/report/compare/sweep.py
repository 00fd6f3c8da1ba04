"""Runs that lie along one axis: a number of the recipe that alone differs between them, or how much each pruned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.report import headline
from edgeopt.results.locked import Lock
from edgeopt.results.model import Report
from edgeopt.support.errors import InputError, Place
from edgeopt.support.reading import Reader

#: Of the resolved recipe, what says nothing of how a model is made.
_ASIDE = ("edgeopt", "name", "description", "targets", "gates", "export")
_LOCK = Reader("lock", "E115")
GONE = "share of the layers' weights gone"


@dataclass(frozen=True)
class Score:
    """A metric of a run's candidate and of its baseline.

    low, high: the baseline's value plus the one-sided 95 % bounds of the paired difference, None where the report has
    none. With several seeds value and baseline are means, and the bounds the mean difference plus and minus one
    standard deviation, paired by seed.
    """

    value: float
    baseline: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Stop:
    """A run on the axis: its name, where it lies, its scores by the metric."""

    run: str
    at: float
    scores: dict[str, Score]


@dataclass(frozen=True)
class Sweep:
    """What several runs try the values of, and how each fared.

    axis: the recipe's value as --set names it, or GONE. stops: by rising `at`.
    """

    axis: str
    stops: list[Stop]

    @property
    def metrics(self) -> list[str]:
        """The metrics that every run of the sweep has."""
        return [name for name in self.stops[0].scores if all(name in stop.scores for stop in self.stops)]

    @property
    def by_recipe(self) -> bool:
        """Whether the axis is a value of the recipe, so that the runs are otherwise alike."""
        return self.axis != GONE

    def baseline(self, metric: str) -> float | None:
        """What all runs' baselines have; None where they differ."""
        found = {stop.scores[metric].baseline for stop in self.stops}
        return found.pop() if len(found) == 1 else None


def find_sweep(names: Sequence[str], runs: Sequence[tuple[Path, Report]]) -> Sweep | None:
    """What the runs sweep over: the one number that their recipes differ in, else the shares that they pruned.

    The latter where at least two of them pruned and the shares are not the same; None without either. Recipes are read
    from recipe.lock beside the report.
    """
    found = _one_number([_recipe(folder, report) for folder, report in runs])
    shares: list[float | None] = [gone(report) for _, report in runs]
    axis, places = found or (GONE, shares)
    stops = [
        Stop(name, at, _scores(report))
        for name, (_, report), at in zip(names, runs, places, strict=True)
        if at is not None
    ]
    sweep = Sweep(axis, sorted(stops, key=lambda stop: stop.at))
    return sweep if len({stop.at for stop in stops}) > 1 and sweep.metrics else None


def gone(report: Report) -> float | None:
    """The share of the dense layers' weights that the candidate has cut away or set to zero.

    None where no step counted either.
    """
    shape, zeros = (
        headline.last_figure(report, lambda told: told.get("structure")),
        headline.last_figure(report, lambda told: told.get("sparsity")),
    )
    if shape is None and zeros is None:
        return None
    kept = shape["weights"] / shape["dense_weights"] if shape else 1.0
    return float(1 - kept * (1 - (zeros or 0.0)))


def _recipe(folder: Path, report: Report) -> dict[str, Any] | None:
    """Every value of the run's recipe by its path, as --set takes it; None where the lock is gone or another run's."""
    path = folder / "recipe.lock"
    try:
        lock = _LOCK.json(path)
        _LOCK.check(lock, Lock, Place.of(path))
    except InputError:
        return None
    return dict(_leaves(lock["recipe"]["resolved"], "")) if lock["recipe"]["digest"] == report.recipe.digest else None


def _leaves(value: object, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        value = {str(v.get("id", i)): v for i, v in enumerate(value)}
    if not isinstance(value, dict):
        yield path, value
        return
    for key, inner in value.items():
        if path or key not in _ASIDE:
            yield from _leaves(inner, f"{path}.{key}" if path else key)


def _one_number(recipes: Sequence[dict[str, Any] | None]) -> tuple[str, list[float]] | None:
    known = [recipe for recipe in recipes if recipe is not None]
    if len(known) < len(recipes):
        return None
    keys = dict.fromkeys(key for recipe in known for key in recipe)
    found = {key: [recipe.get(key) for recipe in known] for key in keys}
    differing = {key: values for key, values in found.items() if any(value != values[0] for value in values)}
    if len(differing) != 1:
        return None
    ((key, values),) = differing.items()
    numbers = [float(v) for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return (key, numbers) if len(numbers) == len(values) else None


def _scores(report: Report) -> dict[str, Score]:
    spreads = {s.metric: s for s in report.seeds.spreads} if report.seeds else {}
    out = {}
    for name, value in report.candidate.metrics.items():
        if name in spreads:
            s = spreads[name]
            out[name] = Score(
                s.candidate_mean,
                s.baseline_mean,
                s.candidate_mean - s.difference_std,
                s.candidate_mean + s.difference_std,
            )
        elif name in report.baseline.metrics:
            before, change = report.baseline.metrics[name], headline.difference(report, name)
            bounds = (before + change.low, before + change.high) if change else (None, None)
            out[name] = Score(value, before, *bounds)
    return out
