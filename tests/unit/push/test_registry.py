"""Pushes to MLflow's registry by MLflow's own client, in a store on disk; the model loads back and predicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bundles import make_run
from helpers import edgeopt

from edgeopt.bundle.make import Wanted, make_bundle
from edgeopt.device.edgeopt_bundle import Served


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> dict[str, Path]:
    """Of a classification, of a pair, of a regression and of an embedding."""
    made = tmp_path_factory.mktemp("bundles")
    kinds: dict[str, Any] = {
        "one": {},
        "pair": {"text": ["text", "pair"]},
        "score": {"width": 1, "type": "text-regression", "label": "score"},
        "vector": {"width": 4, "type": "embedding"},
    }
    for name, changes in kinds.items():
        (made / name).mkdir()
        make_bundle(make_run(made / name, tiny_data, **changes), made / name / "bundle", Wanted(count=4))
    return {name: made / name / "bundle" for name in kinds}


def test_what_mlflow_loads_answers_tables(bundles: dict[str, Path]) -> None:
    import pandas

    texts = pandas.DataFrame({"text": ["good1 word2", "bad3"], "text_pair": ["word1", "word2"]}, index=[7, 9])
    one, pair, score = (Served(bundles[name]).predict(texts) for name in ("one", "pair", "score"))
    assert list(one.columns) == list(pair.columns) == ["label", "probability"] and list(score.columns) == ["score"]
    query, passage = (Served(bundles["vector"]).predict(texts, {"passage": asked}) for asked in (False, True))
    assert list(query.columns) == ["embedding"] and {len(vector) for vector in query["embedding"]} == {4}
    assert query["embedding"][7] != passage["embedding"][7]
    assert (
        list(one.index) == [7, 9] and set(one["label"]) <= {"bad", "good"} and one["probability"].between(0.5, 1).all()
    )


def test_without_mlflow_it_is_one_error(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    done = edgeopt("push", run, "mlflow:sentiment")
    assert done.code == 2 and done.err.count("error[E206]") == 1 and "pip install '.[mlflow]'" in done.err


@pytest.fixture
def registry(mlflow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's client on a store of files, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return mlflow


def test_a_version_has_verdict_gates_and_metrics_and_predicts(
    registry: Any, run: Path, bundles: dict[str, Path], tmp_path: Path
) -> None:
    done = edgeopt("push", bundles["one"], "mlflow:sentiment", "--json")
    assert done.code == 0, done.err
    assert (done.json["version"], done.json["where"], done.json["new"]) == ("1", "models:/sentiment/1", True)
    found = registry.MlflowClient().get_model_version("sentiment", "1")
    manifest = json.loads((bundles["one"] / "manifest.json").read_text())
    assert found.tags["edgeopt.verdict"] == "pass" and found.tags["edgeopt.lock"] == manifest["lock"]
    assert float(found.tags["edgeopt.metric.accuracy"]) == manifest["found"]["metrics"]["accuracy"]
    assert found.tags["edgeopt.gate.1"].startswith("pass: accuracy")
    model = registry.pyfunc.load_model("models:/sentiment/1")
    answers = model.predict(_table("good1 word2", "bad3"))
    expected = Served(bundles["one"]).predict(_table("good1 word2", "bad3"))
    assert answers.equals(expected)
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".pkl", ".pickle")], "nothing is pickled"
    again = edgeopt("push", bundles["one"], "mlflow:sentiment", "--json")
    assert again.code == 0 and again.json["version"] == "1" and not again.json["new"]
    other = edgeopt("push", bundles["pair"], "mlflow:sentiment", "--json")
    assert other.json["version"] == "2", "another bundle is another version"
    pair = registry.pyfunc.load_model("models:/sentiment/2").predict(_table("good1", "bad3", pair=["word1", "word2"]))
    assert list(pair.columns) == ["label", "probability"]


def _table(*texts: str, pair: list[str] | None = None) -> Any:
    import pandas

    return pandas.DataFrame({"text": list(texts), **({"text_pair": pair} if pair else {})})
