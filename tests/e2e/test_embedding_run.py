"""An embedding model from its folder to report, gates, answers and a folder that sentence-transformers reads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import edgeopt, tiny_recipe
from running import BRIEF
from scipy.stats import spearmanr

from edgeopt import Run
from edgeopt.bundle.verify import DEVICE, failure
from edgeopt.page import build


@pytest.fixture(scope="module")
def run(tiny_model: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedding")
    model = folder / "model"
    shutil.copytree(tiny_model, model)
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [{"idx": i, "path": f"{i}_{k}" if i else "", "type": f"models.{k}"} for i, k in enumerate(kinds)]
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (model / "modules.json").write_text(json.dumps(modules))
    task = {"type": "embedding", "dataset": {"path": str(tiny_data)}, "text": ["text", "pair"], "label": "score"}
    recipe = tiny_recipe(
        folder,
        model={"id": str(model)},
        task={**task, "max_length": 32, "prompts": {"query": "word1 ", "passage": "word2 "}},
        baseline={},
        steps=[{"use": "quantize.dynamic"}],
        targets=[BRIEF],
        gates=[{"metric": "agreement", "min": 0.9}, {"metric": "size", "max_ratio": 0.9}],
        export=[{"format": "onnx", "options": {"torch": True}}],
    )
    done = edgeopt("apply", recipe, "--out", folder / "run", "--store", folder / "store", "--quiet")
    assert done.code == 0, done.err
    return folder / "run"


def test_figures_are_those_of_the_predictions(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == report["task"]["rows"] and report["task"]["queries_per_row"] == 2.0
    for side in ("baseline", "candidate"):
        cosine, agreement, _ = np.array([row[side] for row in rows]).T
        metrics = report[side]["metrics"]
        assert metrics["spearman"] == pytest.approx(spearmanr([row["label"] for row in rows], cosine)[0])
        assert metrics["agreement"] == pytest.approx(agreement.mean())
    assert report["baseline"]["metrics"]["agreement"] == pytest.approx(1.0)
    assert report["closeness"]["least"] == pytest.approx(min(row["candidate"][1] for row in rows))
    assert "Embeddings that moved most" in (run / "report.md").read_text()


def test_its_gates_are_decided_again_and_on_the_model_alone(run: Path) -> None:
    assert edgeopt("gate", run).code == 0
    model, float_graph = run / "model", run / "model" / "onnx" / "model.onnx"
    assert edgeopt("gate", model, "--against", float_graph).code == 0
    alone = edgeopt("gate", model)
    assert alone.code == 2 and "agreement compares with a baseline" in alone.err


def test_a_gate_on_agreement_with_itself_is_inconclusive(run: Path) -> None:
    graph = run / "model" / "onnx" / "model.onnx"
    done = edgeopt("gate", graph, "--against", graph, "--json")
    (gate,) = [g for g in done.json["gates"] if g["metric"] == "agreement"]
    assert gate["verdict"] == "inconclusive" and "nothing was compared" in gate["reason"]


def test_answers_are_the_embeddings_of_the_graph(run: Path) -> None:
    import onnxruntime as ort
    from tokenizers import Tokenizer

    session = ort.InferenceSession(run / "model" / "onnx" / "model_quantized.onnx")
    assert [o.name for o in session.get_outputs()] == ["sentence_embedding", "last_hidden_state"]
    encoded = Tokenizer.from_file(str(run / "model" / "tokenizer.json")).encode("word1 good1 word3")
    feed = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask, "token_type_ids": encoded.type_ids}
    feed = {i.name: np.array([feed[i.name]]) for i in session.get_inputs()}
    vector, tokens = session.run(None, feed)
    (answer,) = Run(run).predict(["good1 word3"])
    assert np.allclose(answer.logits, vector[0]) and answer.label is None
    mean = tokens[0].mean(0)
    assert np.allclose(vector[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_a_file_of_rows_gets_embeddings_with_the_prompt_of_their_column(run: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": "good1", "pair": "good1"}) + "\n")
    found = []
    for column in ("text", "pair"):
        done = edgeopt("predict", run, rows, "--text", column)
        assert done.code == 0, done.err
        found.append(json.loads(done.out)["embedding"])
    assert len(found[0]) == 32 and found[0] != found[1]


def test_its_page_has_passages_with_the_embeddings_that_predict_gives(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "install", lambda target: target.mkdir() or (target / "ort.wasm").touch())
    rows = tmp_path / "rows.jsonl"
    texts = ["word3 good1", "bad2", "word3 good1", "good4 </script> word9"]
    rows.write_text("".join(json.dumps({"body": text}) + "\n" for text in texts))
    done = edgeopt("page", run, "--out", tmp_path / "page", "--passages", rows, "--text", "body")
    assert done.code == 0, done.err
    about = json.loads((tmp_path / "page" / "page.json").read_text())
    assert about["search"].items() >= {"count": 3, "prompt": "word1 ", "lower": False}.items()
    assert about["output"] == "sentence_embedding"
    kept = [texts[0], texts[1], texts[3]]
    assert json.loads((tmp_path / "page" / "passages.json").read_text()) == kept
    found = np.frombuffer((tmp_path / "page" / "passages.bin").read_bytes(), "<f4").reshape(3, -1)
    alone = tmp_path / "pairs.jsonl"
    alone.write_text("".join(json.dumps({"pair": text}) + "\n" for text in kept))
    predicted = [json.loads(line) for line in edgeopt("predict", run, alone, "--text", "pair").out.splitlines()]
    np.testing.assert_allclose(found, [row["embedding"] for row in predicted], atol=0.02)
    html = (tmp_path / "page" / "index.html").read_text()
    assert "searches 3 passages" in html and html.count("<textarea") == 1 and ">Search<" in html
    assert "name yours with --text" in edgeopt("page", run, "--out", tmp_path / "x", "--passages", rows).err


def test_the_folder_is_one_of_sentence_transformers(run: Path) -> None:
    folder = run / "model"
    kinds = [m["type"].rpartition(".")[2] for m in json.loads((folder / "modules.json").read_text())]
    assert kinds == ["Transformer", "Pooling", "Normalize"]
    assert (folder / "model.safetensors").is_file()
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text())["prompts"]
    assert prompts == {"query": "word1 ", "passage": "word2 ", "document": "word2 "}
    assert "sentence_embedding" in (folder / "README.md").read_text()


def normalized(graph: onnx.ModelProto, pooled: list[onnx.NodeProto], *, normalize: bool = True) -> onnx.ModelProto:
    """The graph with another way from the tokens' states to the embedding; pooled: nodes that give `pooled`."""
    make, made = onnx.helper.make_node, onnx.ModelProto()
    made.CopyFrom(graph)
    for node in made.graph.node:
        node.output[:] = ["unused" if name == "sentence_embedding" else name for name in node.output]
    made.graph.node.extend(pooled)
    last = make("LpNormalization", ["pooled"], ["sentence_embedding"], axis=-1, p=2)
    made.graph.node.append(last if normalize else make("Identity", ["pooled"], ["sentence_embedding"]))
    return made


def wrong_bundles(bundle: Path, folder: Path) -> Iterator[Path]:
    """Copies of a bundle, each with one mistake in it, named by it; two have none but other kernels."""
    make, graph = onnx.helper.make_node, onnx.load(bundle / "onnx" / "model_quantized.onnx")
    mean = make("ReduceMean", ["last_hidden_state"], ["pooled"], axes=[1], keepdims=0)
    first = onnx.helper.make_tensor("first", onnx.TensorProto.INT64, [], [0])
    cls = [make("Constant", [], ["first"], value=first)]
    cls += [make("Gather", ["last_hidden_state", "first"], ["pooled"], axis=1)]
    largest = make("ReduceMax", ["last_hidden_state"], ["pooled"], axes=[1], keepdims=0)
    graphs = {
        "pooled by the first token": normalized(graph, cls),
        "pooled by the largest": normalized(graph, [largest]),
        "not normalized": normalized(graph, [mean], normalize=False),
        "right, computed anew": normalized(graph, [mean]),
    }
    for name, changed in graphs.items():
        onnx.save(changed, shutil.copytree(bundle, folder / name) / "onnx" / "model_quantized.onnx")
        yield folder / name
    prompts = {"mixed-up": ("word2 ", "word1 "), "all queries": ("word1 ", "word1 "), "none": ("", "")}
    for name, (query, passage) in prompts.items():
        config = shutil.copytree(bundle, folder / name) / "config.json"
        said = json.loads(config.read_text())
        said["edgeopt_embedding"].update(query=query, passage=passage)
        config.write_text(json.dumps(said))
        yield folder / name
    tokenizer = shutil.copytree(bundle, folder / "another vocabulary") / "tokenizer.json"
    said = json.loads(tokenizer.read_text())
    words, numbers = zip(*said["model"]["vocab"].items(), strict=True)
    said["model"]["vocab"] = dict(zip(words, [*numbers[:5], *reversed(numbers[5:])], strict=True))
    tokenizer.write_text(json.dumps(said))
    yield tokenizer.parent


def test_the_self_test_catches_what_makes_other_embeddings(run: Path, tmp_path: Path) -> None:
    assert edgeopt("bundle", run, "--count", 16, "--out", tmp_path / "bundle").code == 0
    folders = [tmp_path / "bundle", *wrong_bundles(tmp_path / "bundle", tmp_path)]
    code = (
        "import json, sys, pathlib as p, device; print(json.dumps([device.selftest(p.Path(f)) for f in sys.argv[1:]]))"
    )
    said = subprocess.check_output([sys.executable, "-c", code, *folders], cwd=DEVICE, text=True)
    found = dict(zip([folder.name for folder in folders], json.loads(said), strict=True))
    assert {name for name, each in found.items() if each["passed"]} == {"bundle", "right, computed anew"}, found
    mistaken = {name: each["mistaken"] for name, each in found.items() if each["mistaken"]}
    assert mistaken["mixed-up"] == ["query", "passage"] and mistaken["all queries"] == ["passage", "query"]
    assert mistaken["none"] == ["query", "none"]
    assert "behind no prompt" in failure(found["none"]) and "of their length on average" in failure(
        found["not normalized"] | {"mistaken": None}
    )


def test_its_bundle_answers_as_the_run_does(run: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    done = edgeopt("bundle", run, "--count", 8, "--out", bundle)
    assert done.code == 0, done.err
    tested = edgeopt("bundle", "verify", bundle, "--json").json["selftest"]
    assert tested["texts"] == 8 and tested["max_abs_diff"] <= tested["tolerance"] < 0.25
    asked = [[sys.executable, "run.py", *passage, "good1"] for passage in ([], ["--passage"])]
    query, passage = (json.loads(subprocess.check_output(each, cwd=bundle)) for each in asked)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": "good1", "pair": "good1"}) + "\n")
    for column, vector in (("text", query), ("pair", passage)):
        for model in (run, bundle):
            found = json.loads(edgeopt("predict", model, rows, "--text", column).out)["embedding"]
            assert np.allclose(found, vector, atol=1e-6)


def test_no_page_shows_it_and_says_so(run: Path, tmp_path: Path) -> None:
    assert "E161" in edgeopt("page", run, "--out", tmp_path / "page").err


def test_a_gate_on_agreement_without_steps_is_refused(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    task = {"type": "embedding", "dataset": {"path": str(tiny_data)}, "text": "text"}
    gates = [{"metric": "agreement", "min": 0.9}]
    recipe = tiny_recipe(tmp_path, model={"id": str(tiny_model)}, task=task, baseline={}, steps=[], gates=gates)
    assert "E112" in edgeopt("plan", recipe).err
