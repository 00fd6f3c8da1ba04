"""Decide gates again, on the evidence that a run left in its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgeopt.data import at_hand, is_local_task, row_warnings
from edgeopt.gates.chance import looked_at
from edgeopt.gates.decide import Decisions, decide
from edgeopt.gates.evidence import Evidence, read_evidence
from edgeopt.gates.notes import evidence_notes, warnings
from edgeopt.gates.request import Request, target_of
from edgeopt.gates.rows_of_run import damaged, other_rows, recipe_folders
from edgeopt.gates.same_recipe import another_recipe
from edgeopt.gates.seen import seen_by
from edgeopt.gates.slices import LABEL, LENGTH
from edgeopt.results.changes import changes
from edgeopt.results.model import Report
from edgeopt.results.sealed import Run
from edgeopt.spec.recipe import GateSpec
from edgeopt.spec.tasks import MEASURED
from edgeopt.support.errors import InputError, Issue
from edgeopt.support.reading import ROUNDING
from edgeopt.tasks import task_of

#: A length that the rows decide.
TASK = "task"


def regate(run: Run, asked: Request, own: Request) -> Decisions:
    """The gates of `asked`, decided on what the run measured. own: what the run itself was asked.

    Raises InputError E115 for evidence that cannot be read, E118 for the recipe of another model, and where a gate asks
    for what the run did not measure: on these rows, with such a target.
    """
    if asked is not own and (other := another_recipe(run, asked, own)):
        raise InputError(other)
    evidence = read_evidence(run, task_of(own.task, run.report.task.labels))
    if len(evidence.labels) != run.report.task.rows:
        raise damaged(run.folder, ValueError(f"{len(evidence.labels)} of {run.report.task.rows} predictions are there"))
    if asked is not own:  # the slices that the recipe names, and no others
        groups = {
            name: values for name, values in evidence.groups.items() if name in (LENGTH, *(asked.task.slices or ()))
        }
        evidence = replace(evidence, groups=groups)
    issues = [] if asked is own else _unlike(run, asked, own)
    gates = [(spec if asked is own else _aimed(spec, asked), place) for spec, place in asked.gates]
    issues += [
        Issue("E118", f"the run did not measure {missing}", place, "apply the recipe again")
        for spec, place in gates
        if (missing := _missing(spec, run.report, {*evidence.groups}, asked, own))
    ]
    if issues:
        raise InputError(issues)
    if any(spec.timed for spec, _ in gates):
        _check_times(run, evidence)
    for metric in {spec.measured for spec, _ in gates} - {*MEASURED}:
        _check_metric(metric, evidence, run.folder)
    decided = [decide(spec, evidence, line=place.line if place else None) for spec, place in gates]
    rows, told = run.report.task, seen_by(run.report.task)
    beside = [
        *warnings(evidence, looked_at((spec for spec, _ in gates), own.task)),
        *row_warnings(rows.split, rows.rows, told.leaked, rows.copied or 0),
    ]
    notes = [*(r for r in told.remarks if r not in beside), *evidence_notes(evidence)]
    return Decisions(decided, beside, notes, run.report.candidate.artifact)


def _check_metric(metric: str, evidence: Evidence, folder: Path) -> None:
    """Raises InputError E115 where the report says another value than the predictions have."""
    for side in evidence.sides:
        if evidence.broken(side):  # of what is no number nothing is measured, and the gate says so
            continue
        subject, outputs = getattr(evidence, side), evidence.outputs(side)
        told, found = subject.metrics[metric], evidence.task.measure(metric, evidence.labels, outputs)
        if not (abs(told - found) <= ROUNDING or (told != told and found != found)):
            raise damaged(
                folder,
                ValueError(
                    f"the report says {metric} {told:.4f} of {subject.artifact}, and the predictions {found:.4f}"
                ),
            )


def _check_times(run: Run, evidence: Evidence) -> None:
    """Raises InputError E115 where the report has a latency of which there are no samples."""
    measured = {(m.subject, m.target, m.sequence) for m in evidence.latency}
    if lost := [m for m in run.report.latency if (m.subject, m.target, m.sequence) not in measured]:
        raise damaged(
            run.folder,
            ValueError(
                f"the report has a latency of {lost[0].subject} on {lost[0].target}, but its samples are missing"
            ),
        )


def _aimed(spec: GateSpec, asked: Request) -> GateSpec:
    """A gate with the target and the length of the recipe that it stands in, where it means one.

    The run's own first ones may be others.
    """
    if not spec.timed and not spec.of_device:
        return spec
    target = target_of(spec, asked)
    return spec.model_copy(
        update={"target": target.name, "sequence": spec.sequence or target.sequence[0] if spec.timed else spec.sequence}
    )


def _unlike(run: Run, asked: Request, own: Request) -> list[Issue]:
    """Whether what the run answered is no answer to what is asked, as the rows are others."""
    if not any(
        spec.metric not in MEASURED or TASK in (spec.sequence, _aimed(spec, asked).sequence) for spec, _ in asked.gates
    ):
        return []
    other = _other_rows(run, asked, own)
    if other is None:
        return []
    what = f"{other}: the fingerprint of {_shown(asked)} is another"
    message = f"the run was not measured as the recipe asks: {what}"
    return [Issue("E118", message, asked.place((next(iter(asked.task.each))[0],)), "apply the recipe")]


#: What decides which rows there are.
_ROWS = ("dataset", "text", "choices", "label", "labels", "report", "leaks", "missing_label", "corpus", "group")


def _other_rows(run: Run, asked: Request, own: Request) -> str | None:
    """What of the rows is another than the run's; None where nothing is.

    Rows that are here are read and held against the fingerprint, whatever the recipe says of them. Of rows that are not
    here at all, on a machine that only gates or on the hub, what the recipes say decides.
    """
    stated = own.task.each.keys() == asked.task.each.keys() and all(
        getattr(one, name) == getattr(other, name)
        for one, other in zip(own.task.each.values(), asked.task.each.values(), strict=True)
        for name in _ROWS
    )
    if not at_hand(asked.task, asked.folder):
        local = is_local_task(asked.task, asked.folder)
        elsewhere = (
            not local
            and run.lock["place"]["rows"] != "hub"
            and asked.folder.resolve() not in [f.resolve() for f in recipe_folders(run)]
        )
        if stated and not elsewhere:
            return None
        if not local:
            return "rows"
    gated, own_slices = {spec.slice for spec, _ in asked.gates}, own.task.slices or ()
    # what the run lacks is missing, not changed
    looked = [c for c in asked.task.slices or () if c in own_slices and gated & {c, "worst"}]
    rows, _ = replace(asked, task=asked.task.model_copy(update={"slices": looked or None})).rows(run.report.task.labels)
    return other_rows(run, rows)


def _shown(asked: Request) -> str:
    named = [(at, each.dataset.path) for at, each in asked.task.each.items()]
    return ", ".join(path or f"{'.'.join(map(str, at))}.dataset.data_files" for at, path in named)


def _missing(spec: GateSpec, report: Report, groupings: set[str], asked: Request, own: Request) -> str | None:
    named = [spec.slice] if spec.slice not in (None, LABEL) else []
    wanted: set[str] = {*(asked.task.slices or ())} if spec.slice == "worst" else {*filter(None, named)}
    if absent := sorted(wanted - groupings):
        return f"slices by {', '.join(absent)}"
    if spec.metric not in MEASURED:
        return None if spec.measured in report.candidate.metrics else spec.measured
    if spec.target is not None and (other := _other_target(spec, asked, own)):
        return other
    if not spec.timed:
        return None
    found = [m for m in report.latency if spec.target in (None, m.target)]
    if not found:
        return f"target '{spec.target}'" if spec.target else "a latency"
    if spec.against == "torch" and not any(m.subject == "baseline-torch" for m in found):
        return "a latency of torch"
    if spec.sequence is not None and spec.sequence not in {m.sequence for m in found}:
        return f"sequence {spec.sequence} on target '{spec.target}'" if spec.target else f"sequence {spec.sequence}"
    return None


#: Of a target, what says how long and at which lengths it is measured, and not on what.
_HOW_LONG = {"description", "sequence", "queries", "max_seconds", "memory_mb"}


def _other_target(spec: GateSpec, asked: Request, own: Request) -> str | None:
    """What differs between the target that a gate means and that of its name on which the run was measured."""
    wanted, mine = target_of(spec, asked), next((t for t in own.targets if t.name == spec.target), None)
    if mine is None:
        return f"target '{spec.target}', but {', '.join(t.name for t in own.targets)}"
    found = [
        f"{c.at} {c.new} (it has {c.old})"
        for c in changes(mine.model_dump(exclude=_HOW_LONG), wanted.model_dump(exclude=_HOW_LONG))
    ]
    return f"target '{spec.target}' with {', '.join(found)}" if found else None
