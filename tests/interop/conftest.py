"""A real run for other runtimes, what they are to answer, and the programs they run in, kept below build/interop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from e2e.running import BRIEF
from helpers import edgeopt, tiny_recipe
from tokenizers import Tokenizer

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build"
CACHE = BUILD / "interop"


@dataclass(frozen=True)
class Finished:
    """A finished run of text classification with the rows of its validation split."""

    folder: Path
    rows: list[list[str]]
    labels: list[str]
    max_length: int

    @property
    def graph(self) -> Path:
        return self.folder / "model" / "onnx" / "model_quantized.onnx"

    def logits(self, session: ort.InferenceSession | None = None, *, count: int) -> Any:
        """What onnxruntime (with its defaults) and tokenizers alone make of the first rows: shape (rows, labels)."""
        tokenizer = Tokenizer.from_file(str(self.folder / "model" / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.max_length)
        session = session or ort.InferenceSession(self.graph)
        names = [i.name for i in session.get_inputs()]
        answers = []
        for row in self.rows[:count]:
            e = tokenizer.encode(*row)
            feed = {"input_ids": e.ids, "attention_mask": e.attention_mask, "token_type_ids": e.type_ids}
            answers.append(
                session.run(["logits"], {name: np.array([feed[name]], dtype=np.int64) for name in names})[0][0]
            )
        return np.stack(answers)

    def code(self, language: str, heading: str) -> str:
        """The lines that edgeopt prints below a heading of the model card."""
        card = (self.folder / "model" / "README.md").read_text(encoding="utf-8")
        return card.split(heading, 1)[1].split(f"```{language}\n", 1)[1].split("\n```", 1)[0]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The run EDGEOPT_TEST_RUN, or MiniLM trained a little on the quickstart's rows, in static int8."""
    given = os.environ.get("EDGEOPT_TEST_RUN")
    folder = Path(given) if given else _apply(tmp_path_factory.mktemp("interop"))
    task = json.loads((folder / "recipe.lock").read_text())["recipe"]["resolved"]["task"]
    report = json.loads((folder / "report.json").read_text())["task"]
    columns = [task["text"]] if isinstance(task["text"], str) else task["text"]
    lines = (Path(task["dataset"]["path"]) / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    return Finished(
        folder, [[json.loads(line)[c] for c in columns] for line in lines], report["labels"], report["max_length"]
    )


def _apply(work: Path) -> Path:
    data = BUILD / "quickstart"
    if not (data / "validation.jsonl").is_file():
        pytest.skip(
            f"no model and rows in {data}: run by `make test-interop` or `make test-browser`, which lay them out"
        )
    training = {"max_steps": 60, "batch_size": 16, "learning_rate": 1e-4}
    task = {
        "type": "text-classification",
        "dataset": {"path": str(data), "max_rows": {"validation": 100}},
        "text": "text",
        "max_length": 48,
    }
    recipe = tiny_recipe(
        work,
        name="messages",
        model={"id": str(data / "model")},
        task=task,
        targets=[BRIEF],
        baseline={"finetune": training},
        steps=[{"use": "finetune", **training}, {"use": "quantize.static", "calibration": {"samples": 32}}],
    )
    done = edgeopt("apply", recipe, "--out", work / "run", "--store", work / "store")
    assert done.code == 0, done.err
    return work / "run"


@pytest.fixture(scope="session")
def npm() -> str:
    """The npm of this machine."""
    found = shutil.which("npm")
    if found is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    return found


@pytest.fixture(scope="session")
def node_folder(npm: str) -> Path:
    """A folder whose node_modules are those of package-lock.json."""
    folder, names = CACHE / "node", ("package.json", "package-lock.json")
    if not all(
        (folder / name).is_file() and (folder / name).read_bytes() == (HERE / name).read_bytes() for name in names
    ):
        shutil.rmtree(folder, ignore_errors=True)
        building = folder.with_name("node.building")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        for name in names:
            shutil.copyfile(HERE / name, building / name)
        subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=building, check=True)
        building.rename(folder)
    return folder


@pytest.fixture(scope="session")
def other_python() -> Path:
    """The interpreter of an environment with what requirements.txt names, and nothing of this one."""
    folder, wanted = CACHE / "venv", HERE / "requirements.txt"
    stamp, python = folder / wanted.name, folder / "bin" / "python"
    if not stamp.is_file() or stamp.read_bytes() != wanted.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run(
            [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet", "-r", wanted],
            check=True,
        )
        shutil.copyfile(wanted, stamp)
    return python
