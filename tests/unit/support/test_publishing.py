"""How the folder of a run comes to its place: over an earlier run, over a user's files, and cut off at every moment."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from helpers import seal_run
from report_sample import sample_report

from edgeopt.report.write import write_report
from edgeopt.results.model import Report
from edgeopt.results.sealed import open_run
from edgeopt.run.apply import RUN
from edgeopt.support import publishing
from edgeopt.support.errors import InputError
from edgeopt.support.publishing import building, is_disk_full, publish, recover, turn, writable


def fill(folder: Path, name: str, extra: str = "") -> None:
    """A run of which every file has that name in it."""
    for path in (
        "model/onnx/model.onnx",
        "model/tokenizer.json",
        "predictions.jsonl",
        "log.txt",
        *([extra] if extra else ()),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"{path} of {name}")
    (folder / "report.json").write_text(sample_report(verdict="pass", created=name).model_dump_json())
    seal_run(folder)
    write_report(Report.model_validate_json((folder / "report.json").read_text()), folder, pair=False)


def put(out: Path, name: str, extra: str = "") -> None:
    with turn(out):
        recover(out, RUN)
        with building(out) as folder:
            fill(folder, name, extra)
            publish(folder, out, RUN)


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run with an export that the next has not, and what a user and other commands put beside."""
    out = tmp_path / "runs" / "a"
    put(out, "first", "model-ort/model.ort")
    for name in ("notes.txt", "recipe.yaml", "page/index.html", "devices/phone.json"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
    return out


MINE = {"notes.txt", "recipe.yaml", "page/index.html", "devices/phone.json"}


def test_only_what_the_old_run_wrote_is_replaced(out: Path) -> None:
    put(out, "second")
    assert open_run(out).report.created == "second"
    assert {n for n in files(out) if (out / n).read_text() == "mine"} == MINE
    assert not (out / "model-ort").exists() and not (out / "changed-1").exists()
    assert os.listdir(out.parent) == ["a"], "no lock and no building folder is left"
    assert files(out) - MINE == set(open_run(out).lock["files"]) | {
        "recipe.lock",
        "report.json",
        "report.md",
        "report.html",
        "model/README.md",
    }


@pytest.mark.parametrize(
    "name",
    [
        "predictions.jsonl",
        "report.md",
        "report.json",
        "recipe.lock",
        "model/onnx/model.onnx",
        "model/mine.txt",
        "model-ort/model.ort",
    ],
)
def test_what_was_changed_is_kept_aside(out: Path, name: str) -> None:
    (out / name).write_text("changed by me")
    put(out, "second")
    assert open_run(out).report.created == "second"
    kept = {n for n in files(out) if (out / n).read_text() == "changed by me"}
    assert kept == ({name} if name == "model-ort/model.ort" and (out / name).exists() else {f"changed-1/{name}"})
    assert {n for n in files(out) if (out / n).read_text() == "mine"} == MINE


def test_links_are_put_aside_and_never_followed(out: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "tokenizer.json").write_text("theirs")
    shutil.rmtree(out / "model")
    (out / "model").symlink_to(tmp_path / "elsewhere")
    put(out, "second")
    assert (
        files(tmp_path / "elsewhere") == {"tokenizer.json"}
        and (tmp_path / "elsewhere" / "tokenizer.json").read_text() == "theirs"
    )
    assert open_run(out).report.created == "second" and (out / "changed-1" / "model").is_symlink()


class Killed(BaseException):
    """A kill, which nothing catches."""


def cut(monkeypatch: pytest.MonkeyPatch, after: int) -> Callable[[], int]:
    """Every change of the file system counts, and the one after so many does not come about."""
    done = 0

    def counted(whole: Any) -> Any:
        def change(*given: Any, **more: Any) -> Any:
            nonlocal done
            if done >= after:
                raise Killed
            done += 1
            return whole(*given, **more)

        return change

    for module, name in (
        (os, "replace"),
        (os, "rename"),
        (os, "unlink"),
        (os, "rmdir"),
        (Path, "unlink"),
        (Path, "rename"),
        (Path, "rmdir"),
    ):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    return lambda: done


def shown(run: Path) -> str:
    try:
        return open_run(run).report.created
    except InputError as error:
        alone = (
            str(error).partition("as it was written: ")[2].startswith("model/tokenizer.json has 13 bytes, and had 29\n")
        )
        return "first, with another tokenizer" if alone else str(error)


def test_a_cut_at_any_moment_is_made_good_and_never_says_pass_over_half_a_run(out: Path, tmp_path: Path) -> None:
    (out / "model" / "tokenizer.json").write_text("changed by me")
    new = tmp_path / "new"
    fill(new, "second")
    for after in range(1000):
        work = Path(shutil.copytree(out, tmp_path / f"cut-{after}"))
        folder = work / ".edgeopt-building-abcd_123" / "files"
        shutil.copytree(new, folder)
        with pytest.MonkeyPatch.context() as patched:
            count = cut(patched, after)
            with suppress(Killed):
                publish(folder, work, RUN)
            finished = count() < after
        if (work / "report.html").exists() and (work / "report.json").exists() and (work / "report.md").exists():
            assert shown(work) in ("second", "first, with another tokenizer")
        writable(work, ("recipe.lock",))
        recover(work, RUN)
        assert open_run(work).report.created == "second"
        assert {n for n in files(work) if (work / n).read_text() == "changed by me"} == {
            "changed-1/model/tokenizer.json"
        }
        assert {n for n in files(work) if (work / n).read_text() == "mine"} == MINE
        assert not [n for n in files(work) if n.startswith((".edgeopt", "changed-2", "model-ort"))]
        shutil.rmtree(work)
        if finished:
            break
    assert 20 < after < 200


def test_what_was_not_finished_is_swept(out: Path) -> None:
    for target in (out, out.parent / "new"):
        with building(target) as folder:
            (folder / "report.json").write_text("{}")
            left = folder.parent
            shutil.copytree(left, kept := out.parent / "kept")
        kept.rename(left)
    put(out, "second")
    put(out.parent / "new", "third")
    shutil.rmtree(out.parent / "new")
    assert os.listdir(out.parent) == ["a"] and not [n for n in os.listdir(out) if n.startswith(".")]


def test_what_a_link_leads_to_is_never_moved(out: Path, tmp_path: Path) -> None:
    put(tmp_path / "theirs", "theirs")
    before = files(tmp_path / "theirs")
    for name, link in (("x", "files"), ("y", "files/model")):
        folder = out / f".edgeopt-building-0000000{name}"
        (folder / link).parent.mkdir(parents=True)
        (folder / link).symlink_to(tmp_path / "theirs")
        (folder / "complete").touch()
    put(out, "second")
    assert open_run(out).report.created == "second" and files(tmp_path / "theirs") == before
    assert not [n for n in os.listdir(out) if n.startswith(".")]


@pytest.mark.parametrize("other", ["a.building-y", "a.building-00000000.building-y", "a.building-", "b"])
def test_two_outs_never_touch_each_other(tmp_path: Path, other: str) -> None:
    """Found by reading: a folder that was built for `a.building-y` began as those for `a` do."""
    ours, theirs = tmp_path / "a", tmp_path / other
    for first, second in ((ours, theirs), (theirs, ours)):
        with building(first) as folder:
            fill(folder, "first")
            (folder.parent / "complete").touch()  # a publication that is cut off now
            for name in ("second", "third"):
                put(second, name)
                assert open_run(second).report.created == name and folder.is_dir() and not first.exists()
            put(first, "fourth")
            assert not folder.exists()
        shutil.rmtree(first)
        shutil.rmtree(second)
    assert not os.listdir(tmp_path)


def test_a_users_folder_that_begins_as_ours_do_stays(tmp_path: Path) -> None:
    for folder in (tmp_path / ".a.building-site.notes", tmp_path / "a" / ".edgeopt-building-notes"):
        folder.mkdir(parents=True)
        (folder / "mine").touch()
    with pytest.raises(InputError, match="has files that do not belong to a run of edgeopt"):
        writable(tmp_path / "a", ("recipe.lock",))
    put(tmp_path / "a", "first")
    assert (tmp_path / ".a.building-site.notes" / "mine").exists()
    assert (tmp_path / "a" / ".edgeopt-building-notes" / "mine").exists()


def test_a_name_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / ".other.building-1").mkdir()
    put(tmp_path / "*", "first")
    put(tmp_path / "[a-z]*", "second")
    assert sorted(os.listdir(tmp_path)) == ["*", ".other.building-1", "[a-z]*"]


def test_a_folder_that_cannot_be_renamed_is_filled_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount point: neither it nor anything beside it can be renamed, and nothing can be made beside it."""
    out = tmp_path / "volume"
    (out / "lost+found").mkdir(parents=True)
    inode = out.stat().st_ino
    whole = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if out in (self, Path(target)):
            raise OSError(errno.EBUSY, "Device or resource busy")
        return whole(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    tmp_path.chmod(0o555)
    try:
        writable(out, ("recipe.lock",))
        for name in ("first", "second"):
            put(out, name)
            assert open_run(out).report.created == name
    finally:
        tmp_path.chmod(0o755)
    assert out.stat().st_ino == inode and (out / "lost+found").is_dir()


def test_a_file_is_copied_where_it_cannot_be_moved(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.replace

    def replace(old: Any, new: Any) -> None:
        if ".edgeopt-building-" in str(old) and ".edgeopt-building-" not in str(new) and "model" in str(new):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        whole(old, new)

    monkeypatch.setattr(os, "replace", replace)
    put(out, "second")
    assert open_run(out).report.created == "second"


def test_the_working_directory_stays_where_it_is(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(out)
    put(Path.cwd(), "second")
    assert os.getcwd() == str(out) and os.listdir(".") and open_run(Path()).report.created == "second"


@pytest.mark.parametrize("there", [True, False])
def test_two_processes_take_turns_whatever_their_store(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "a"
    if there:
        put(out, "zeroth")
    order: list[str] = []

    def work(name: str) -> None:
        with turn(out):
            recover(out, RUN)
            with building(out) as folder:
                order.append(f"{name} begins")
                time.sleep(0.05)
                fill(folder, name)
                publish(folder, out, RUN)
            order.append(f"{name} ends")

    threads = [threading.Thread(target=work, args=(f"run {i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.split()[1] for one in order[::2]] == [one.split()[1] for one in order[1::2]]
    assert open_run(out).report.created == order[-1].removesuffix(" ends")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda out: out.write_text("mine"), "is a file"),
        (lambda out: (out.mkdir(), (out / "mine.txt").write_text("mine")), "do not belong to a run of edgeopt"),
        (lambda out: (out.mkdir(), (out / "report.json").write_text("{}")), "do not belong to a run of edgeopt"),
    ],
)
def test_what_is_not_ours_is_refused_before_anything_is_computed(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / "out")
    with pytest.raises(InputError, match=said) as raised:
        writable(tmp_path / "out", ("recipe.lock",))
    assert raised.value.issues[0].code == "E114"


def test_a_lock_that_names_files_outside_removes_none(out: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    lock = json.loads((out / "recipe.lock").read_text())
    lock["files"]["../../precious"] = {"sha256": publishing.file_digest(tmp_path / "precious"), "size": 4}
    (out / "recipe.lock").write_text(json.dumps(lock))
    put(out, "second")
    assert (tmp_path / "precious").read_text() == "mine" and open_run(out).report.created == "second"


@pytest.mark.parametrize(
    "words", ["[enforce fail at inline_container.cc:672] . unexpected pos 24640 vs 24532", "os error 28"]
)
def test_a_full_disk_is_told_by_the_words_of_whoever_wrote(words: str, tmp_path: Path) -> None:
    assert is_disk_full(RuntimeError(words), tmp_path)
    assert not is_disk_full(RuntimeError("unexpected end"), tmp_path)
