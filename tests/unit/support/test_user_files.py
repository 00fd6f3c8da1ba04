"""Files that commands write where the user says: nobody else's is overwritten, and only a plain file is written."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from helpers import edgeopt, seal_run, tiny_recipe
from report_sample import sample_report
from unit.results.test_diff import lock_of

from edgeopt.results.model import Device, Report, Starts
from edgeopt.ship.keep import keep, record_name
from edgeopt.ship.ship import Shipped
from edgeopt.support.errors import InputError
from edgeopt.support.files import write_text
from edgeopt.support.user_files import BASELINE, JUNIT, check_output, forget_output, write_output

#: What writes, with {} for the file.
WRITERS = {
    "gate --junit": ("gate", "nothing", "--junit", "{}"),
    "apply --junit": ("apply", "nothing.yaml", "--junit", "{}"),
    "baseline --out": ("baseline", "nothing.yaml", "--out", "{}"),
    **{
        f"compare --format {form}": ("compare", "run", "--format", form, "--out", "{}")
        for form in ("text", "markdown", "html", "csv", "latex")
    },
}


def written(path: Path) -> tuple[int, bytes]:
    found = path.lstat()
    return stat.S_IFMT(found.st_mode), path.read_bytes() if stat.S_ISREG(found.st_mode) else b""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run, and things that no command may write into."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.json").write_text(sample_report().model_dump_json())
    seal_run(tmp_path / "run", lock_of(sample_report()))
    (tmp_path / "notes.txt").write_text("the only copy")
    (tmp_path / "link").symlink_to("notes.txt")
    (tmp_path / "dangling").symlink_to("new.txt")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize(
    "there", ["notes.txt", "run/report.json", "link", "dangling", "folder", "pipe", "notes.txt/x", "a" * 300]
)
@pytest.mark.parametrize("command", WRITERS)
def test_what_is_not_edgeopts_stays(folder: Path, command: str, there: str) -> None:
    before = {p: written(p) for p in folder.rglob("*")}
    done = edgeopt(*(word.format(there) for word in WRITERS[command]), cwd=folder)
    assert (done.code, done.out) == (2, "")
    assert f"error[{'E156' if there in ('notes.txt', 'run/report.json') else 'E114'}]" in done.err
    assert {p: written(p) for p in folder.rglob("*")} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_a_device_stays_a_device(folder: Path) -> None:
    os.mknod(folder / "full", stat.S_IFCHR | 0o666, os.makedev(1, 7))
    assert edgeopt("gate", "nothing", "--junit", "full", cwd=folder).code == 2
    assert stat.S_ISCHR((folder / "full").lstat().st_mode)
    with pytest.raises(OSError, match="plain file"):
        write_text(folder / "full", "text")
    assert stat.S_ISCHR((folder / "full").lstat().st_mode)


@pytest.mark.parametrize("form", ["text", "markdown", "html", "csv", "latex"])
def test_a_comparison_replaces_one_of_its_form_alone(folder: Path, form: str) -> None:
    out = folder / "deep" / "comparison"
    for _ in range(2):
        assert edgeopt("compare", "run", "--format", form, "--out", out, cwd=folder).code == 0
        assert "mrpc-minilm-int8" in out.read_text().replace(r"\_", "_")
    whole = out.read_bytes()
    for other in {"text", "markdown", "csv", "latex"} - {form, *(["markdown"] if form == "html" else [])}:
        assert edgeopt("compare", "run", "--format", other, "--out", out, cwd=folder).code == 2
    assert out.read_bytes() == whole
    assert [p.name for p in out.parent.iterdir()] == ["comparison"]


def test_an_empty_file_and_an_earlier_one_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    write_output("--out", path, BASELINE, BASELINE.begins + "1")
    forget_output("--out", path, BASELINE)
    assert not path.exists()
    write_output("--junit", path, JUNIT, JUNIT.begins + "1")
    write_output("--junit", path, JUNIT, JUNIT.begins + "2")
    assert path.read_text() == JUNIT.begins + "2"
    with pytest.raises(InputError):
        check_output("--out", path, BASELINE)


def test_nothing_is_made_before_the_computing(tmp_path: Path) -> None:
    check_output("--junit", tmp_path / "a" / "b" / "c.xml", JUNIT)
    assert not any(tmp_path.iterdir())


def test_a_recipe_given_as_the_junit_file_stays(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    before = recipe.read_bytes()
    done = edgeopt("apply", recipe, "--junit", recipe)
    assert done.code == 2 and "E156" in done.err
    assert recipe.read_bytes() == before


def test_a_zip_with_another_manifest_is_no_bundle(folder: Path) -> None:
    with zipfile.ZipFile(folder / "app.zip", "w") as archive:
        archive.writestr("manifest.json", '{"manifest_version": 3}')
    before = (folder / "app.zip").read_bytes()
    assert edgeopt("bundle", "run", "--out", "app.zip", cwd=folder).code == 2
    assert (folder / "app.zip").read_bytes() == before


# -- what a CI server is told where there is no verdict


def junit_of(path: Path) -> tuple[str, str, str]:
    (suite,) = ElementTree.parse(path).getroot()
    ((error,),) = suite
    return suite.attrib["name"], suite.attrib["errors"], error.attrib["message"]


def test_a_bad_recipe_is_an_annotation_at_its_line_and_a_junit_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    recipe = tiny_recipe(tmp_path, gates=[{"metric": "accuracy", "max_drpo": 0.01}])
    line = next(i for i, text in enumerate(recipe.read_text().splitlines(), 1) if "max_drpo" in text)
    done = edgeopt("apply", recipe, "--github", "--junit", tmp_path / "gates.xml")
    assert done.code == 2
    (annotation,) = [each for each in done.err.splitlines() if each.startswith("::")]
    assert annotation.startswith(f"::error file=recipe.yaml,line={line},title=E104%3A recipe::unknown key 'max_drpo'")
    name, errors, message = junit_of(tmp_path / "gates.xml")
    assert (
        (name, errors) == ("recipe", "1")
        and "[E104]: unknown key 'max_drpo'" in message
        and f"recipe.yaml:{line}:" in message
    )
    assert "## edgeopt: recipe: error" in (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize("args", [("--nonsense",), ("--max-seconds", "0")])
def test_bad_usage_is_told_too(tmp_path: Path, args: Any) -> None:
    done = edgeopt("gate", "x", "--github", f"--junit={tmp_path / 'gates.xml'}", *args, cwd=tmp_path)
    assert done.code == 2 and "::error title=E100%3A edgeopt gate::" in done.err
    assert junit_of(tmp_path / "gates.xml")[1] == "1"


def test_no_command_of_github_where_none_was_asked_for(tmp_path: Path) -> None:
    assert "::" not in edgeopt("gate", "x", "--junit", tmp_path / "gates.xml", cwd=tmp_path).err
    assert "::" not in edgeopt("gate", "x", cwd=tmp_path).err
    assert edgeopt("report", "x", "--github", cwd=tmp_path).code == 2


# -- devices


def test_devices_of_one_host_each_have_their_record(folder: Path) -> None:
    run = folder / "run"
    paths = ["/a/b", "/a_b", "/~/a/b", "/A/B"]

    def device(path: str, texts: int = 4) -> Device:
        return Device(
            name="pi",
            path=path,
            shipped="now",
            bundle="b" * 64,
            switched=True,
            verdict="pass",
            gates=[],
            max_abs_diff=0.0,
            tolerance=1.0,
            texts=texts,
            latency=[],
            starts=Starts(ms=[1.0], peak_bytes=[1]),
            environment={},
        )

    for made in [*map(device, paths), device("/a_b", 5)]:
        keep(run, Shipped(made, {"latency": []}, 1, 1, 0, []))
    found = Report.model_validate_json((run / "report.json").read_text()).devices
    assert sorted(d.path for d in found) == sorted(paths) and next(d.texts for d in found if d.path == "/a_b") == 5
    names = {p.name.lower() for p in (run / "devices").iterdir()}
    assert len(names) == 4 and record_name(device("/a/b")).startswith("pi_a_b-")
