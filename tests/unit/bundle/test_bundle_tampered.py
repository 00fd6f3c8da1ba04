"""Bundles that somebody changed: each is refused with exit code 2, and of none a model is loaded."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import MODEL, make_run
from helpers import edgeopt

from edgeopt.bundle import verify
from edgeopt.bundle.manifest import MAX_BYTES

Change = Callable[[Path], object]
FILES = (
    "run.py",
    "device.py",
    "guard.py",
    "selftest.json",
    "session.json",
    "tokenizer.json",
    MODEL,
    "manifest.json",
    "manifest.sig",
)
STORED, MODE = zipfile.ZIP_STORED, 0o100644 << 16


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A folder with `bundle`, the same as `bundle.zip`, both signed by `key`, and the pair of keys of somebody else."""
    folder = tmp_path_factory.mktemp("signed")
    run = make_run(folder, tiny_data)
    for key in ("key", "other"):
        assert edgeopt("bundle", "keygen", folder / key).code == 0
    for out in ("bundle", "bundle.zip"):
        assert edgeopt("bundle", run, "--count", 2, "--sign", folder / "key", "--out", folder / out).code == 0
    return folder


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders whose self-test was run: the one place where a model is loaded."""
    found: list[Path] = []

    def record(folder: Path) -> dict[str, Any]:
        found.append(folder)
        return {"texts": 0, "max_abs_diff": 0.0, "tolerance": 1.0}

    monkeypatch.setattr(verify, "selftest", record)
    return found


def check(path: Path, loaded: list[Path], *more: object) -> str:
    done = edgeopt("bundle", "verify", path, *more)
    assert done.code == 2, done.out
    assert done.err.startswith("error[E14") and "Traceback" not in done.err
    assert loaded == []
    return done.err


@pytest.mark.parametrize("form", ["bundle", "bundle.zip"])
def test_what_was_not_changed_is_loaded(form: str, signed: Path, loaded: list[Path]) -> None:
    assert edgeopt("bundle", "verify", signed / form, "--key", signed / "key.pub").code == 0
    assert len(loaded) == 1


# in the folder


def flip(name: str, place: float) -> Change:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[int(place * (len(data) - 1))] ^= 1
        (folder / name).write_bytes(data)

    return change


def cut(name: str) -> Change:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size - 1)


def edit(change: Callable[[dict[str, Any]], object]) -> Change:
    """The manifest with one thing changed; the signature stays."""

    def changed(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return changed


def rewrite(name: str, data: str) -> Change:
    """A file of other content, with a manifest that agrees."""

    def change(folder: Path) -> None:
        (folder / name).write_text(data)
        entry = {"sha256": hashlib.sha256(data.encode()).hexdigest(), "size": len(data.encode())}
        edit(lambda m: m["files"].update({name: entry}))(folder)

    return change


def link(name: str, to: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return change


def added(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")

    return change


def moved(name: str, to: str) -> Change:
    return lambda folder: shutil.move(folder / name, folder / to)


def linked_outside(folder: Path) -> None:
    shutil.move(folder / MODEL, folder.parent / "model.onnx")
    (folder / MODEL).symlink_to(folder.parent / "model.onnx")


def linked_folder(folder: Path) -> None:
    shutil.move(folder / "onnx", folder.parent / "onnx")
    (folder / "onnx").symlink_to(folder.parent / "onnx")


ENTRY = {"sha256": "0" * 64, "size": 1}
FOLDERS: dict[str, Change] = {
    **{f"a bit of {name}": flip(name, 0.5) for name in FILES},
    **{f"the first bit of {name}": flip(name, 0.0) for name in (MODEL, "run.py", "manifest.json")},
    **{f"the last byte of {name} gone": cut(name) for name in FILES},
    **{f"without {name}": lambda folder, name=name: (folder / name).unlink() for name in FILES[:-1]},  # type: ignore[misc]
    "a file more": added("sitecustomize.py"),
    "a file more beside the model": added("onnx/model.onnx.data"),
    "a file more in a folder more": added("numpy/__init__.py"),
    "a hidden file": added(".hidden"),
    "a name with a backslash": added("..\\evil"),
    "an empty folder": lambda folder: (folder / "empty").mkdir(),
    "renamed": moved("run.py", "run2.py"),
    "renamed in case alone": moved("run.py", "Run.py"),
    "two files swapped": lambda folder: [
        moved("run.py", "t")(folder),
        moved("device.py", "run.py")(folder),
        moved("t", "device.py")(folder),
    ],
    "the model is a link out of the folder": linked_outside,
    "the model's folder is a link": linked_folder,
    "a file is a link to another": link("session.json", "selftest.json"),
    "a link more": link("passwd", "/etc/passwd"),
    "a dangling link": link("gone", "nowhere"),
    "a pipe": lambda folder: [(folder / "run.py").unlink(), os.mkfifo(folder / "run.py")],
    "manifest: another file": edit(lambda m: m["files"].update(extra=ENTRY)),
    "manifest: up": edit(lambda m: m["files"].update({"../evil": ENTRY})),
    "manifest: absolute": edit(lambda m: m["files"].update({"/tmp/evil": ENTRY})),
    "manifest: a backslash": edit(lambda m: m["files"].update({"a\\..\\..\\evil": ENTRY})),
    "manifest: a drive": edit(lambda m: m["files"].update({"C:evil": ENTRY})),
    "manifest: itself": edit(lambda m: m["files"].update({"manifest.json": ENTRY})),
    "manifest: a name in two cases": edit(lambda m: m["files"].update({"RUN.py": ENTRY})),
    "manifest: a file less": edit(lambda m: m["files"].pop("run.py")),
    "manifest: the model is elsewhere": edit(lambda m: m.update(model="../model.onnx")),
    "manifest: a digest that is none": edit(lambda m: m["files"]["run.py"].update(sha256="")),
    "manifest: a negative size": edit(lambda m: m["files"]["run.py"].update(size=-1)),
    "manifest: a size as text": edit(lambda m: m["files"]["run.py"].update(size="9")),
    "manifest: more than a bundle holds": edit(lambda m: [e.update(size=MAX_BYTES // 2) for e in m["files"].values()]),
    "manifest: another label": edit(lambda m: m["labels"].reverse()),
    "manifest: a key more": edit(lambda m: m.update(extra=1)),
    "manifest: a length that no model has": edit(lambda m: m["task"].update(max_length=2**62)),
    "manifest: a target of ages": edit(lambda m: m["target"].update(max_seconds=1e300)),
    "manifest: a target of a million threads": edit(lambda m: m["target"].update(threads=1_000_000)),
    "manifest: a later format": edit(lambda m: m.update(bundle=2)),
    "manifest: a list": lambda folder: (folder / "manifest.json").write_text("[]"),
    "manifest: deep": lambda folder: (folder / "manifest.json").write_text("[" * 100_000),
    "manifest: huge": lambda folder: (folder / "manifest.json").write_text(" " * (1 << 20) + "{}"),
    "manifest: not text": lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe{}"),
    "a signature of nothing": lambda folder: (folder / "manifest.sig").write_bytes(bytes(64)),
    "a long signature": lambda folder: (folder / "manifest.sig").write_bytes(bytes(65)),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_changed_folder_is_refused(name: str, signed: Path, tmp_path: Path, loaded: list[Path]) -> None:
    shutil.copytree(signed / "bundle", tmp_path / "bundle")
    FOLDERS[name](tmp_path / "bundle")
    check(tmp_path / "bundle", loaded, "--key", signed / "key.pub")


#: What a signature alone tells is left out here: without --key these are whole bundles.
_SIGNATURE_ALONE = ("manifest.sig", "manifest: another label", "a signature of nothing")


@pytest.mark.parametrize(
    "name", [n for n in FOLDERS if not any(s in n for s in _SIGNATURE_ALONE) and "manifest.json" not in n]
)
def test_most_are_refused_without_a_key_too(name: str, signed: Path, tmp_path: Path, loaded: list[Path]) -> None:
    shutil.copytree(signed / "bundle", tmp_path / "bundle")
    FOLDERS[name](tmp_path / "bundle")
    assert "error[E142]" in check(tmp_path / "bundle", loaded)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("session.json", json.dumps({MODEL: {"optimized_model_filepath": "/tmp/evil"}})),
        ("session.json", json.dumps({MODEL: {"enable_profiling": True}})),
        ("session.json", json.dumps({MODEL: {"disabled_optimizers": "all"}})),
        ("session.json", json.dumps({"../model.onnx": {}})),
        ("selftest.json", json.dumps({"texts": [["a"]], "logits": [[0.0, 1.0]], "tolerance": 1e999})),
        ("selftest.json", json.dumps({"texts": [["a"]] * 300, "logits": [[0.0, 1.0]] * 300, "tolerance": 1.0})),
        ("selftest.json", json.dumps({"texts": [], "logits": [], "tolerance": 1.0})),
        ("selftest.json", json.dumps({"texts": [["a"]], "logits": [[0.0, 1.0]], "tolerance": 1e308})),
        ("selftest.json", json.dumps({"texts": [["a"]], "logits": [[0.0, 1.0]], "tolerance": 1.5})),
        ("selftest.json", json.dumps({"texts": [["a"]], "logits": [[float("nan"), 1.0]], "tolerance": 1.0})),
        ("selftest.json", json.dumps({"texts": [["a", "b"]], "logits": [[0.0, 1.0]], "tolerance": 1.0})),
        ("session.json", json.dumps({MODEL: {"intra_op_num_threads": 1_000_000}})),
        ("selftest.json", "{"),
    ],
)
def test_what_it_would_make_the_runtime_do_is_refused_though_the_manifest_agrees(
    name: str, data: str, signed: Path, tmp_path: Path, loaded: list[Path]
) -> None:
    shutil.copytree(signed / "bundle", tmp_path / "bundle")
    rewrite(name, data)(tmp_path / "bundle")
    assert "error[E142]" in check(tmp_path / "bundle", loaded)


def test_the_wrong_key_and_a_missing_signature(signed: Path, tmp_path: Path, loaded: list[Path]) -> None:
    assert "error[E141]" in check(signed / "bundle", loaded, "--key", signed / "other.pub")
    assert "error[E141]" in check(signed / "bundle.zip", loaded, "--key", signed / "other.pub")
    assert "error[E141]" in check(signed / "bundle", loaded, "--key", signed / "key"), (
        "the private key is none to check with"
    )
    assert "error[E141]" in check(signed / "bundle", loaded, "--key", tmp_path / "gone.pub")
    assert "error[E140]" in check(tmp_path / "gone", loaded)


# zips


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {i.filename: archive.read(i) for i in archive.infolist()}


def zipped(files: list[tuple[str, bytes]], *, compression: int = STORED, mode: int = MODE, **fields: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that stand twice
        for name, data in files:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr, info.compress_type = 3, mode, compression
            for field, value in fields.items():
                setattr(info, field, value)
            archive.writestr(info, data)
    return out.getvalue()


def patched(data: bytes, name: bytes, offset: int, form: str, value: int) -> bytes:
    """The entry's header in the central directory with another number at that offset."""
    start = data.rindex(b"PK\x01\x02", 0, data.rindex(name))
    out = bytearray(data)
    struct.pack_into(form, out, start + offset, value)
    return bytes(out)


def before(name: bytes, offset: int, form: str, value: int) -> Callable[[bytes, dict[str, bytes]], bytes]:
    """The header before the entry's bytes with another number, which programs that read a zip from its start go by."""

    def change(data: bytes, files: dict[str, bytes]) -> bytes:
        out = bytearray(data)
        struct.pack_into(form, out, data.index(name) - 30 + offset, value)
        return bytes(out)

    return change


def with_entry(*more: tuple[str, bytes], **fields: Any) -> Callable[[bytes, dict[str, bytes]], bytes]:
    return lambda data, files: zipped([*files.items(), *more], **fields)


def replaced(old: bytes, new: bytes) -> Callable[[bytes, dict[str, bytes]], bytes]:
    """Both of the entry's names in the zip changed, which leaves its form whole."""
    return lambda data, files: data.replace(old, new)


def flipped(place: float) -> Callable[[bytes, dict[str, bytes]], bytes]:
    def change(data: bytes, files: dict[str, bytes]) -> bytes:
        at = data.index(files[MODEL]) + int(place * len(files[MODEL]))
        return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]

    return change


def crc_too(data: bytes, files: dict[str, bytes]) -> bytes:
    model = bytearray(files[MODEL])
    model[len(model) // 2] ^= 16
    return zipped([*{**files, MODEL: bytes(model)}.items()])


ZIPS: dict[str, Callable[[bytes, dict[str, bytes]], bytes]] = {
    "a bit of the model": flipped(0.5),
    "a bit of the model, and its checksum": crc_too,
    "cut in the middle": lambda data, files: data[: len(data) // 2],
    "its last byte gone": lambda data, files: data[:-1],
    "its first byte gone": lambda data, files: data[1:],
    "empty": lambda data, files: b"",
    "no zip": lambda data, files: b"\x7fELF" + bytes(1000),
    "a byte before": lambda data, files: b"#" + data,
    "a byte behind": lambda data, files: data + b"\n",
    "a comment": lambda data, files: data[:-2] + struct.pack("<H", 4) + b"evil",
    "a file less": lambda data, files: zipped([(n, d) for n, d in files.items() if n != "run.py"]),
    "a file more": with_entry(("evil.py", b"x")),
    "a file twice": lambda data, files: zipped([*files.items(), ("run.py", files["run.py"])]),
    "a file twice, other bytes first": lambda data, files: zipped([("run.py", b"evil"), *files.items()]),
    "a name in two cases": with_entry(("RUN.PY", b"x")),
    "up": with_entry(("../evil", b"x")),
    "up in the middle": with_entry(("onnx/../../evil", b"x")),
    "absolute": with_entry(("/tmp/evil", b"x")),
    "a backslash": with_entry(("..\\evil", b"x")),
    "a drive": with_entry(("C:/evil", b"x")),
    "a folder": with_entry(("empty/", b"")),
    "a zero byte in a name": replaced(b"run.py", b"run\0py"),
    "a file's name changed": replaced(b"run.py", b"ran.py"),
    "all links": lambda data, files: zipped([*files.items()], mode=0o120777 << 16),
    "a link to the model": lambda data, files: zipped([*{**files, MODEL: b"/etc/passwd"}.items()], mode=0o120777 << 16),
    "executable": lambda data, files: zipped([*files.items()], mode=0o100755 << 16),
    "compressed": lambda data, files: zipped([*files.items()], compression=zipfile.ZIP_DEFLATED),
    "a bomb": lambda data, files: zipped(
        [*{**files, MODEL: bytes(9_000_000)}.items()], compression=zipfile.ZIP_DEFLATED
    ),
    "a bomb in a file more": lambda data, files: zipped(
        [*files.items(), ("zeros", bytes(9_000_000))], compression=zipfile.ZIP_DEFLATED
    ),
    "claims to be smaller": lambda data, files: patched(data, b"run.py", 24, "<L", 10),
    "claims to be larger": lambda data, files: patched(data, b"run.py", 24, "<L", 1 << 31),
    "claims both sizes larger": lambda data, files: patched(
        patched(data, b"run.py", 24, "<L", 1 << 30), b"run.py", 20, "<L", 1 << 30
    ),
    "claims to be stored elsewhere": lambda data, files: patched(data, b"run.py", 42, "<L", 0),
    "two entries of the same bytes": lambda data, files: patched(
        data, b"tokenizer.json", 42, "<L", data.index(b"PK\x03\x04", 4)
    ),
    "claims to be encrypted": lambda data, files: patched(data, b"run.py", 8, "<H", 1),
    "an extra field": with_entry(extra=b"\xfe\xca\x01\x00x"),
    "an entry's comment": with_entry(comment=b"evil"),
    "another time": with_entry(date_time=(2026, 1, 1, 0, 0, 0)),
    "a header before its bytes: another version": before(b"run.py", 4, "<H", 10),
    "a header before its bytes: another time": before(b"run.py", 10, "<H", 7),
    "a header before its bytes: another checksum": before(b"run.py", 14, "<L", 7),
    "a header before its bytes: another size": before(b"run.py", 22, "<L", 7),
    "made by another system": lambda data, files: patched(data, b"run.py", 5, "<B", 0),
    "an attribute inside": lambda data, files: patched(data, b"run.py", 36, "<H", 1),
    "in another order": lambda data, files: zipped([*reversed(files.items())]),
    "many entries": lambda data, files: zipped([*files.items(), *((f"f{i}", b"") for i in range(1100))]),
    "without its manifest": lambda data, files: zipped([(n, d) for n, d in files.items() if n != "manifest.json"]),
    "without its signature": lambda data, files: zipped([(n, d) for n, d in files.items() if n != "manifest.sig"]),
    "sorted otherwise and one changed": lambda data, files: zipped(
        [(n, d + b" " * (n == "run.py")) for n, d in reversed(files.items())]
    ),
}


@pytest.mark.parametrize("name", ZIPS)
def test_a_changed_zip_is_refused(name: str, signed: Path, tmp_path: Path, loaded: list[Path]) -> None:
    data = (signed / "bundle.zip").read_bytes()
    changed = ZIPS[name](data, entries(signed / "bundle.zip"))
    assert changed != data
    (tmp_path / "bundle.zip").write_bytes(changed)
    before = set(tmp_path.parent.rglob("evil"))
    check(tmp_path / "bundle.zip", loaded, "--key", signed / "key.pub")
    assert set(tmp_path.parent.rglob("evil")) == before and not Path("/tmp/evil").exists()


def test_what_cannot_be_read_is_refused(
    signed: Path, tmp_path: Path, loaded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like the folder lost+found of a volume, which root alone may look into."""

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    assert "the folder cannot be read: Permission denied" in check(signed / "bundle", loaded)


def test_there_are_many() -> None:
    assert len(FOLDERS) + len(ZIPS) >= 100
