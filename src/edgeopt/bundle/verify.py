"""A bundle is opened only as a copy of which every byte is what the manifest says.

Every byte that is copied was hashed on the way, so that nothing can change between the check and the loading. Names
and sizes are checked first, and the signature before the manifest is read. The self-test is run by edgeopt's own copy
of the scripts, never by the bundle's.
"""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt import device
from edgeopt.bundle import sign
from edgeopt.bundle.archive import Source, opened
from edgeopt.bundle.manifest import (
    MANIFEST,
    MAX_MANIFEST,
    SELFTEST,
    SESSION,
    SIGNATURE,
    Manifest,
    read_manifest,
    refused,
)
from edgeopt.device import guard
from edgeopt.export.graph_files import files_of
from edgeopt.measure.declared import check_declared
from edgeopt.support import workers
from edgeopt.support.errors import InputError, bad_input
from edgeopt.support.reading import Reader

DEVICE = Path(device.__file__).parent
#: Texts of a self-test at most.
MAX_TEXTS = 256
_READER = Reader("file", "E142")
#: Seconds that a self-test may take here.
_PATIENCE = 600.0


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    folder: a copy that nobody else writes to. digest: SHA-256 of its manifest. signed: None, whether there is a
    signature that was not asked about, or True where it was checked.
    """

    folder: Path
    manifest: Manifest
    digest: str
    signed: bool | None

    @property
    def files(self) -> dict[str, int]:
        """Every file with its size, the manifest and its signature too."""
        return {
            p.relative_to(self.folder).as_posix(): p.stat().st_size
            for p in sorted(self.folder.rglob("*"))
            if p.is_file()
        }


@contextmanager
def verified(path: Path, key: Path | None = None) -> Iterator[Bundle]:
    """Copy the bundle into a folder of our own and check every byte on the way; nothing in it is run or loaded.

    key: a public key that must have signed it. Raises InputError E140 to E142.
    """
    with opened(path) as source, tempfile.TemporaryDirectory(prefix="edgeopt-bundle-") as made:
        manifest, data, signature = _manifest(source, key)
        _same_names(source, manifest)
        folder = Path(made)
        for name, entry in manifest.files.items():
            _copy(source, name, folder / name, entry.size, entry.sha256)
        (folder / MANIFEST).write_bytes(data)
        if signature is not None:
            (folder / SIGNATURE).write_bytes(signature)
        _check_graph(folder / manifest.model)
        _check_session(folder / SESSION, manifest.model)
        _check_selftest(folder / SELFTEST, manifest)
        yield Bundle(folder, manifest, hashlib.sha256(data).hexdigest(), None if signature is None else key is not None)


def _manifest(source: Source, key: Path | None) -> tuple[Manifest, bytes, bytes | None]:
    if MANIFEST not in source.sizes:
        raise refused(f"there is no {MANIFEST}")
    if source.sizes[MANIFEST] > MAX_MANIFEST:
        raise refused(f"{MANIFEST} is larger than any manifest")
    data = _bytes(source, MANIFEST, MAX_MANIFEST)
    signature = None
    if SIGNATURE in source.sizes:
        signature = _bytes(source, SIGNATURE, sign.LENGTH + 1)
        if len(signature) != sign.LENGTH:
            raise refused(f"{SIGNATURE} is not {sign.LENGTH} bytes long")
    if key is not None:
        sign.check(key, data, signature)
    return read_manifest(data), data, signature


def _bytes(source: Source, name: str, most: int) -> bytes:
    """At most so many bytes of a file; of a zip's entry its checksum too."""
    with source.open(name) as file:
        return file.read(most)


def _same_names(source: Source, manifest: Manifest) -> None:
    have, named = set(source.sizes) - {MANIFEST, SIGNATURE}, set(manifest.files)
    if missing := sorted(named - have):
        raise refused(f"{', '.join(missing[:5])} is missing")
    if added := sorted(have - named):
        raise refused(f"{', '.join(added[:5])} is not in {MANIFEST}")
    for name, entry in manifest.files.items():
        if source.sizes[name] != entry.size:
            raise refused(f"{name} has {source.sizes[name]} bytes, but {MANIFEST} says {entry.size}")


def _copy(source: Source, name: str, to: Path, size: int, sha256: str) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), size
    with source.open(name) as file, to.open("xb") as out:
        while data := file.read(min(left + 1, 1 << 20)):
            left -= len(data)
            if left < 0:
                break  # it grew since it was looked at
            digest.update(data)
            out.write(data)
    if left != 0 or digest.hexdigest() != sha256:
        raise refused(f"{name} was changed: it does not match {MANIFEST}")


def _check_graph(path: Path) -> None:
    """A graph reads its weights from its own folder alone, of which every file was checked."""
    try:
        if path.suffix == ".onnx":
            check_declared(path)
        files_of(path)
    except InputError as error:
        raise refused(error.issues[0].message.replace(f"{path.parent}/", "")) from None


def _check_session(path: Path, model: str) -> None:
    found = _json(path)
    if not isinstance(found, dict) or not set(found) <= {model}:
        raise refused(f"{SESSION} has options for a file other than {model}")
    if wrong := guard.problem(found.get(model, {})):
        raise refused(f"{SESSION} has options of ONNX Runtime that edgeopt does not set: {wrong}")


def _check_selftest(path: Path, manifest: Manifest) -> None:
    found, count = _json(path), manifest.task.numbers or len(manifest.labels) or 1
    try:
        texts, logits, tolerance = found["texts"], found["logits"], found["tolerance"]
        whole = all(len(t) == manifest.task.texts and all(isinstance(x, str) for x in t) for t in texts)
        tables = [logits, *found.get("prompts", {}).values()]
        rows = [row for table in tables for row in table]
        numbers = all(len(row) == count and all(type(x) is float and math.isfinite(x) for x in row) for row in rows)
        numbers = numbers and all(len(table) == len(texts) for table in tables)
        good = whole and numbers and 0 < len(texts) == len(logits) <= MAX_TEXTS and type(tolerance) is float
        good = good and 0 < tolerance <= most_tolerance(logits, vectors=manifest.task.vector is not None)
    except (KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise refused(f"{SELFTEST} does not have the form that edgeopt writes")


def most_tolerance(logits: Iterable[Iterable[float]], *, vectors: bool) -> float:
    """How far a logit may be off at most: one that may be off by more than the largest of them says nothing.

    A score near 0 may be off by 1 all the same. A vector may be off by half of its length: one that has nothing to do
    with it is off by more than its length.
    """
    return 0.5 if vectors else max(1.0, max(abs(float(x)) for row in logits for x in row))


def _json(path: Path) -> Any:
    try:
        return _READER.json(path)
    except InputError as error:
        raise refused(f"{path.name} {error.issues[0].message.removeprefix('the file ')}") from None


def selftest(folder: Path) -> dict[str, Any]:
    """Ask a verified bundle its own texts, by edgeopt's copy of device.py in a process of its own.

    No code of the bundle is run. Raises InputError E143 where the answers differ or the model does not load.
    """
    try:
        done = workers.run_worker([str(DEVICE / "device.py"), "selftest", str(folder)], None, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        raise bad_input(
            "E143", f"the bundle is refused: its self-test takes more than {_PATIENCE:.0f} seconds"
        ) from None
    if done.returncode not in (0, 1) or not done.stdout:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise bad_input(
            "E143",
            f"the bundle is refused: its self-test could not run: {last[:300]}",
            help="`edgeopt doctor` says what is installed here",
        )
    found: dict[str, Any] = json.loads(done.stdout)["selftest"]
    if not found["passed"]:
        raise bad_input(
            "E143",
            f"the bundle is refused: {failure(found)}",
            help="on this processor or with these versions, the model gives different answers",
        )
    return found


def vectors_off(found: dict[str, Any]) -> str:
    """How far embeddings are off, or which prompt they have in the place of their own."""
    if mistaken := found["mistaken"]:
        asked, nearest = ("no prompt" if name == "none" else f"the prompt of a {name}" for name in mistaken)
        return f"the embeddings of {found['texts']} texts behind {asked} are nearer to those behind {nearest}"
    return (
        f"the embeddings of {found['texts']} texts are off by {found['max_abs_diff']:.3g} of their length on average, "
        f"but only {found['tolerance']:.3g} is allowed"
    )


def failure(found: dict[str, Any]) -> str:
    """What a failed self-test found, and with which versions where they are others than those of the run."""
    if "mistaken" in found:
        what = vectors_off(found)
    elif found.get("flipped") is not None and found["max_abs_diff"] <= found["tolerance"]:
        what = (
            f"text {found['flipped'] + 1} of {found['texts']} gets another label, "
            f"by more than the tolerance of {found['tolerance']:.3g}"
        )
    else:
        what = (
            f"a logit of text {found['worst'] + 1} of {found['texts']} differs by {found['max_abs_diff']:.3g}, "
            f"but only {found['tolerance']:.3g} is allowed"
        )
    here, made = found.get("packages", {}), found.get("made", {})
    others = [
        f"{name} is {here[name]} and was {version} when the run was made"
        for name, version in made.items()
        if here.get(name) not in (None, version)
    ]
    return f"the self-test failed: {what}{'; ' * bool(others)}{', '.join(others)}"
