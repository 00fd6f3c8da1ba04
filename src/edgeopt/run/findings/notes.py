"""What a reader of a report should know and no figure says."""

from __future__ import annotations

from collections.abc import Sequence

from edgeopt.gates.evidence import Evidence
from edgeopt.gates.notes import evidence_notes
from edgeopt.recipe.load import Recipe
from edgeopt.results.figures import told
from edgeopt.results.model import Gate, Seeds, Speedup
from edgeopt.run.execute import Done, Executed
from edgeopt.run.findings.losses import int8_notes
from edgeopt.run.findings.plain_text import text_notes
from edgeopt.transforms.prune.figures import TOLERANCE

#: A share of time measured twice differs by some percent.
_SLOWER = 1.05


def run_notes(recipe: Recipe, executed: Executed, evidence: Evidence, speedups: Sequence[Speedup]) -> list[str]:
    """What a reader of the run's figures would otherwise have to know."""
    notes = []
    sparsity = told(executed.final("candidate").figures).get("sparsity")
    if sparsity:
        notes.append(
            f"{sparsity:.0%} of the encoder's weights are zeros. ONNX Runtime computes with them: they make the file "
            "compress better, not faster."
        )
    notes += [note for done in executed.chains["candidate"] for note in (*_sparsity_notes(done), *_budget_notes(done))]
    torch_device = next((m.device for m in evidence.latency if m.subject == "baseline-torch"), None)
    if torch_device == "cpu":
        notes.append("No GPU here: the torch FP32 reference ran on the CPU with the target's threads.")
    ratios = [s for s in speedups if (s.of, s.against) == ("candidate", "baseline")]
    notes += int8_notes(executed.chains["candidate"], evidence, ratios)
    notes += executed.data.remarks()
    for extra in executed.data.extra:
        left_out = (
            f"; {extra.left_out} more are in {executed.data.report.name} too and were left out"
            if extra.left_out
            else ""
        )
        notes.append(
            f"Trained with {len(extra.rows)} rows of {extra.source} as well{left_out}. Nothing is measured on them."
        )
    notes += [
        note
        for done in executed.chains["candidate"]
        for note in (*_unlabelled_notes(done, executed.data.report.name), *layer_notes(done))
    ]
    notes += [note for done in executed.chains["candidate"] for note in text_notes(done, executed.data.report)]
    notes += evidence_notes(evidence)
    if not recipe.steps and recipe.head.baseline.finetune is None:
        notes.append(
            "The recipe has no steps, so that candidate and baseline are the same model: no change says anything."
        )
    if not recipe.head.gates:
        notes.append("The recipe has no gates: everything was measured, but nothing was required.")
    return notes


def _unlabelled_notes(done: Done, report: str) -> list[str]:
    """Which rows without labels a step learned from."""
    found = told(done.state.figures).get("unlabelled")
    if not found:
        return []
    left_out = (
        f"; {found['left_out']} more are in {report}, or held out of train to select by, and were left out"
        if found["left_out"]
        else ""
    )
    return [
        f"Step '{done.step.id}' also learned from its teacher on {found['rows']} rows of {found['source']} without "
        f"labels{left_out}."
    ]


def layer_notes(done: Done) -> list[str]:
    """Tasks of several whose teachers a step followed in their answers alone, where it was asked to follow layers."""
    alone = told(done.state.figures).get("answers_alone")
    if not alone:
        return []
    return [
        f"Step '{done.step.id}' followed the answers of the teachers of {' and '.join(alone)}, and not their layers: a "
        "teacher of one task reads both texts in one sequence, and the head of these tasks each text by itself."
    ]


def _sparsity_notes(done: Done) -> list[str]:
    """Notes on a step that learns what to cut and did not come to what it was asked for."""
    asked = told(done.state.figures).get("asked_sparsity")
    if asked is None:
        return []
    if not asked["reached"]:
        return [
            f"'{done.step.id}' was asked for a sparsity of {asked['asked']:g} and reached {asked['got']:.3f}: "
            f"whole heads, blocks and multiples of neurons come no closer."
        ]
    if abs(asked["learned"] - asked["asked"]) > TOLERANCE:
        return [
            f"The masks of '{done.step.id}' came to a sparsity of {asked['learned']:.3f} while they were learned, and "
            f"{asked['asked']:g} was cut: what went last was not learned. Add hidden and blocks to its 'masks'."
        ]
    return []


def _budget_notes(done: Done) -> list[str]:
    """A note on layers that take longer than the table promised."""
    budget = told(done.state.figures).get("budget")
    if budget is None or budget.get("measured", 0.0) <= _SLOWER * budget["left"]:
        return []
    return [
        f"'{done.step.id}' was to leave {budget['left']:g} of the layers' time and left {budget['reached']:.3f} by "
        f"its table; timed side by side with the dense ones, the layers that are left take {budget['measured']:.3f}: "
        "the budget is not held here. Ask for less, or measure the table anew."
    ]


def seed_notes(seeds: Seeds | None, gates: list[Gate]) -> list[str]:
    """Which seed the figures belong to, and gates that another seed may decide otherwise."""
    if seeds is None:
        return []
    first, *others = [str(r.seed) for r in seeds.results]
    notes = [
        f"The model of seed {first}, the first, is the one that is exported, timed and gated; of seed "
        f"{', '.join(others)} the metrics were measured."
    ]
    by_metric = {s.metric: s for s in seeds.spreads}
    for gate in gates:
        spread = by_metric.get(gate.metric)
        if spread is None or gate.kind not in ("max_drop", "max_drop_relative"):
            continue
        margin = gate.bound * (abs(spread.baseline_mean) if gate.kind == "max_drop_relative" else 1.0)
        if spread.difference_std > margin:
            notes.append(
                f"{gate.metric}: the difference of candidate and baseline varies by {spread.difference_std:.4f} "
                f"(standard deviation over {len(seeds.results)} seeds), more than the gate's margin of {margin:.4f}: "
                "one seed does not decide it."
            )
    return notes
