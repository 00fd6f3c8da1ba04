"""From the folder of a finished run to its bundle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.bundle.archive import write_zip
from edgeopt.bundle.found import found_of
from edgeopt.bundle.license import write_license
from edgeopt.bundle.manifest import (
    MANIFEST,
    MAX_BYTES,
    MAX_MANIFEST,
    REQUIREMENTS,
    SCRIPTS,
    SELFTEST,
    SESSION,
    SIGNATURE,
    TOKENIZER,
    File,
    License,
    Manifest,
    Task,
    is_safe,
    read_manifest,
    write_manifest,
)
from edgeopt.bundle.requirements import requirements
from edgeopt.bundle.sbom import beside, check_free, write_sbom
from edgeopt.bundle.sign import sign
from edgeopt.bundle.texts import (
    Logits,
    check_measured,
    logits_of,
    outputs_of,
    probe_logits,
    read_texts,
    rows_of_run,
    tolerance_of,
    vector_tolerance,
)
from edgeopt.bundle.verify import DEVICE, most_tolerance
from edgeopt.export.graph_files import copy_model
from edgeopt.gates.artifact import options_of
from edgeopt.gates.rows_of_run import damaged
from edgeopt.measure.declared import check_declared
from edgeopt.measure.graph import mixes_batches
from edgeopt.results.sealed import LOCK, Run, open_run
from edgeopt.spec.recipe import GateSpec, Target, TaskSpec, task_in
from edgeopt.support.errors import InputError, bad_input
from edgeopt.support.files import file_digest
from edgeopt.support.publishing import Record, is_nothing, publish, taken, writable
from edgeopt.support.version import __version__
from edgeopt.tasks import Task as TaskClass
from edgeopt.tasks import called, task_of, task_type, task_types
from edgeopt.tasks.base import Texts
from edgeopt.tasks.embedding import Embedding

#: Metrics that a device measures by itself, and their bounds that need no baseline.
DECIDED = ("latency.", "start.cold", "memory.peak")
_BOUNDS = ("max_ms", "max_mb")


@dataclass(frozen=True)
class Wanted:
    """What is asked of a new bundle.

    texts: a file of own texts for the self-test, else `count` rows of the report split. tolerance: of its logits; None:
    it is measured. key: the private key that signs. license: a file or an identifier; None: what the model's folder
    says.
    """

    texts: Path | None = None
    count: int = 32
    tolerance: float | None = None
    key: Path | None = None
    license: str | None = None


def make_bundle(run: Path, out: Path, wanted: Wanted) -> Manifest:
    """Write the bundle of the run to a folder, or to a zip where `out` ends in .zip: whole, or not at all.

    Beside it its bill of materials is written. The same run gives the same bytes. Raises InputError E114, E115, E141,
    E144.
    """
    zipped = out.suffix == ".zip"
    if zipped and (out.exists() or out.is_symlink()) and not _is_bundle(out):
        raise bad_input("E114", f"--out {out} exists and is not a bundle", help="give a new name")
    writable(out.with_name(f"{out.name}.new") if zipped and out.exists() else out, (MANIFEST, SELFTEST))
    check_free(beside(out))
    found, task = _read(run)
    with taken(out, BUNDLE) as folder:
        if not zipped:
            _nothing_else(out)
        manifest = _manifest(folder, found, task, _fill(folder, found, task, wanted))
        data = write_manifest(manifest)
        (folder / MANIFEST).write_bytes(data)
        if wanted.key is not None:
            (folder / SIGNATURE).write_bytes(sign(wanted.key, data))
        if zipped:
            _publish_zip(folder, out)
        else:
            publish(folder, out, BUNDLE)
    write_sbom(beside(out), manifest, hashlib.sha256(data).hexdigest())
    return manifest


def _own_files(bundle: Path) -> dict[str, str]:
    """SHA-256 by name of the files of a bundle's folder, as its manifest has them."""
    try:
        found = read_manifest((bundle / MANIFEST).read_bytes()).files
        return {
            **{name: entry.sha256 for name, entry in found.items()},
            **{name: file_digest(bundle / name) for name in (MANIFEST, SIGNATURE) if (bundle / name).is_file()},
        }
    except (OSError, InputError):
        return {}


BUNDLE = Record(MANIFEST, (SIGNATURE,), _own_files)


def _nothing_else(out: Path) -> None:
    """Raises InputError E114 where the folder of an earlier bundle holds what its manifest does not name.

    Or does not name as it is now: the new one could not be verified with that in it.
    """
    own = _own_files(out)
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not is_nothing(name) and (name not in own or file_digest(path) != own[name]):
            raise bad_input(
                "E114",
                f"--out {out} has the file {name}, which does not belong to the bundle there",
                help="move it away, or give a new folder",
            )


def _read(path: Path) -> tuple[Run, TaskSpec]:
    """The run in a folder, and its task.

    Raises InputError E115 for what is no run, E150 for one that is not as it was written, E144 for one that cannot be
    bundled.
    """
    run = open_run(path)
    report = run.report
    try:
        task = task_in(run.lock["recipe"]["resolved"])
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, error) from None
    one = _served(task_type(task.type))
    if not one or task.window_stride is not None:
        what, served = (
            "long texts in windows" if one else called(task.type),
            [name for name, kind in task_types().items() if _served(kind)],
        )
        raise bad_input(
            "E144",
            f"a bundle's run.py does not serve {what}",
            help=f"it serves {', '.join(served)}, each text as one query; else see README.md beside the model",
        )
    artifact = run.folder / report.candidate.artifact
    if artifact.suffix not in (".onnx", ".ort") or not artifact.is_file():
        raise bad_input(
            "E144",
            f"ONNX Runtime cannot open {report.candidate.artifact}",
            help="let the recipe's first export be `onnx`",
        )
    return run, task


def _served(kind: type[TaskClass]) -> bool:
    """Whether run.py answers its queries: it makes a label or a score of their one output, or hands on a vector."""
    return (kind.one_query and not kind.several_classes) or kind.vector is not None


def _fill(folder: Path, run: Run, task: TaskSpec, wanted: Wanted) -> License | None:
    """Write everything but the manifest into the bundle's folder; returns the license."""
    home, model = run.folder, run.report.candidate.artifact.removeprefix("model/")
    kind = task_of(task, run.report.task.labels)
    (folder / model).parent.mkdir(parents=True, exist_ok=True)
    if model.endswith(".onnx"):
        check_declared(home / "model" / model)
    copy_model(home / "model" / model, folder / model)
    shutil.copyfile(home / "model" / TOKENIZER, folder / TOKENIZER)
    for name in kind.files:
        if (home / "model" / name).is_file():
            shutil.copyfile(home / "model" / name, folder / name)
    options = options_of(home / "model", model) or {}
    _write(folder / SESSION, {model: options})
    for name in SCRIPTS:
        shutil.copyfile(DEVICE / name, folder / name)

    def ask(way: dict[str, Any]) -> Logits:
        return logits_of(folder, model, kind, texts, way)

    if wanted.texts is not None:
        texts = read_texts(wanted.texts, kind.query_texts)
    else:
        rows, whole = rows_of_run(run, task, wanted.count)
        check_measured(home, rows, outputs_of(folder, model, kind, whole, {}), run.report, kind)
        texts = [row[: kind.query_texts] for row in whole]
    logits, tolerance = ask(options), wanted.tolerance
    most = most_tolerance(logits, vectors=kind.vector is not None)
    if tolerance is None:
        tolerance = (vector_tolerance if kind.embeds else tolerance_of)(
            lambda way: probe_logits(folder, model, task.max_length, way), options, run.report.candidate.precision
        )
        # of a model that the runtime's levels disagree on so far, a wrong refusal beats a wrong pass
        tolerance = min(tolerance, float(f"{most / 2:.3g}"))
    if not tolerance <= most:
        raise bad_input(
            "E144",
            f"the tolerance {tolerance:g} is too large: the most for these texts is {most:.3g}",
            help="give a smaller --tolerance",
        )
    (folder / REQUIREMENTS).write_text(requirements(run.report.environment.get("packages", {})), encoding="utf-8")
    _write(
        folder / SELFTEST,
        {
            "tolerance": tolerance,
            "texts": [list(t) for t in texts],
            "logits": [[float(x) for x in row] for row in logits],
            **_other_prompts(folder, model, kind, texts, options),
        },
    )
    return write_license(wanted.license, run, folder)


def _other_prompts(
    folder: Path, model: str, kind: TaskClass, texts: Sequence[Texts], options: dict[str, Any]
) -> dict[str, Any]:
    """What an embedding model gives for the same texts behind each other prompt that might be taken by mistake."""
    if not isinstance(kind, Embedding) or not (others := kind.behind_others(folder)):
        return {}
    found = {name: logits_of(folder, model, other, texts, options) for name, other in others.items()}
    return {"prompts": {name: [[float(x) for x in row] for row in rows] for name, rows in found.items()}}


def _manifest(folder: Path, run: Run, task: TaskSpec, found: License | None) -> Manifest:
    report, lock = run.report, run.lock
    model = report.candidate.artifact.removeprefix("model/")
    resolved = lock["recipe"]["resolved"]
    target = Target.model_validate(resolved["targets"][0])
    gates = [GateSpec.model_validate(g) for g in resolved["gates"]]
    versions = report.environment.get("packages", {})
    kind = task_of(task)
    files = {
        p.relative_to(folder).as_posix(): File(sha256=file_digest(p), size=p.stat().st_size)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
    if sum(f.size for f in files.values()) > MAX_BYTES or not all(map(is_safe, files)):
        raise bad_input("E144", f"a bundle holds at most {MAX_BYTES / 1e9:g} GB, in files with plain names")
    return Manifest(
        edgeopt=__version__,
        name=report.recipe.name,
        created=report.created,
        task=Task(
            type=task.type,
            texts=kind.query_texts,
            columns=list(kind.text_columns),
            max_length=task.max_length,
            output=kind.graph_outputs[0],
            vector=kind.vector,
            numbers=_numbers(folder) if kind.vector else None,
        ),
        labels=report.task.labels,
        model=model,
        precision=report.candidate.precision,
        alone=mixes_batches(folder / model),
        lock=file_digest(run.folder / LOCK),
        license=found,
        target=target,
        gates=[
            g
            for g in gates
            if g.metric.startswith(DECIDED) and g.bound[0] in _BOUNDS and g.target in (None, target.name)
        ],
        packages={name: str(versions[name]) for name in ("onnxruntime", "tokenizers", "numpy") if versions.get(name)},
        found=found_of(run),
        files=files,
    )


def _numbers(folder: Path) -> int:
    """How many numbers an answer of the self-test has."""
    return len(json.loads((folder / SELFTEST).read_text(encoding="utf-8"))["logits"][0])


def _is_bundle(path: Path) -> bool:
    """Whether that is a zip with a manifest of edgeopt's, which a new one may replace.

    Other zips have a manifest.json too.
    """
    try:
        if path.is_symlink() or not path.is_file():
            return False
        with zipfile.ZipFile(path) as archive, archive.open(MANIFEST) as file:
            read_manifest(file.read(MAX_MANIFEST + 1)[:MAX_MANIFEST])
        return True
    except (
        OSError,
        ValueError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        zlib.error,
        zipfile.BadZipFile,
        InputError,
    ):
        return False


def _write(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _publish_zip(folder: Path, out: Path) -> None:
    """Write the zip beside what it holds, where whatever a kill leaves is swept, and rename it to `out`."""
    made = folder.parent / "bundle.zip"
    write_zip(folder, made)
    made.chmod(0o644)
    os.replace(made, out)
