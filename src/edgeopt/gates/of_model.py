"""Gates on a finished model alone, measured anew with ONNX Runtime, tokenizers, numpy and the rows.

Neither training code nor torch is imported.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.data import Split, row_warnings
from edgeopt.export import session
from edgeopt.export.exporter import Runnable
from edgeopt.gates.artifact import Artifact, find_artifact
from edgeopt.gates.baseline_file import Baseline, check_fits, other_machine, read_baseline
from edgeopt.gates.chance import looked_at
from edgeopt.gates.decide import Decisions, decide
from edgeopt.gates.evidence import Evidence
from edgeopt.gates.notes import evidence_notes, warnings
from edgeopt.gates.request import Request, target_of
from edgeopt.gates.seen import Seen, seen
from edgeopt.gates.slices import groups_of
from edgeopt.measure.accuracy import outputs_of
from edgeopt.measure.latency import Measured, cold_starts, measure, promise, promise_of_starts, sittings
from edgeopt.measure.queries import other_row, queries_of, same_queries
from edgeopt.measure.subject import subject_of
from edgeopt.measure.twin import TWIN
from edgeopt.results.model import Gate, Starts, Subject, SubjectName
from edgeopt.spec.recipe import ABSOLUTE, GateSpec, Target
from edgeopt.spec.tasks import MEASURED
from edgeopt.statistics.bounds import Values
from edgeopt.support.errors import InputError, Issue, Place
from edgeopt.support.paths import is_there
from edgeopt.support.progress import Progress
from edgeopt.support.words import is_integer
from edgeopt.tasks import Task, task_type
from edgeopt.tasks.encode import Features, length, tokens_digest

Answered = tuple[Values, float]
_OTHER_TOKENS = (
    "use gates on latency and memory that need no --against (max_ms, max_mb), or compare with a model with "
    "the same tokenizer"
)


@dataclass(frozen=True)
class Against:
    """What an artifact is compared with: a finished model, which is measured beside it, or a baseline file.

    Neither: nothing.
    """

    artifact: Artifact | None = None
    file: Baseline | None = None
    path: Path | None = None

    @property
    def shown(self) -> str:
        return self.artifact.shown if self.artifact else str(self.path)

    @property
    def elsewhere(self) -> str | None:
        """What differs between this machine and that of the baseline file; None without one, and where nothing does."""
        return other_machine(self.file) if self.file else None


def find_against(path: Path | None) -> Against:
    """What a path to compare with is: a baseline file or a finished model. Raises InputError E131 or E132."""
    if path is None:
        return Against()
    if is_there(path, Path.is_file) and path.suffix != ".onnx":
        return Against(file=read_baseline(path), path=path)
    return Against(artifact=find_artifact(path), path=path)


def gate_artifact(
    asked: Request, candidate: Artifact, against: Against, progress: Progress, max_seconds: float
) -> Decisions:
    """Measure what the gates look at, and nothing else, and decide them.

    max_seconds: a limit on each latency, besides the target's own. Raises InputError E118 or E134 where a gate cannot
    be decided on what is given, E131 and E316 for a graph that does not fit the task, E133 for a baseline that does
    not, and those of the rows.
    """
    gates = [(_resolved(spec, asked), place) for spec, place in asked.gates]
    issues = [issue for spec, place in gates if (issue := _undecidable(spec, place, asked, against))]
    if issues:
        raise InputError(issues)
    rows, task = asked.rows(_names(asked, candidate, against))
    untold = list[str]()
    if against.file is not None and against.path is not None:
        untold = check_fits(against.file, against.path, asked, candidate, rows, task)
    batch = max((target_of(spec, asked).batch for spec, _ in gates if spec.timed), default=1)
    candidate.check(task, rows, batch)
    if against.artifact is not None:
        against.artifact.check(task, rows, batch)
        _check_order(candidate, against.artifact)
    evidence = _Measuring(asked, candidate, against, rows, task, progress).evidence(
        [spec for spec, _ in gates], max_seconds
    )
    found = [_decide(spec, place, evidence, against) for spec, place in gates]
    beside = [
        *_quantized(against, evidence),
        *warnings(evidence, looked_at((spec for spec, _ in gates), task.spec)),
    ]
    with progress.during("train is searched for the rows of the gates", after=1.0):
        told = seen(asked, candidate, rows) if any(s.metric not in MEASURED for s, _ in gates) else Seen(0, [])
    beside += row_warnings(rows.name, len(rows), told.leaked, rows.copied)
    notes = [*untold, *(r for r in told.remarks if r not in beside), *evidence_notes(evidence)]
    model = f"{candidate.shown} against {against.shown}" if against.path else candidate.shown
    return Decisions(found, beside, notes, model)


def _with_itself(candidate: Artifact, against: Against, rows: Split, task: Task) -> bool:
    """Whether the baseline is the candidate: the same graph behind a tokenizer that makes the rows' tokens alike."""
    if against.artifact is not None:
        same = against.artifact.digests()["graph"] == candidate.digests()["graph"]
        return same and other_row(task, rows, against.artifact.folder, candidate.folder) is None
    if against.file is None or against.file.graph != candidate.digests()["graph"]:
        return False
    tokens = against.file.task.tokens
    if tokens is None:
        return against.file.task.tokenizer == candidate.digests()["tokenizer"]
    return tokens == tokens_digest(queries_of(task, rows, candidate.folder).ids)


def _quantized(against: Against, evidence: Evidence) -> list[str]:
    """What stands beside a verdict where the baseline is int8 already."""
    if against.path is None or evidence.baseline.precision != "int8":
        return []
    return [
        f"The baseline, {against.shown}, is int8, and a recipe's baseline is FP32: drops and ratios do not "
        f"show what its own quantization changed. Give --against the FP32 model."
    ]


def _names(asked: Request, candidate: Artifact, against: Against) -> Sequence[str]:
    """Names of the outputs: the candidate's own, or its baseline's where its own are none or only numbers."""
    own = candidate.classes(asked.task)
    theirs = (
        against.file.task.labels if against.file else against.artifact.classes(asked.task) if against.artifact else ()
    )
    return theirs if theirs and (not own or (_plain(own) and _words(theirs))) else own


def _words(names: Sequence[str]) -> bool:
    """Whether the names are any, and say more than numbers do."""
    return not all(is_integer(name) for name in names)


def _plain(names: Sequence[str]) -> bool:
    """Whether the names are none, or numbers in their order: what a config has where nobody named the outputs.

    Numbers in another order are names: they say which class an output is.
    """
    return not _words(names) and (numbers := [int(name) for name in names]) == sorted(numbers)


def _check_order(candidate: Artifact, baseline: Artifact) -> None:
    """Raises InputError E318 where both models name their outputs, and not the same.

    Where one does not, it has the other's, unless those are numbers out of their order, which contradict its own.
    """
    ours, theirs = ([name.casefold() for name in a.labels] for a in (candidate, baseline))
    unnamed = (_plain(ours) and (_plain(theirs) or _words(theirs))) or (_plain(theirs) and _words(ours))
    if ours != theirs and not unnamed:
        issue = Issue(
            "E318",
            "the two models name their classes differently, or in different orders",
            None,
            "give the baseline that this model was made from",
            tuple(f"{a.shown}: {', '.join(a.labels) or 'no names'}" for a in (candidate, baseline)),
        )
        raise InputError(issue)


def _resolved(spec: GateSpec, asked: Request) -> GateSpec:
    """A gate on what is timed, with the target and the length that it takes by default."""
    if not spec.timed:
        return spec
    target = target_of(spec, asked)
    return spec.model_copy(update={"target": target.name, "sequence": spec.sequence or target.sequence[0]})


def _undecidable(spec: GateSpec, place: Place | None, asked: Request, against: Against) -> Issue | None:
    beside = spec.metric in task_type(asked.task.type).beside_baseline
    if beside and against.file is not None:
        return Issue(
            "E118",
            f"the gate on {spec.metric} compares with the baseline's own outputs, which a baseline file does not have",
            place,
            "give --against the FP32 model's folder",
        )
    if spec.bound[0] in ABSOLUTE and not (beside and against.path is None):
        return None
    if against.path is None:
        return Issue(
            "E134",
            f"the gate on {spec.metric} compares with a baseline, and none was given",
            place,
            "give --against: the FP32 model's folder, or a file of `edgeopt baseline`",
        )
    if not spec.timed:
        return None
    if against.artifact is not None:
        if spec.against == "torch":
            return Issue(
                "E118",
                "the gate is against torch, which cannot run a finished model",
                place,
                "give a file of `edgeopt baseline`, or against: onnx",
            )
        return None
    target = target_of(spec, asked)
    if against.elsewhere is None and _measured_there(spec, target, against) is None:
        return Issue(
            "E118",
            f"the baseline has no latency against {spec.against} on target '{spec.target}' at sequence {spec.sequence} "
            f"with threads {target.threads}, batch {target.batch}, order {target.order}",
            place,
            "measure it again with `edgeopt baseline` and this recipe",
        )
    return None


def _measured_there(spec: GateSpec, target: Target, against: Against) -> Measured | None:
    """The latency of a baseline file that a gate is against."""
    name = "baseline-torch" if spec.against == "torch" else "baseline"
    wanted = (name, target.name, target.threads, target.batch, target.order, spec.sequence)
    found = against.file.measured() if against.file else []
    return next((m for m in found if (m.subject, m.target, m.threads, m.batch, m.order, m.sequence) == wanted), None)


def _of_machine(spec: GateSpec) -> bool:
    """Whether the gate is on what another machine would do differently."""
    return spec.timed or spec.metric in ("memory.peak", "start.cold")


def _apart(spec: GateSpec, against: Against) -> bool:
    """Whether the gate compares figures of two machines, which nothing can decide."""
    return _of_machine(spec) and spec.bound[0] not in ABSOLUTE and against.elsewhere is not None


def _decide(spec: GateSpec, place: Place | None, evidence: Evidence, against: Against) -> Gate:
    line = place.line if place else None
    if not _apart(spec, against):
        gate = decide(spec, evidence, line=line)
        if against.file is None or not _of_machine(spec) or spec.bound[0] in ABSOLUTE:
            return gate
        reason = f"{gate.reason}; the baseline's is of {against.file.created[:10]}, not measured side by side"
        if spec.metric == "start.cold":
            reason += (
                ": measurements from two different times cannot be compared, so give --against the folder of "
                "the FP32 model, or use max_ms"
            )
            return gate.model_copy(update={"verdict": "inconclusive", "low": None, "high": None, "reason": reason})
        return gate.model_copy(update={"reason": reason})
    kind, bound = spec.bound
    reason = (
        f"the baseline was measured on another machine ({against.elsewhere}): for a ratio give --against the FP32 "
        "model's folder, so that both are measured here; or use max_ms or max_mb"
    )
    more = {"sequence": spec.sequence, "against": spec.against} if spec.timed else {}
    return Gate(
        metric=spec.metric,
        verdict="inconclusive",
        value=None,
        bound=bound,
        kind=kind,
        reason=reason,
        low=None,
        high=None,
        confidence=spec.confidence,
        target=spec.target,
        line=line,
        **more,
    )


@dataclass(frozen=True)
class _Measuring:
    """Both models on the same rows, by the functions that a run measures with."""

    asked: Request
    candidate: Artifact
    against: Against
    rows: Split
    task: Task
    progress: Progress

    @property
    def models(self) -> dict[SubjectName, Artifact]:
        both: dict[SubjectName, Artifact] = {"candidate": self.candidate}
        return {"baseline": self.against.artifact, **both} if self.against.artifact else both

    def evidence(self, specs: Sequence[GateSpec], max_seconds: float) -> Evidence:
        """What the gates look at. Without a baseline the candidate stands in its place, where no gate compares."""
        answered = (
            {name: self._answers(name) for name in self.models} if any(s.metric not in MEASURED for s in specs) else {}
        )
        timed = [(target_of(s, self.asked), s.sequence) for s in specs if s.timed and not _apart(s, self.against)]
        features = self._features(specs)
        queries = features.ids
        latency = self._latency(timed, queries, max_seconds)
        starts: dict[str, Starts] = {}
        if any(s.metric in ("memory.peak", "start.cold") for s in specs):
            files = {n: Runnable(a.graph, settings=self._options(n, latency)) for n, a in self.models.items()}
            with self.progress.during(*promise_of_starts(files)):
                starts = cold_starts(files, max(queries, key=length))
        labels = self.task.stack_labels(self.rows.labels)
        raw = answered.get("baseline", answered.get("candidate"))
        if raw is not None:
            answered = {
                n: (self.task.compared(given, raw[0], self.rows.labels), took) for n, (given, took) in answered.items()
            }
        subjects = {
            n: subject_of(a.shown, a.graph, self.task, labels, answered.get(n), starts.get(n))
            for n, a in self.models.items()
        }
        outputs = {name: given[0] for name, given in answered.items()}
        if self.against.file is not None:
            there, outputs["baseline"] = self.against.file, self.task.stack(self.against.file.outputs)
            subjects["baseline"] = there.subject.model_copy(
                update={"metrics": self.task.metrics(labels, outputs["baseline"])}
            )
            latency += [
                replace(m, apart=True)
                for m in there.measured()
                if not self.against.elsewhere and m.subject != "candidate"
            ]
        have = {(m.subject, m.target, m.sequence) for m in latency}
        latency += [
            replace(m, subject="baseline")
            for m in latency
            if m.subject == "candidate" and ("baseline", m.target, m.sequence) not in have
        ]
        base: Subject = subjects.get("baseline", subjects["candidate"])
        mine = outputs.get("candidate", np.empty(0))
        return Evidence(
            self.task,
            labels,
            outputs.get("baseline", mine),
            mine,
            base,
            subjects["candidate"],
            latency,
            groups_of(self.task, self.rows, features),
            _with_itself(self.candidate, self.against, self.rows, self.task),
        )

    def _features(self, specs: Sequence[GateSpec]) -> Features:
        """The rows' queries, on which both models are timed.

        Raises InputError E208 where they are timed and the candidate's own tokenizer makes others.
        """
        first = self.models.get("baseline", self.candidate).folder
        timed = any(s.timed or s.metric in ("memory.peak", "start.cold") for s in specs)
        others = {"candidate": self.candidate.folder} if timed and self.against.artifact else {}
        return same_queries(self.task, self.rows, first, others, _OTHER_TOKENS)

    def _answers(self, name: SubjectName) -> Answered:
        found, started = self.models[name], time.perf_counter()
        outputs = outputs_of(found.graph, found.folder, self.rows, self.task, self.progress, f"accuracy of {name}")
        return outputs, time.perf_counter() - started

    def _latency(self, timed: Iterable[tuple[Target, Any]], queries: list[Any], max_seconds: float) -> list[Measured]:
        """Latencies on the targets, and at the lengths, that gates are on, and at no others."""
        timed, found = list(timed), list[Measured]()
        for target in self.asked.targets:
            sequences = list(dict.fromkeys(s for t, s in timed if t.name == target.name))
            if sequences:
                limit = min(target.max_seconds, max_seconds)
                known: dict[str, session.Options] = (
                    {n: a.options for n, a in self.models.items() if a.options}
                    if target is self.asked.targets[0]
                    else {}
                )
                given = target.model_copy(update={"sequence": sequences, "max_seconds": limit})
                files = {n: Runnable(a.graph) for n, a in self.models.items()}
                with self.progress.during(*promise(given), most=True):
                    beside = self._beside_twin(given, files, queries, known)
                    found += beside
                    if rest := [s for s in sequences if s not in {m.sequence for m in beside}]:
                        found += measure(given.model_copy(update={"sequence": rest}), files, None, queries, known)
        return found

    def _beside_twin(
        self,
        target: Target,
        files: dict[SubjectName, Runnable],
        queries: list[Any],
        options: dict[str, session.Options],
    ) -> list[Measured]:
        """Latencies beside the twin of a baseline file's graph, with the options that the graph was measured with.

        Nothing where the file has no twin, or is of another machine.
        """
        there = self.against.file
        if there is None or there.twin is None or self.against.elsewhere:
            return []
        theirs = next((m.session for m in there.measured() if (m.subject, m.target) == (TWIN, target.name)), None)
        return sittings(target, files, None, queries, there.twin, {**options, TWIN: theirs}) if theirs else []

    def _options(self, name: SubjectName, latency: Sequence[Measured]) -> session.Options:
        """The options that a graph was timed with, else those of session.json, else the runtime's own."""
        measured = next((m.session for m in latency if m.subject == name), None)
        return measured or self.models[name].options or session.defaults(self.asked.targets[0].threads)
