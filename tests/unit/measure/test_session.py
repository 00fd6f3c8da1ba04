"""The runtime's options: choosing them, opening with them, saving the graph that they make."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgeopt
from edgeopt.export.exporter import Runnable
from edgeopt.export.session import changes, defaults, onnx_query, open_session, option_lines, save_optimized
from edgeopt.gates.artifact import find_artifact
from edgeopt.gates.decide import decide
from edgeopt.gates.evidence import Evidence
from edgeopt.measure import clock
from edgeopt.measure import session_choice as choice
from edgeopt.measure.latency import cold_starts, run_worker
from edgeopt.measure.memory import bounded
from edgeopt.measure.session_choice import best_options, changed
from edgeopt.results.model import Starts
from edgeopt.spec.recipe import GateSpec
from edgeopt.support.errors import InputError
from edgeopt.support.telemetry import ORT_LINES

HIDDEN = 16
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "load.md"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings of `input_ids` and their product with a matrix, added and normed: what the runtime fuses."""
    rng = np.random.default_rng(0)
    values = {
        "table": rng.standard_normal((10, HIDDEN)),
        "w": rng.standard_normal((HIDDEN, HIDDEN)),
        "scale": np.ones(HIDDEN),
        "bias": np.zeros(HIDDEN),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Add", ["x", "y"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "scale", "bias"], ["logits"], axis=-1),
    ]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "s"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", "s", HIDDEN])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in values.items()],
    )
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def operators(path: Path) -> set[str]:
    return {n.op_type for n in onnx.load(path).graph.node}


def answer(session: Any) -> Any:
    return session.run(None, {"input_ids": np.arange(8, dtype=np.int64).reshape(2, 4)})[0]


def test_the_graph_saved_optimized_stays_as_it_was_made(graph: Path, tmp_path: Path) -> None:
    options = {**defaults(1), "disabled_optimizers": ["SkipLayerNormFusion"], "enable_cpu_mem_arena": False}
    saved = tmp_path / "saved.onnx"
    alone = save_optimized(graph, options, saved)
    assert alone == {
        "intra_op_num_threads": 1,
        "enable_cpu_mem_arena": False,
        "graph_optimization_level": "ORT_DISABLE_ALL",
    }
    assert "LayerNormalization" in operators(saved)
    np.testing.assert_array_equal(answer(open_session(saved, alone)), answer(open_session(graph, options)))
    again = tmp_path / "again.onnx"
    save_optimized(saved, alone, again)
    assert operators(again) == operators(saved)
    # why it has options of its own: with the defaults the runtime fuses what it was told to leave apart
    save_optimized(saved, defaults(1), again)
    assert "SkipLayerNormalization" in operators(again)


OPTIONS: dict[str, Any] = {
    "intra_op_num_threads": 1,
    "session.intra_op.allow_spinning": "0",
    "disabled_optimizers": ["SkipLayerNormFusion", "BiasGeluFusion"],
    "enable_cpu_mem_arena": False,
    "enable_mem_pattern": False,
    "graph_optimization_level": "ORT_ENABLE_EXTENDED",
}


def test_the_lines_of_the_card_set_what_we_measure_with(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "session.json").write_text(json.dumps({"model.onnx": OPTIONS}))
    names: dict[str, Any] = {
        "json": json,
        "ort": ort,
        "folder": tmp_path,
        "file": "model.onnx",
        "options": ort.SessionOptions(),
    }
    exec(option_lines(), names)
    ours: list[Any] = []
    monkeypatch.setattr(ort, "InferenceSession", lambda path, options, **_: ours.append(options))
    open_session(graph, OPTIONS)
    for set_ in (names["options"], ours[0]):
        assert (set_.intra_op_num_threads, set_.enable_cpu_mem_arena, set_.enable_mem_pattern) == (1, False, False)
        assert set_.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        assert set_.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert (
            set_.get_session_config_entry("optimization.disable_specified_optimizers")
            == "SkipLayerNormFusion;BiasGeluFusion"
        )


WRITTEN = "written.txt"
#: What a folder from elsewhere must not set, besides other values of what it may.
FORBIDDEN: list[dict[str, Any]] = [
    {"optimized_model_filepath": WRITTEN},
    {"profile_file_prefix": WRITTEN, "enable_profiling": True},
    {"enable_profiling": True},
    {"session.save_model_format": "ORT"},
    {"session.optimized_model_external_initializers_file_name": WRITTEN},
    {"ep.context_file_path": WRITTEN},
    {"session.intra_op_thread_affinities": "1;2"},
    {"logid": WRITTEN},
    {"inter_op_num_threads": 1},
    {"__class__": 1},
    {"add_initializer": 1},
    {"register_custom_ops_library": WRITTEN},
    {"optimization.disable_specified_optimizers": "A"},
    {"": 1},
    {"intra_op_num_threads": 1_000_000},
    {"intra_op_num_threads": -1},
    {"intra_op_num_threads": True},
    {"intra_op_num_threads": "1"},
    {"enable_mem_pattern": 1},
    {"session.intra_op.allow_spinning": 1},
    {"session.intra_op.allow_spinning": "yes"},
    {"session.force_spinning_stop": None},
    {"graph_optimization_level": "ORT_ENABLE_EVERYTHING"},
    {"graph_optimization_level": ["ORT_ENABLE_ALL"]},
    {"disabled_optimizers": "all"},
    {"disabled_optimizers": ["A;B"]},
    {"disabled_optimizers": [1]},
    {"disabled_optimizers": ["A"] * 101},
]


@pytest.mark.parametrize("options", FORBIDDEN, ids=str)
def test_what_a_folder_from_elsewhere_must_not_set(
    options: dict[str, Any], graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in a gate, nor by any way to a session, nor by the lines of the card, which leave it out."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="refused"):
        open_session(graph, options)
    with pytest.raises(ValueError, match="refused"):
        Runnable(graph).open(options)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.onnx").write_bytes(graph.read_bytes())
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    (tmp_path / "model" / "session.json").write_text(json.dumps({"model.onnx": options}))
    with pytest.raises(InputError) as error:
        find_artifact(tmp_path / "model")
    assert error.value.issues[0].code == "E210"
    set_ = ort.SessionOptions()
    if not set(options) & {
        "disabled_optimizers",
        "graph_optimization_level",
        "session.intra_op.allow_spinning",
        "session.force_spinning_stop",
    }:
        exec(
            option_lines(),
            {"json": json, "ort": ort, "folder": tmp_path / "model", "file": "model.onnx", "options": set_}
            | _as_threads(options),
        )
        plain = ort.SessionOptions()
        for name in (
            "optimized_model_filepath",
            "profile_file_prefix",
            "enable_profiling",
            "logid",
            "inter_op_num_threads",
        ):
            assert getattr(set_, name) == getattr(plain, name)
        assert set_.intra_op_num_threads <= 256
    assert {p.name for p in tmp_path.iterdir()} == {"model"}


def _as_threads(options: dict[str, Any]) -> dict[str, Any]:
    """The card's lines leave values of the wrong type to the runtime, which refuses them."""
    number = options.get("intra_op_num_threads", options.get("enable_mem_pattern", 1))
    return {} if type(number) in (int, bool) else {"setattr": lambda *_: None, "min": lambda *_: None}


def test_the_documents_have_the_same_lines() -> None:
    assert option_lines() in PAGE.read_text(encoding="utf-8")


def test_options_are_set_in_one_place() -> None:
    """What opens sessions calls guard.py. The lines of card and documents are made of its own."""
    source, root = Path(edgeopt.__file__).parent, Path(__file__).parents[3]
    files = [p for folder in (source, root / "exporters") for p in folder.rglob("*.*") if p.suffix in (".py", ".j2")]
    assert [p.name for p in files if "disable_specified_optimizers" in p.read_text(encoding="utf-8")] == ["guard.py"]
    assert "session_options(onnxruntime, options)" in (source / "device" / "run.py").read_text(encoding="utf-8")
    assert all(ORT_LINES in path.read_text(encoding="utf-8") for path in (source / "device" / "run.py", PAGE))


def test_changes_add_up() -> None:
    options = changed(changed(defaults(2), {"disabled_optimizers": ["A"]}), {"disabled_optimizers": ["B"]})
    assert options == {**defaults(2), "disabled_optimizers": ["A", "B"]}
    assert changed(options, {"intra_op_num_threads": 1})["intra_op_num_threads"] == 1
    assert [c["intra_op_num_threads"] for c in changes(6) if "intra_op_num_threads" in c] == [3, 1]
    assert not any("intra_op_num_threads" in c or any("spinning" in name for name in c) for c in changes(1))


def simulate(
    monkeypatch: pytest.MonkeyPatch, milliseconds: Callable[[Mapping[str, Any]], float]
) -> list[Mapping[str, Any]]:
    """A clock that only queries move, each by the time its options take, give or take 5 %.

    Returns the options that were opened.
    """
    now, rng, opened = [0.0], np.random.default_rng(0), list[Mapping[str, Any]]()
    monkeypatch.setattr(choice, "time", SimpleNamespace(monotonic=lambda: now[0] / 1e3))
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter_ns=lambda: int(now[0] * 1e6)))
    monkeypatch.setattr(clock, "os", SimpleNamespace(open=Mock(side_effect=OSError), O_RDONLY=0))

    def open_query(options: Mapping[str, Any]) -> Callable[[Any], object]:
        opened.append(options)

        def query(_: Any) -> None:
            now[0] += milliseconds(options) * float(rng.normal(1, 0.05))

        return query

    simulate.open = open_query  # type: ignore[attr-defined]
    return opened


def test_what_is_quicker_is_kept_and_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def milliseconds(options: Mapping[str, Any]) -> float:
        level = 4 if options.get("graph_optimization_level") == "ORT_ENABLE_BASIC" else 1
        skip = 1.0 if "SkipLayerNormFusion" in options.get("disabled_optimizers", []) else 1.25
        return level * skip * (0.8 if options["intra_op_num_threads"] == 1 else 1.0)

    opened = simulate(monkeypatch, milliseconds)
    found = best_options(simulate.open, defaults(2), changes(2), [None], 2)  # type: ignore[attr-defined]
    assert found.options == {**defaults(2), "disabled_optimizers": ["SkipLayerNormFusion"], "intra_op_num_threads": 1}
    assert found.gain is not None
    assert found.gain.low < 1.25 / 0.8 < found.gain.high
    assert len(opened) == 1 + len(changes(2))


def test_without_a_gain_beyond_noise_the_defaults_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch, lambda options: 1.0 if "enable_mem_pattern" in options else 1.005)
    found = best_options(simulate.open, defaults(1), changes(1), [None], 1)  # type: ignore[attr-defined]
    assert (found.options, found.gain) == (defaults(1), None)


def test_the_time_is_bounded_and_a_slow_model_keeps_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds a query: one comparison of a few rounds, which says nothing."""
    opened = simulate(monkeypatch, lambda options: 1000.0 if options.get("disabled_optimizers") else 2000.0)
    found = best_options(simulate.open, defaults(1), changes(1), [None], 1)  # type: ignore[attr-defined]
    assert (found.options, found.gain) == (defaults(1), None)
    assert len(opened) == 2


def test_starts_are_fresh_processes_with_the_options(graph: Path) -> None:
    other = {**defaults(1), "graph_optimization_level": "ORT_DISABLE_ALL"}
    found = cold_starts(
        {"one": Runnable(graph, settings=defaults(1)), "other": Runnable(graph, settings=other)}, {"input_ids": [1, 2]}
    )
    for starts in found.values():
        assert len(starts.ms) == len(starts.peak_bytes) == 9
        assert all(0 < ms < 10_000 for ms in starts.ms)
        assert all(1e6 < peak < 1e9 for peak in starts.peak_bytes)


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    from edgeopt.support.errors import StepError

    with pytest.raises(StepError) as error:
        cold_starts({"gone": Runnable(tmp_path / "gone.onnx", settings=defaults(1))}, {"input_ids": [1]})
    assert "E409" in str(error.value) and "gone.onnx" in str(error.value)


def gate(base: list[float], candidate: list[float], **spec: Any) -> Any:
    def subject(ms: list[float]) -> Any:
        return SimpleNamespace(
            cold_start_ms=float(np.median(ms)),
            memory_peak_bytes=0,
            size_bytes=0,
            starts=Starts(ms=ms, peak_bytes=[0] * len(ms)),
        )

    timed = SimpleNamespace(target="here", named="EPYC", processor="AMD EPYC")
    return decide(
        GateSpec(metric="start.cold", **spec),
        cast(
            Evidence,
            SimpleNamespace(
                baseline=subject(base),
                candidate=subject(candidate),
                latency=[timed],
                same=False,
                task=SimpleNamespace(beside_baseline=()),
            ),
        ),
    )


def test_a_gate_on_starts_is_inconclusive_where_they_vary_around_its_bound() -> None:
    base, candidate = [100.0] * 9, [46.0, 47.0, 48.0, 49.0, 50.0, 51.0, 52.0, 53.0, 54.0]
    # the order statistics: the second is below the median at 98 % confidence, the third at 91 %
    found = gate(base, candidate, max_ratio=0.5)
    assert (found.verdict, found.value) == ("inconclusive", 0.5)
    assert 0.47 <= found.low <= 0.48 and 0.52 <= found.high <= 0.53
    assert gate(base, candidate, max_ms=55).verdict == "pass"
    assert gate(base, candidate, max_ms=45).verdict == "fail"


def test_few_starts_decide_what_is_far_and_say_why_they_leave_open_what_is_near() -> None:
    """The median's bootstrap of three starts is never beyond the largest, which it is under once in eight."""
    assert gate([100.0] * 3, [46.0, 50.0, 54.0], max_ms=500).verdict == "pass"
    assert gate([100.0] * 3, [46.0, 50.0, 54.0], max_ms=5).verdict == "fail"
    found = gate([100.0] * 3, [46.0, 50.0, 54.0], max_ms=54.5)
    assert found.verdict == "inconclusive"
    # Student's t of two degrees of freedom
    assert found.high == pytest.approx(50 * np.exp(2.92 * np.std(np.log([46, 50, 54]), ddof=1) / 3**0.5), rel=1e-3)
    assert "in 3 starts: too near to 54.5" in found.reason


def crafted(path: Path, *nodes: Any, tensors: Mapping[str, Any] | None = None) -> Path:
    """A graph of these nodes, from `input_ids` to `logits`, with an output before that."""
    given = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [None, None])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("other", "logits")]
    made = helper.make_graph(
        [helper.make_node("Cast", ["input_ids"], ["other"], to=TensorProto.FLOAT), *nodes],
        "g",
        [given],
        outputs,
        [numpy_helper.from_array(np.array(v), k) for k, v in (tensors or {}).items()],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_a_graph_that_fails_on_a_row_commands_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = "\x1b]0;owned\x07\n::error file=x::injected"
    path = crafted(
        tmp_path / "m.onnx",
        helper.make_node("Gather", ["table", "input_ids"], ["logits"], name=name),
        tensors={"table": np.zeros(2, np.float32)},
    )
    query = onnx_query(path, {}, limited=True)
    assert query({"input_ids": np.array([[1]])}).tolist() == [[0.0]]  # of `logits`, which is not the first
    with pytest.raises(InputError, match="cannot answer a query") as caught:
        query({"input_ids": np.array([[2]])})
    assert caught.value.issues[0].code == "E212" and "\n" not in caught.value.issues[0].message
    with pytest.raises(InputError, match="cannot answer a query") as caught:
        run_worker(
            "edgeopt.measure.cold_worker",
            {
                "imports": [],
                "graphs": {"a": Runnable(path).as_json()},
                "row": {"input_ids": [7]},
                "repeats": 1,
                "at_least": 1,
                "max_seconds": 1,
            },
        )
    assert caught.value.issues[0].code == "E212"
    assert capfd.readouterr() == ("", "")


def test_a_query_that_does_not_end_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeopt.export.session.PATIENCE", 0.2)
    inside = [helper.make_node("Identity", ["going"], ["on"]), helper.make_node("Add", ["x", "x"], ["y"])]
    values = [
        helper.make_tensor_value_info(n, t, s)
        for n, t, s in (("i", TensorProto.INT64, []), ("going", TensorProto.BOOL, []), ("x", TensorProto.FLOAT, None))
    ]
    made = [
        helper.make_tensor_value_info("on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
    ]
    loop = helper.make_node(
        "Loop", ["times", "yes", "other"], ["logits"], body=helper.make_graph(inside, "b", values, made)
    )
    times = [
        helper.make_node("ReduceMax", ["input_ids"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "large"], ["times"]),
    ]
    path = crafted(tmp_path / "m.onnx", *times, loop, tensors={"large": np.array(1 << 60), "yes": np.array(True)})
    query = onnx_query(path, {}, limited=True)
    assert query({"input_ids": np.array([[0]])}).tolist() == [[0.0]]
    with pytest.raises(InputError, match="takes more than"):
        query({"input_ids": np.array([[1]])})


@pytest.mark.skipif(sys.platform != "linux", reason="the bound is Linux's")
def test_a_tensor_out_of_nothing_is_not_made(tmp_path: Path) -> None:
    """64 GB and more, of a shape that the graph computes from its input."""
    import resource

    nodes = [
        helper.make_node("ReduceMax", ["input_ids"], ["most"], keepdims=1, axes=[0, 1]),
        helper.make_node("Reshape", ["most", "one"], ["m"]),
        helper.make_node("Concat", ["m", "m"], ["shape"], axis=0),
        helper.make_node("ConstantOfShape", ["shape"], ["logits"]),
    ]
    path, before = (
        crafted(tmp_path / "m.onnx", *nodes, tensors={"one": np.array([1])}),
        resource.getrlimit(resource.RLIMIT_AS),
    )
    with bounded(path.stat().st_size):
        query = onnx_query(path, {})
        assert query({"input_ids": np.array([[3]])}).shape == (3, 3)
        with pytest.raises(InputError, match="E212"):
            query({"input_ids": np.array([[1 << 20]])})
    assert resource.getrlimit(resource.RLIMIT_AS) == before
