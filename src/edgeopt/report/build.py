"""From measurements to the report."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from edgeopt import __version__, host
from edgeopt.errors import Place
from edgeopt.execute import Done, Executed
from edgeopt.gates import MIN_QUERIES, PERCENTILES, Evidence, decide, verdict_of
from edgeopt.measure.latency import Measured
from edgeopt.measuring import Measurements, state_bytes
from edgeopt.plan import Chain
from edgeopt.recipe.load import Recipe
from edgeopt.report.losses import chance_notes, int8_notes
from edgeopt.report.model import Difference, Gate, Latency, Parity, RecipeInfo, Report, Seeds, SessionChoice, Speedup, Step, SubjectName, Task
from edgeopt.statistics import percentile_ratio
from edgeopt.transforms.prune.figures import TOLERANCE

CONFIDENCE = 0.95


def build_report(recipe: Recipe, executed: Executed, measured: Measurements, seeds: Seeds | None = None) -> Report:
    """Decide the gates and put everything together. executed and measured: of the first seed, where there are several."""
    evidence, task, data = measured.evidence, recipe.head.task, executed.data
    gates = [decide(g, evidence, line=recipe.document.place(("gates", i)).line) for i, g in enumerate(recipe.head.gates)]
    return Report(
        edgeopt=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=verdict_of(gates),
        recipe=RecipeInfo(name=recipe.head.name, source=str(Place.of(recipe.path)), digest=recipe.digest, overrides=list(recipe.overrides)),
        model=recipe.head.model.id,
        task=Task(type=task.type, dataset=data.source, split=data.report.name, rows=len(data.report),
                  labels=list(data.label_names), max_length=task.max_length, max_target_length=task.target_length, window_stride=task.window_stride,
                  queries_per_row=round(measured.queries / len(data.report), 3), fingerprint=data.report.fingerprint),
        gates=gates,
        baseline=evidence.baseline,
        candidate=evidence.candidate,
        differences=[_difference(evidence, m) for m in task.metric_names],
        latency=[_latency(m) for m in evidence.latency],
        speedups=_speedups(evidence.latency),
        sessions=_sessions(evidence.latency),
        optimized=measured.optimized,
        parity=_parity(executed),
        steps=[_step(chain, done) for chain, chain_done in executed.chains.items() for done in chain_done],
        environment=host.environment(),
        seeds=seeds,
        emissions=measured.emissions,
        notes=[*_notes(recipe, executed, evidence), *measured.notes, *_seed_notes(seeds, gates)],
    )  # fmt: skip


def _difference(evidence: Evidence, metric: str) -> Difference:
    bounds = evidence.difference(metric, CONFIDENCE)
    return Difference(metric=metric, delta=bounds.value, low=bounds.low, high=bounds.high)


def _latency(m: Measured) -> Latency:
    p50, p90, p99 = (float(np.percentile(m.samples, q)) for q in PERCENTILES.values())
    return Latency(
        subject=m.subject,
        target=m.target,
        runtime=m.runtime,
        device=m.device,
        threads=m.threads,
        batch=m.batch,
        sequence=_sequence(m),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99 if len(m.samples) >= MIN_QUERIES["p99"] else None,
        queries=len(m.samples),
        session=m.session,
    )


def _sessions(latency: list[Measured]) -> list[SessionChoice]:
    """One for each graph on each target."""
    found = {(m.target, m.subject): m for m in latency if m.runtime == "onnxruntime"}
    bounds = ("ratio", "low", "high")
    return [SessionChoice(subject=m.subject, target=m.target, options=m.session, **dict(zip(bounds, m.gain or (), strict=False))) for m in found.values()]


def _sequence(m: Measured) -> Any:
    return m.sequence if m.sequence == "task" else int(m.sequence)


def _speedups(latency: list[Measured]) -> list[Speedup]:
    pairs: tuple[tuple[SubjectName, SubjectName], ...] = (
        ("candidate", "baseline"), ("candidate", "baseline-torch"), ("candidate", "candidate-fp32"), ("candidate-fp32", "baseline"),
    )  # fmt: skip
    found = {(m.target, str(m.sequence), m.subject): m for m in latency}
    out = []
    for place in dict.fromkeys((m.target, str(m.sequence)) for m in latency):
        for of, against in pairs:
            one, base = found.get((*place, of)), found.get((*place, against))
            if one is not None and base is not None:
                b = percentile_ratio(base.samples, one.samples, 50.0, CONFIDENCE)
                out.append(Speedup(of=of, against=against, target=one.target, sequence=_sequence(one), percentile="p50", ratio=b.value, low=b.low, high=b.high))
    return out


def _parity(executed: Executed) -> list[Parity]:
    chains: tuple[Chain, ...] = ("baseline", "candidate")
    return [Parity(subject=c, **executed.lowered(c).figures["parity"]) for c in chains]


def _step(chain: Chain, done: Done) -> Step:
    assert done.step.key is not None
    return Step(
        id=done.step.id,
        use=done.step.use,
        key=done.step.key,
        cached=done.cached,
        seconds=done.state.seconds,
        chain=chain,
        digest=done.state.digest,
        size_bytes=state_bytes(done.state),
        figures=done.state.figures,
    )


def _notes(recipe: Recipe, executed: Executed, evidence: Evidence) -> list[str]:
    """What a reader would otherwise have to know."""
    notes = []
    sparsity = executed.final("candidate").figures.get("sparsity")
    if sparsity:
        notes.append(f"{sparsity:.0%} of the encoder's weights are zeros. ONNX Runtime computes with them: they make the file compress better, not faster.")
    notes += [note for done in executed.chains["candidate"] for note in _sparsity_notes(done)]
    torch_device = next((m.device for m in evidence.latency if m.subject == "baseline-torch"), None)
    if torch_device == "cpu":
        notes.append("No GPU here: the torch FP32 reference ran on the CPU with the target's threads.")
    ratios = [s for s in _speedups(evidence.latency) if (s.of, s.against) == ("candidate", "baseline")]
    notes += int8_notes(executed.chains["candidate"], evidence, ratios)
    notes += chance_notes(evidence, CONFIDENCE)
    if recipe.head.task.type == "multiple-choice":
        notes.append(f"A latency is that of one question with its {len(executed.data.label_names)} choices.")
    for extra in executed.data.extra:
        left_out = f"; {extra.left_out} more are in {executed.data.report.name} too and were left out" if extra.left_out else ""
        notes.append(f"Trained with {len(extra.rows)} rows of {extra.source} besides{left_out}. Nothing is measured on them.")
    notes += [note for done in executed.chains["candidate"] for note in _unlabelled_notes(done, executed.data.report.name)]
    if recipe.head.task.type == "summarization":
        words = float(np.mean([len(text.split()) for text in evidence.candidate_logits]))
        notes.append(
            "A latency is that of one pass over the document and a whole reference summary. A summary takes a pass for each of its tokens, the last "
            f"as long as this, as nothing is kept between passes; the candidate's have {words:.0f} words on average."
        )
    if not recipe.head.gates:
        notes.append("The recipe has no gates: everything was measured and nothing was required.")
    return notes


def _unlabelled_notes(done: Done, report: str) -> list[str]:
    """Which rows without labels a step learned from."""
    found = done.state.figures.get("unlabelled")
    if not found:
        return []
    left_out = f"; {found['left_out']} more are in {report}, or held out of train to select by, and were left out" if found["left_out"] else ""
    return [f"Step '{done.step.id}' also learned from its teacher on {found['rows']} rows of {found['source']} without labels{left_out}."]


def _sparsity_notes(done: Done) -> list[str]:
    """Where a step that learns what to cut did not come to what it was asked for."""
    asked = done.state.figures.get("asked_sparsity")
    if asked is None:
        return []
    if not asked["reached"]:
        return [f"'{done.step.id}' was asked for a sparsity of {asked['asked']:g} and reached {asked['got']:.3f}: no threshold on its masks comes nearer."]
    if abs(asked["learned"] - asked["asked"]) > TOLERANCE:
        return [
            f"The masks of '{done.step.id}' had come to a sparsity of {asked['learned']:.3f} when their training ended, and {asked['asked']:g} was cut all "
            "the same: more epochs may keep more of the metric."
        ]
    return []


def _seed_notes(seeds: Seeds | None, gates: list[Gate]) -> list[str]:
    """Which seed the figures belong to, and gates that another seed may decide otherwise."""
    if seeds is None:
        return []
    first, *others = [str(r.seed) for r in seeds.results]
    notes = [f"The model of seed {first}, the first, is the one that is exported, timed and gated; of seed {', '.join(others)} the metrics were measured."]
    by_metric = {s.metric: s for s in seeds.spreads}
    for gate in gates:
        spread = by_metric.get(gate.metric)
        if spread is None or gate.kind not in ("max_drop", "max_drop_relative"):
            continue
        margin = gate.bound * (abs(spread.baseline_mean) if gate.kind == "max_drop_relative" else 1.0)
        if spread.difference_std > margin:
            notes.append(f"{gate.metric}: the difference of candidate and baseline varies by {spread.difference_std:.4f} (standard deviation over "
                         f"{len(seeds.results)} seeds), more than the gate's margin of {margin:.4f}: one seed does not decide it.")  # fmt: skip
    return notes
