"""What a step tells the report: the figures of a state that others than its own transform read.

A state's figures are plain JSON, in which a transform may also keep what is its own. These are the names that are
agreed on, and what stands under each; `told` is the view of the same figures in which a type checker knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, cast

from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from edgeopt.support.reading import Count, Finite, NotNegative

_Size = Annotated[int, Field(ge=1, le=2**40)]


class Dense(TypedDict):
    """The shape of the model before anything was cut."""

    layers: Count
    heads: Annotated[int, Field(ge=1, le=10_000)]
    neurons: _Size
    hidden: _Size


class Structure(TypedDict):
    """What is left of the model; of each layer of the dense one its heads, which, and its neurons.

    macs: of the layers, for one text of macs_tokens. promised_speedup: what they would bring if nothing else took time.
    """

    heads: Annotated[list[Count], Field(max_length=10_000)]
    head_numbers: Annotated[list[list[Count]], Field(max_length=10_000)]
    neurons: Annotated[list[Count], Field(max_length=10_000)]
    hidden: _Size
    dense: Dense
    weights: Count
    dense_weights: Annotated[int, Field(ge=1)]
    sparsity: NotRequired[float]
    macs: Count
    dense_macs: Annotated[int, Field(ge=1)]
    macs_tokens: Count
    promised_speedup: NotNegative | None


def _a_number_a_layer(shape: Structure) -> Structure:
    if not len(shape["heads"]) == len(shape["neurons"]) == len(shape["head_numbers"]):
        raise ValueError("heads, neurons and head_numbers have other numbers of layers")
    return shape


class AskedSparsity(TypedDict):
    """What a step that learns what to cut was asked for, had learned, and left.

    reached: whether that is what was asked.
    """

    asked: Finite
    learned: NotRequired[Finite]
    got: Finite
    reached: NotRequired[bool]


class Budget(TypedDict):
    """Shares of the dense layers' cost: asked for, left by the table, and timed where it is in milliseconds."""

    kind: str
    left: Finite
    reached: Finite
    measured: NotRequired[Finite]


class Emitted(TypedDict):
    """What a step took when it was built."""

    seconds: NotNegative
    kwh: NotNegative
    co2eq_g: NotNegative
    country: str
    estimated: bool
    how: str


class Tried(TypedDict):
    """A remedy that a policy tried, and what came of it.

    It holds what the remedy's graph differs in from the float one, the bounds of what the margin is on, and whether
    that holds; None: the rows cannot tell.
    """

    remedies: str
    kl: float
    agreement: float | None
    drop: float | None
    low: NotRequired[float]  # runs of earlier versions have no bounds
    high: NotRequired[float]
    held: bool | None


class Policy(TypedDict):
    """Which remedies were tried, and which was shipped. queries: that were judged by."""

    chosen: str | None
    held: NotRequired[bool | None]
    tried: list[Tried]
    tolerance: NotRequired[dict[str, Any]]
    queries: NotRequired[int]


class Sensitivity(TypedDict):
    """The KL of the logits when a block, or a node, alone is in int8, the worst first."""

    queries: NotRequired[int]
    blocks: list[tuple[str, float]]
    nodes: list[tuple[str, float]]


class Selected(TypedDict):
    """What a training chose its checkpoint by."""

    metric: str
    value: Finite
    step: NotRequired[int]


class Unlabelled(TypedDict):
    """Rows without labels that a step learned from its teacher on."""

    source: str
    rows: int
    left_out: int


class Corpus(TypedDict):
    """Plain text that a step was trained on.

    rows: of the length asked for. held_out_documents, held_out_tokens: that it was not trained on. bytes: of the tokens
    in the store, where `address` says which they are. seconds: that it took to make them. tokens_seen: over all epochs.
    """

    name: str
    documents: Count
    tokens: Count
    rows: Count
    held_out_documents: Count
    held_out_tokens: Count
    characters: Count
    bytes: Count
    seconds: NotNegative
    address: str
    tokens_seen: Count


class Corruption(TypedDict):
    """Tokens that a model replaced before a training, and kept in the store.

    rows: of all epochs. words: tokens that were drawn. processor_seconds: of all threads together, when it was made.
    """

    rows: Count
    words: Count
    bytes: Count
    seconds: NotNegative
    processor_seconds: NotNegative
    address: str


class Divergence(TypedDict):
    """A training whose loss rose far above the lowest it had come to. Each loss is a mean over 50 optimizer steps.

    step, loss: where that was seen first. last: the loss in the end.
    """

    step: Count
    loss: Finite
    lowest_step: Count
    lowest: Finite
    last: Finite


class Probe(TypedDict):
    """Copies of a model that were fine-tuned on the task, to see what a pre-training had brought by then.

    rows: of train, held out, that the metric is of.
    """

    metric: str
    rows: Count
    seconds: NotNegative


class Held(TypedDict):
    """Bytes that a model holds in a training, by formula."""

    parameters: NotNegative
    gradients: NotNegative
    optimizer: NotNegative
    activations: NotNegative


class StepCost(TypedDict):
    """What an optimizer step computes and holds, by formula: of the trained model, and of the one beside it.

    tokens: of a step. processor, threads: that it was trained on; None where a GPU did.
    """

    tokens: NotNegative
    main_flops: NotNegative
    auxiliary_flops: NotNegative
    main_bytes: Held
    auxiliary_bytes: Held
    processor: str | None
    threads: Count


class Parity(TypedDict):
    """How far a graph is from the model that it was made of.

    same_predictions: share of `compared` rows, of a graph trained in int8; None where predictions are no classes.
    """

    max_abs_diff: float
    tolerance: float
    rows: int
    same_predictions: NotRequired[float | None]
    compared: NotRequired[int]


#: Names of curves of a training that learns masks: the sparsity that was asked of them, and what they gave.
ASKED_CURVE, SPARSITY_CURVE = "asked_sparsity", "sparsity"
#: How the name of a curve begins that is of text which a training on plain text only looks at; and the norm of all
#: gradients before it is clipped.
HELD_OUT, GRADIENT_CURVE = "eval_held_out_", "grad_norm"
#: The name of the curve that a probe gives.
PROBE_CURVE = "probe"


class Told(TypedDict, total=False):
    """The agreed figures of a step; each is there where it is true of the step.

    batches: rows of a batch that the trainings with `batch_size: auto` came to, by their folder; `.` is the step's own.
    curves: of a training by name, such as `loss`, its values by optimizer step.
    """

    structure: Annotated[Structure, AfterValidator(_a_number_a_layer)]
    asked_sparsity: AskedSparsity
    masks: list[str]
    budget: Budget
    emissions: Emitted
    policy: Policy
    sensitivity: Sensitivity
    selection: Selected
    unlabelled: Unlabelled
    answers_alone: list[str]
    corpus: Corpus
    corruption: Corruption
    divergence: Divergence
    probe: Probe
    parity: Parity
    curves: dict[str, list[tuple[Count, Finite]]]
    kept_float: list[str]
    sparsity: Annotated[float, Field(ge=0, le=1)]
    multiple: _Size
    compressed_bytes: Annotated[int, Field(ge=1, le=2**53)]
    head_trained: bool
    trainable_parameters: Count
    parameters: Count
    trainable_share: NotNegative
    loading_seconds: NotNegative
    computing_seconds: NotNegative
    computed_steps: Count
    step_cost: StepCost
    train_seconds: NotNegative
    examples_per_second: NotNegative
    peak_rss_bytes: Count
    peak_gpu_bytes: Count
    adapter_bytes: Count
    batches: dict[str, Annotated[int, Field(ge=1, le=2**20)]]
    precision: str
    precision_chosen: str


#: Checks figures that were read back; others than these may stand beside them.
FIGURES = TypeAdapter(Told)


def told(figures: Mapping[str, Any]) -> Told:
    """A step's figures as the record that says which there are."""
    return cast(Told, figures)
