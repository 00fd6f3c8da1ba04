"""Static int8 in QDQ form: weights and activation ranges ahead of time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from edgeopt.export.graph_files import move_graph
from edgeopt.models.files import GRAPH
from edgeopt.models.source import family_of
from edgeopt.spec.recipe import StepParams, Strict, TaskSpec
from edgeopt.step.transform import Figures, Found, StepContext, Transform
from edgeopt.store.store import State
from edgeopt.tasks import task_of, task_type
from edgeopt.transforms.quantize import common
from edgeopt.transforms.quantize import policy as policies
from edgeopt.transforms.quantize.build import Builder, Remedies
from edgeopt.transforms.quantize.calibrate import Calibration, feeds
from edgeopt.transforms.quantize.judge import Judge
from edgeopt.transforms.quantize.scope import INT4, SCOPE, WORD_TABLE, Pattern, Scope, Weights, WordTable
from edgeopt.transforms.quantize.sensitivity import Ranking, rank

#: Calibration rows that the sensitivity of nodes is measured on.
_SENSITIVITY_ROWS = 64


class SmoothQuant(Strict):
    """How strongly outlying channels are evened out (Xiao et al. 2023).

    Channels of activations are divided by s, and the weights that they meet multiplied, where a LayerNorm comes before.
    """

    alpha: float = Field(
        0.5, ge=0, le=1, description="s = max|X|^alpha / max|W|^(1 - alpha): 0 evens out the weights, 1 the activations"
    )


class StaticParams(StepParams):
    """How ranges are found and what becomes int8: activations unsigned by tensor, weights signed by channel."""

    calibration: Calibration = Calibration()
    activations: Literal["asymmetric", "symmetric"] = Field(
        "asymmetric", description="zero point anywhere in the 8 bits (asymmetric) or in the middle (symmetric)"
    )
    activations_16bit: list[Pattern] = Field(
        default=[],
        description="patterns of activations that get 16 bits: more exact, but slow without a kernel for it",
    )
    reduce_range: bool = Field(
        False,
        description="use 7 bits for weights, for x86 processors without VNNI, where sums of 8-bit products overflow",
    )
    scope: Scope = Field("all", description=SCOPE)
    word_table: WordTable = Field("int8", description=WORD_TABLE)
    weights: Weights = Field("int8", description=INT4)
    smoothquant: SmoothQuant | None = Field(
        None, description="move outliers of activations into the weights, see the table below"
    )
    bias_correction: bool = Field(
        False, description="correct the biases for the average shift that rounding the weights causes"
    )
    exclude_worst: int | None = Field(
        None,
        ge=1,
        description="number of nodes that stay in float: those whose int8 version changes the logits most (KL)",
    )
    exclude_above: float | None = Field(
        None, gt=0, description="or: keep nodes in float whose KL is above this, in nats"
    )
    policy: Literal["fixed", "auto"] = Field(
        "fixed",
        description="auto: try settings, cheapest first, until `tolerance` certainly holds on rows that no training "
        "uses; if these rows cannot tell, take the closest setting that costs no speed; suggests QAT if all "
        "settings miss `tolerance`",
    )
    tolerance: policies.Tolerance | None = Field(None, description="with `policy: auto`; default: max_drop 0.005")

    @model_validator(mode="after")
    def _policy_fits(self) -> StaticParams:
        remedies = ("smoothquant", "bias_correction", "exclude_worst", "exclude_above")
        if self.policy == "auto" and any(getattr(self, name) for name in remedies):
            raise ValueError(f"'policy: auto' chooses {', '.join(remedies)} itself: leave them out")
        if self.policy == "fixed" and self.tolerance is not None:
            raise ValueError("'tolerance' belongs to 'policy: auto'")
        if self.reduce_range and self.weights == "int4":
            raise ValueError("'reduce_range' is for weights of 8 bits: sums of 4-bit weights do not overflow")
        if self.exclude_worst is not None and self.exclude_above is not None:
            raise ValueError("give 'exclude_worst' or 'exclude_above', not both")
        return self

    @property
    def margin(self) -> policies.Tolerance:
        """The tolerance, or its default."""
        return self.tolerance or policies.Tolerance(max_drop=0.005)


class StaticQuantize(Transform[StaticParams]):
    """Quantize the plain graph and let the runtime fuse it when it loads: of the orders measured, the fastest."""

    name = "quantize.static"
    version = 4  # `policy: auto` goes by bounds
    summary = "int8 weights and activations, ranges from train rows"
    Params = StaticParams
    contract = common.contract("calibration")

    def judges(self, params: StaticParams) -> bool:
        return params.policy == "auto"

    def check(self, params: StaticParams, task: TaskSpec) -> Found:
        if params.policy == "fixed":
            return []
        if task_type(task.type).writes and params.margin.max_drop is not None:
            return [
                (
                    ("tolerance",),
                    "to measure a drop the model would write a summary of every row again for each remedy",
                    "give tolerance: {kl: 0.01}",
                )
            ]
        if not task_type(task.type).softmax and params.margin.agreement is not None:
            return [(("tolerance", "agreement"), "a score is never quite the same", "give max_drop or kl")]
        return []

    def apply(self, state: State, params: StaticParams, context: StepContext) -> None:
        task = task_of(context.task, context.data.label_names)
        rows = context.data.calibration(params.calibration.samples, context.task.selection, context.seed)
        source, smoothing, family = state.folder / GRAPH, params.smoothquant, family_of(state.folder)
        given = Remedies(params.calibration.method, smoothing.alpha if smoothing else None, params.bias_correction)
        auto = params.policy == "auto"
        with common.quiet_quantizer(context.work) as scratch:
            builder = Builder(
                source,
                params.scope,
                family,
                rows=feeds(state.folder, rows, task),
                count=len(rows),
                percentile=params.calibration.percentile,
                methods=[given.method, *(policies.OTHER_METHODS if auto else ())],
                channels=auto or given.bias,
                scratch=scratch,
                symmetric=params.activations == "symmetric",
                reduce_range=params.reduce_range,
                wide=params.activations_16bit,
                word_table=params.word_table,
                weights=params.weights,
                progress=context.progress,
            )

            def ranking(remedies: Remedies, worst: int | None, above: float | None = None) -> Ranking:
                context.progress.say("measuring what each part alone costs in int8 …")
                judge = Judge(
                    source,
                    state.folder,
                    rows.take(range(min(_SENSITIVITY_ROWS, len(rows))), rows.name),
                    task,
                    metric=False,
                )
                found = rank(
                    builder.names,
                    lambda nodes: judge(builder.alone(remedies, nodes)).kl,
                    family,
                    worst=worst,
                    above=above,
                )
                context.told["sensitivity"] = {
                    "queries": judge.queries,
                    "blocks": [*found.blocks],
                    "nodes": [*found.nodes],
                }
                return found

            if auto:
                selection = context.data.carve(context.task.selection)[1].first(params.margin.rows)
                judge = Judge(source, state.folder, selection, task, metric=params.margin.max_drop is not None)
                outcome = policies.search(builder, judge, params.margin, given, ranking, scratch / GRAPH)
                given = outcome.chosen
                context.told["policy"] = {
                    "chosen": outcome.chosen.words(),
                    "held": outcome.held,
                    "tried": outcome.tried,
                    "tolerance": params.margin.model_dump(exclude_none=True),
                    "queries": judge.queries,
                }
            else:
                if params.exclude_worst or params.exclude_above:
                    worst = ranking(given, params.exclude_worst, params.exclude_above).nodes
                    kept = [s.name for s in worst if params.exclude_above is None or s.kl > params.exclude_above][
                        : params.exclude_worst
                    ]
                    given = replace(given, kept=tuple(kept))
                builder.build(given, scratch / GRAPH)
            move_graph(scratch / GRAPH, context.output)
        context.figures.update(
            builder.counts,
            calibration_rows=len(rows),
            calibration_fingerprint=rows.fingerprint,
            calibration_method=given.method,
        )
        if given.kept:
            context.told["kept_float"] = list(given.kept)
        common.finish(state, context.output, context.figures, params.scope, params.word_table)

    def observe(self, before: State, after: Path, params: StaticParams) -> Figures:
        return common.observe(before, after, weights=params.weights)
