"""What is true of a task, of a family of models or of a transform is asked of it: nobody else knows it by its name."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import pytest
from scripts import house

from edgeopt.models.anatomy import FAMILIES
from edgeopt.results.figures import Told
from edgeopt.step import registry
from edgeopt.tasks import TASKS
from edgeopt.transforms.load import Load
from edgeopt.transforms.lower import LowerToOnnx

#: Of each rule: the names, where they are at home, and the files elsewhere that may say them.
RULES = {
    "tasks": (
        [*TASKS],
        ("tasks/", "spec/"),
        {
            "support/synonyms.py": "what users call them",
            "testing/build.py": "a task for authors who test a transform",
        },
    ),
    "families": ([*FAMILIES], ("models/",), {}),
    "transforms": (
        [*registry.names(), Load.name, LowerToOnnx.name],
        ("transforms/",),
        {
            "support/synonyms.py": "what users call them",
            "step/registry.py": "the list of them",
            "testing/build.py": "steps for authors who test a transform",
            "__init__.py": "the function edgeopt.load",
            "api.py": "the function edgeopt.load",
            "spec/steps.py": "the id of a step that is added to every chain",
            "plan/order.py": "the recipe's key baseline.finetune, and the id of its step",
            "recipe/load.py": "the recipe's key baseline.finetune",
            "spec/recipe.py": "a training's key distill",
            "spec/renamed.py": "a training's key distill",
            "plan/keys.py": "a training's key distill",
            "gates/baseline_file.py": "the recipe's key baseline.finetune",
        },
    ),
}
#: What is compared with nothing but another of its kind, outside its home.
ASKED = {"tasks": ("task.type", "spec.type"), "families": ("model_type",), "transforms": (".use", "['use']")}


@cache
def said(text: str) -> list[ast.Constant]:
    """The strings of a module that are no docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [*ast.walk(house.parsed(text))]
    docs = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [n for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docs]


@cache
def compared(text: str) -> list[tuple[ast.Compare, list[str]]]:
    """The comparisons of a module, each with the text of its sides."""
    return [
        (node, [ast.unparse(side) for side in (node.left, *node.comparators)])
        for node in ast.walk(house.parsed(text))
        if isinstance(node, ast.Compare)
    ]


def elsewhere(
    homes: tuple[str, ...], excepted: Collection[str], source: Path = house.SOURCE
) -> Iterator[tuple[str, str]]:
    """Every module outside the homes and the exceptions, and its text."""
    for path in sorted(source.rglob("*.py")):
        name = path.relative_to(source).as_posix()
        if not name.startswith(homes) and name not in excepted:
            yield name, path.read_text(encoding="utf-8")


def strays(
    names: Collection[str], homes: tuple[str, ...], excepted: Collection[str], source: Path = house.SOURCE
) -> list[str]:
    """Names that stand elsewhere, and beginnings of names that end in a dot, as `startswith` takes them."""
    known = {*names, *(f"{n.partition('.')[0]}." for n in names if "." in n)}
    return [
        f"{name}:{c.lineno} {c.value}"
        for name, text in elsewhere(homes, excepted, source)
        for c in said(text)
        if c.value in known
    ]


@pytest.mark.parametrize("rule", RULES)
def test_nobody_else_says_the_name(rule: str) -> None:
    assert strays(*RULES[rule]) == []


@pytest.mark.parametrize("rule", ASKED)
def test_nobody_else_compares_the_name(rule: str) -> None:
    """Two tasks may be held against each other, as `a.type != b.type`."""
    _, homes, _ = RULES[rule]
    found = []
    for name, text in elsewhere(homes, ()):
        for node, sides in compared(text):
            asks = [s for s in sides if s.endswith(ASKED[rule])]
            if asks and len(asks) < len(sides) and sides[-1] != "registry.names()":
                found.append(f"{name}:{node.lineno} {ast.unparse(node)}")
    assert found == []


@pytest.mark.parametrize("rule", RULES)
def test_every_exception_is_needed(rule: str) -> None:
    names, homes, excepted = RULES[rule]
    assert {stray.partition(":")[0] for stray in strays(names, homes, ())} == set(excepted)


def test_a_stray_name_is_found(tmp_path: Path) -> None:
    for name, text in {
        "report": 'def f(task):\n    """coreference"""\n    return task == "coreference"',
        "tasks": 'X = "coreference"',
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text(text)
    (tmp_path / "report" / "b.py").write_text('def f(use):\n    return use.startswith("quantize.")')
    assert strays(["coreference", "quantize.qat"], ("tasks/",), (), tmp_path) == [
        "report/a.py:3 coreference",
        "report/b.py:2 quantize.",
    ]


def test_agreed_figures_are_read_and_written_as_the_record() -> None:
    """By `told`, so that a type checker knows their names and what stands under each."""
    found = []
    for name, text in elsewhere((), ()):
        for node in ast.walk(house.parsed(text)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "get"
                and node.args
            ):
                of, key = node.func.value, node.args[0]
            elif isinstance(node, ast.Subscript):
                of, key = node.value, node.slice
            else:
                continue
            if (
                ast.unparse(of).endswith("figures")
                and isinstance(key, ast.Constant)
                and key.value in Told.__annotations__
            ):
                found.append(f"{name}:{node.lineno} {ast.unparse(node)}")
    assert found == []
