"""Hub ids, without a hub: a model in the hub's cache, and a dataset as the datasets library gives it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from e2e.running import recipe_for
from helpers import edgeopt

from edgeopt.data import load_data
from edgeopt.spec.recipe import TaskSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_home(tmp_path: Path, tiny_model: Path) -> Path:
    """A HF_HOME whose cache holds `someone/tiny` as a download leaves it."""
    cache = tmp_path / "home" / "hub" / "models--someone--tiny"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(COMMIT)
    shutil.copytree(tiny_model, cache / "snapshots" / COMMIT)
    return tmp_path / "home"


def test_a_cached_hub_model_is_the_same_model(
    hub_home: Path, tmp_path: Path, tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(hub_home))
    (tmp_path / "local").mkdir()
    steps = [{"use": "finetune"}]
    local = edgeopt(
        "plan",
        recipe_for(tmp_path / "local", tiny_model, tiny_data, steps=steps),
        "--store",
        tmp_path / "store",
        "--json",
    ).json
    hub = edgeopt(
        "plan",
        recipe_for(tmp_path, Path("someone/tiny"), tiny_data, steps=steps),
        "--store",
        tmp_path / "store",
        "--json",
    ).json
    assert [s["key"] for s in hub["steps"]] == [s["key"] for s in local["steps"]]
    assert hub["steps"][0]["key"]


def test_apply_from_the_cache_needs_no_network(
    hub_home: Path, tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(
        tmp_path,
        Path("someone/tiny"),
        tiny_data,
        baseline={"finetune": {"max_steps": 3}},
        steps=[{"use": "finetune", "max_steps": 3}],
    )
    monkeypatch.setenv("HF_HOME", str(hub_home))
    # what a new process would read from that: to import torch there takes longer than the run
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub_home / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    done = edgeopt("apply", recipe, "--out", tmp_path / "run", "--store", tmp_path / "store")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "run" / "report.json").read_text())["model"] == "someone/tiny"


def hub_task(**changes: Any) -> TaskSpec:
    return TaskSpec.model_validate(
        {
            "type": "text-classification",
            "text": "sentence",
            "dataset": {"path": "someone/reviews", "name": "small"},
            **changes,
        }
    )


@pytest.fixture
def hub_dataset(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """`datasets.load_dataset` answers with three splits, the test's labels hidden as GLUE hides them."""
    import datasets

    calls: list[tuple[Any, ...]] = []
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )

    def split(labels: list[int]) -> datasets.Dataset:
        return datasets.Dataset.from_dict(
            {"sentence": [f"row {i}" for i in range(len(labels))], "label": labels}, features=features
        )

    def load(path: str, name: str | None, revision: str | None = None) -> datasets.DatasetDict:
        calls.append((path, name, revision))
        return datasets.DatasetDict(train=split([0, 1, 1, 0]), validation=split([1, 0]), test=split([-1, -1]))

    monkeypatch.setattr(datasets, "load_dataset", load)
    return calls


def test_a_hub_dataset_brings_its_class_names(hub_dataset: list[tuple[Any, ...]], tmp_path: Path) -> None:
    data = load_data(hub_task(), tmp_path)
    assert hub_dataset == [("someone/reviews", "small", None)]
    assert data.label_names == ("bad", "good")
    assert data.train.labels == (0, 1, 1, 0)
    assert (data.report.name, data.source) == ("validation", "someone/reviews/small")


@pytest.mark.usefixtures("hub_dataset")
def test_hidden_labels_are_said(tmp_path: Path) -> None:
    from edgeopt.support.errors import InputError

    with pytest.raises(InputError, match="hides the labels"):
        load_data(hub_task(report="test"), tmp_path)
