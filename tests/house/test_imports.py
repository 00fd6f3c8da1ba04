"""Which way imports point, read from the sources."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path

import pytest
from helpers import edgeopt, edgeopt_process, tiny_recipe, tiny_task
from scripts.house import parsed

from edgeopt.support.errors import HEAVY as REFUSED

SOURCE = Path(__file__).parents[2] / "src" / "edgeopt"
FILES = sorted(SOURCE.rglob("*.py"))


@cache
def imported(path: Path, *, top_level: bool) -> set[str]:
    """Modules that a file imports; at the top: outside functions and `if TYPE_CHECKING`."""
    tree = parsed(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level else list(ast.walk(tree))
    out = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            out |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            out.add(node.module)
    return out


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_edgeopt_never_imports_its_exporters(path: Path) -> None:
    assert not {m for m in imported(path, top_level=False) if m.startswith("edgeopt_exporters")}


HEAVY = ("torch", "transformers", "peft", "onnx", "onnxruntime", "datasets", "accelerate", "sklearn", "scipy")
#: subclasses of the libraries' own classes, or tensors throughout; imported by nothing that must do without torch
TORCH_ONLY = {
    "training/callbacks.py",
    "training/sampler.py",
    "training/accounting.py",
    "training/trainer.py",
    "training/masked_words.py",
    "training/held_out.py",
    "training/divergence.py",
    "training/probe.py",
    "training/replaced_tokens.py",
    "training/adam.py",
    "training/corrupted.py",
    "training/corrupting.py",
    "models/generator.py",
    "training/distill_terms.py",
    "training/distill_objective.py",
    "training/gradient_cache.py",
    "training/teacher_answers.py",
    "training/teacher.py",
    "models/narrow.py",
    "models/around.py",
    "models/embedder.py",
    "models/shared.py",
    "models/fake_quant.py",
    "training/ranges.py",
    "training/distill_by_task.py",
    "training/follow.py",
    "training/sparsify.py",
    "models/hard_concrete.py",
    "training/ranks.py",
    "models/bottleneck.py",
    "device/run.py",  # it is copied into bundles and never imported here
    "models/choices.py",
    "models/known.py",
    "models/pair.py",
    "models/removed.py",
    "models/slicing.py",
    "models/masks.py",
    "models/zeros.py",
}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_heavy_libraries_are_imported_where_they_are_used(path: Path) -> None:
    if path.relative_to(SOURCE).as_posix() not in TORCH_ONLY:
        assert not {m for m in imported(path, top_level=True) if m.partition(".")[0] in HEAVY}


@pytest.mark.parametrize("folder", ["recipe", "data", "tasks", "models", "training", "transforms", "measure"])
def test_nothing_below_the_run_imports_what_is_above_it(folder: str) -> None:
    above = ("edgeopt.cli", "edgeopt.run", "edgeopt.gates.decide")
    for path in (SOURCE / folder).rglob("*.py"):
        assert not {m for m in imported(path, top_level=False) if m.startswith(above)}, path


@pytest.mark.parametrize("command", ["apply", "plan", "validate", "gate", "compare", "diff", "matrix"])
def test_commands_do_what_they_do_through_the_api(command: str) -> None:
    """Commands parse options and print: to read recipes, open runs and stores, plan, run and decide is the API's."""
    work = {
        "recipe.load",
        "plan",
        "plan.making",
        "run.apply",
        "gates.request",
        "gates.rows_of_run",
        "gates.of_run",
        "gates.of_model",
        "gates.artifact",
        "results.sealed",
        "report.compare.diff",
        "store.store",
    }
    assert all((SOURCE / f"{module.replace('.', '/')}.py").exists() or (SOURCE / module).is_dir() for module in work)
    tree = ast.parse((SOURCE / "cli" / f"{command}.py").read_text(encoding="utf-8"))
    typing = {node for top in tree.body if isinstance(top, ast.If) for node in ast.walk(top)}  # if TYPE_CHECKING
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node not in typing}
    assert not found & {f"edgeopt.{module}" for module in work}


def test_nothing_evaluates_or_unpickles() -> None:
    for path in FILES:
        for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in {"eval", "exec", "pickle.load", "pickle.loads", "torch.load", "yaml.load"}, (
                    f"{path}: {name}"
                )
            if isinstance(node, ast.keyword):
                assert node.arg != "trust_remote_code", path


#: A Python that has nothing but what requirements-gate.txt names: the others can neither be imported nor are they known
#: as installed.
GATE_ALONE = f"""\
import importlib.abc, importlib.metadata, sys
REFUSED = {set(REFUSED)!r}
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Finder())
whole = importlib.metadata.version
def version(name):
    if name in REFUSED:
        raise importlib.metadata.PackageNotFoundError(name)
    return whole(name)
importlib.metadata.version = version
from edgeopt.cli import main
main()
"""


@pytest.mark.parametrize(
    ("line", "code"),
    [("validate {recipe}", 0), ("plan {recipe} --store {store}", 0), ("apply {recipe} --store {store} --out {out}", 2)],
)
def test_a_machine_that_only_gates_can_check_and_plan(
    line: str, code: int, tmp_path: Path, tiny_model: Path, tiny_data: Path
) -> None:
    """docs/how-to/gate-in-ci.md promises it. The quickstart was refused for want of peft and torch."""
    steps = [
        {"use": "adapter.lora"},
        {"use": "merge"},
        {"use": "prune.magnitude", "amount": 0.3},
        {"use": "quantize.static"},
    ]
    recipe = tiny_recipe(tmp_path, model={"id": str(tiny_model)}, task=tiny_task(tiny_data), steps=steps)
    words = line.format(recipe=recipe, store=tmp_path / "store", out=tmp_path / "run").split()
    done = edgeopt_process(*words, python=("-c", GATE_ALONE))
    assert done.code == code and "Traceback" not in done.err, done.err
    assert code == 0 or ("E206" in done.err and "peft" in done.err and not (tmp_path / "run").exists())


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'torch'", name="torch"),
        OSError("libcudart.so.12: cannot open shared object file"),
    ],
)
def test_a_torch_that_cannot_be_imported_is_said_before_anything_is_computed(
    error: Exception, tmp_path: Path, tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = importlib.import_module

    def import_module(name: str, package: str | None = None) -> object:
        if name == "torch":
            raise error
        return whole(name, package)

    recipe = tiny_recipe(
        tmp_path, model={"id": str(tiny_model)}, task=tiny_task(tiny_data), steps=[{"use": "finetune"}]
    )
    monkeypatch.setattr(importlib, "import_module", import_module)
    done = edgeopt("apply", recipe, "--store", tmp_path / "store", "--out", tmp_path / "run")
    assert (
        done.code == 2
        and f"error[E206]: torch is installed but cannot be imported: {error}" in done.err
        and "pip install ." in done.err
    )
    assert not (tmp_path / "run").exists() and not list((tmp_path / "store" / "states").iterdir())
