"""report.json, version 1: the measurements, the verdict, and where they come from.

Markdown, HTML and the model card are made from this alone.
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


#: A fraction or a correlation. NaN if the model's answers are not numbers.
Metric = Annotated[float, AfterValidator(_fraction)]

Verdict = Literal["pass", "fail", "inconclusive"]
#: candidate-fp32: the candidate before quantization. It is measured if its layers were also cut.
SUBJECTS = ("candidate", "candidate-fp32", "baseline", "baseline-torch")
#: One of `SUBJECTS`, or the name that `exports` gives to a further export.
SubjectName = str


class Part(BaseModel):
    """Base of every part of the report. It cannot be changed, and other fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Gate(Part):
    """One decided gate. `value` is compared with `bound`. It is a drop, a ratio, a speed, or a size in MB or ms."""

    metric: str
    verdict: Verdict
    value: Finite | None
    bound: Finite
    kind: str = Field(description="the kind of bound: max_drop, min_speedup, max_mb, …")
    reason: str
    low: float | None = Field(None, description="one-sided lower bound on `value` at `confidence`")
    high: float | None = Field(None, description="one-sided upper bound on `value` at `confidence`")
    confidence: float = Field(ge=0.5, lt=1)
    target: str | None = None
    sequence: int | Literal["task"] | None = None
    against: str | None = None
    slice: str | None = Field(
        None,
        description="the slices whose worst one is held to the bound: label, length or a column, or worst for all",
    )
    rows_needed: int | None = Field(
        None,
        description="if there are too few rows to decide: how many rows (of the slice, if there are slices) would "
        "decide it in 80 of 100 samples",
    )
    line: int | None = Field(None, ge=1, le=LARGEST_INTEGER, description="line in the recipe")


class Starts(Part):
    """Opening a file and answering one query, each time in a new process with the options in session.json.

    Both lists have one value for each process. Values of different files at the same index were measured one right
    after the other.
    """

    ms: list[Positive] = Field(min_length=1, description="milliseconds from opening the file to the first answer")
    peak_bytes: list[Count] = Field(min_length=1, description="largest resident set size of the process")


class OptimizedGraph(Part):
    """The candidate's graph, optimized by the runtime for this processor and saved so that each start is quicker."""

    artifact: Below
    size_bytes: Count
    starts: Starts


class SessionChoice(Part):
    """The runtime options that a graph was measured with on a target, and how much they help.

    ratio: the p50 with the default options over the p50 with these. low, high: its one-sided 95 % bounds. All three are
    null if the defaults were kept.
    """

    subject: SubjectName
    target: str
    options: dict[str, Any]
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


class Subject(Part):
    """A measured artifact: the file that is shipped, or the FP32 baseline, exported in the same way."""

    artifact: Below
    metrics: dict[str, Metric]
    extra: dict[str, Metric] = Field(
        {}, description="of accuracy, precision, recall and f1 of a classification, those that the recipe does not name"
    )
    inference_seconds: NotNegative | None = Field(
        None, description="seconds for all rows of the split, one at a time, from text to logits, opening included"
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
    subject: SubjectName = Field(description="its name among the latencies; the export in model/ is `candidate`")
    made_of: Literal["graph", "torch"] = Field(
        description="graph: the candidate's graph was converted; torch: the exporter converted (and may quantize) "
        "the float model"
    )
    lengths: list[int] | None = Field(description="lengths in tokens to which queries are padded; null: no padding")
    figures: Subject
    max_abs_diff: float | None = Field(
        description="largest difference of a logit from the model it was made of, on the report split"
    )
    verdict: Verdict = Field(description="verdict of the gates on this export")


class Latency(Part):
    """Latency of one subject on one target at one sequence length, in milliseconds per query. A query is one batch.

    p99_ms is null for fewer than 662 queries, which are too few to bound it.
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
    session: dict[str, Any] = Field(default={}, description="the runtime options")


class Throughput(Part):
    """Queries per second of one subject on one target at one sequence length, answered in batches.

    qps: the queries in all measured batches, divided by the seconds that these took. low, high: its one-sided 95 %
    bounds. ratio: qps over the baseline's qps, with bounds from paired batches. It is null for the baseline itself.
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
    """How many times as fast `of` is as `against`: the latency of `against` over the latency of `of`.

    low, high: one-sided 95 % bounds from paired rounds.
    """

    of: SubjectName = Field("candidate", description="the subject whose speedup this is")
    against: SubjectName
    target: str
    sequence: int | Literal["task"]
    percentile: Literal["p50", "p90", "p99"]
    ratio: Positive
    low: NotNegative
    high: float = Field(ge=0)


class Limit(Part):
    """The share of the machine's peak arithmetic that a file reaches on a target at a fixed length.

    macs_per_second: the multiply-accumulates of its layers, divided by its p50. peak_per_second: those of the fastest
    matrix product in the same precision on the same number of threads.
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
    """A row to which the models give different answers. probability: the candidate's, for its own answer."""

    row: int
    label: str
    baseline: str
    candidate: str
    probability: float
    texts: list[str] = Field(description="at most 300 characters of each text; empty if the recipe turns texts off")


class Agreement(Part):
    """How far the answers of both models agree, row by row. These are diagnostics and decide no verdict."""

    rows: int
    gained: int = Field(description="positive flips: rows that only the candidate answers correctly")
    lost: int = Field(description="negative flips: rows that only the baseline answers correctly")
    other: int = Field(description="rows that both answer wrongly, with different answers")
    mcnemar_p: float = Field(
        description="McNemar's exact test, two-sided; a large p does not show that the models are equally good"
    )
    kl: float = Field(description="mean KL(baseline || candidate) of the classes' probabilities, in nats")
    loyalty: float = Field(
        description="probability loyalty, mean of 1 - √JS in base 2 (Xu et al. 2021); 1 means equal probabilities"
    )
    calibration_error_baseline: float = Field(
        description="expected calibration error, 15 bins of equal width (Guo et al. 2017)"
    )
    calibration_error_candidate: float
    negative: list[Flip] = Field(
        description="negative flips, sorted by the candidate's confidence, highest first; a long list is cut"
    )
    positive: list[Flip] = Field(description="positive flips, sorted and cut in the same way")


class Moved(Part):
    """A row whose embeddings moved. agreement: the mean cosine of both models' embeddings of its texts."""

    row: int
    agreement: float
    texts: list[str]


class Closeness(Part):
    """How near the candidate's embeddings are to the baseline's of the same texts, by their cosine, row by row."""

    mean: float
    worst_twentieth: float = Field(description="one row in twenty is at most that near")
    least: float
    constant: float = Field(description="what the mean would be of one embedding for all texts, the baseline's mean")
    furthest: list[Moved] = Field(description="the rows that moved most, furthest first; a long list is cut")


class StoredEmbeddings(Part):
    """What is found by the candidate's embeddings as an index stores them."""

    form: str = Field(description="float32, int8, binary (both sides), or binary passages with float queries")
    bytes: int = Field(description="of one embedding")
    recall: float = Field(description="share of the ten nearest by float embeddings that are among the ten nearest")
    low: float = Field(description="lower bound of the recall, at 95 % confidence, over queries")
    metrics: dict[str, float] = Field({}, description="of the search, where there is a corpus")


class ScoreChange(Part):
    """A row to which the models give different scores."""

    row: int
    label: float
    baseline: float
    candidate: float
    texts: list[str]


class ScoreChanges(Part):
    """How far the candidate's scores differ from the baseline's, in the unit of the labels."""

    mean_absolute: float
    largest_absolute: float
    correlation: float = Field(description="Pearson correlation between the scores of both models")
    error_baseline: float = Field(description="mean absolute distance from the labels")
    error_candidate: float
    largest: list[ScoreChange]


class Slice(Part):
    """Candidate minus baseline on the rows of one slice, with its one-sided 95 % bounds.

    The figures are null if there are too few rows.
    """

    grouping: str = Field(description="label, length, or a column of task.slices")
    name: str
    rows: int
    baseline: float | None = None
    candidate: float | None = None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = Field(None, description="two-sided p for no difference, with Holm's correction over all slices")


class Slices(Part):
    """The task's metric on each slice of the rows."""

    metric: str
    smallest: int = Field(description="a slice with fewer rows is only counted")
    slices: list[Slice]


class Parity(Part):
    """Largest absolute difference of a logit between torch and the exported graph, on real rows."""

    subject: Literal["candidate", "baseline"]
    max_abs_diff: float
    tolerance: float
    rows: int
    same_predictions: float | None = Field(
        None, description="for a graph that was trained in int8: share of rows with the same prediction in both"
    )
    compared: int | None = Field(None, description="number of rows whose predictions were compared")


class Step(Part):
    """One step that was executed or reused. Size, sparsity and parameters describe the state that it made."""

    id: str
    use: str
    key: str
    cached: bool
    seconds: NotNegative = Field(description="time to build it; for a cached step, when it was built")
    chain: Literal["baseline", "candidate"]
    digest: str
    size_bytes: Count
    figures: dict[str, Any] = {}

    @property
    def told(self) -> Told:
        """The figures with agreed names, as a typed record."""
        return told(self.figures)


class InferenceEnergy(Part):
    """Energy of 1,000 queries, minus the energy of idling for the same time.

    kwh: the mean over the blocks. low, high: its one-sided 95 % bounds (Student's t). gross_kwh: with idling included.
    """

    subject: Literal["baseline", "candidate"]
    queries: int = Field(description="number of queries answered during the measurement")
    kwh: float
    low: float
    high: float
    gross_kwh: float
    co2eq_g: float = Field(description="grams of CO2eq for `kwh`")


class Emissions(Part):
    """Energy of inference with both models, measured in the same blocks of time.

    ratio: baseline over candidate. ratio_low, ratio_high: its one-sided 95 % bounds. All three are null if some block
    used no more energy than idling.
    """

    country: str = Field(description="three-letter code from ISO 3166")
    g_per_kwh: float = Field(description="grams of CO2eq per kWh of electricity in the country")
    estimated: bool = Field(description="true if the processors or GPUs here have no energy counter")
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
    """A metric over the seeds: means and sample standard deviations (n − 1). The difference is paired by seed."""

    metric: str
    baseline_mean: float
    baseline_std: float
    candidate_mean: float
    candidate_std: float
    difference_mean: float
    difference_std: float


class Seeds(Part):
    """Every seed of the recipe, in order. The rest of the report is about the models of the first seed."""

    results: list[SeedResult]
    spreads: list[Spread]


class TaskPart(Part):
    """One of several tasks.

    head: how it reads a row of two texts. labels: its classes, in the order of its logits. fingerprint: SHA-256 of its
    rows of the split, which is that of a run on this task alone with the same rows.
    """

    name: str
    type: str
    head: str
    dataset: str
    split: str
    rows: Number
    labels: list[str]
    texts: Number
    max_length: Number
    weight: float
    fingerprint: str


class Task(Part):
    """What the models were made for, and the rows that they were measured on."""

    type: str
    dataset: str
    split: str
    rows: Number
    labels: list[str]
    max_length: Number
    max_target_length: int | None = Field(None, description="for summarization: longest summary in tokens")
    window_stride: int | None = Field(
        None, description="if long texts are read in windows: tokens that neighboring windows share"
    )
    queries_per_row: float = Field(1.0, description="average number of windows per row; a latency is for one window")
    fingerprint: str | None = Field(None, description="SHA-256 of the split's rows")
    leaked: int | None = Field(
        None, description="rows of the split whose text is also in train; null if that was not checked"
    )
    copied: int | None = Field(
        None, description="rows of the split that are copies of other rows; null if that was not checked"
    )
    remarks: list[str] = Field(
        [], description="remarks on the rows: drawn from train, also in train, copies, or left out"
    )
    parts: list[TaskPart] = Field([], description="if there are several tasks: each of them")


class RecipeInfo(Part):
    """The recipe of the run.

    source: its file. digest: SHA-256 of the resolved recipe. overrides: the values of --set.
    """

    name: str
    source: str
    digest: str
    overrides: list[str] = []


class Device(Part):
    """What a device measured for the bundle that was shipped to it.

    max_abs_diff: largest difference of a logit in the self-test; of embeddings the mean distance, as a share of their
    length. switched: whether the bundle became the current one on
    the device. It does not if a gate fails.
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
    """Digests that reveal any change to the run.

    content: SHA-256 of the rest of report.json, as JSON with sorted keys. files: SHA-256 of the files that belong to
    it. One of these is recipe.lock, which has the digests of all other files of the run.
    """

    content: str
    files: dict[str, str]


class Report(Part):
    """The whole report. `schema_version` is raised when a field changes its meaning or is removed."""

    schema_version: Literal[1] = 1
    edgeopt: str
    created: str
    verdict: Verdict
    recipe: RecipeInfo
    model: str
    model_fingerprint: str | None = Field(
        None,
        description="SHA-256 of the weights, config and tokenizer of the model that the recipe starts from",
    )
    task: Task
    gates: list[Gate]
    baseline: Subject
    candidate: Subject
    differences: list[Difference]
    agreement: Agreement | None = Field(None, description="for classification and multiple choice")
    changes: ScoreChanges | None = Field(None, description="for regression")
    closeness: Closeness | None = Field(None, description="for embedding")
    stored: list[StoredEmbeddings] = Field([], description="for embedding, where `export` asks for `embeddings`")
    slices: Slices | None = None
    latency: list[Latency]
    speedups: list[Speedup]
    throughput: list[Throughput] = Field(
        [], description="for targets with batches of several, or with a gate on throughput"
    )
    exports: list[Export] = []
    chosen_by_speed: bool = Field(
        False, description="whether the candidate was chosen as the fastest of several exports by `export: auto`"
    )
    sessions: list[SessionChoice] = []
    limits: list[Limit] = []
    optimized: OptimizedGraph | None = None
    parity: list[Parity]
    steps: list[Step]
    environment: dict[str, Any]
    seeds: Seeds | None = None
    emissions: Emissions | None = Field(
        None, description="if the recipe asks for it; the energy of a step is among its figures"
    )
    devices: list[Device] = Field([], description="added by `edgeopt ship`")
    warnings: list[str] = Field(
        [],
        description="reasons to doubt the verdict: outputs that are not numbers, models no better than chance, rows "
        "that are also in train or occur many times",
    )
    notes: list[str] = []
    seal: Seal | None = None


def verdict_of(gates: list[Gate]) -> Verdict:
    """`fail` if any gate failed, else `inconclusive` if any gate is inconclusive, else `pass`."""
    verdicts = {g.verdict for g in gates}
    return "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"


class Place(NamedTuple):
    """Where a latency was measured: a target and a sequence length."""

    target: str
    sequence: int | Literal["task"]

    def __str__(self) -> str:
        return f"{self.target}, {tokens_in_words(self.sequence)}"


def tokens_in_words(length: int | Literal["task"]) -> str:
    """The length in words. `task` means rows of the task at their own lengths, without padding to a fixed length."""
    return "task rows" if length == "task" else f"{length} tokens"
