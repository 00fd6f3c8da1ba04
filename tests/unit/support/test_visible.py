"""What files say reaches terminal and log as text, and commands neither."""

from __future__ import annotations

import io
import json
import re
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import pytest
from helpers import edgeopt, seal_run
from report_sample import sample_report
from unit.results.test_diff import lock_of

from edgeopt.page.serve import server
from edgeopt.support.visible import Guarded, visible, visible_json

NASTY = (
    "x\x1b]0;owned\x07\x9b2J\r\n::error file=a::owned\n  ::set-output name=a::b ##[error]c \u202eback [/b] "
    "[link=http://x]y :smile: \x7f"
)
COMMANDS = [
    ("report", "run"),
    ("report", "run", "--json"),
    *(("report", "run", "--format", form) for form in ("markdown", "html", "json")),
    ("compare", "run"),
    ("compare", "run", "--json"),
    *(("compare", "run", "--format", form) for form in ("markdown", "html", "csv", "latex")),
    ("gate", "run", "--github"),
    ("diff", "run", "run"),
    ("bundle", "run"),
    ("page", NASTY.replace("\n", " ")),
    ("gate", "recipe\n::error::x"),
    ("apply", "\n::error::x.yaml"),
    ("explain", NASTY),
    ("cache", "ls", "--store", "run/report.json"),
    ("report", NASTY, "--json"),
]


def commands_in(text: str) -> list[str]:
    """What a terminal or the runner would take as a command, by their own rules."""
    lines = [line for line in re.split(r"\r\n|\r|\n", text) if line.lstrip().startswith("::") or "##[" in line]
    return [*lines, *re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028]", text)]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with a report in which every free text is hostile."""
    report = sample_report()
    task = report.task.model_copy(update={"dataset": NASTY, "labels": [NASTY, "b"], "split": NASTY})
    gates = [g.model_copy(update={"reason": f"{NASTY} {g.reason}"}) for g in report.gates]
    steps = [s.model_copy(update={"id": f"{s.id}{NASTY}"}) for s in report.steps]
    recipe = report.recipe.model_copy(update={"name": NASTY, "source": NASTY.replace("\n", " "), "overrides": [NASTY]})
    changed = report.model_copy(
        update={
            "task": task,
            "gates": gates,
            "steps": steps,
            "recipe": recipe,
            "notes": [NASTY, f"{'x ' * 60}::error::y"],
        }
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.json").write_text(changed.model_dump_json())
    seal_run(tmp_path / "run", lock_of(changed))
    return tmp_path


@pytest.mark.parametrize("args", COMMANDS, ids=lambda args: " ".join(args)[:40])
def test_nothing_that_a_file_says_is_a_command(hostile: Path, args: tuple[str, ...]) -> None:
    done = edgeopt(*args, cwd=hostile)
    assert done.code in (0, 2) and "Traceback" not in done.err
    own = [line for line in done.err.splitlines() if "--github" in args and line.startswith("::error title=")]
    assert not commands_in(done.out) and commands_in(done.err) == own
    if args[0] in ("report", "compare") and done.code == 0 and "html" not in args:
        assert "owned" in done.out and "back" in done.out  # it is shown, as text


def test_json_says_the_same(hostile: Path) -> None:
    assert edgeopt("report", "run", "--json", cwd=hostile).json["notes"][0] == NASTY
    assert json.loads(visible_json(json.dumps(NASTY, ensure_ascii=False))) == NASTY


@pytest.mark.parametrize(
    ("writes", "shown"),
    [
        (("::error::x\n",), "\\::error::x\n"),
        (("a::b ", "::c\n"), "a::b ::c\n"),
        ((" ", "\u3000", ":", ":error"), " \u3000\\::error"),
        (("a\n", "::", "x"), "a\n\\::x"),
        (("a##", "[b]"), "a##\\[b]"),
        (("#", "#[b]"), "##\\[b]"),
        (("\x1b[31mred\x1b[0m",), "\\x1b[31mred\\x1b[0m"),
        (("a\rb\tc",), "a\\x0db\tc"),
    ],
)
def test_the_stream_knows_where_lines_begin(writes: tuple[str, ...], shown: str) -> None:
    out = io.StringIO()
    guarded = Guarded(out)
    assert [guarded.write(text) for text in writes] == [len(text) for text in writes]
    assert out.getvalue() == shown


def test_colors_are_those_of_edgeopt_alone() -> None:
    out = io.StringIO()
    Guarded(out).styled.write("\x1b[31m" + visible("\x1b[32mx") + "\x1b[0m\n")
    assert out.getvalue() == "\x1b[31m\\x1b[32mx\x1b[0m\n"


def test_the_page_answers_names_that_no_file_can_have(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "index.html").write_text("hello")
    with server(tmp_path, 0) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        for path, status in (
            ("/%00", 400),
            ("/a%00b", 400),
            ("/%ed%a0%80", 400),
            ("/" + "x" * 5000, 404),
            ("/../../etc/passwd", 404),
            ("/", 200),
        ):
            connection = HTTPConnection("127.0.0.1", listening.server_port, timeout=10)
            connection.request("GET", path)
            assert connection.getresponse().status == status, path
            connection.close()
        listening.shutdown()
    assert capfd.readouterr().err == ""
