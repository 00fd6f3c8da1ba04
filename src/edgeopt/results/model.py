"""report.json, version 1: the measurements, the verdict and where they come from.

Markdown, HTML and the model card are renderings of this and of nothing else.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from edgeopt.results.figures import Told, told
from edgeopt.support.reading import LARGEST_INTEGER, Below, Count, Finite, NotNegative, Positive

Number = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]


def _fraction(value: float) -> float:
    if not (-1 <= value <= 1 or value != value):
        raise ValueError("must be a fraction or a correlation: -1 to 1")
    return value


#: A fraction or a correlation; not a number where a model's answers are none.
Metric = Annotated[float, AfterValidator(_fraction)]

Verdict = Literal["pass", "fail", "inconclusive"]
#: candidate-fp32: the candidate before it was quantized, measured where its layers were cut too.
SUBJECTS = ("candidate", "candidate-fp32", "baseline", "baseline-torch")
#: One of those; further exports go by the names that `exports` gives them.
SubjectName = str


class Part(BaseModel):
    """A part of the report: nothing in it changes, and it has no other fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Gate(Part):
    """One decided gate. `value` is what the bound is compared with: a drop, a ratio, MB or ms."""

    metric: str
    verdict: Verdict
    value: Finite | None
    bound: Finite
    kind: str = Field(description="which bound: max_drop, min_speedup, max_mb, …")
    reason: str
    low: float | None = Field(None, description="one-sided lower bound on `value` at `confidence`")
    high: float | None = Field(None, description="one-sided upper bound on `value` at `confidence`")
    confidence: float = Field(ge=0.5, lt=1)
    target: str | None = None
    sequence: int | Literal["task"] | None = None
    against: str | None = None
    slice: str | None = Field(
        None, description="which slices the bound is on the worst of: worst (all), label, length or a column"
    )
    rows_needed: int | None = Field(
        None,
        description="where rows leave it open: how many, of the slice where there are slices, would settle it in 80 "
        "of 100 samples",
    )
    line: int | None = Field(None, ge=1, le=LARGEST_INTEGER, description="line of the recipe")


class Starts(Part):
    """Opening a file and answering one query, each time in a fresh process with the options of session.json.

    Those of the same number were measured next to each other.
    """

    ms: list[Positive] = Field(min_length=1, description="from opening the file to the first answer")
    peak_bytes: list[Count] = Field(min_length=1, description="largest resident size of the process")


class OptimizedGraph(Part):
    """The candidate's graph as the runtime optimized it for this processor, saved to make each start quicker."""

    artifact: Below
    size_bytes: Count
    starts: Starts


class SessionChoice(Part):
    """The options that a graph was measured with on a target, and what they bring.

    That is the p50 of the runtime's default options over theirs, with its one-sided 95 % bounds. ratio, low and high
    are null where the defaults were kept.
    """

    subject: SubjectName
    target: str
    options: dict[str, Any]
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


class Subject(Part):
    """A measured artifact: the ONNX file that is shipped, or the FP32 baseline exported the same way."""

    artifact: Below
    metrics: dict[str, Metric]
    extra: dict[str, Metric] = Field(
        {}, description="accuracy, precision, recall and f1 of a classification, those that the task does not name"
    )
    inference_seconds: NotNegative | None = Field(
        None, description="every row of the split one at a time, from text to logits, opening the file included"
    )
    size_bytes: Number
    parameters: Count
    nonzero: Count
    precision: Literal["fp32", "int8"]
    memory_peak_bytes: Count | None = Field(None, description="median of `starts`")
    cold_start_ms: NotNegative | None = Field(None, description="median of `starts`")
    starts: Starts | None = None


class Export(Part):
    """One export of the candidate, measured next to the others."""

    name: str
    format: str
    runtime: str
    subject: SubjectName = Field(
        description="what it is called among the latencies; the one that is in model/ is `candidate`"
    )
    made_of: Literal["graph", "torch"] = Field(
        description="whether the candidate's graph was converted, or the float model, which the exporter quantized"
    )
    lengths: list[int] | None = Field(description="tokens to which queries are padded; null: they are not")
    figures: Subject
    max_abs_diff: float | None = Field(
        description="largest difference of a logit from what it was made of, on the report split"
    )
    verdict: Verdict = Field(description="what the gates say of it")


class Latency(Part):
    """Latency of one subject on one target at one sequence length, in milliseconds a query, which is a batch.

    p99 is null below 662 queries: fewer say nothing about it.
    """

    subject: SubjectName
    target: str
    runtime: str
    device: str
    threads: Number
    batch: Number
    sequence: int | Literal["task"]
    p50_ms: Positive
    p90_ms: Positive
    p99_ms: Positive | None
    queries: Number
    session: dict[str, Any] = Field(default={}, description="runtime options it ran with")


class Throughput(Part):
    """Queries a second of one subject on one target at one sequence length, answered in batches.

    It is the queries of all measured batches over the seconds that these took, with its one-sided 95 % bounds. ratio:
    that over the baseline's, from paired batches; null for the baseline itself.
    """

    subject: SubjectName
    target: str
    sequence: int | Literal["task"]
    batch: Number
    order: Literal["data", "length"]
    batches: Number
    qps: Positive
    low: NotNegative
    high: float = Field(ge=0)
    ratio: Positive | None = None
    ratio_low: NotNegative | None = None
    ratio_high: float | None = Field(None, ge=0)


class Speedup(Part):
    """One subject's latency over that of another, mostly the baseline's over the candidate's.

    The one-sided 95 % bounds are from paired rounds.
    """

    of: SubjectName = Field("candidate", description="which subject it is the speed-up of")
    against: SubjectName
    target: str
    sequence: int | Literal["task"]
    percentile: Literal["p50", "p90", "p99"]
    ratio: Positive
    low: NotNegative
    high: float = Field(ge=0)


class Limit(Part):
    """How much of the machine's arithmetic a file makes use of on a target at a fixed length.

    It sets its layers' multiply-accumulates over its p50 against those of the quickest product of matrices in the same
    precision on as many threads.
    """

    subject: SubjectName
    target: str
    sequence: int
    precision: Literal["fp32", "int8"]
    macs: Count = Field(description="multiply-accumulates of the layers for one query")
    macs_per_second: Positive
    peak_per_second: Positive
    share: Positive = Field(description="macs_per_second / peak_per_second")


class Difference(Part):
    """Candidate minus baseline on the same rows, with its one-sided 95 % bounds."""

    metric: str
    delta: float
    low: float
    high: float


class Flip(Part):
    """A row that both models answer differently. probability: the candidate's, of its answer."""

    row: int
    label: str
    baseline: str
    candidate: str
    probability: float
    texts: list[str] = Field(description="at most 300 characters of each; empty where the recipe wants none")


class Agreement(Part):
    """How far both models answer alike, row by row. Diagnostics: no verdict is made of them."""

    rows: int
    gained: int = Field(description="positive flips: rows that the candidate alone answers rightly")
    lost: int = Field(description="negative flips: rows that the baseline alone answers rightly")
    other: int = Field(description="rows that both answer wrongly, and differently")
    mcnemar_p: float = Field(
        description="McNemar's exact test, two-sided; a large p is no evidence that the models are equally good"
    )
    kl: float = Field(description="mean KL(baseline || candidate) of the classes' probabilities, in nats")
    loyalty: float = Field(
        description="probability loyalty, mean of 1 - √JS in base 2 (Xu et al. 2021): 1 where the probabilities are "
        "the same"
    )
    calibration_error_baseline: float = Field(
        description="expected calibration error, 15 bins of equal width (Guo et al. 2017)"
    )
    calibration_error_candidate: float
    negative: list[Flip] = Field(
        description="negative flips, those that the candidate is surest of first; of many the first"
    )
    positive: list[Flip] = Field(description="positive flips, in the same order")


class ScoreChange(Part):
    """A row whose score is another one from the candidate than from the baseline."""

    row: int
    label: float
    baseline: float
    candidate: float
    texts: list[str]


class ScoreChanges(Part):
    """How far the candidate's scores are from the baseline's, in the unit of the labels."""

    mean_absolute: float
    largest_absolute: float
    correlation: float = Field(description="Pearson's, of both models' scores")
    error_baseline: float = Field(description="mean absolute distance from the labels")
    error_candidate: float
    largest: list[ScoreChange]


class Slice(Part):
    """Candidate minus baseline on the rows of one slice, with its one-sided 95 % bounds.

    Null where there are too few rows.
    """

    grouping: str = Field(description="label, length, or a column of task.slices")
    name: str
    rows: int
    baseline: float | None = None
    candidate: float | None = None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = Field(None, description="two-sided, of no difference, corrected by Holm for all slices")


class Slices(Part):
    """The task's metric on each slice of the rows."""

    metric: str
    smallest: int = Field(description="rows below which a slice is only counted")
    slices: list[Slice]


class Parity(Part):
    """Largest absolute difference of a logit between torch and the exported graph, on real rows."""

    subject: Literal["candidate", "baseline"]
    max_abs_diff: float
    tolerance: float
    rows: int
    same_predictions: float | None = Field(
        None, description="of a graph that was trained in int8: share of rows with the same prediction in both"
    )
    compared: int | None = Field(None, description="rows of which predictions were compared")


class Step(Part):
    """One executed (or reused) step. Size, sparsity and parameters are those of the state it left."""

    id: str
    use: str
    key: str
    cached: bool
    seconds: NotNegative = Field(description="time it took when it was built, cached or not")
    chain: Literal["baseline", "candidate"]
    digest: str
    size_bytes: Count
    figures: dict[str, Any] = {}

    @property
    def told(self) -> Told:
        """The step's figures that are agreed on, as a record."""
        return told(self.figures)


class InferenceEnergy(Part):
    """Energy of 1,000 queries above that of idling as long.

    It is the mean of the blocks with its one-sided 95 % bounds (Student's t). gross_kwh: idling included.
    """

    subject: Literal["baseline", "candidate"]
    queries: int = Field(description="how many were answered while it was measured")
    kwh: float
    low: float
    high: float
    gross_kwh: float
    co2eq_g: float = Field(description="grams, of `kwh`")


class Emissions(Part):
    """Energy of inferences of both models, measured in the same blocks of time.

    ratio: baseline over candidate with its one-sided 95 % bounds, null where a block used no more than idling.
    """

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
    """What the models were made for, and the rows that they were measured on."""

    type: str
    dataset: str
    split: str
    rows: Number
    labels: list[str]
    max_length: Number
    max_target_length: int | None = Field(None, description="tokens of a summary, where the task is to write one")
    window_stride: int | None = Field(
        None, description="tokens that neighboring windows share, where long texts are read in windows"
    )
    queries_per_row: float = Field(
        1.0, description="windows that a row is read in, on average: a latency is that of one"
    )
    fingerprint: str | None = Field(None, description="SHA-256 of the split's rows")
    leaked: int | None = Field(
        None, description="rows of the split whose text stands in train; null where that was not looked at"
    )
    copied: int | None = Field(
        None, description="rows of the split that are copies of others; null where that was not looked at"
    )
    remarks: list[str] = Field(
        [], description="of the rows: those drawn from train, those that stand in train, copies, and those left out"
    )


class RecipeInfo(Part):
    """The recipe that the run was made of.

    source: its file. digest: SHA-256 of the resolved recipe. overrides: each --set.
    """

    name: str
    source: str
    digest: str
    overrides: list[str] = []


class Device(Part):
    """What a device measured of the bundle that was shipped to it.

    max_abs_diff: of a logit in the self-test. switched: whether it became the device's current one; it does not where a
    gate fails.
    """

    name: str
    path: str = Field(description="the folder on the device")
    shipped: str
    bundle: str = Field(description="SHA-256 of the bundle's manifest")
    switched: bool
    verdict: Verdict
    gates: list[Gate]
    max_abs_diff: float
    tolerance: float
    texts: int
    latency: list[Latency]
    starts: Starts
    environment: dict[str, Any]


class Seal(Part):
    """What a change shows by: SHA-256 of all else that report.json says, and of the files that belong to it.

    report.json is hashed as JSON with sorted keys. recipe.lock is one of the files, and has those of all other files of
    the run.
    """

    content: str
    files: dict[str, str]


class Report(Part):
    """The whole report. `schema_version` rises when a field changes its meaning or goes."""

    schema_version: Literal[1] = 1
    edgeopt: str
    created: str
    verdict: Verdict
    recipe: RecipeInfo
    model: str
    model_fingerprint: str | None = Field(
        None,
        description="SHA-256 over the weights, the config and the tokenizer of the model that the recipe starts from",
    )
    task: Task
    gates: list[Gate]
    baseline: Subject
    candidate: Subject
    differences: list[Difference]
    agreement: Agreement | None = Field(None, description="of a classification and of multiple choice")
    changes: ScoreChanges | None = Field(None, description="of a regression")
    slices: Slices | None = None
    latency: list[Latency]
    speedups: list[Speedup]
    throughput: list[Throughput] = Field([], description="on targets with a batch of several, or with a gate on it")
    exports: list[Export] = []
    chosen_by_speed: bool = Field(
        False, description="whether the candidate is the fastest of several exports, as `export: auto` asks"
    )
    sessions: list[SessionChoice] = []
    limits: list[Limit] = []
    optimized: OptimizedGraph | None = None
    parity: list[Parity]
    steps: list[Step]
    environment: dict[str, Any]
    seeds: Seeds | None = None
    emissions: Emissions | None = Field(
        None, description="where the recipe asks for it; what a step took is among its figures"
    )
    devices: list[Device] = Field([], description="added by `edgeopt ship`")
    warnings: list[str] = Field(
        [],
        description="what stands beside the verdict: outputs that are no numbers, models that are not better than "
        "chance, rows in train or many times",
    )
    notes: list[str] = []
    seal: Seal | None = None


def verdict_of(gates: list[Gate]) -> Verdict:
    """A failed gate fails the run; else an inconclusive one leaves it open."""
    verdicts = {g.verdict for g in gates}
    return "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"


class Place(NamedTuple):
    """Where a latency was taken: a target and a sequence length."""

    target: str
    sequence: int | Literal["task"]

    def __str__(self) -> str:
        return f"{self.target}, {tokens_in_words(self.sequence)}"


def tokens_in_words(length: int | Literal["task"]) -> str:
    """`task` means: rows of the task at their own lengths, not padded to one."""
    return "task rows" if length == "task" else f"{length} tokens"
