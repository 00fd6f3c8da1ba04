"""Which export `auto` keeps: chosen by rows and rounds of its own, which nothing is reported or gated on afterwards.

Of several exports that all drop by just the margin, the luckiest on some rows would pass there four times as often as
the gate says (benchmarks/results/export_choice.md); and the quickest of some rounds was lucky in them, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeopt.export.exporter import Runnable
from edgeopt.gates.slices import Groups, groups_of
from edgeopt.measure.subject import subject_of
from edgeopt.models.files import GRAPH
from edgeopt.run.exports import Written
from edgeopt.run.fastest import MeasuredExport, Reference, fastest, typical_ms, verdicts
from edgeopt.run.measuring import Measuring
from edgeopt.spec.recipe import GROUPINGS, GateSpec, Target
from edgeopt.spec.tasks import MEASURED

#: At most so many of the selection rows are answered by each export.
ROWS = 2048
#: The share of a target's queries and seconds that the choice takes.
_SHARE, _FEWEST = 4, 64


def choose(here: Measuring, written: Sequence[Written]) -> Written:
    """The export that is kept: the first, or with `auto` the fastest of those that hold the gates.

    With `auto` the gates are held on the rows that are carved out of train for selection, and the exports are timed in
    a measurement of its own.
    """
    if written[0].place is not None:
        return written[0]
    recipe, data, task, progress = here.recipe, here.executed.data, here.task, here.progress
    exports = {w.name: w for w in written if w.place is None}
    rows = task.searched((data.carve(recipe.head.task.selection)[1] or data.train).first(ROWS))
    progress.say(f"{'export.auto':<22} choosing on {len(rows)} rows that nothing is reported on …")
    files = {"baseline": Runnable(here.baseline / GRAPH), **{name: w.opened_with({}) for name, w in exports.items()}}
    features = here.features(rows, exports)
    groups = groups_of(task, rows, features)
    gates = [g for g in recipe.head.gates if decidable(g, groups)]
    asked = any(g.metric not in MEASURED for g in gates)
    answers = (
        {n: here.answers(f, exports[n].folder if n in exports else here.baseline, n, rows) for n, f in files.items()}
        if asked
        else {}
    )
    answers = {
        n: (task.compared(outputs, answers["baseline"][0], rows.labels), took) for n, (outputs, took) in answers.items()
    }
    latency = here.latencies(
        files,
        features.ids,
        [_brief(t) for t in _targets(recipe.targets, gates)],
        torch=any(g.against == "torch" for g in gates),
    )
    starts = here.starts(files, features.ids) if any(g.metric in ("memory.peak", "start.cold") for g in gates) else {}
    labels = task.stack_labels(rows.labels)
    figures = {
        n: subject_of(
            n, f.path, task, labels, answers.get(n), starts.get(n), exports[n].source if n in exports else None
        )
        for n, f in files.items()
    }
    tried = [MeasuredExport(w, n, answers[n][0] if asked else labels, None, {}, figures[n]) for n, w in exports.items()]
    reference = Reference(
        task, labels, answers["baseline"][0] if asked else labels, figures["baseline"], latency, groups
    )
    kept = fastest(tried, latency, verdicts(tried, reference, gates))
    progress.say(f"{'export.auto':<22} keeps {kept.written.name}: {typical_ms(kept.subject, latency):.2f} ms")
    return kept.written


def decidable(gate: GateSpec, groups: Groups) -> bool:
    """Whether the selection rows have what a gate asks for: of a column that names slices they may have nothing."""
    return gate.slice in (None, "worst", *GROUPINGS, *groups)


def _targets(targets: Sequence[Target], gates: Sequence[GateSpec]) -> list[Target]:
    """The first, by which the fastest is chosen, and those that gates are on."""
    named = {g.target for g in gates}
    return [t for i, t in enumerate(targets) if i == 0 or t.name in named]


def _brief(target: Target) -> Target:
    return target.model_copy(
        update={"queries": max(_FEWEST, target.queries // _SHARE), "max_seconds": target.max_seconds / _SHARE}
    )
