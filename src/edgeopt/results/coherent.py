"""Whether what a report that was read says fits together, as its renderings take for granted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgeopt.results.model import Report, Step
from edgeopt.support.reading import Count, Finite, NotNegative, first_wrong


class _Known(BaseModel):
    """The part of something open that is read."""

    model_config = ConfigDict(extra="allow", frozen=True)


class _Dense(_Known):
    layers: Count
    heads: int = Field(ge=1, le=10_000)
    neurons: int = Field(ge=1, le=2**40)
    hidden: int = Field(ge=1, le=2**40)


class _Structure(_Known):
    dense: _Dense
    hidden: int = Field(ge=1, le=2**40)
    heads: list[Count] = Field(max_length=10_000)
    neurons: list[Count] = Field(max_length=10_000)
    head_numbers: list[list[Count]] = Field(max_length=10_000)
    weights: Count
    dense_weights: int = Field(ge=1)
    macs: Count
    dense_macs: int = Field(ge=1)
    macs_tokens: Count
    promised_speedup: NotNegative | None

    @model_validator(mode="after")
    def _a_number_a_layer(self) -> _Structure:
        if not len(self.heads) == len(self.neurons) == len(self.head_numbers):
            raise ValueError("heads, neurons and head_numbers have other numbers of layers")
        return self


class _Asked(_Known):
    asked: Finite
    got: Finite


class _Emitted(_Known):
    seconds: NotNegative
    kwh: NotNegative
    co2eq_g: NotNegative
    estimated: bool
    country: str
    how: str


class _Tried(_Known):
    remedies: str
    kl: float
    agreement: float | None
    drop: float | None
    held: bool


class _Policy(_Known):
    chosen: str | None
    tried: list[_Tried]


class _Sensitivity(_Known):
    blocks: list[tuple[str, float]]
    nodes: list[tuple[str, float]]


class _Selected(_Known):
    metric: str
    value: Finite


class _Figures(_Known):
    """What renderings read of a step's figures."""

    structure: _Structure | None = None
    asked_sparsity: _Asked | None = None
    emissions: _Emitted | dict[str, Any] | None = None
    policy: _Policy | None = None
    sensitivity: _Sensitivity | None = None
    selection: _Selected | dict[str, Any] | str | bool | None = None
    kept_float: list[str] | None = None
    sparsity: float | None = Field(None, ge=0, le=1)
    multiple: int | None = Field(None, ge=1, le=2**40)
    compressed_bytes: int | None = Field(None, ge=1, le=2**53)
    trainable_parameters: Count | None = None
    parameters: Count | None = None
    trainable_share: NotNegative | None = None
    loading_seconds: NotNegative | None = None
    computing_seconds: NotNegative | None = None
    train_seconds: NotNegative | None = None
    examples_per_second: NotNegative | None = None
    peak_rss_bytes: Count | None = None
    peak_gpu_bytes: Count | None = None
    adapter_bytes: Count | None = None


class _Environment(_Known):
    packages: dict[str, str | None] = {}


def incoherence(report: Report) -> str | None:
    """The first thing of a report that does not fit the others, in words; None where all do."""
    return next(_incoherences(report), None)


def _incoherences(report: Report) -> Iterator[str]:
    from edgeopt.results.model import verdict_of

    if report.verdict != verdict_of(list(report.gates)):
        yield f"the verdict is {report.verdict}, and that of its gates {verdict_of(list(report.gates))}"
    both = report.baseline.metrics.keys() & report.candidate.metrics.keys()
    if report.baseline.metrics.keys() != report.candidate.metrics.keys():
        yield "baseline and candidate have other metrics"
    for change in report.differences:
        if change.metric not in both:
            yield f"there is a difference of {change.metric}, which was not measured"
    for each in report.exports:
        if not both <= each.figures.metrics.keys():
            yield f"export {each.name} lacks metrics"
    if report.seeds:
        if not report.seeds.results or any(not both <= r.baseline.keys() & r.candidate.keys() for r in report.seeds.results):
            yield "a seed lacks metrics"
        measured = both | (report.baseline.extra.keys() & report.candidate.extra.keys())
        if any(s.metric not in measured for s in report.seeds.spreads):
            yield "there is a spread over seeds of what was not measured"
    parts: list[tuple[type[_Known], Any, str]] = [(_Environment, report.environment, "environment")]
    parts += [(_Figures, step.figures, _name(step)) for step in report.steps]
    for shape, value, name in parts:
        try:
            shape.model_validate(value)
        except ValidationError as error:
            yield f"{name}.{first_wrong(error)}"


def _name(step: Step) -> str:
    return f"figures of {step.chain}.{step.id}"
