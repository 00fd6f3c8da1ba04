"""The export to ONNX that the planner puts before the first step that works on a graph."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.export.graph_files import settle
from edgeopt.export.tied import name_known, tie
from edgeopt.models.files import GRAPH
from edgeopt.results.figures import Parity
from edgeopt.spec.recipe import StepParams
from edgeopt.step.contract import Contract
from edgeopt.step.transform import StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import step_failed
from edgeopt.tasks import Task, task_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgeopt.measure.parity import ParityRows

OPSET = 17
#: Largest difference of a logit between torch and ONNX Runtime in float32; 2e-6 is usual.
TOLERANCE = 1e-4


class LowerToOnnx(Transform[StepParams]):
    """Trace the model with dynamic batch and sequence axes, check the graph, and compare it with torch.

    An adapter that cannot be merged is inside.
    """

    name = "lower.onnx"
    version = 3  # a matrix that is tied to a table is stored once
    summary = "export to ONNX, checked against torch"
    Params = StepParams
    seeded = False
    compared_on_rows = True
    contract = Contract(
        requires=facts(Fact.TORCH, Fact.TRAINED_HEAD),
        forbids=facts(Fact.ADAPTER, Fact.NF4),
        adds=facts(Fact.ONNX),
        removes=facts(Fact.TORCH, Fact.GRAPH_ADAPTER),
        needs=("torch", "transformers", "onnx", "onnxruntime"),
    )

    def apply(self, state: State, params: StepParams, context: StepContext) -> None:
        from edgeopt.models.adapter_files import method_of
        from edgeopt.models.load import load_model

        lower(load_model(state.folder), state, context)
        if method_of(state.folder) is not None:
            context.figures["adapter_in_graph"] = method_of(state.folder)


def lower(
    model: PreTrainedModel,
    state: State,
    context: StepContext,
    *,
    traced: PreTrainedModel | None = None,
    rewrite: Callable[[Path], None] | None = None,
    relative: float = 0.0,
) -> None:
    """Write the graph of a model, its state's files beside it, and note how far it is from the model on real rows.

    traced: exported in the model's place. rewrite: then changes the graph. Raises StepError E404 where a logit is off
    by more than the tolerance, or with `relative` by that share of the largest logit more; then predictions are
    compared, too.
    """
    import onnx

    from edgeopt.export.session import open_session
    from edgeopt.measure.parity import COMPARED, onnx_logits, same_predictions, sample_rows, torch_logits
    from edgeopt.models.files import copy_files, copy_tokenizer
    from edgeopt.models.known import positions_known
    from edgeopt.models.rotary import in_order

    traced = model if traced is None else traced
    # the graph that every fuser knows; and the model that it is compared with adds up in the same order
    for each in (traced, model):
        each.set_attn_implementation("eager")
    in_order(traced)
    task = task_of(context.task, context.data.label_names)
    rows = sample_rows(context.data.sampled, state.folder, task)
    path = context.output / GRAPH
    expected = torch_logits(model, rows)
    known = positions_known(traced, model)
    with tempfile.TemporaryDirectory(dir=context.work) as scratch:
        _export(traced, rows, task, Path(scratch) / GRAPH)
        if known:
            name_known(Path(scratch) / GRAPH)
        settle(Path(scratch) / GRAPH, path)  # above 2 GB torch writes a file for each tensor
    tie(path)
    if rewrite is not None:
        rewrite(path)
    onnx.checker.check_model(str(path), full_check=True)
    # of integers the graph's own arithmetic, unfused and in float: kernels of processors without int8 dot products
    # overflow
    exact = open_session(path, {"graph_optimization_level": "ORT_DISABLE_ALL"} if relative else {})
    difference = float(abs(onnx_logits(exact, rows) - expected).max())
    tolerance = TOLERANCE + relative * float(abs(expected).max())
    if not difference <= tolerance:
        raise step_failed(
            "E404",
            f"the exported graph differs from torch by {difference:.2g} in a logit, more than {tolerance:g}",
            help="this is a defect of the export: report it with the recipe",
        )
    copy_files(state.folder, context.output, ("config.json",))
    copy_tokenizer(state.folder, context.output)
    context.figures.update({k: v for k, v in state.figures.items() if k in ("sparsity", "parameters")})
    parity: Parity = {"max_abs_diff": difference, "tolerance": tolerance, "rows": len(rows.rows)}
    if relative:
        more = sample_rows(context.data.sampled, state.folder, task, COMPARED)
        parity |= {
            "same_predictions": same_predictions(model, open_session(path), more, softmax=task.softmax),
            "compared": len(more.rows),
        }
    context.told["parity"] = parity


def _export(model: PreTrainedModel, rows: ParityRows, task: Task, path: Path) -> None:
    import warnings

    import torch

    from edgeopt.models.load import takes

    accepted = takes(model)
    example = rows.encoder.pad(rows.rows[-2:])
    names = [n for n in example if n in accepted]

    class Outputs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return task.exported(self.model, dict(zip(names, inputs, strict=True)))

    inner = ("choices", "sequence") if example["input_ids"].ndim == 3 else ("sequence",)
    axes = {
        name: dict(enumerate(("batch", "target") if name.startswith("decoder_") else ("batch", *inner)))
        for name in names
    }
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        # the wrapper in evaluation mode too: exporting one left in training mode flips the model back
        torch.onnx.export(
            Outputs().eval(),
            tuple(torch.from_numpy(example[n]) for n in names),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            output_names=[*task.graph_outputs],
            dynamic_axes={**axes, **{name: task.graph_axes(name) for name in task.graph_outputs}},
            do_constant_folding=True,
        )
