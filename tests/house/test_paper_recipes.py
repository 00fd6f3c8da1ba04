"""The recipes of recipes/papers and recipes/tasks, and those that distill: found, copied, packaged, sound and applied.

They are sound on local data, and applied once a folder.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import edgeopt
from transformers import AutoTokenizer, ElectraConfig, ElectraModel

from edgeopt.recipe.library import recipe_files
from edgeopt.store.store import Store

ROOT = Path(__file__).parents[2]
PAPERS = {name: path for name, path in recipe_files().items() if "/" in name or name.startswith("distill-")}


def classes(count: int, *columns: str) -> Callable[[int], dict[str, Any]]:
    """Rows of that many classes, told apart by a word in every column."""
    return lambda i: {**dict.fromkeys(columns, f"word{i % 7} {'good1' if i % count else 'bad1'}"), "label": i % count}


def question(i: int) -> dict[str, Any]:
    return {
        "question": f"word{i % 7}",
        "choices": {"label": [*"ABCDE"], "text": [f"bad{i % 5 + k}" for k in range(5)]},
        "answerKey": "ABCDE"[i % 5],
    }


def document(i: int) -> dict[str, Any]:
    """Two mentions of one entity and one of another."""
    spans = [[[0, 0, 0]], [[0, 0, 0]], [[1, 0, 0]]]
    return {"sentences": [{"words": [f"good{i % 7}", "word1"], "coref_spans": found} for found in spans]}


#: A row of each task's data, by its number.
ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "distill-minilm-": classes(2, "sentence1", "sentence2"),
    "distill-recover": classes(2, "sentence"),
    "papers/a-electra-lora/": classes(2, "sentence1", "sentence2"),
    "papers/a-pruning/": classes(2, "sentence1", "sentence2"),
    "papers/a-quant/": classes(2, "sentence1", "sentence2"),
    "papers/b-peft/sst5-": classes(5, "text"),
    "papers/b-peft/boolq-sl-": classes(2, "question", "passage"),
    "papers/b-peft/commonsenseqa-": question,
    "papers/b-peft/coreference-": document,
    "papers/c-cofi/mrpc-": classes(2, "sentence1", "sentence2"),
    "papers/c-cofi/sst2-": classes(2, "sentence"),
    "papers/d-fast-electra/": classes(2, "sentence1", "sentence2"),
    "papers/d-glue": classes(2, "sentence1", "sentence2"),
    "pretrain/domain": classes(2, "text"),
    "pretrain/modernbert-": classes(2, "sentence"),
    "papers/c-truth-table": classes(2, "sentence1", "sentence2"),
    "papers/e-multitask/": classes(2, "question1", "question2", "sentence1", "sentence2", "sentence", "text"),
    "tasks/boolq-": lambda i: {**classes(2, "question", "passage")(i), "answer": bool(i % 2)},
    "tasks/commonsenseqa": question,
    "tasks/conll2003-": lambda i: {"tokens": [f"word{i % 7}", "good1", "good2"], "ner_tags": [0, 1, 2]},
    "tasks/go-": lambda i: {"text": f"word{i % 7} good1", "labels": [["good"], ["bad"], ["good", "bad"], []][i % 4]},
    "tasks/stsb": lambda i: {**classes(2, "sentence1", "sentence2")(i), "label": i / 4},
    "embedding/boolq-": lambda i: {"question": f"word{i % 7}", "passage": f"word{i % 7} good1 bad2"},
    "reranking/": lambda i: {"query": f"word{i // 4}", "passage": f"word{i}", "relevance": i % 2, "query_id": i // 4},
    "embedding/mpnet-": lambda i: {"sentence": f"word{i % 7} good1 bad2 word3"},
    "embedding/": lambda i: {**classes(2, "sentence1", "sentence2")(i), "label": i / 4},
    "tasks/xsum": lambda i: {"document": f"word{i % 7} good1 bad2 word3", "summary": f"word{i % 7}"},
    "papers/b-peft/xsum-": lambda i: {"document": f"word{i % 7} good1 bad2 word3", "summary": f"word{i % 7}"},
}
#: Of recipes with several tasks, those.
SEVERAL = {
    "papers/e-multitask/rows": ("paraphrase", "sentiment", "similarity"),
    "papers/e-multitask/cfimdb": ("paraphrase", "reviews", "sentiment", "similarity"),
}
#: What makes a recipe one of seconds, whatever its step trains.
BRIEF = [
    "baseline.finetune.max_steps=2",
    "gates=[]",
    "targets=[{name: short, sequence: [16], queries: 64, max_seconds: 5}]",
]


@pytest.fixture(scope="module")
def model(tiny_electra: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ELECTRA with room for the recipes' lengths, its rows whole blocks of NF4."""
    folder = tmp_path_factory.mktemp("papers") / "model"
    torch.manual_seed(0)
    ElectraModel(
        ElectraConfig(
            vocab_size=100,
            embedding_size=64,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=512,
        )
    ).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_electra).save_pretrained(folder)
    return folder


#: The auxiliary models that recipes name by a path beside them.
AUXILIARIES = ("small", "base", "large", "base-2", "base-3", "base-4", "base-6")
#: Recipes whose model is begun from nothing, and one whose cells have rows of their own.
BEGUN, ROWS_A_CELL = ("papers/d-fast-electra/", "pretrain/modernbert-"), "papers/d-glue"


def local(name: str, model: Path, folder: Path) -> list[str]:
    """--set for the model, and for rows with the columns of the recipe's task; what it names beside it is there."""
    row = next(found for start, found in ROWS.items() if name.startswith(start))
    made = [row(i) for i in range(20)]
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    (folder / "auxiliaries").mkdir()
    for auxiliary in AUXILIARIES:
        (folder / "auxiliaries" / auxiliary).symlink_to(model)
    (folder / "texts.txt.gz").write_bytes(gzip.compress(b"good1 word2 bad3"))
    tasks = [f"tasks.{task}" for task in SEVERAL.get(name, ())] or ["task"]
    sets = [] if name == ROWS_A_CELL else [f"{task}.dataset.path={folder}" for task in tasks]
    sets.append(f"model.tokenizer={model}" if name.startswith(BEGUN) else f"model.id={model}")
    if name == "papers/e-multitask/rows":
        sets.append(f"matrix.axes.row.mlm-before.insert.0.step.corpus.data_files={folder / 'texts.txt.gz'}")
    return [part for change in sets for part in ("--set", change)]


def test_they_are_listed_by_folder_and_name() -> None:
    listed = edgeopt("recipes", "ls", "--json").json
    assert next(iter(listed)) == "quickstart"
    assert set(PAPERS) <= set(listed)
    assert {"papers/a-electra-lora/lora", "papers/b-peft/boolq-sl-prompt"} <= set(PAPERS)
    assert not [name for name in listed if name.startswith("targets")]
    done = edgeopt("recipes", "show", "sst5-lora")
    assert (done.code, "did you mean 'papers/b-peft/sst5-lora'?" in done.err) == (2, True)


def test_a_name_that_is_no_path_says_how_to_get_the_recipe(tmp_path: Path) -> None:
    done = edgeopt("validate", "papers/b-peft/sst5-lora.yaml", cwd=tmp_path)
    assert "edgeopt recipes copy papers/b-peft/sst5-lora my.yaml" in done.err


@pytest.mark.parametrize("name", PAPERS)
def test_it_can_be_copied_and_is_sound_with_local_model_and_rows(name: str, model: Path, tmp_path: Path) -> None:
    assert edgeopt("recipes", "copy", name, tmp_path / "my.yaml").code == 0
    done = edgeopt("validate", tmp_path / "my.yaml", *local(name, model, tmp_path))
    assert (done.code, done.err) == (0, "")
    begun = f"model: {'modernbert' if name.startswith('pretrain/') else 'electra'}-"
    assert (begun if name.startswith(BEGUN) else str(model)) in done.out


@pytest.mark.parametrize(
    ("name", "brief"),
    [
        ("papers/a-electra-lora/untrained", []),
        ("papers/a-electra-lora/lora", ["steps.adapt.max_steps=2", "steps.adapt.r=16", "steps.adapt.alpha=32"]),
        ("papers/a-pruning/5-row-l2", ["steps.tune.max_steps=2"]),
        ("papers/b-peft/sst5-lora", ["steps.adapt.max_steps=4"]),
        ("distill-minilm-3-layers", ["steps.tune.max_steps=2", "steps.small.max_steps=4"]),
        ("distill-recover", ["steps.tune.max_steps=2", "steps.recover.max_steps=4"]),
        ("tasks/boolq-windows", ["steps.adapt.max_steps=4", "steps.adapt.learning_rate=0.01"]),
        ("papers/e-multitask/cfimdb", ["steps.tune.max_steps=8", "steps.tune.keep_best=false"]),
        ("papers/b-peft/commonsenseqa-prompt", ["steps.adapt.max_steps=4", "steps.adapt.learning_rate=0.01"]),
    ],
)
def test_it_is_applied(name: str, brief: list[str], model: Path, tmp_path: Path) -> None:
    changes = [part for change in [*BRIEF, *brief] for part in ("--set", change)]
    done = edgeopt(
        "apply",
        PAPERS[name],
        *local(name, model, tmp_path),
        *changes,
        "--out",
        tmp_path / "run",
        "--store",
        tmp_path / "store",
        "--quiet",
    )
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    step = next(s for s in report["steps"] if s["chain"] == "candidate" and s["id"] in ("tune", "adapt"))
    assert 0 < step["figures"]["trainable_parameters"] <= step["figures"]["parameters"]
    if name.endswith("untrained"):
        from safetensors.numpy import load_file

        states = {s.digest: s.folder / "model.safetensors" for s in Store(tmp_path / "store").states()}
        loaded, tuned = (
            load_file(states[s["digest"]])
            for s in report["steps"]
            if s["chain"] == "candidate" and s["id"] in ("load", "tune")
        )
        assert max(abs(tuned[k] - loaded[k]).max() for k in loaded) <= 2e-7


def test_the_truth_table_has_the_papers_rows(model: Path, tmp_path: Path) -> None:
    done = edgeopt(
        "validate", PAPERS["papers/c-truth-table"], *local("papers/c-truth-table", model, tmp_path), "--json"
    )
    cells = {(c["axes"]["P"], c["axes"]["D"], c["axes"]["A"]): c["steps"] for c in done.json["cells"]}
    assert cells == {
        ("off", "off", "off"): ["tune"],
        ("off", "off", "on"): ["adapt"],
        ("off", "on", "off"): ["tune", "distill"],
        ("off", "on", "on"): ["tune", "distill", "adapt"],
        ("on", "off", "off"): ["tune", "prune"],
        ("on", "off", "on"): ["tune", "prune", "adapt"],
        ("on", "on", "off"): ["tune", "prune", "distill"],
        ("on", "on", "on"): ["tune", "prune", "distill", "adapt"],
    }
    assert len(done.json["cells"]) == 4 + 4 * 8
