"""Static and dynamic int8: ranges against ONNX Runtime's calibrator, scopes, remedies, and the policy trying them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from helpers import classification, tiny_task
from onnx import numpy_helper

from edgeopt.data import Split
from edgeopt.export import graph_files
from edgeopt.export.exporter import exporter
from edgeopt.export.graph_files import size_of
from edgeopt.measure.graph import weigh
from edgeopt.measure.subject import state_bytes
from edgeopt.models.files import GRAPH
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step import registry
from edgeopt.store.facts import Fact
from edgeopt.store.store import State, Store
from edgeopt.support.errors import EdgeoptError
from edgeopt.testing import check_exporter
from edgeopt.testing.build import build, step, steps_towards
from edgeopt.transforms.quantize import bias, qdq, smooth
from edgeopt.transforms.quantize.calibrate import activations, feeds, observe
from edgeopt.transforms.quantize.observers import Channels, MinMax
from edgeopt.transforms.quantize.scope import weighted
from edgeopt.transforms.quantize.token_rows import as_rows

TRAIN = {"max_steps": 30, "batch_size": 8, "learning_rate": 3e-3}
Make = Callable[..., State]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One training for all."""
    return tmp_path_factory.mktemp("int8") / "store"


@pytest.fixture(scope="module")
def make(tiny_model: Path, tiny_data: Path, store: Path) -> Make:
    def made(use: str = "quantize.static", **params: Any) -> State:
        if use == "quantize.static":
            params = {"calibration": {"samples": 16}, **params}
        steps = [step(registry.get("finetune"), TRAIN, "tune"), step(registry.get(use), params, "int8")]
        return build(steps, model=tiny_model, data=tiny_data, store=store).final("candidate")

    return made


@pytest.fixture(scope="module")
def floats(tiny_model: Path, tiny_data: Path, store: Path) -> State:
    return build(
        [step(registry.get("finetune"), TRAIN, "tune")], model=tiny_model, data=tiny_data, store=store
    ).lowered("candidate")


def texts(tiny_data: Path) -> list[str]:
    return [json.loads(line)["text"] for line in (tiny_data / "train.jsonl").read_text().splitlines()]


def split(tiny_data: Path, count: int = 12) -> Split:
    found = texts(tiny_data)[:count]
    return Split("calibration", tuple((t,) for t in found), tuple(0 for _ in found))


def logits(graph: Path | Any, folder: Path, rows: Split) -> np.ndarray[Any, Any]:
    session = ort.InferenceSession(graph.SerializeToString() if isinstance(graph, onnx.ModelProto) else str(graph))
    names = {i.name for i in session.get_inputs()}
    given = feeds(folder, rows, classification())()
    return np.concatenate([session.run(["logits"], {k: v for k, v in feed.items() if k in names})[0] for feed in given])


@pytest.mark.parametrize("moving", [False, True])
def test_the_file_is_onnxruntimes_own_in_rows(
    moving: bool, floats: State, make: Make, tiny_data: Path, tmp_path: Path
) -> None:
    """ONNX Runtime's calibrator, given the same rows, writes the same bytes, but for what `as_rows` changes.

    It is asked to leave products of two activations alone.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    from edgeopt.data import load_data
    from edgeopt.transforms.quantize.common import quiet_quantizer

    spec = TaskSpec.model_validate(tiny_task(tiny_data, max_length=32))
    rows = load_data(spec, tmp_path).calibration(16, spec.selection, 42)
    graph = onnx.load(str(floats.folder / GRAPH)).graph
    outside = [n.name for n in graph.node if n.op_type == "MatMul" and n not in weighted(graph)]
    given = iter(
        [
            {k: v for k, v in f.items() if k in {i.name for i in graph.input}}
            for f in feeds(floats.folder, rows, classification())()
        ]
    )

    class Reader:
        def get_next(self) -> Any:
            return next(given, None)

    with quiet_quantizer(tmp_path):
        quantize_static(
            floats.folder / GRAPH,
            tmp_path / "theirs.onnx",
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=outside,
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"], "CalibMovingAverage": moving},
        )
    ours = make(calibration={"samples": 16, "method": "moving-average" if moving else "minmax"})
    theirs = onnx.load(str(tmp_path / "theirs.onnx"))
    as_rows(theirs)
    if not moving:
        assert (ours.folder / GRAPH).read_bytes() == theirs.SerializeToString()
    for a, b in zip(onnx.load(str(ours.folder / GRAPH)).graph.initializer, theirs.graph.initializer, strict=True):
        integer = a.data_type == onnx.TensorProto.INT32  # in units of a scale
        np.testing.assert_allclose(
            numpy_helper.to_array(a), numpy_helper.to_array(b), rtol=1e-6, atol=float(integer), err_msg=a.name
        )


@pytest.mark.parametrize("use", ["quantize.static", "quantize.dynamic"])
def test_patterns_quantize_those_and_no_others(use: str, make: Make) -> None:
    hidden, neurons = 32, 64
    assert (
        weigh(make(use, scope={"include": ["layer.1/intermediate", "query"]}).folder / GRAPH).int8
        == hidden * neurons + 2 * hidden**2
    )
    assert (
        weigh(make(use, scope={"include": ["layer.*"], "exclude": ["attention", "layer.0"]}).folder / GRAPH).int8
        == 2 * hidden * neurons
    )
    everything = weigh(make(use).folder / GRAPH).int8
    assert everything - weigh(make(use, scope={"exclude": ["classifier"]}).folder / GRAPH).int8 == 2 * hidden


@pytest.mark.parametrize("use", ["quantize.static", "quantize.dynamic"])
def test_a_word_table_in_4_bits_computes_what_its_rounded_numbers_do(
    use: str, floats: State, make: Make, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph whose table stayed in float, but for the rounded numbers, gives the same logits."""
    from edgeopt.transforms.quantize import tables

    monkeypatch.setattr(tables, "ROWS", 30)  # the words of the model, and its positions
    names = ["word_embeddings", "position_embeddings"]
    made = onnx.load(str(make(use, word_table="int4").folder / GRAPH))
    assert [n.op_type for n in made.graph.node if any(f"/{name}/" in n.name for name in names)] == [
        "GatherBlockQuantized"
    ] * 2
    model = onnx.load(str(make(use, scope={"exclude": names}).folder / GRAPH))
    for table in (t for t in model.graph.initializer if any(name in t.name for name in names)):
        values, scales, zeros = tables.rounded(numpy_helper.to_array(table))
        table.CopyFrom(
            numpy_helper.from_array(((values.astype(np.float32) - zeros) * scales).astype(np.float32), table.name)
        )
    rows = split(tiny_data)
    np.testing.assert_allclose(logits(made, floats.folder, rows), logits(model, floats.folder, rows), atol=1e-6)


def test_matrices_in_4_bits_compute_what_their_rounded_numbers_do(
    floats: State, make: Make, tiny_data: Path, tmp_path: Path
) -> None:
    """The dequantized matrices are those of a search by numpy; the rest of the graph is that of int8."""
    from edgeopt.models.four_bits import rounded, scales

    four, eight = (make(weights=bits).folder / GRAPH for bits in ("int4", "int8"))
    graph = onnx.load(str(four)).graph
    assert {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.INT4} == {
        n.input[0] for n in graph.node if n.op_type == "Cast" and "int4" in n.input[0]
    }
    wanted, found = (qdq.dequantized(path) for path in (eight, four))
    assert wanted.keys() == found.keys()
    float_graph = qdq.load(floats.folder / GRAPH).graph
    constants = {t.name: numpy_helper.to_array(t) for t in float_graph.initializer}
    for node in weighted(float_graph):
        if node.op_type == "MatMul" and "/layer." in node.name:
            rows = constants[node.input[1]].T
            steps = scales(rows)
            np.testing.assert_allclose(found[node.name].T, rounded(rows, steps) * steps[:, None], atol=1e-6)
    assert sum(not np.array_equal(found[n], wanted[n]) for n in found) == 6 * 2, "pooler and head stay in 8 bits"
    assert size_of(four) < size_of(eight)
    report = make(weights="int4", bias_correction=True, smoothquant={"alpha": 0.5}).figures
    assert report["corrected_biases"] > 0
    with pytest.raises(EdgeoptError) as caught:
        make(weights="int4", scope={"include": ["pooler"]})
    assert caught.value.issues[0].code == "E402" and "int4" in str(caught.value)


@pytest.mark.parametrize("use", ["quantize.static", "quantize.dynamic"])
def test_a_pattern_that_matches_nothing_is_refused(use: str, make: Make) -> None:
    with pytest.raises(EdgeoptError) as caught:
        make(use, scope={"exclude": ["pooled"]})
    (issue,) = caught.value.issues
    assert issue.code == "E106" and "did you mean 'pooler'?" in str(issue.help)


def test_padding_of_choices_is_not_seen(floats: State, tmp_path: Path) -> None:
    """A question's choices differ in length and are padded to the longest: ranges and means are those of each alone."""
    import helpers

    words, graph = helpers.WORDS, qdq.load(floats.folder / GRAPH)
    tensors = activations(graph.graph, [])
    choices = [" ".join(words[:n]) for n in (1, 9, 4)]
    encoded = list(feeds(floats.folder, Split("x", tuple((c,) for c in choices), (0, 0, 0)), classification())())
    width = max(f["input_ids"].shape[1] for f in encoded)
    padded = {
        k: np.concatenate([np.pad(f[k], ((0, 0), (0, width - f[k].shape[1]))) for f in encoded]) for k in encoded[0]
    }
    found = []
    for given in ([padded], encoded):
        watching = {t: [Channels(), MinMax()] for t in tensors}
        observe(graph, watching, lambda given=given: iter(given), tmp_path)  # type: ignore[misc]
        found.append(watching)
    for tensor in tensors:
        (a, b), (c, d) = found[0][tensor], found[1][tensor]
        np.testing.assert_allclose(a.mean, c.mean, atol=1e-5)
        np.testing.assert_allclose(b.range(), d.range(), atol=1e-5)
        assert a.rows == c.rows


def test_smoothing_changes_nothing_in_float_and_evens_the_channels(
    floats: State, tiny_data: Path, tmp_path: Path
) -> None:
    model, rows = qdq.load(floats.folder / GRAPH), split(tiny_data)
    tensors = activations(model.graph, [])

    def channels(of: Any) -> dict[str, Channels]:
        watching = {t: [Channels()] for t in tensors}
        observe(of, watching, feeds(floats.folder, rows, classification()), tmp_path)
        return {t: c for t, (c,) in watching.items()}

    before = channels(model)
    made = qdq.load(floats.folder / GRAPH)
    count = smooth.smooth(made, {t: c.largest for t, c in before.items()}, [], 0.5)
    assert count == 4  # before the attention and the feed-forward part of two layers; the last one goes to the pooler
    np.testing.assert_allclose(
        logits(made, floats.folder, rows), logits(floats.folder / GRAPH, floats.folder, rows), atol=1e-5
    )
    after = channels(made)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    queries = [
        n
        for n in model.graph.node
        if n.name.endswith(("layer.1/attention/self/query/MatMul", "self/key/MatMul", "self/value/MatMul"))
    ]
    tensor = next(n.input[0] for n in queries if "layer.1" in n.name)
    weights = np.abs(np.concatenate([constants[n.input[1]] for n in queries if n.input[0] == tensor], 1)).max(1)
    expected = before[tensor].largest ** 0.5 / weights**0.5  # by hand
    np.testing.assert_allclose(before[tensor].largest / after[tensor].largest, expected, rtol=1e-4)
    np.testing.assert_array_equal(smooth.factors(np.array([0.0, 4.0]), np.array([1.0, 1.0]), 0.5), [1, 2])


def test_bias_correction_by_hand(floats: State, make: Make, tiny_data: Path, tmp_path: Path) -> None:
    """The mean output of each product, with weights rounded and inputs as they are, is again the float product's."""
    model, rows = qdq.load(floats.folder / GRAPH), split(tiny_data)
    watching = {t: [Channels()] for t in activations(model.graph, [])}
    observe(model, watching, feeds(floats.folder, rows, classification()), tmp_path)
    rounded = qdq.dequantized(make().folder / GRAPH)
    made = qdq.load(floats.folder / GRAPH)
    count = bias.correct(made, rounded, {t: c.mean for t, (c,) in watching.items()})
    constants = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert count == len(rounded) == 2 * 6 + 2
    for old, new in zip(model.graph.node, made.graph.node, strict=True):
        if old.name.endswith("layer.0/output/dense/MatMul"):
            (adder,) = [n for n in made.graph.node if new.output[0] in n.input]
            (plain,) = [n for n in model.graph.node if old.output[0] in n.input]
            shift = next(constants[i] for i in adder.input if i in constants) - next(
                weights[i] for i in plain.input if i in weights
            )
            mean = watching[old.input[0]][0].mean
            np.testing.assert_allclose(mean @ rounded[old.name] + shift, mean @ weights[old.input[1]], atol=1e-6)
            assert np.abs(shift).max() > 0


def test_every_option_runs_and_says_what_it_did(make: Make, floats: State, tiny_data: Path) -> None:
    state = make(
        calibration={"samples": 16, "method": "mse"},
        smoothquant={"alpha": 0.5},
        bias_correction=True,
        exclude_worst=2,
        activations="symmetric",
    )
    # two of fourteen products stay
    assert state.figures["smoothed_norms"] == 4 and state.figures["corrected_biases"] == 12
    assert len(state.figures["kept_float"]) == 2 and state.figures["calibration_rows"] == 16
    ranking = state.figures["sensitivity"]
    assert [name for name, _ in ranking["nodes"][:2]] == state.figures["kept_float"]
    assert ranking["blocks"] == sorted(ranking["blocks"], key=lambda b: -b[1])
    constants = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(state.folder / GRAPH)).graph.initializer}
    assert {int(z) for name, z in constants.items() if name.endswith("LayerNormalization_output_0_zero_point")} <= {
        127,
        128,
    }
    rows = split(tiny_data)
    assert (
        np.abs(
            logits(state.folder / GRAPH, state.folder, rows) - logits(floats.folder / GRAPH, floats.folder, rows)
        ).max()
        < 0.5
    )


def test_sixteen_bits_for_chosen_activations(make: Make, tiny_data: Path) -> None:
    state = make(activations_16bit=["layer.*/intermediate"])
    graph = onnx.load(str(state.folder / GRAPH)).graph
    wide = [t.name for t in graph.initializer if t.data_type == onnx.TensorProto.UINT16]
    assert len(wide) == 2 and all("intermediate" in name for name in wide)
    assert np.isfinite(logits(state.folder / GRAPH, state.folder, split(tiny_data))).all()


def test_seven_bits(make: Make) -> None:
    for use in ("quantize.static", "quantize.dynamic"):
        graph = onnx.load(str(make(use, reduce_range=True).folder / GRAPH)).graph
        values = [
            numpy_helper.to_array(t)
            for t in graph.initializer
            if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 2
        ]
        assert values and max(int(np.abs(v.astype(int)).max()) for v in values) <= 64


def test_auto_stops_where_the_margin_holds(make: Make) -> None:
    found = make(policy="auto", tolerance={"kl": 10.0}).figures["policy"]
    (tried,) = found["tried"]
    assert (
        found["held"]
        and found["chosen"] == tried["remedies"]
        and 0 <= tried["low"] <= tried["kl"] <= tried["high"] < 10
    )


def test_auto_tries_everything_and_ships_the_nearest(make: Make) -> None:
    state = make(policy="auto", tolerance={"kl": 1e-15})
    found = state.figures["policy"]
    assert not found["held"] and len(found["tried"]) == 5 + 4
    best = min(found["tried"], key=lambda t: t["kl"])
    assert found["chosen"] == best["remedies"]
    assert best["kl"] < found["tried"][0]["kl"]
    assert "sensitivity" in state.figures


def test_auto_by_metric_and_by_agreement(make: Make) -> None:
    by_metric = make(policy="auto").figures["policy"]
    assert by_metric["held"] is None, "a few rows cannot tell"
    assert by_metric["tolerance"] == {"max_drop": 0.005, "rows": 2048} and by_metric["queries"] < 500
    assert by_metric["chosen"] == min(by_metric["tried"], key=lambda t: t["kl"])["remedies"]
    by_agreement = make(policy="auto", tolerance={"agreement": 0.05}).figures["policy"]
    assert by_agreement["held"] and by_agreement["tried"][0]["low"] > 0.05


REMEDIES: dict[str, Any] = {
    "calibration": {"samples": 16, "method": "mse"},
    "smoothquant": {"alpha": 0.5},
    "bias_correction": True,
}


def test_weights_beside_the_graph_change_nothing(
    make: Make,
    floats: State,
    tiny_model: Path,
    tiny_data: Path,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Above the limit of protobuf, made small here, lowering and both ways to int8 leave the same graphs.

    They have all of their files, and the exporters carry them.
    """
    from edgeopt.transforms.quantize import tables

    # as where the state with a word table in 4 bits was made that the module's tests share
    monkeypatch.setattr(tables, "ROWS", 30)
    plain = {"floats": floats, "static": make(**REMEDIES), "dynamic": make("quantize.dynamic", word_table="int4")}
    shutil.copytree(store, tmp_path / "store")
    for state in Store(tmp_path / "store").states():
        if Fact.ONNX in state.facts:
            shutil.rmtree(state.folder)
    monkeypatch.setattr(graph_files, "INSIDE", 50_000)  # the float graph has 97 kB of weights
    found = {}
    for name, use, params in (
        ("static", "quantize.static", REMEDIES),
        ("dynamic", "quantize.dynamic", {"word_table": "int4"}),
    ):
        steps = [step(registry.get("finetune"), TRAIN, "tune"), step(registry.get(use), params, "int8")]
        done = build(steps, model=tiny_model, data=tiny_data, store=tmp_path / "store")
        found |= {"floats": done.lowered("candidate"), name: done.final("candidate")}
    assert {"model.onnx", "model.onnx_data"} <= found["floats"].files.keys() and floats.files.keys().isdisjoint(
        {"model.onnx_data"}
    )
    assert state_bytes(found["floats"]) > found["floats"].files["model.onnx_data"]["size"] > 90_000
    for name, state in found.items():
        assert weigh(state.folder / GRAPH).nonzero == weigh(plain[name].folder / GRAPH).nonzero
        # what lies between tensors
        assert abs(size_of(state.folder / GRAPH) / size_of(plain[name].folder / GRAPH) - 1) < 0.2
        assert state.figures["peak_rss_bytes"] > 50e6
        if name != "floats":
            assert (state.folder / GRAPH).read_bytes() == (plain[name].folder / GRAPH).read_bytes()
            assert abs(state.figures["size_ratio"] - plain[name].figures["size_ratio"]) < 0.05
    rows = split(tiny_data)
    np.testing.assert_array_equal(
        logits(found["floats"].folder / GRAPH, floats.folder, rows), logits(floats.folder / GRAPH, floats.folder, rows)
    )
    for format in ("onnx", "transformers-js"):
        check_exporter(exporter(format), state=found["floats"], work=tmp_path / format)
    config = json.loads((tmp_path / "transformers-js" / "default" / "a" / "config.json").read_text())
    assert config["transformers.js_config"]["use_external_data_format"] == {"model.onnx": 1}
    with pytest.raises(AssertionError, match="2 GB at most"):
        check_exporter(exporter("ort"), state=found["floats"], work=tmp_path / "ort")


def test_scores_have_a_policy_too(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    steps = [
        *steps_towards(frozenset({Fact.TRAINED_HEAD})),
        step(
            registry.get("quantize.static"),
            {"calibration": {"samples": 8}, "policy": "auto", "tolerance": {"kl": 0.5}},
            "int8",
        ),
    ]
    done = build(
        steps, model=tiny_model, data=tiny_data, store=tmp_path, label="score", task={"type": "text-regression"}
    )
    (tried, *_) = done.final("candidate").figures["policy"]["tried"]
    assert tried["agreement"] is None and tried["kl"] > 0


def test_products_of_activations_stay_float(make: Make) -> None:
    graph = onnx.load(str(make().folder / GRAPH)).graph
    produced = {o for n in graph.node if n.op_type == "DequantizeLinear" for o in n.output}
    products = [n for n in graph.node if n.op_type == "MatMul" and n.name.rpartition("/")[0].endswith("self")]
    assert len(products) == 4 and not [n.name for n in products if produced & set(n.input)]


def test_calibration_needs_no_more_memory_for_more_rows(floats: State, tiny_data: Path, tmp_path: Path) -> None:
    """Kept activations of 2,048 rows would be 100 MB here."""
    from benchmarks.calibration_memory import peak

    rows = [texts(tiny_data)[0] * 3] * 2048
    shutil.copytree(floats.folder, tmp_path / "model")
    few, many = (peak(tmp_path / "model", rows[:n], "percentile", max_length=32) for n in (64, 2048))
    assert many <= 1.1 * few
