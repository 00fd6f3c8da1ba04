"""`edgeopt cache export`: a model of the store in a folder of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import edgeopt

from edgeopt.store.facts import Fact, Facts, facts
from edgeopt.store.store import State, Store

TORCH = facts(Fact.TORCH)
FILES = {"config.json": "{}", "model.safetensors": "weights", "1_Pooling/config.json": "{}"}


def kept(store: Store, key: str, *, of: Facts = TORCH) -> State:
    """A state with a few files."""
    store.prepare()
    with store.building(key) as folder:
        for name, text in FILES.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        return store.commit(folder, key=key, parts={}, use="pretrain.mlm", facts=of, figures={}, seconds=1.0)


def files(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_state_is_copied_by_the_beginning_of_its_key(tmp_path: Path) -> None:
    store, out = Store(tmp_path / "store"), tmp_path / "models" / "mine"
    state = kept(store, "a" * 64)
    done = edgeopt("cache", "export", "a" * 12, "--out", out, "--store", store.root)
    assert (done.code, done.out) == (0, f"{out}  pretrain.mlm, 0.0 MB\n")
    assert files(out) == FILES and not list(out.parent.glob(".*"))
    (out / "config.json").write_text("mine")  # a copy, and no link into the store
    assert store.damage(state) is None
    again = edgeopt("cache", "export", "a" * 12, "--out", out, "--store", store.root)
    assert (again.code, files(out)["config.json"]) == (2, "mine") and "other files" in again.err


@pytest.mark.parametrize("there", [{"notes.txt": "mine"}, {**FILES, "notes.txt": "mine"}, {"config.json": "{}"}])
def test_a_folder_with_other_files_stays_as_it_is(tmp_path: Path, there: dict[str, str]) -> None:
    store, out = Store(tmp_path / "store"), tmp_path / "out"
    kept(store, "a" * 64)
    for name, text in there.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)
    done = edgeopt("cache", "export", "a" * 64, "--out", out, "--store", store.root)
    assert done.code == 2 and "error[E114]" in done.err and files(out) == there


def test_a_folder_that_is_empty_or_has_it_already_will_do(tmp_path: Path) -> None:
    store, out = Store(tmp_path / "store"), tmp_path / "out"
    kept(store, "a" * 64)
    out.mkdir()
    for _ in range(2):
        assert edgeopt("cache", "export", "a" * 64, "--out", out, "--store", store.root).code == 0
        assert files(out) == FILES


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("b" * 12, "neither the folder of a run nor the key"),
        ("abc", "neither the folder of a run nor the key"),
        ("a" * 6, "2 keys begin with"),
        ("a" * 64, "is no torch model"),
        ("a" * 63 + "b", "has an unmerged adapter"),
    ],
)
def test_what_is_no_model_of_the_store_is_refused(tmp_path: Path, given: str, said: str) -> None:
    store = Store(tmp_path / "store")
    kept(store, "a" * 64, of=facts(Fact.ONNX))
    kept(store, "a" * 63 + "b", of=facts(Fact.TORCH, Fact.ADAPTER))
    done = edgeopt("cache", "export", given, "--out", tmp_path / "out", "--store", store.root)
    assert done.code == 2 and "error[E158]" in done.err and said in done.err
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_stays(tmp_path: Path) -> None:
    store, out = Store(tmp_path / "store"), tmp_path / "out"
    kept(store, "a" * 64)
    out.write_text("mine")
    done = edgeopt("cache", "export", "a" * 64, "--out", out, "--store", store.root)
    assert done.code == 2 and "is a file" in done.err and out.read_text() == "mine"


@pytest.mark.parametrize("inside", [".", "states/mine", "building/mine"])
def test_the_store_keeps_to_itself(tmp_path: Path, inside: str) -> None:
    store = Store(tmp_path / "store")
    kept(store, "a" * 64)
    done = edgeopt("cache", "export", "a" * 64, "--out", store.root / inside, "--store", store.root)
    assert done.code == 2 and "is in the store" in done.err
    assert [state.key for state in store.states()] == ["a" * 64] and not [*store.root.rglob("mine")]
