"""The file in which a baseline's measurements travel to another machine: canonical JSON with the SHA-256 of itself.

Whoever reads it need not have the model. A byte that changed on the way is noticed; the digest is no signature that
says who wrote the file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import GenericAlias
from typing import Any, Literal

from pydantic import Field, ValidationError

from edgeopt.data import Split, train_at_hand
from edgeopt.gates.artifact import Artifact
from edgeopt.gates.request import Request
from edgeopt.measure.latency import Measured
from edgeopt.measure.queries import queries_of
from edgeopt.measure.twin import Twin
from edgeopt.results.model import Part, Subject
from edgeopt.step import registry
from edgeopt.support import host
from edgeopt.support.errors import InputError, Issue, Place, bad_input
from edgeopt.support.reading import MB, ROUNDING, Reader, first_wrong
from edgeopt.support.user_files import BASELINE, write_output
from edgeopt.tasks import Task
from edgeopt.tasks.encode import tokens_digest

_BASELINE = Reader("baseline", "E132", "make it with `edgeopt baseline`", most=1000 * MB)


class MeasuredTask(Part):
    """The task and the rows that a baseline's outputs are of.

    encoding: max_length and how longer texts are read; tokenizer: SHA-256 of tokenizer.json; tokens: that of
    what it makes of the rows, null in files of earlier versions.
    """

    type: str
    labels: list[str]
    split: str
    rows: int
    fingerprint: str = Field(description="SHA-256 of the split's rows")
    encoding: dict[str, Any]
    tokenizer: str
    tokens: str | None = None


class TorchReference(Part):
    """What torch answered with the baseline's model on the same rows as the graph.

    max_abs_diff: the largest difference of an output from the graph's, null for texts.
    """

    device: str
    metrics: dict[str, float]
    max_abs_diff: float | None


class Baseline(Part):
    """Measurements of a baseline.

    model: id in the recipe; fingerprint: of its files, null where a finished model was measured without them; training:
    what of the recipe made the baseline of that model, null where a finished model was measured; train: SHA-256 of the
    rows that it was trained on, null as training and in files of earlier versions; graph: SHA-256 of the measured file;
    outputs: the task's, one a row, as in predictions.jsonl; latency: as in latency.json, of several sittings, the
    twin's besides; twin: a graph that computes as long as the measured one and can be measured again where that is not,
    null in files of earlier versions, whose latencies nothing of another time can be compared with.
    """

    baseline: Literal[1] = 1
    edgeopt: str
    created: str
    recipe: str
    model: str
    fingerprint: str | None
    training: dict[str, Any] | None
    train: str | None = None
    graph: str
    task: MeasuredTask
    subject: Subject
    outputs: list[Any]
    latency: list[dict[str, Any]]
    torch: TorchReference | None
    twin: Twin | None = None
    environment: dict[str, Any]

    def measured(self) -> list[Measured]:
        """The latencies as what measures gave them. Raises ValueError where they cannot be that."""
        return [Measured.of_json(m) for m in self.latency]


def training_of(asked: Request) -> dict[str, Any]:
    """What of a recipe makes its baseline out of the model, besides the rows."""
    return {"finetune": asked.resolved["baseline"]["finetune"], "seed": asked.resolved["seed"]}


def write_baseline(made: Baseline, path: Path) -> str:
    """Writes a baseline file; returns the SHA-256 of its content. Raises InputError E114 or E156."""
    content = made.model_dump(mode="json")
    digest = _digest(content)
    write_output("--out", path, BASELINE, _canonical({**content, "sha256": digest}))
    return digest


def read_baseline(path: Path) -> Baseline:
    """The baseline in a file. Raises InputError E132 where that is no such file or a byte of it has changed."""
    place = Place.of(path)
    text = _BASELINE.text(path)
    content = _BASELINE.parse(text, place)
    if not isinstance(content, dict) or "sha256" not in content:
        raise bad_input("E132", "this is not a baseline file", place=place, help="make it with `edgeopt baseline`")
    digest = content.pop("sha256")
    if digest != _digest(content) or text != _canonical({**content, "sha256": digest}):
        raise bad_input(
            "E132",
            "the baseline file was changed: its SHA-256 does not match",
            place=Place.of(path),
            help="copy the file again",
        )
    made = _BASELINE.check(content, Baseline, place)
    try:
        made.measured()
    except ValidationError as error:
        raise _BASELINE.wrong(f"is damaged: latency.{first_wrong(error)}", place) from None
    except ValueError as error:
        raise _BASELINE.wrong(f"is damaged: {error}", place) from None
    return made


def check_fits(made: Baseline, path: Path, asked: Request, candidate: Artifact, rows: Split, task: Task) -> list[str]:
    """What cannot be told of a baseline file here, as notes beside the verdict.

    Raises InputError E133 with everything in which the baseline is another one's: model, training, rows or
    preprocessing.
    """
    found = made.task
    pairs = [
        ("task", found.type, task.spec.type),
        ("classes", found.labels, list(task.names)),
        (
            "rows",
            f"{found.rows} of {found.split}, {found.fingerprint[:12]}",
            f"{len(rows)} of {rows.name}, {rows.fingerprint[:12]}",
        ),
        ("encoding", found.encoding, dict(task.key())),
    ]
    if all(
        registry.get(step["use"]).keeps_tokenizer for step in asked.resolved["steps"] if step["use"] in registry.names()
    ):
        pairs.append(("tokenizer", found.tokenizer[:12], candidate.digests()["tokenizer"][:12]))
    elif found.tokens and found.fingerprint == rows.fingerprint:  # of a student that is another checkpoint
        pairs.append(("tokenizer", found.tokens[:12], tokens_digest(queries_of(task, rows, candidate.folder).ids)[:12]))
    if made.training is not None:
        pairs.append(("training", made.training, training_of(asked)))
    trained = made.training is not None and made.training.get("finetune") is not None
    learned = _train_rows(asked, task) if trained and made.train else None
    if made.train and learned:
        pairs.append(("train rows", made.train[:12], learned[:12]))
    here = asked.fingerprint()
    pairs.append(
        ("model", made.fingerprint, here) if here and made.fingerprint else ("model", made.model, asked.model.named)
    )
    context = tuple(f"{what:<10} {old} ≠ {new}" for what, old, new in pairs if old != new)
    if context:
        issue = Issue(
            "E133",
            f"the baseline is of another {' and '.join(c.split()[0] for c in context)}",
            Place.of(path),
            "measure it again with `edgeopt baseline`, with this recipe and these rows",
            context,
        )
        raise InputError(issue)
    _check_outputs(made, Place.of(path), rows, task)
    if not trained or learned:
        return []
    return [
        f"The rows that the baseline of {path} was trained on are {'not here' if made.train else 'not in the file'}: "
        "nothing tells whether they are the recipe's."
    ]


def _train_rows(asked: Request, task: Task) -> str | None:
    """The fingerprint of the recipe's train rows, where those are files that are here.

    Raises InputError as `load_data` and `with_classes`.
    """
    if not train_at_hand(asked.task, asked.folder):
        return None
    return asked.data.with_classes(task.names).train.fingerprint


def _check_outputs(made: Baseline, place: Place, rows: Split, task: Task) -> None:
    """Raises InputError E132 where the outputs are not those of a model of this task on these rows."""
    if len(made.outputs) != len(rows):
        raise _BASELINE.wrong(f"is damaged: it has {len(made.outputs)} outputs, and {len(rows)} rows", place)
    shape: Any = GenericAlias(list, (task.output_shape,))
    checked: list[Any] = _BASELINE.check(made.outputs, shape, place)
    if odd := next(
        (i for i, pair in enumerate(zip(rows.labels, checked, strict=True), 1) if not task.fits(*pair)), None
    ):
        raise _BASELINE.wrong(f"is damaged: output {odd} does not fit the row's label", place)
    found = task.metrics(task.stack_labels(rows.labels), task.stack(checked))
    for name, value in made.subject.metrics.items():
        if name in found and not abs(found[name] - value) <= ROUNDING:
            raise _BASELINE.wrong(f"is damaged: it says {name} {value:.4f}, and its outputs {found[name]:.4f}", place)


def other_machine(made: Baseline) -> str | None:
    """What differs between this machine and that of the baseline; None where nothing tells them apart."""
    return "; ".join(host.machine_differences(made.environment, host.environment())) or None


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def _canonical(content: dict[str, Any]) -> str:
    """One text for one content: sorted keys, no white space, the shortest digits that give each number back."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
