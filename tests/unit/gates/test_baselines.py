"""What a finished model is compared with: which of its outputs is which class, and whether it is a baseline at all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import classification, tiny_task, write_rows
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from edgeopt.data import Split, load_data, load_reported
from edgeopt.gates.artifact import find_artifact
from edgeopt.gates.baseline_file import check_fits
from edgeopt.gates.decide import _of_itself
from edgeopt.gates.of_model import Against, _check_order, _names, _quantized, _with_itself
from edgeopt.gates.request import Request
from edgeopt.measure.queries import queries_of
from edgeopt.results.model import Gate
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import InputError
from edgeopt.tasks.encode import tokens_digest


def model(*labels: str, graph: str = "a") -> Any:
    return SimpleNamespace(
        labels=labels, shown="model/model.onnx", classes=lambda task: labels, digests=lambda: {"graph": graph}
    )


ASKED: Any = SimpleNamespace(task=None)
WORDS, TURNED = ("neg", "pos"), ("1", "0")


@pytest.mark.parametrize(
    ("own", "theirs", "names"),
    [
        (("0", "1"), WORDS, WORDS),  # the usual LABEL_0 and LABEL_1 name nothing
        (("1", "2"), WORDS, WORDS),
        ((), WORDS, WORDS),
        (TURNED, WORDS, TURNED),  # numbers out of their order were written there
        (TURNED, ("0", "1"), TURNED),
        (("0", "1"), TURNED, ("0", "1")),
        (WORDS, ("0", "1"), WORDS),
    ],
)
def test_whose_names_decide(own: tuple[str, ...], theirs: tuple[str, ...], names: tuple[str, ...]) -> None:
    by_file: Any = SimpleNamespace(task=SimpleNamespace(labels=list(theirs)))
    assert _names(ASKED, model(*own), Against(artifact=model(*theirs))) == names
    assert tuple(_names(ASKED, model(*own), Against(file=by_file))) == names


@pytest.mark.parametrize(
    ("ours", "theirs", "fits"),
    [
        (WORDS, ("NEG", "Pos"), True),
        (WORDS, ("pos", "neg"), False),
        (WORDS, ("0", "1"), True),
        (("0", "1"), WORDS, True),
        ((), TURNED, False),
        (TURNED, TURNED, True),
        (TURNED, ("0", "1"), False),
        (("0", "1"), TURNED, False),
        (TURNED, WORDS, False),
        (WORDS, TURNED, False),
        (("1", "2"), ("0", "1"), True),
    ],
)
def test_two_orders_are_refused(ours: tuple[str, ...], theirs: tuple[str, ...], fits: bool) -> None:
    if fits:
        _check_order(model(*ours), model(*theirs))
        return
    with pytest.raises(InputError, match="E318"):
        _check_order(model(*ours), model(*theirs))


@pytest.mark.parametrize("as_file", [True, False])
def test_a_baseline_that_is_int8_is_said(as_file: bool) -> None:
    def said(precision: str) -> list[str]:
        against: dict[str, Any] = {"file": SimpleNamespace()} if as_file else {"artifact": model()}
        evidence: Any = SimpleNamespace(baseline=SimpleNamespace(precision=precision))
        return _quantized(Against(path=Path("base"), **against), evidence)

    assert "is int8, and a recipe's baseline is FP32" in said("int8")[0]
    assert said("fp32") == [] == _quantized(Against(), ASKED)


@pytest.mark.parametrize(
    ("graph", "reads", "same"), [("a", "as it does", True), ("b", "as it does", False), ("a", "otherwise", False)]
)
@pytest.mark.parametrize("form", ["model", "file", "file of an earlier version"])
def test_a_baseline_may_be_the_candidate_itself(form: str, graph: str, reads: str, same: bool, tmp_path: Path) -> None:
    """A baseline is the candidate where the graph and the tokens of the rows are the same."""
    candidate, baseline = model(), model(graph=graph)
    for each, words in (
        (candidate, {"x": 0, "y": 1}),
        (baseline, {"x": 0} if reads == "otherwise" else {"x": 0, "y": 1}),
    ):
        each.folder = tmp_path / str(id(each))
        each.folder.mkdir()
        Tokenizer(WordLevel(words, unk_token="x")).save(str(each.folder / "tokenizer.json"))
        digest = hashlib.sha256((each.folder / "tokenizer.json").read_bytes()).hexdigest()
        each.digests = {"graph": each.digests()["graph"], "tokenizer": digest}.copy
    rows, task = Split("validation", (("x",), ("y",)), (0, 1)), classification()
    tokens = tokens_digest(queries_of(task, rows, baseline.folder).ids) if form == "file" else None
    measured = SimpleNamespace(tokens=tokens, tokenizer=baseline.digests()["tokenizer"])
    file: Any = SimpleNamespace(graph=graph, task=measured)
    against = Against(artifact=baseline) if form == "model" else Against(file=file)
    assert _with_itself(candidate, against, rows, task) is same
    assert not _with_itself(candidate, Against(), rows, task)


@pytest.mark.parametrize(
    ("verdict", "after"), [("pass", "inconclusive"), ("fail", "fail"), ("inconclusive", "inconclusive")]
)
def test_a_gate_that_compares_a_model_with_itself_does_not_pass(verdict: Any, after: str) -> None:
    gate = Gate(
        metric="accuracy",
        verdict=verdict,
        value=0.0,
        bound=0.1,
        kind="max_drop",
        reason="0.8 → 0.8",
        low=0,
        high=0,
        confidence=0.95,
    )
    found = _of_itself(gate)
    assert found.verdict == after and "0.8 → 0.8; the baseline is the same model as the candidate" in found.reason


def test_the_rows_that_a_baseline_was_trained_on_are_the_recipes(tmp_path: Path) -> None:
    write_rows(tmp_path / "data", train=8, validation=4)
    spec = TaskSpec.model_validate(tiny_task("data"))
    rows, task = load_reported(spec, tmp_path, ("bad", "good"))
    resolved = {"baseline": {"finetune": {"max_steps": 4}}, "seed": 0, "steps": [{"use": "distill"}]}
    model_spec: Any = SimpleNamespace(id=str(tmp_path / "gone"), named=str(tmp_path / "gone"))

    def asked() -> Request:
        return Request("r", model_spec, spec, (), (), tmp_path, resolved, lambda at: None)

    Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    candidate = model()
    candidate.folder = tmp_path
    outputs = [[1.0, 0.0] if label == 0 else [0.0, 1.0] for label in rows.labels]
    measured = SimpleNamespace(
        type=spec.type,
        labels=list(task.names),
        rows=4,
        split=rows.name,
        fingerprint=rows.fingerprint,
        encoding=dict(task.key()),
        tokens=None,
    )
    train = load_data(spec, tmp_path).with_classes(task.names).train.fingerprint

    def told(train: str | None, finetune: Any = resolved["baseline"]) -> list[str]:
        made: Any = SimpleNamespace(
            task=measured,
            training={**finetune, "seed": 0},
            train=train,
            fingerprint=None,
            model=model_spec.id,
            outputs=outputs,
            subject=SimpleNamespace(metrics={}),
        )
        return check_fits(made, Path("b.json"), asked(), candidate, rows, task)

    assert told(train) == []
    measured.tokens = "f" * 64  # of what the baseline reads, where a step may bring another tokenizer
    with pytest.raises(InputError, match=r"E133.*of another tokenizer"):
        told(train)
    measured.tokens = tokens_digest(queries_of(task, rows, tmp_path).ids)
    assert told(train) == []
    assert "are not in the file" in told(None)[0]
    with pytest.raises(InputError, match=r"E133(.|\n)*train rows +0000"):
        told("0" * 64)
    lines = (tmp_path / "data" / "train.jsonl").read_text().splitlines()
    (tmp_path / "data" / "train.jsonl").write_text(
        "\n".join([*lines[:-2], lines[-1].replace("word", "good"), lines[-2]])
    )
    with pytest.raises(InputError, match="train rows"):
        told(train)
    (tmp_path / "data" / "train.jsonl").write_text(
        "\n".join([*lines, lines[0].replace('"label": 0', '"label": "unknown"')])
    )
    with pytest.raises(InputError, match=r"E318.*unknown"):
        told(train)
    (tmp_path / "data" / "train.jsonl").unlink()
    assert "are not here" in told(train)[0]


def test_the_model_of_a_run_that_is_no_onnx_has_a_help_that_fits(tmp_path: Path) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"E131(.|\n)*give a run, its `model` folder"):
        find_artifact(tmp_path / "run" / "model")
    (tmp_path / "run" / "report.json").write_text('{"candidate": {"artifact": "model/openvino_model.xml"}}')
    for path in (tmp_path / "run" / "model", tmp_path / "run"):
        with pytest.raises(InputError) as error:
            find_artifact(path)
        help = error.value.issues[0].help or ""
        assert (
            "candidate of this run is model/openvino_model.xml" in help and f"edgeopt gate {tmp_path / 'run'}" in help
        )
