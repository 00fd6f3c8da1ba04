"""Plugins that cannot be used: one error with a code where a recipe names them, and nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import plugins
import pytest
from helpers import edgeopt, tiny_recipe

from edgeopt.step import registry

#: What is wrong with a module, and what of it is said.
BROKEN = {
    "import no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
    "def": "SyntaxError: invalid syntax",
    "1 / 0": "ZeroDivisionError: division by zero",
    "": "AttributeError: module",
    "Plugin = 5": "5 is no",
}
#: A kind, its group, and what of a recipe names a plugin of it.
NAMED: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "transform": ("edgeopt.transforms", lambda name: {"steps": [{"use": name}]}),
    "exporter": ("edgeopt.exporters", lambda name: {"export": [{"format": name}]}),
}
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Installs a package of one plugin, whose module holds that text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path / "site"))

        def installed(package: str, kind: str, name: str, text: str) -> None:
            plugins.describe(tmp_path / "site", package, {NAMED[kind][0]: {name: f"{package}:Plugin"}})
            (tmp_path / "site" / f"{package}.py").write_text(text, encoding="utf-8")
            plugins.registry.forget()

        yield installed
    plugins.registry.forget()


@pytest.mark.parametrize(("text", "said"), BROKEN.items())
@pytest.mark.parametrize("kind", NAMED)
def test_a_broken_plugin_is_one_error_where_it_is_named(kind: str, text: str, said: str, tmp_path: Path, install: Install) -> None:
    package = f"broken_{kind}_{list(BROKEN).index(text)}"
    install(package, kind, "mine", text)
    done = edgeopt("validate", tiny_recipe(tmp_path, **NAMED[kind][1]("mine")))
    assert done.code == 2 and done.err.count("error[") == 1, done.err
    assert f"error[E122]: the {kind} 'mine' of {package} 1.0" in done.err and said in done.err and "recipe.yaml:" in done.err
    assert f"mend or uninstall {package}" in done.err and "Traceback" not in done.err


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
    done = edgeopt("validate", tiny_recipe(tmp_path, **NAMED[kind][1]("same")))
    assert done.code == 2 and f"error[E122]: there is more than one {kind} 'same': of " in done.err
    assert f"one_{kind} 1.0 (one_{kind}:Plugin)" in done.err and f"two_{kind} 1.0" in done.err
    assert "E122" not in edgeopt("validate", tiny_recipe(tmp_path)).err


@pytest.mark.parametrize(("kind", "ours"), [("transform", "finetune"), ("exporter", "onnx")])
def test_a_plugin_takes_no_name_of_edgeopt(kind: str, ours: str, tmp_path: Path, install: Install) -> None:
    install(f"takes_{kind}", kind, ours, "")
    done = edgeopt("validate", tiny_recipe(tmp_path, **NAMED[kind][1](ours)))
    assert done.code == 2 and f"error[E122]: there is more than one {kind} '{ours}': of " in done.err and "edgeopt" in done.err


def test_a_transform_is_registered_by_its_own_name(install: Install) -> None:
    install("misnamed", "transform", "other", "from edgeopt.transforms.finetune import Finetune as Plugin")
    fault = registry.TRANSFORMS.fault("other")
    assert fault is not None and "the transform registered as 'other' calls itself 'finetune'" in fault.message
