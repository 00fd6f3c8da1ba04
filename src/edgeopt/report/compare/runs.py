"""Several runs side by side: what each row of `edgeopt compare` holds, and which rows may be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgeopt.plan import Chain
from edgeopt.report import energy, headline
from edgeopt.report import format as fmt
from edgeopt.report.compare.interference import Interference, interference
from edgeopt.report.compare.sweep import Sweep, find_sweep
from edgeopt.results.figures import Told
from edgeopt.results.model import Place, Report, Step, Subject
from edgeopt.spec.steps import IMPLIED

#: Metrics that stand first, in this order, where a row has them.
USUAL = ("accuracy", "precision", "recall", "f1")
DIGEST, MODEL_DIGEST, ELECTRICITY, _UNKNOWN = "digest of rows", "digest of model", "electricity of", "unknown"
#: Names of a thing, and the fact that tells whether it is the same thing under every name.
_NAMED_BY = {MODEL_DIGEST: ("model",), DIGEST: ("dataset", "split", "rows")}
#: Packages whose versions decide what a file answers and how quickly, and those that decide how it was made.
_RUNTIMES, _MAKERS = ("onnxruntime", "tokenizers"), ("torch", "transformers", "peft", "accelerate", "onnx")
#: Facts that metrics, and those that times, must share to be compared.
_OF_METRICS = ("model", MODEL_DIGEST, "task", "dataset", "split", "rows", DIGEST, "max length", *_RUNTIMES, *_MAKERS)
_OF_TIMES = ("timed at", "processor", "processors", "instructions", *_RUNTIMES)


@dataclass(frozen=True)
class Row:
    """A run's candidate or an FP32 baseline.

    facts: what two rows should share to be compared, by name. values: raw numbers, by name with the unit, None where
    not measured. metrics: the mean over the seeds; deviations: the sample standard deviation, empty with one seed.
    steps: ids of its steps, in their order. verdict: of the run's gates, empty where there are none.
    """

    name: str
    role: Literal["candidate", "baseline"]
    facts: dict[str, str]
    values: dict[str, float | None]
    metrics: dict[str, float]
    deviations: dict[str, float] = field(default_factory=dict)
    seeds: int = 1
    steps: tuple[str, ...] = ()
    verdict: str = ""


METRICS, TIMES, CO2EQ = "metrics", "seconds, latencies and energy", "CO2eq"


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, and what a reader should know about them.

    place: the target and length of the latencies, or None if the runs share none. differing: names of the facts in
    which the runs differ. incomparable: contains `METRICS` or `TIMES` if the runs differ in something that these depend
    on. one_baseline: whether all ratios are to a baseline of the same shape, so that they can be ranked. notes: maps
    each note to the rows it applies to. failed: maps the name of a run that could not become a row to the reason.
    sweep: the axis along which the candidates differ, if there is one. interference: tasks that a run learned with
    others and another run alone.
    """

    rows: list[Row]
    place: Place | None
    differing: list[str]
    warnings: list[str]
    failed: Mapping[str, str] = field(default_factory=dict)
    sweep: Sweep | None = None
    incomparable: frozenset[str] = frozenset()
    one_baseline: bool = False
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    interference: Sequence[Interference] = ()

    @property
    def metrics(self) -> list[str]:
        """Every metric that a row has, the usual ones first."""
        seen = dict.fromkeys(name for row in self.rows for name in row.metrics)
        return [*(n for n in USUAL if n in seen), *(n for n in seen if n not in USUAL)]


def compare(
    runs: Sequence[tuple[Path, Report]],
    *,
    baseline: bool = True,
    names: Sequence[str] | None = None,
    failed: Mapping[str, str] | None = None,
) -> Comparison:
    """Puts runs side by side. runs: folder and report of each.

    baseline: also a row for each FP32 baseline, one that runs share once. names: of the rows, default the recipes'.
    failed: runs that there are none of, with the reason.
    """
    if not runs:
        return Comparison([], None, [], [], failed or {})
    names = list(names or _names(runs))
    place = _common_place([report for _, report in runs])
    candidates = [row_of(name, report, "candidate", place) for name, (_, report) in zip(names, runs, strict=True)]
    rows = [*(_baselines(names, [report for _, report in runs], place) if baseline else []), *candidates]
    reports = [report for _, report in runs]
    differing = _differing([row.facts for row in candidates])
    deciding = _deciding([row.facts for row in candidates])
    return Comparison(
        rows,
        place,
        differing,
        _warnings(deciding),
        failed or {},
        find_sweep(names, runs),
        frozenset(deciding),
        _one_baseline(reports),
        _notes(names, reports),
        interference(names, runs),
    )


def _one_baseline(reports: Sequence[Report]) -> bool:
    """Whether the baselines have the same weights in number and the same file in size.

    Such take the same time, however they were trained, and a ratio to one says the same as a ratio to another.
    """
    return len({(report.baseline.parameters, report.baseline.size_bytes) for report in reports}) == 1


def _notes(names: Sequence[str], reports: Sequence[Report]) -> dict[str, tuple[str, ...]]:
    """Every note of a run once, with the runs that have it, in the order of the first of them."""
    found: dict[str, list[str]] = {}
    for name, report in zip(names, reports, strict=True):
        for note in (*report.warnings, *report.notes):
            found.setdefault(note, []).append(name)
    return {note: tuple(dict.fromkeys(of)) for note, of in found.items()}


def _names(runs: Sequence[tuple[Path, Report]]) -> list[str]:
    """Names for runs: each recipe's; where several share one, their folders', and where that is the same too, paths."""
    names = [report.recipe.name for _, report in runs]
    for other in (lambda path: path.resolve().name, str):
        names = [other(path) if names.count(name) > 1 else name for name, (path, _) in zip(names, runs, strict=True)]
    return names


def _common_place(reports: Sequence[Report]) -> Place | None:
    places = [headline.places(report) for report in reports]
    common = [place for place in places[0] if all(place in others for others in places)]
    main = headline.main_place(reports[0])
    return main if main in common else next(iter(common), None)


def _baselines(names: Sequence[str], reports: Sequence[Report], place: Place | None) -> list[Row]:
    """One row for each baseline there is: the same model measured on the same rows, with the same seeds."""
    groups: dict[Any, list[int]] = {}
    for i, report in enumerate(reports):
        made = [step.digest for step in report.steps if step.chain == "baseline"]
        seeds = tuple(tuple(sorted(r.baseline.items())) for r in report.seeds.results) if report.seeds else ()
        groups.setdefault((made[-1] if made else i, tuple(sorted(report.baseline.metrics.items())), seeds), []).append(
            i
        )
    rows = []
    for members in groups.values():
        first = reports[members[0]]
        name = "full fine-tune, FP32" if _trained(first, "baseline") else "model as given, FP32"
        of = f" ({', '.join(names[i] for i in members)})" if len(groups) > 1 else ""
        rows.append(row_of(name + of, first, "baseline", place))
    return rows


def row_of(name: str, report: Report, role: Chain, place: Place | None) -> Row:
    """The row of a run's candidate or baseline.

    place: where its latency is read; None: where the report's own gates look.
    """
    subject: Subject = getattr(report, role)
    own = place or headline.main_place(report)
    latency, faster = (headline.latency(report, role, own), headline.speedup(report, own)) if own else (None, None)
    many = headline.throughput(report, role, own) if own else None
    values: dict[str, float | None] = {
        **_cost(_trained(report, role)),
        "inference_seconds": subject.inference_seconds,
        "exported_bytes": subject.size_bytes,
        "p50_milliseconds": latency.p50_ms if latency else None,
        "speedup_ratio": faster.ratio if faster and role == "candidate" else None,
        "queries_per_second": many.qps if many else None,
        "throughput_ratio": many.ratio if many else None,
        "p50_share": 1 / faster.ratio if faster and role == "candidate" else 1.0 if faster else None,
        "building_seconds": sum(step.seconds for step in report.steps if step.chain == role) or None,
        "inference_kwh": used.kwh if (used := energy.inference(report, role)) else None,
        "inference_co2eq_grams": used.co2eq_g if used else None,
        "making_kwh": energy.chain_total(report, role, "kwh"),
        "making_co2eq_grams": energy.chain_total(report, role, "co2eq_g"),
    }
    steps = tuple(step.id for step in report.steps if step.chain == role and step.id not in IMPLIED)
    verdict = report.verdict if report.gates and role == "candidate" else ""
    spreads = {s.metric: s for s in report.seeds.spreads} if report.seeds else {}
    metrics = {
        n: getattr(spreads[n], f"{role}_mean") if n in spreads else v
        for n, v in {**subject.metrics, **subject.extra}.items()
    }
    deviations = {n: getattr(spreads[n], f"{role}_std") for n in metrics if n in spreads}
    return Row(
        name,
        role,
        _facts(report, own),
        values,
        metrics,
        deviations,
        len(report.seeds.results) if report.seeds else 1,
        steps,
        verdict,
    )


def _facts(report: Report, place: Place | None) -> dict[str, str]:
    task, machine = report.task, report.environment
    packages = machine.get("packages") or {}
    return {
        "model": report.model,
        MODEL_DIGEST: report.model_fingerprint[:8] if report.model_fingerprint else _UNKNOWN,
        "task": task.type,
        "dataset": task.dataset,
        "split": task.split,
        "rows": str(task.rows),
        DIGEST: task.fingerprint[:8] if task.fingerprint else _UNKNOWN,
        "max length": str(task.max_length),
        "timed at": str(place) if place else fmt.ABSENT,
        "processor": str(machine.get("cpu", fmt.ABSENT)),
        "processors": str(machine.get("processors", fmt.ABSENT)),
        "instructions": " ".join(machine.get("cpu_flags") or ()) or fmt.ABSENT,
        **{name: str(packages.get(name) or fmt.ABSENT) for name in (*_RUNTIMES, *_MAKERS)},
        ELECTRICITY: energy.country(report) or fmt.ABSENT,
    }


def _differing(facts: Sequence[dict[str, str]]) -> list[str]:
    """Names of the facts that are not the same for all, to be shown.

    A digest is shown only where nothing else tells the things apart and all runs know it, as earlier ones do not.
    """
    unmetered = {ELECTRICITY: {fmt.ABSENT}}  # has no CO2eq that could be compared
    found = [name for name in facts[0] if len({each[name] for each in facts} - unmetered.get(name, set())) > 1]
    told = [
        digest
        for digest, names in _NAMED_BY.items()
        if {*names} & {*found} or any(each[digest] == _UNKNOWN for each in facts)
    ]
    return [name for name in found if name not in told]


def _deciding(facts: Sequence[dict[str, str]]) -> dict[str, list[str]]:
    """What is not comparable, and the facts that make it so.

    Where all digests of a thing are known they decide: under one name may be two things, and one thing under two names.
    """
    different = {name for name in facts[0] if len({each[name] for each in facts}) > 1}
    for digest, names in _NAMED_BY.items():
        if any(each[digest] == _UNKNOWN for each in facts):
            different.discard(digest)
        elif digest not in different:
            different.difference_update(names)
        elif different.intersection(names):  # its names tell it apart already
            different.discard(digest)
    found = {
        METRICS: [n for n in _OF_METRICS if n in different],
        TIMES: [n for n in _OF_TIMES if n in different],
        CO2EQ: [n for n in (ELECTRICITY,) if n in _differing(facts)],
    }
    return {what: names for what, names in found.items() if names}


def _trained(report: Report, chain: Chain) -> list[Step]:
    return [step for step in report.steps if step.chain == chain and "train_seconds" in step.told]


def _cost(steps: Sequence[Step]) -> dict[str, float | None]:
    """What all trainings of a chain cost: seconds added up, parameters and memory of the largest, bytes of the last."""
    widest = max((s.told for s in steps), key=lambda told: told.get("trainable_parameters", 0), default=Told())

    def found(
        name: Literal[
            "loading_seconds", "computing_seconds", "train_seconds", "peak_rss_bytes", "peak_gpu_bytes", "adapter_bytes"
        ],
    ) -> list[float]:
        return [s.told[name] for s in steps if name in s.told]

    return {
        "trained_parameters": widest.get("trainable_parameters"),
        "parameters": widest.get("parameters"),
        "trained_share": widest.get("trainable_share"),
        "loading_seconds": sum(found("loading_seconds")) if found("loading_seconds") else None,
        "computing_seconds": sum(found("computing_seconds")) if found("computing_seconds") else None,
        "training_seconds": sum(found("train_seconds")) if steps else None,
        "peak_rss_bytes": max(found("peak_rss_bytes"), default=None),
        "peak_gpu_bytes": max(found("peak_gpu_bytes"), default=None),
        "checkpoint_bytes": steps[-1].size_bytes if steps else None,
        "adapter_bytes": next(reversed(found("adapter_bytes")), None),
    }


def _warnings(deciding: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"{', '.join(names)} differ between the runs: {what} of rows that differ in them are not comparable."
        for what, names in deciding.items()
    ]
