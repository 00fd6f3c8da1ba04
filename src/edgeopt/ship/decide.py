"""What a device measured, as the report has it, and the gates that it can decide by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from edgeopt.bundle.manifest import Manifest
from edgeopt.gates.timed import MIN_QUERIES, PERCENTILES, of_few_queries
from edgeopt.results.model import Gate, Latency, Starts
from edgeopt.spec.recipe import GateSpec
from edgeopt.statistics.bounds import percentile_bounds, sure
from edgeopt.support.reading import Count, NotNegative, Positive, Reader

#: Of what a device answers, which is not trusted.
READER = Reader("answer of the device", "E421")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Tested(_Part):
    passed: bool
    max_abs_diff: NotNegative
    tolerance: NotNegative
    texts: Count
    worst: Count


class Checked(_Part):
    """What `device.py selftest` prints."""

    selftest: _Tested


class _Timed(_Part):
    sequence: int | Literal["task"]
    samples: Annotated[list[Positive], Field(min_length=1)]


class _Started(_Part):
    ms: Positive
    peak_bytes: Count


class Proved(Checked):
    """What `device.py profile` prints."""

    latency: list[_Timed]
    starts: Annotated[list[_Started], Field(min_length=1)]


def latencies(
    measured: dict[str, Any], manifest: Manifest, cpu: str, runtime: str, session: dict[str, Any]
) -> list[Latency]:
    """What the report has of the latencies that a device measured, one for each sequence of the target."""
    target, out = manifest.target, []
    for each in measured["latency"]:
        samples = each["samples"]
        p50, p90, p99 = (float(np.percentile(samples, q)) for q in PERCENTILES.values())
        times = {
            "p50_ms": p50,
            "p90_ms": p90,
            "p99_ms": p99 if len(samples) >= MIN_QUERIES["p99"] else None,
            "queries": len(samples),
        }
        where = {
            "target": target.name,
            "threads": target.threads,
            "batch": target.batch,
            "sequence": each["sequence"],
            "device": cpu,
            "runtime": runtime,
        }
        out.append(Latency.model_validate({"subject": "candidate", **where, **times, "session": session}))
    return out


def starts(measured: dict[str, Any]) -> Starts:
    """What the report has of the cold starts that a device measured."""
    return Starts(ms=[s["ms"] for s in measured["starts"]], peak_bytes=[s["peak_bytes"] for s in measured["starts"]])


def decide(specs: Sequence[GateSpec], measured: dict[str, Any], manifest: Manifest) -> list[Gate]:
    """Decide bounds on latency, cold start and memory: one that the interval straddles is inconclusive."""
    return [_decide(spec, measured, manifest) for spec in specs]


def _decide(spec: GateSpec, measured: dict[str, Any], manifest: Manifest) -> Gate:
    kind, bound = spec.bound
    few = ""
    about: dict[str, Any] = {
        "metric": spec.metric,
        "bound": bound,
        "kind": kind,
        "confidence": spec.confidence,
        "target": manifest.target.name,
    }
    if spec.metric.startswith("latency."):
        by_sequence = {each["sequence"]: each["samples"] for each in measured["latency"]}
        about["sequence"] = spec.sequence or manifest.target.sequence[0]
        samples, percentile = np.array(by_sequence.get(about["sequence"], [])), spec.metric.partition(".")[2]
        if not len(samples):
            return Gate(
                **about, verdict="inconclusive", value=None, reason=f"nothing was measured at {about['sequence']}"
            )
        bounds, unit = percentile_bounds(samples, PERCENTILES[percentile], spec.confidence), "ms"
        if len(samples) < (needed := MIN_QUERIES[percentile]):
            bounds, few = (
                of_few_queries(bounds, [samples], PERCENTILES[percentile], spec.confidence),
                f"; {len(samples)} queries: {percentile} needs {needed}",
            )
    else:
        key, scale, unit = ("ms", 1.0, "ms") if spec.metric == "start.cold" else ("peak_bytes", 1e6, "MB")
        bounds = percentile_bounds(
            np.array([s[key] for s in measured["starts"]]) / scale, 50.0, spec.confidence, block=1
        )
    if not np.isfinite([bounds.value, bounds.low]).all():
        return Gate(**about, verdict="fail", value=None, reason="the measured value is not a number")
    verdict = "pass" if bounds.high <= bound else "inconclusive" if bounds.low <= bound else "fail"
    reason = (
        f"{bounds.value:.4g} {unit} on the device, "
        f"at most {bounds.high:.4g} with {sure(spec.confidence)} confidence{few}"
    )
    return Gate(**about, verdict=verdict, value=bounds.value, low=bounds.low, high=bounds.high, reason=reason)
