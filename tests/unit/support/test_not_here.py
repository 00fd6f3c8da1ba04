"""A name that may be the hub's and may be a misspelled folder: what is said of it before anything is downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import edgeopt, tiny_recipe, tiny_task

from edgeopt.data import hub
from edgeopt.models.source import ModelSource, download
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import InputError
from edgeopt.support.paths import nearest, not_here

MODEL = (
    "models/minilm-l33 on the hub, not checked; there is no folder of that name here: did you mean models/minilm-l3?"
)
DATA = "rows/revews on the hub, not checked; there is no folder of that name here: did you mean rows/reviews?"


@pytest.fixture
def misspelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe beside the folders that it means."""
    for name in ("models/minilm-l3", "rows/reviews"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("EDGEOPT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    task = {"type": "text-classification", "dataset": {"path": "rows/revews"}, "text": "text"}
    return tiny_recipe(
        tmp_path, model={"id": "models/minilm-l33"}, task=task, steps=[{"id": "train", "use": "finetune"}]
    )


@pytest.mark.parametrize("command", ["validate", "plan", "doctor"])
def test_a_misspelled_folder_is_not_called_valid_without_a_word(command: str, misspelled: Path) -> None:
    said = edgeopt(command, misspelled).out
    assert MODEL in said and DATA in said


def test_validate_says_in_json_what_nobody_looked_at(misspelled: Path) -> None:
    found = json.loads(edgeopt("validate", misspelled, "--json").out)
    assert found["model"] == {"id": "models/minilm-l33", "checked": False, "found": MODEL}
    assert found["data"] == {"checked": False, "found": DATA}


def test_what_is_here_was_looked_at(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    path = tiny_recipe(
        tmp_path, model={"id": str(tiny_model)}, task=tiny_task(tiny_data), steps=[{"id": "train", "use": "finetune"}]
    )
    found = json.loads(edgeopt("validate", path, "--json").out)
    assert found["model"] == {"id": str(tiny_model), "checked": True, "found": str(tiny_model)}
    assert found["data"]["checked"] is True and "train and" in found["data"]["found"]


def test_nothing_nearby_is_no_suggestion(tmp_path: Path) -> None:
    assert not_here("google/electra-small", tmp_path) == "there is no folder of that name here"
    (tmp_path / "minilm").mkdir()
    assert (nearest("minlm", tmp_path), nearest("./minlm", tmp_path)) == ("did you mean minilm?",) * 2


def test_the_hub_out_of_reach_names_the_folder(misspelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: object, **__: object) -> None:
        raise OSError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", no)
    monkeypatch.setattr("datasets.load_dataset", no)
    absent = not_here("models/minilm-l33", misspelled.parent)
    with pytest.raises(
        InputError,
        match=r"E312(.|\n)*no folder of that name here: did you mean models/minilm-l3\?; "
        r"model 'models/minilm-l33' cannot",
    ):
        download(ModelSource("models/minilm-l33", None, None, False, absent=absent))
    task = TaskSpec.model_validate({"type": "text-classification", "dataset": {"path": "rows/revews"}, "text": "text"})
    with pytest.raises(InputError, match=r"E312(.|\n)*did you mean rows/reviews\?; dataset 'rows/revews' cannot"):
        hub.open_hub(task, misspelled.parent)
