"""Plugins that cannot be used: one error with a code where a recipe names them, and nothing elsewhere."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import plugins
import pytest
from helpers import edgeopt, tiny_recipe, tiny_task

from edgeopt.plan.keys import key_parts
from edgeopt.plan.lookup import _changed
from edgeopt.plan.steps import PlannedStep
from edgeopt.recipe.load import load_recipe
from edgeopt.spec.tasks import TASKS
from edgeopt.step import registry

#: What is wrong with a module, and what of it is said.
BROKEN = {
    "import no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
    "def": "SyntaxError: invalid syntax",
    "1 / 0": "ZeroDivisionError: division by zero",
    "raise SystemExit(3)": "SystemExit: 3",
    "raise GeneratorExit": "GeneratorExit",
    "": "AttributeError: module",
    "Plugin = 5": "5 is no",
}
#: What of a recipe names a plugin of a kind; a family is named by the model's config.
NAMED: dict[str, Callable[[str], dict[str, Any]]] = {
    "transform": lambda name: {"steps": [{"use": name}]},
    "exporter": lambda name: {"export": [{"format": name}]},
    "task": lambda name: {"task": tiny_task("data", type=name)},
    "family": lambda name: {},
}
GROUPS = {
    "transform": "edgeopt.transforms",
    "exporter": "edgeopt.exporters",
    "task": "edgeopt.tasks",
    "family": "edgeopt.families",
}
Install = Callable[..., None]


def recipe_with(kind: str, name: str, folder: Path) -> Path:
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps({"model_type": name if kind == "family" else "bert"}))
    return tiny_recipe(folder, **NAMED[kind](name))


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Installs a package of one plugin, whose module holds that text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path / "site"))

        def installed(package: str, kind: str, name: str, text: str) -> None:
            plugins.describe(tmp_path / "site", package, {GROUPS[kind]: {name: f"{package}:Plugin"}})
            (tmp_path / "site" / f"{package}.py").write_text(text, encoding="utf-8")
            plugins.registry.forget()

        yield installed
    plugins.registry.forget()


@pytest.mark.parametrize(("text", "said"), BROKEN.items())
@pytest.mark.parametrize("kind", NAMED)
def test_a_broken_plugin_is_one_error_where_it_is_named(
    kind: str, text: str, said: str, tmp_path: Path, install: Install
) -> None:
    package = f"broken_{kind}_{list(BROKEN).index(text)}"
    install(package, kind, "mine", text)
    done = edgeopt("validate", recipe_with(kind, "mine", tmp_path))
    assert done.code == 2 and done.err.count("error[E122]") == 1 and (kind == "family" or "recipe.yaml:" in done.err), (
        done.err
    )
    assert f"error[E122]: the {kind} 'mine' of {package} 1.0" in done.err and said in done.err
    assert f"fix or uninstall {package}" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("kind", NAMED)
def test_a_broken_plugin_stops_no_other_recipe(kind: str, tmp_path: Path, install: Install) -> None:
    install(f"stray_{kind}", kind, "stray", "1 / 0")
    done = edgeopt("validate", tiny_recipe(tmp_path))
    assert "E122" not in done.err, done.err
    for command in ("schema", "exporters", "doctor"):
        shown = edgeopt(command)
        assert shown.code == 0, shown.err
    assert f"the {kind} 'stray' of stray_{kind} 1.0" in shown.out


@pytest.mark.parametrize("kind", NAMED)
def test_two_plugins_of_one_name_are_an_error_where_it_is_named(kind: str, tmp_path: Path, install: Install) -> None:
    install(f"one_{kind}", kind, "same", "")
    install(f"two_{kind}", kind, "same", "")
    done = edgeopt("validate", recipe_with(kind, "same", tmp_path))
    assert done.code == 2 and f"error[E122]: there is more than one {kind} 'same': of " in done.err
    assert f"one_{kind} 1.0 (one_{kind}:Plugin)" in done.err and f"two_{kind} 1.0" in done.err
    assert "E122" not in edgeopt("validate", tiny_recipe(tmp_path, model={"id": "elsewhere"})).err


@pytest.mark.parametrize(
    ("kind", "ours"),
    [("transform", "finetune"), ("exporter", "onnx"), ("task", "text-classification"), ("family", "bert")],
)
def test_a_plugin_takes_no_name_of_edgeopt(kind: str, ours: str, tmp_path: Path, install: Install) -> None:
    install(f"takes_{kind}", kind, ours, "")
    done = edgeopt("validate", recipe_with(kind, ours, tmp_path))
    assert (
        done.code == 2
        and f"error[E122]: there is more than one {kind} '{ours}': of " in done.err
        and "edgeopt" in done.err
    )


def test_a_transform_is_registered_by_its_own_name(install: Install) -> None:
    install("misnamed", "transform", "other", "from edgeopt.transforms.finetune import Finetune as Plugin")
    fault = registry.TRANSFORMS.fault("other")
    assert fault is not None and "the transform registered as 'other' calls itself 'finetune'" in fault.message


OK = {
    "transform": """
class Plugin(Transform):
    name = "mine"
    summary = "does nothing"
    Params = StepParams
    contract = Contract()
    def apply(self, state, params, context): ...
""",
    "exporter": """
class Plugin(Exporter):
    name = "mine"
    summary = "writes nothing"
    requires = facts(Fact.ONNX)
    needs = ()
    options = {"level": 1}
    def write(self, given, folder, options): ...
""",
    "task": """
class Plugin(CountedTask):
    auto_class = "AutoModelForSequenceClassification"
    known_metrics = default_metrics = ("accuracy",)
    def label(self, raw, place): ...
    def predict(self, outputs): ...
    def counts(self, metric, labels, outputs): ...
    def trivial(self, labels, outputs): ...
""",
    "family": "Plugin = bert_like('mine', readers=('classifier',))",
}
IMPORTS = "from edgeopt.plugins import *\n"


@pytest.mark.parametrize(
    ("kind", "line", "instead", "said"),
    [
        ("transform", "contract = Contract()", "", "Plugin lacks contract"),
        ("transform", "Params = StepParams", "", "Plugin lacks Params"),
        ("transform", "Params = StepParams", "Params = dict", "and must be type[StepParams]"),
        ("transform", 'summary = "does nothing"', "", "Plugin lacks summary"),
        ("transform", "def apply", "def aply", "abstract method"),
        ("exporter", "requires = facts(Fact.ONNX)", "", "Plugin lacks requires"),
        ("exporter", 'summary = "writes nothing"', "", "Plugin lacks summary"),
        ("exporter", '{"level": 1}', '["level"]', "options of Plugin is ['level'], and must be dict[str, Any]"),
        ("exporter", "needs = ()", "needs = 'onnx'", "needs of Plugin is 'onnx', and must be tuple[str, ...]"),
        ("task", "def label", "def lable", "Plugin lacks label"),
        ("task", "auto_class", "autoclass", "Plugin lacks auto_class"),
        ("task", "(CountedTask)", "", "Plugin derives from no class of edgeopt.plugins"),
        ("family", "('classifier',)", "('classifier', 3)", "readers of Anatomy is "),
        ("family", "bert_like('mine', readers=('classifier',))", "Anatomy(base='mine')", "missing 8 required"),
    ],
)
def test_a_plugin_that_states_too_little_is_an_error_where_it_is_named_and_nowhere_else(
    kind: str, line: str, instead: str, said: str, tmp_path: Path, install: Install
) -> None:
    assert line in OK[kind]
    package = f"little_{kind}_{abs(hash((line, instead)))}"
    install(package, kind, "mine", IMPORTS + OK[kind].replace(line, instead))
    done = edgeopt("validate", recipe_with(kind, "mine", tmp_path))
    assert done.code == 2 and done.err.count("error[E122]") == 1 and said in done.err, done.err
    for command in ("schema", "exporters", "doctor"):
        assert edgeopt(command).code == 0


@pytest.mark.parametrize("kind", OK)
def test_doctor_lists_every_plugin(kind: str, install: Install) -> None:
    install(f"healthy_{kind}", kind, "mine", IMPORTS + OK[kind])
    shown = edgeopt("doctor").out
    assert f"the {kind} 'mine' of healthy_{kind} 1.0 (healthy_{kind}:Plugin)" in shown, shown


def parts_of(use: str, type: str, folder: Path) -> dict[str, Any]:
    """What the key of a step of that transform is made of, in a recipe of that task."""
    folder.mkdir()
    recipe = load_recipe(tiny_recipe(folder, task=tiny_task("data", type=type), steps=[{"use": use}]), ())
    step = PlannedStep(use, use, "candidate", registry.get(use), recipe.steps[0].params, None)
    plan: Any = SimpleNamespace(recipe=recipe)
    return key_parts(step, "0", plan, {"labels": ["0", "1"], "fingerprint": "0"})


def test_a_plugins_code_is_in_the_keys_of_what_it_makes(tmp_path: Path, install: Install) -> None:
    for kind in ("transform", "task"):
        install(f"edited_{kind}", kind, "mine", IMPORTS + OK[kind])
    first, tuned = (parts_of(use, "mine", tmp_path / use) for use in ("mine", "finetune"))
    assert first["plugin"]["package"] == "edited_transform 1.0" and "plugin" not in tuned
    assert tuned["task"]["plugin"]["package"] == "edited_task 1.0"
    assert first == parts_of("mine", "mine", tmp_path / "again")
    for kind in ("transform", "task"):
        (tmp_path / "site" / f"edited_{kind}.py").write_text(f"{IMPORTS}{OK[kind]}\n# edited", encoding="utf-8")
        del sys.modules[f"edited_{kind}"]
    plugins.registry.forget()
    second, later = (parts_of(use, "mine", tmp_path / f"later-{use}") for use in ("mine", "finetune"))
    assert _changed(first, second) == "the transform's code changed"
    assert _changed(tuned, later) == "the task's code changed"
    ours = parts_of("finetune", "text-classification", tmp_path / "ours")
    assert "plugin" not in ours and ours["task"] == {"type": "text-classification", "labels": ["0", "1"]}
    assert _changed({}, {"plugin": second["plugin"]}) == "the transform's code changed"
    assert _changed({"plugin": {"package": "a 1"}}, {"plugin": {"package": "a 2"}}) == "package a 1 → a 2"


TASK = """
from edgeopt.tasks.classification import Classification
class Plugin(Classification):
    {body}
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("known_metrics = ('accuracy', 'f1', 'size')", "Plugin has a metric 'size', which is a word of edgeopt's own"),
        ("default_metrics = ('no_such_metric',)", "default_metrics of Plugin must be some of its known_metrics"),
        ("ranges = {'f1': (-9.0, 0.0)}", "Plugin has a metric 'f1' beyond -1 and 1"),
        ("default_metrics = ()", "default_metrics of Plugin must be some of its known_metrics"),
    ],
)
def test_a_task_says_what_it_is_measured_by(body: str, said: str, install: Install) -> None:
    package = f"measured_{abs(hash(body))}"
    install(package, "task", "mine", TASK.format(body=body))
    fault = TASKS.fault("mine")
    assert fault is not None and said in fault.message


def test_a_task_of_a_plugin_is_known_wherever_a_recipe_is_checked(tmp_path: Path, install: Install) -> None:
    body = "known_metrics = ('accuracy', 'kappa'); default_metrics = ('kappa',); ranges = {'kappa': (-1.0, 1.0)}"
    install("known_task", "task", "mine", TASK.format(body=body))
    schema = edgeopt("schema").json
    assert (
        "mine" in schema["$defs"]["TaskSpec"]["properties"]["type"]["enum"]
        and "kappa" in schema["$defs"]["GateSpec"]["properties"]["metric"]["enum"]
    )
    gates = [{"metric": "kappa", "min": -2}, {"metric": "kapa", "min": 0.5}]
    done = edgeopt("validate", tiny_recipe(tmp_path, task=tiny_task("data", type="mine", metrics=["f1"]), gates=gates))
    assert "metrics of mine: accuracy, kappa" in done.err and "kappa is between -1 and 1" in done.err
    assert "'gates.1.metric' is 'kapa'" in done.err and "did you mean 'kappa'?" in done.err
    done = edgeopt("validate", tiny_recipe(tmp_path, task=tiny_task("data", type="mien")))
    assert "error[E106]: 'task.type' is 'mien', and must be text-classification, " in done.err and "or mine" in done.err


def test_the_documents_examples_are_the_package_that_is_tested() -> None:
    text = (plugins.EXAMPLE.parents[1] / "docs" / "how-to" / "plugins.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```(?:python|toml)\n(.*?)^```", text, flags=re.M | re.S)
    files = [p for p in plugins.EXAMPLE.rglob("*") if p.suffix in (".py", ".toml") and p.name != "__init__.py"]
    assert sorted(shown) == sorted(p.read_text(encoding="utf-8") for p in files)


def test_the_example_imports_what_is_promised_to_stay() -> None:
    for path in (plugins.EXAMPLE / "src").rglob("*.py"):
        found = set(re.findall(r"^\s*(?:from|import) (edgeopt\b[\w.]*)", path.read_text(encoding="utf-8"), flags=re.M))
        assert found <= {"edgeopt.plugins"}, path


def test_what_plugins_import_is_listed_and_needs_no_torch() -> None:
    code = (
        "import sys, edgeopt.plugins as p; sys.exit('torch' in sys.modules or any(not hasattr(p, name) for name in "
        "p.__all__))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    tree = ast.parse(Path(importlib.import_module("edgeopt.plugins").__file__ or "").read_text(encoding="utf-8"))
    bound = [
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert sorted(bound) == sorted(importlib.import_module("edgeopt.plugins").__all__)
