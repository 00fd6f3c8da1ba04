"""Merge an adapter into the weights it adapts."""

from __future__ import annotations

from edgeopt.spec.recipe import StepParams
from edgeopt.step.contract import Contract
from edgeopt.step.transform import StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import step_failed
from edgeopt.tasks import task_of

#: Largest difference of a logit before and after: float32 rounding of W + BA, with room.
TOLERANCE = 1e-3


class Merge(Transform[StepParams]):
    """Fold the adapter into the base: the same function, no extra matrices. A base in NF4 is dequantized first."""

    name = "merge"
    version = 2
    summary = "fold the adapter into the weights"
    Params = StepParams
    seeded = False
    contract = Contract(
        requires=facts(Fact.TORCH, Fact.ADAPTER),
        forbids=facts(Fact.GRAPH_ADAPTER),
        removes=facts(Fact.ADAPTER, Fact.NF4),
        data="calibration",
        needs=("peft", "torch"),
    )

    def apply(self, state: State, params: StepParams, context: StepContext) -> None:
        from edgeopt.measure.parity import sample_rows, torch_logits
        from edgeopt.models import adapter
        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.load import load_base, load_model, save_model

        base = load_base(state.folder)
        rows = sample_rows(context.data.sampled, state.folder, task_of(context.task, context.data.label_names))
        if Fact.NF4 in state.facts:
            from edgeopt.models.nf4 import dequantized

            base = dequantized(base)
        model = adapter.attach_saved(base, state.folder).eval()
        before = torch_logits(model, rows)
        if Fact.NF4 in state.facts:
            # what it costs that products are no longer computed from 4-bit weights
            context.figures["nf4_max_abs_diff"] = float(
                abs(torch_logits(load_model(state.folder), rows) - before).max()
            )
        save_model(adapter.merge(model), context.output)
        copy_tokenizer(state.folder, context.output)
        # of what was written, and nan is no equality
        difference = float(abs(torch_logits(load_model(context.output), rows) - before).max())
        if not difference <= TOLERANCE:
            raise step_failed(
                "E404",
                f"merging changed a logit by {difference:.2g}, more than {TOLERANCE:g}",
                help="the adapter cannot be merged exactly; report it with the recipe",
            )
        context.figures["merge_max_abs_diff"] = difference
