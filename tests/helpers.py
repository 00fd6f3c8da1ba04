"""What several test files share: the command line in-process, a recipe small enough to run, and rows for it."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

_GOOD, _BAD, _PLAIN = (
    [f"{kind}{i}" for i in range(count)] for kind, count in (("good", 10), ("bad", 10), ("word", 75))
)
#: Every word of the tiny rows.
WORDS = [*_GOOD, *_BAD, *_PLAIN]


@dataclass(frozen=True)
class Result:
    """What a command left: exit status, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def edgeopt(*args: object, cwd: Path | None = None) -> Result:
    """Run the command line in this process. Only SystemExit is caught: anything else is a defect and fails the test."""
    from edgeopt.cli import main

    out, err = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with (
            patch.object(sys, "argv", ["edgeopt", *map(str, args)]),
            redirect_stdout(out),
            redirect_stderr(err),
            chdir(cwd or Path.cwd()),
        ):
            main()
    except SystemExit as end:
        return Result(int(end.code or 0), out.getvalue(), err.getvalue())
    finally:
        signal.signal(signal.SIGTERM, handler)  # main() takes it over


def edgeopt_process(
    *args: object,
    cwd: Path | None = None,
    python: tuple[str, ...] = ("-m", "edgeopt"),
    timeout: float = 300,
    **env: str,
) -> Result:
    """Run the command line as a user does, in a process of its own."""
    done = subprocess.run(
        [sys.executable, *python, *map(str, args)],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


class Copied:
    """The command line in a copy of a process that has loaded torch and transformers, and has done nothing else.

    Its memory, signals and output are its own, as a user's process has. Loading takes a new process longer than all
    that a tiny recipe does. Not a copy of the tests' own process: threads of trainings before are not copied with it,
    and it crashes. Latencies are made up there as here, and it leads a process group.
    """

    def __init__(self, *args: object, cwd: Path | None = None, program: Callable[[], object] | None = None) -> None:
        """program: another one's command line, which is told the arguments."""
        self._files = [Path(tempfile.mkdtemp()) / name for name in ("out", "err")]
        self._process = _copies().Process(
            target=_copy,
            args=([*map(str, args)], cwd or Path.cwd(), program, self._files, dict(os.environ)),
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit status, or the signal that ended it as a negative number; None while it runs."""
        return self._process.exitcode

    def wait(self) -> int:
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def result(self) -> Result:
        """What it left, once it has ended."""
        return Result(self.wait(), *(file.read_text(encoding="utf-8") for file in self._files))


@cache
def _copies() -> multiprocessing.context.ForkServerContext:
    """Where copies are made: a process, started with the first of them, that loads what a run loads and then waits."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preloaded"])
    with patch.dict(os.environ, {"PYTHONPATH": os.pathsep.join(sys.path)}):
        forkserver.ensure_running()
    return context


def _copy(
    args: list[str],
    cwd: Path,
    program: Callable[[], object] | None,
    files: list[Path],
    environment: dict[str, str],
) -> None:
    import quick

    code = 1
    try:
        os.setsid()
        os.environ.clear()
        os.environ.update(environment)
        for number, file in enumerate(files, 1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
        with quick.latency(), patch("os.fsync"):
            code = _alone(args, cwd, program)
    finally:
        os._exit(code)


def _alone(args: list[str], cwd: Path, program: Callable[[], object] | None) -> int:
    """Run the command line with the process's own stdout and stderr, and give its exit status."""
    from edgeopt.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background were told to ignore Ctrl-C
    sys.stdout, sys.stderr = (os.fdopen(n, "w", 1) for n in (1, 2))
    sys.argv = ["edgeopt", *args]
    os.chdir(cwd)
    try:
        (program or main)()
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    else:
        return 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def tiny_recipe(folder: Path, **changes: Any) -> Path:
    """Write a minimal valid recipe to folder/recipe.yaml; `changes` replace its top-level keys, None takes one out.

    Without changes it names `model/` and `data/` beside it: give `model={"id": …}` and `task=tiny_task(…)`
    with the fixtures `tiny_model` and `tiny_data`, or copy those there.
    """
    recipe: dict[str, Any] = {
        "edgeopt": 1,
        "name": "tiny",
        "model": {"id": "model"},
        "task": tiny_task("data"),
        "baseline": {"finetune": {"max_steps": 4, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}},
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(
        yaml.safe_dump({k: v for k, v in recipe.items() if v is not None}, sort_keys=False, allow_unicode=True),
        encoding="utf-8",
    )
    return path


def classification(max_length: int = 32) -> Any:
    """The task of the tiny rows, for what is called below the command line."""
    from edgeopt.spec.recipe import TaskSpec
    from edgeopt.tasks import task_of

    return task_of(TaskSpec.model_validate(tiny_task("data", max_length=max_length)))


def tiny_task(data: str | Path, **changes: Any) -> dict[str, Any]:
    """The task over the rows that `write_rows` wrote to the folder `data`."""
    task: dict[str, Any] = {
        "type": "text-classification",
        "dataset": {"path": str(data)},
        "text": "text",
        "max_length": 16,
        **changes,
    }
    return {k: v for k, v in task.items() if v is not None}


def seal_run(folder: Path, lock: dict[str, Any] | None = None) -> Path:
    """Make a folder with report.json and recipe.lock, or that lock, a whole run, sealed as by `apply`, not rendered."""
    from edgeopt.results.model import Report
    from edgeopt.results.sealed import LOCK, REPORT, files_of, sealed

    path = folder / LOCK
    given = lock or (json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})
    place = {"recipe": str(folder.parent / "recipe.yaml"), "relative": "../recipe.yaml", "rows": "files"}
    report = Report.model_validate_json((folder / REPORT).read_text(encoding="utf-8"))
    kind = report.task.type
    task = tiny_task("data", type=kind, choices="choices" if kind == "multiple-choice" else None)
    resolved = {
        "name": report.recipe.name,
        "model": {"id": "model"},
        "task": task,
        "targets": [{"name": "cpu"}],
        "gates": [],
    }
    recipe: Any = given.get("recipe", {})
    if isinstance(recipe, dict):
        recipe = {"digest": report.recipe.digest, "overrides": [], **recipe}
        recipe["resolved"] = {**resolved, **recipe.get("resolved", {})}
        recipe["resolved"]["task"] = {**task, **recipe["resolved"]["task"]}
    whole = {
        "lock": 1,
        "edgeopt": "0.1.0",
        "model": None,
        "data": None,
        "packages": {},
        "steps": {},
        "place": place,
        **given,
        "recipe": recipe,
    }
    path.write_text(json.dumps({**whole, "files": files_of(folder)}), encoding="utf-8")
    (folder / REPORT).write_text(json.dumps(sealed(report, folder, [LOCK])), encoding="utf-8")
    return folder


def write_rows(folder: Path, *, train: int, validation: int) -> Path:
    """folder/train.jsonl and folder/validation.jsonl, whose labels follow from their words.

    The label says whether good or bad words are in `text`, the score how many; `pair` tells nothing.
    """
    folder.mkdir()
    rng = random.Random(0)
    for split, count in (("train", train), ("validation", validation)):
        rows = [_row(rng, label=i % 2) for i in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def _row(rng: random.Random, *, label: int) -> dict[str, object]:
    lead = rng.randint(1, 4)
    text = rng.choices(_GOOD if label else _BAD, k=lead) + rng.choices(_PLAIN, k=rng.randint(2, 8))
    rng.shuffle(text)
    return {
        "text": " ".join(text),
        "pair": " ".join(rng.choices(_PLAIN, k=4)),
        "label": label,
        "score": float(lead if label else -lead),
    }
