"""report.json, version 1: the measurements, the verdict and where they come from.

Markdown, HTML and the model card are renderings of this and of nothing else.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["pass", "fail", "inconclusive"]
#: candidate-fp32: the candidate before it was quantised, measured where its layers were cut too.
SUBJECTS = ("candidate", "candidate-fp32", "baseline", "baseline-torch")
#: One of those; further exports go by the names that `exports` gives them.
SubjectName = str


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gate(Part):
    """One decided gate. `value` is what the bound is compared with: a drop, a ratio, MB or ms."""

    metric: str
    verdict: Verdict
    value: float | None
    bound: float
    kind: str = Field(description="which bound: max_drop, min_speedup, max_mb, …")
    reason: str
    low: float | None = Field(None, description="one-sided lower bound on `value` at `confidence`")
    high: float | None = Field(None, description="one-sided upper bound on `value` at `confidence`")
    confidence: float
    target: str | None = None
    sequence: int | Literal["task"] | None = None
    against: str | None = None
    line: int | None = Field(None, description="line of the recipe")


class Starts(Part):
    """Opening a file and answering one query, each time in a fresh process with the options of session.json. Those of the
    same number were measured next to each other."""

    ms: list[float] = Field(description="from opening the file to the first answer")
    peak_bytes: list[int] = Field(description="largest resident size of the process")


class OptimizedGraph(Part):
    """The candidate's graph as the runtime optimised it for this processor, saved so that it need not do so at each start."""

    artifact: str
    size_bytes: int
    starts: Starts


class SessionChoice(Part):
    """The options that a graph was measured with on a target, and what they bring: the p50 of the runtime's default options
    over theirs, with its one-sided 95 % bounds. ratio, low and high are null where the defaults were kept."""

    subject: SubjectName
    target: str
    options: dict[str, Any]
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


class Subject(Part):
    """A measured artifact: the ONNX file that is shipped, or the FP32 baseline exported the same way."""

    artifact: str
    metrics: dict[str, float]
    extra: dict[str, float] = Field({}, description="accuracy, precision, recall and f1 of a classification, those that the task does not name")
    inference_seconds: float | None = Field(None, description="every row of the split one at a time, from text to logits, opening the file included")
    size_bytes: int
    parameters: int
    nonzero: int
    precision: Literal["fp32", "int8"]
    memory_peak_bytes: int | None = Field(None, description="median of `starts`")
    cold_start_ms: float | None = Field(None, description="median of `starts`")
    starts: Starts | None = None


class Export(Part):
    """One export of the candidate, measured next to the others."""

    name: str
    format: str
    runtime: str
    subject: SubjectName = Field(description="what it is called among the latencies; the one that is in model/ is `candidate`")
    made_of: Literal["graph", "torch"] = Field(description="whether the candidate's graph was converted, or the float model, which the exporter quantised")
    lengths: list[int] | None = Field(description="tokens to which queries are padded; null: they are not")
    figures: Subject
    max_abs_diff: float | None = Field(description="largest difference of a logit from what it was made of, on the report split")
    verdict: Verdict = Field(description="what the gates say of it")


class Latency(Part):
    """Latency of one subject on one target at one sequence length, in milliseconds a query.
    p99 is null below 662 queries: fewer say nothing about it."""

    subject: SubjectName
    target: str
    runtime: str
    device: str
    threads: int
    batch: int
    sequence: int | Literal["task"]
    p50_ms: float
    p90_ms: float
    p99_ms: float | None
    queries: int
    session: dict[str, Any] = Field(default={}, description="runtime options it ran with")


class Speedup(Part):
    """One subject's latency over that of another, mostly the baseline's over the candidate's, with its one-sided 95 % bounds
    from paired rounds."""

    of: SubjectName = Field("candidate", description="which subject it is the speed-up of")
    against: SubjectName
    target: str
    sequence: int | Literal["task"]
    percentile: Literal["p50", "p90", "p99"]
    ratio: float
    low: float
    high: float


class Difference(Part):
    """Candidate minus baseline on the same rows, with its one-sided 95 % bounds."""

    metric: str
    delta: float
    low: float
    high: float


class Parity(Part):
    """Largest absolute difference of a logit between torch and the exported graph, on real rows."""

    subject: Literal["candidate", "baseline"]
    max_abs_diff: float
    tolerance: float
    rows: int


class Step(Part):
    """One executed (or reused) step. Size, sparsity and parameters are those of the state it left."""

    id: str
    use: str
    key: str
    cached: bool
    seconds: float = Field(description="time it took when it was built, cached or not")
    chain: Literal["baseline", "candidate"]
    digest: str
    size_bytes: int
    figures: dict[str, Any] = {}


class InferenceEnergy(Part):
    """Energy of 1,000 queries above that of idling as long, mean of the blocks with its one-sided 95 % bounds (Student's t).
    gross_kwh: idling included."""

    subject: Literal["baseline", "candidate"]
    queries: int = Field(description="how many were answered while it was measured")
    kwh: float
    low: float
    high: float
    gross_kwh: float
    co2eq_g: float = Field(description="grams, of `kwh`")


class Emissions(Part):
    """Energy of inferences of both models, measured in the same blocks of time. ratio: baseline over candidate with its
    one-sided 95 % bounds, null where a block used no more than idling."""

    country: str = Field(description="ISO 3166, three letters")
    g_per_kwh: float = Field(description="grams of CO2eq a kWh of the country's electricity")
    estimated: bool = Field(description="whether processors or GPUs have no counter of energy here")
    how: str
    target: str
    seconds: float = Field(description="how long each model answered")
    blocks: int
    idle_watts: float
    inference: list[InferenceEnergy]
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None


class SeedResult(Part):
    """Metrics of both models trained with one seed, on the same rows."""

    seed: int
    baseline: dict[str, float]
    candidate: dict[str, float]


class Spread(Part):
    """A metric over the seeds: means and sample standard deviations (n − 1); the difference is paired by seed."""

    metric: str
    baseline_mean: float
    baseline_std: float
    candidate_mean: float
    candidate_std: float
    difference_mean: float
    difference_std: float


class Seeds(Part):
    """Every seed of the recipe, the first first: the rest of the report is about that one's models."""

    results: list[SeedResult]
    spreads: list[Spread]


class Task(Part):
    type: str
    dataset: str
    split: str
    rows: int
    labels: list[str]
    max_length: int
    max_target_length: int | None = Field(None, description="tokens of a summary, where the task is to write one")
    window_stride: int | None = Field(None, description="tokens that neighbouring windows share, where long texts are read in windows")
    queries_per_row: float = Field(1.0, description="windows that a row is read in, on average: a latency is that of one")
    fingerprint: str | None = Field(None, description="SHA-256 of the split's rows")


class RecipeInfo(Part):
    name: str
    source: str
    digest: str
    overrides: list[str] = []


class Report(Part):
    """The whole report. `schema_version` rises when a field changes its meaning or goes."""

    schema_version: Literal[1] = 1
    edgeopt: str
    created: str
    verdict: Verdict
    recipe: RecipeInfo
    model: str
    task: Task
    gates: list[Gate]
    baseline: Subject
    candidate: Subject
    differences: list[Difference]
    latency: list[Latency]
    speedups: list[Speedup]
    exports: list[Export] = []
    chosen_by_speed: bool = Field(False, description="whether the candidate is the fastest of several exports, as `export: auto` asks")
    sessions: list[SessionChoice] = []
    optimized: OptimizedGraph | None = None
    parity: list[Parity]
    steps: list[Step]
    environment: dict[str, Any]
    seeds: Seeds | None = None
    emissions: Emissions | None = Field(None, description="where the recipe asks for it; what a step took is among its figures")
    notes: list[str] = []
