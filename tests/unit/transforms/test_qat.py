"""Fake quantization against hand-computed numbers and torch's own, and learned ranges against the paper's formula.

And the graph against the model.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES, inputs, logits, tiny, traced
from torch import nn

from edgeopt.models.fake_quant import (
    U8,
    Activation,
    FakeQuantize,
    FakeQuantLinear,
    Quantizers,
    fake_quantized,
    graph_name,
    quantize,
)
from edgeopt.models.known import positions_known
from edgeopt.models.slicing import Kept, KeptLayer, cut
from edgeopt.training.ranges import RangeSchedule, calibrate


def test_rounding_by_hand() -> None:
    # halves go to the even neighbor; 0.24 and -0.27 are 2.4 and -2.7 steps; zero point 3, so the least value is -3
    # steps
    x = torch.tensor([0.24, -0.27, 0.25, 0.35, -9.0, 99.0])
    got = quantize(x, torch.tensor(0.1), torch.tensor(3.0), 0, U8)
    assert got.tolist() == pytest.approx([0.2, -0.3, 0.2, 0.4, -0.3, 25.2])


@pytest.mark.parametrize(("low", "high", "zero"), [(-128, 127, 0), (0, 255, 77)])
def test_forward_and_straight_through_are_torchs(low: int, high: int, zero: int) -> None:
    torch.manual_seed(0)
    x = (torch.randn(64, 8) * 9).requires_grad_()
    # a power of two: torch multiplies by the inverse
    ours = quantize(x, torch.tensor(0.125), torch.tensor(float(zero)), low, high)
    weights = torch.randn_like(x)
    (of_ours,) = torch.autograd.grad((ours * weights).sum(), x)
    theirs = torch.fake_quantize_per_tensor_affine(x, 0.125, zero, low, high)
    (of_theirs,) = torch.autograd.grad((theirs * weights).sum(), x)
    assert torch.equal(ours, theirs)
    assert torch.equal(of_ours, of_theirs)
    assert 0 < int((of_ours == 0).sum()) < x.numel()


def test_the_gradient_of_the_step_is_the_papers() -> None:
    """Esser et al. 2020, equation 3, value by value.

    Q_N = z and Q_P = 255 − z, and g = 1/√(N·Q) of section 2.2.
    """
    torch.manual_seed(0)
    x, size, zero = torch.randn(5, 4, 6) * 20, 0.11, 100
    step = torch.tensor(size, requires_grad=True)
    weights = torch.randn_like(x)
    (quantize(x, step, torch.tensor(float(zero)), 0, U8) * weights).sum().backward()
    expected = 0.0
    for v, w in zip(x.flatten().tolist(), weights.flatten().tolist(), strict=True):
        r = v / size
        slope = -zero if r <= -zero else 255 - zero if r >= 255 - zero else round(r) - r
        expected += w * slope
    assert step.grad is not None
    assert float(step.grad) == pytest.approx(expected / (4 * 6 * 255) ** 0.5, rel=1e-4)


def missed(broken: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    """How far a linear in 4 bits is from itself in float, as a share of its answers: rounded, and trained.

    Its 32 inputs are made of 4, so that many other integers answer the same, and rounding finds none of them.
    """
    torch.manual_seed(0)
    made = torch.randn(64, 4) @ torch.randn(4, 32)
    wanted = torch.nn.functional.linear(made, weight := torch.randn(8, 32))
    quantizers = Quantizers()
    linear: Any = nn.Linear(32, 8, bias=False)
    linear.__class__, linear.quantizers = FakeQuantLinear, quantizers
    linear.input_range = seen(quantizers, float(made.min()), float(made.max()))
    linear.read = (linear.input_range,)
    linear.weight.data = weight.clone()
    linear.in_four_bits()
    if broken:
        monkeypatch.setattr(FakeQuantize, "backward", staticmethod(lambda ctx, gradient: (0 * gradient, *[None] * 4)))

    def error() -> float:
        with torch.no_grad():
            return float((linear.eval()(made) - wanted).pow(2).mean() / wanted.pow(2).mean())

    before = error()
    adam = torch.optim.Adam(linear.parameters(), lr=3e-2)
    linear.train()
    for step in range(100):
        adam.param_groups[0]["lr"] = 3e-2 * (1 - step / 100)
        adam.zero_grad()
        (linear(made) - wanted).pow(2).mean().backward()
        adam.step()
    return before, error()


def test_training_through_the_rounding_beats_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """What QAT is for; and that the gradient through the rounding is what does it."""
    rounded, trained = missed(False, monkeypatch)
    assert trained < rounded / 2
    rounded, trained = missed(True, monkeypatch)
    assert trained == rounded


def test_biases_and_norms_may_have_a_rate_of_their_own() -> None:
    from edgeopt.models.anatomy import anatomy
    from edgeopt.training.optimizer import parameter_groups
    from edgeopt.transforms.quantize.qat import QatParams

    model = tiny("bert")
    eight, four, own = (
        QatParams.model_validate(given)
        for given in ({}, {"weights": "int4"}, {"weights": "int4", "learning_rate": 0.1, "bias_learning_rate": 0.2})
    )
    assert [(p.learning_rate, p.vector_rate) for p in (eight, four, own)] == [(5e-6, None), (1e-5, 5e-4), (0.1, 0.2)]
    groups = parameter_groups(
        model,
        {n for n, p in model.named_parameters() if p.dim() > 1},
        learning_rate=four.learning_rate,
        weight_decay=0.01,
        layer_decay=None,
        anatomy=anatomy("bert"),
        layers=3,
        vector_rate=four.vector_rate,
    )
    assert {(g["lr"], g["weight_decay"]): {p.dim() for p in g["params"]} for g in groups} == {
        (1e-5, 0.01): {2},
        (5e-4, 0.0): {1},
    }


def seen(quantizers: Quantizers, low: float, high: float) -> Activation:
    """The quantizer of a tensor that had these values."""
    found = Activation(quantizers, learned=0.0)
    found.low.fill_(low)
    found.high.fill_(high)
    return found


def test_weights_have_a_scale_for_each_channel_and_every_weight_learns() -> None:
    linear: Any = nn.Linear(3, 3, bias=False)
    quantizers = Quantizers()
    linear.__class__, linear.quantizers, linear.input_range, linear.read = (
        FakeQuantLinear,
        quantizers,
        None,
        (seen(quantizers, 0.0, 1.0),),
    )
    linear.weight.data = torch.tensor([[1.27, -0.013, 0.5], [0.0, 0.0, 0.0], [-2.54, 0.031, 0.0]])
    out = linear.train()(torch.eye(3)).T
    torch.testing.assert_close(out, torch.tensor([[1.27, -0.01, 0.5], [0.0, 0.0, 0.0], [-2.54, 0.04, 0.0]]))
    out.sum().backward()
    assert torch.equal(linear.weight.grad, torch.ones(3, 3)), "the largest too, which is at the end of the range"
    torch.testing.assert_close(linear.eval()(torch.eye(3)).T, out)
    linear.train()
    quantizers.calibrate = True
    assert torch.equal(linear(torch.eye(3)).T, linear.weight), "before quantization begins"


def test_evaluation_sums_integers_without_an_error() -> None:
    """64-bit integers by numpy, scaled once, where float sums of the rounded values would be off in the last digits."""
    rng = np.random.default_rng(0)
    quantizers = Quantizers()
    linear: Any = nn.Linear(384, 16)
    linear.__class__, linear.quantizers, linear.input_range = FakeQuantLinear, quantizers, seen(quantizers, -1.3, 2.9)
    linear.read = (linear.input_range,)
    x = torch.tensor(rng.normal(0.5, 0.7, (32, 384)), dtype=torch.float32)
    step, zero = (t.numpy() for t in linear.input_range.grid())
    weights = linear.grid()[0].detach().numpy()
    given = (np.rint(x.numpy() / step) + zero).clip(0, 255) - zero
    rounded = np.rint(linear.weight.detach().numpy() / weights)
    scale = weights[:, 0] * step
    sums = given.astype(np.int64) @ rounded.astype(np.int64).T + np.rint(linear.bias.detach().numpy() / scale).astype(
        np.int64
    )
    with torch.no_grad():
        assert np.array_equal(linear.eval()(x).numpy(), sums.astype(np.float32) * scale)
        torch.testing.assert_close(linear.train()(x), linear.eval()(x))


def test_a_range_follows_what_is_seen_and_always_holds_zero() -> None:
    one = Activation(Quantizers(observe=True), learned=0.0).train()
    one(torch.tensor([2.0, 10.0]))
    one(torch.tensor([3.0, 12.0]))
    one.average(0.5)
    assert (float(one.low), float(one.high)) == (2.0, 12.0), "the first time all the way, over all batches of a step"
    one(torch.tensor([-2.0, 8.0]))
    one.average(0.5)
    assert (float(one.low), float(one.high)) == (0.0, 10.0)
    one(torch.tensor([4.0, 20.0]))
    one.average(0.5)
    scale, zero = one.grid()
    assert (float(one.low), float(scale), float(zero)) == (2.0, pytest.approx(15 / 255), 0.0)
    one.freeze()
    one(torch.tensor([-99.0]))
    one.average(0.5)
    assert float(one.low) == 2.0


def test_padding_does_not_widen_a_range() -> None:
    quantizers = Quantizers(observe=True, real=torch.tensor([[True, True], [True, False]]))
    one = Activation(quantizers, learned=0.0).train()
    one(torch.tensor([[[1.0], [2.0]], [[3.0], [-50.0]]]))
    one.average(1.0)
    assert (float(one.low), float(one.high)) == (1.0, 3.0)


def test_a_frozen_learned_range_no_longer_learns() -> None:
    one = Activation(Quantizers(), learned=2.0).train()
    assert one.growth is not None
    one.low.fill_(-1.0)
    one.high.fill_(1.55)
    one.growth.data.fill_(0.25)
    assert one.grid()[0].item() == pytest.approx(0.015)
    one.freeze()
    one.growth.data.fill_(7.0)
    scale, zero = one.grid()
    assert (scale.item(), zero.item()) == (pytest.approx(0.015), 100.0)
    one(torch.ones(2, 3, requires_grad=True)).sum().backward()
    assert one.growth.grad == 0, "it is there, as several processes need one of every parameter"


@pytest.mark.parametrize(("follow", "observed"), [(0.0, 0), (0.1, 16)])
def test_the_schedule(follow: float, observed: int) -> None:
    quantizers = Quantizers(linears={"x": (None, Activation(Quantizers(), learned=0.0))})  # type: ignore[dict-item]
    schedule = RangeSchedule(quantizers, follow=follow, freeze_after=0.8)
    seen = []
    for step in range(20):
        schedule.on_step_begin(None, SimpleNamespace(global_step=step, max_steps=20), None)  # type: ignore[arg-type]
        seen.append((quantizers.observe, bool(quantizers.ranges[0].frozen)))
    assert seen == [(i < observed, i >= 16) for i in range(20)]


@pytest.mark.parametrize("int4", [False, True])
def test_all_that_rounds_goes_with_the_model_to_another_device(int4: bool) -> None:
    """A GPU, whose place torch's `meta` takes: there a tensor that stayed behind is an error too."""
    model = tiny("bert")
    files = set(model.state_dict())
    quantizers = fake_quantized(model, lambda name: True, learned=1.0, int4=int4)
    model.to("meta")
    stayed = [name for m in model.modules() for name, value in vars(m).items() if isinstance(value, torch.Tensor)]
    assert stayed == []
    assert {module.grid()[0].device.type for module, _ in quantizers.linears.values()} == {"meta"}
    assert {name.rpartition(".")[2] for name in {*model.state_dict()} - files} == {"low", "high", "frozen", "growth"}


def test_query_key_and_value_share_a_range_and_keep_their_names() -> None:
    model = tiny("bert")
    names = {n for n, _ in model.named_parameters()}
    quantizers = fake_quantized(model, lambda name: True, learned=0.0)
    assert {n for n, _ in model.named_parameters()} == names
    layer = "bert.encoder.layer.1.attention."
    ranges = [quantizers.linears[layer + n][1] for n in ("self.query", "self.key", "self.value", "output.dense")]
    assert ranges[0] is ranges[1] is ranges[2] is not ranges[3]
    assert len(quantizers.linears) == 3 * 6 + 2
    assert len(quantizers.ranges) == 3 * 4 + 2
    assert graph_name(layer + "self.query") == "/bert/encoder/layer.1/attention/self/query"
    assert set(quantizers.tables) == {f"bert.embeddings.{n}_embeddings" for n in ("word", "position", "token_type")}


def observed(model: Any, wanted: Any = lambda name: True, *, learned: float = 0.0, int4: bool = False) -> Quantizers:
    """The model, in place, in int8 with ranges from one batch."""
    quantizers = fake_quantized(model, wanted, learned=learned, int4=int4)
    calibrate(model, quantizers, [inputs()])
    return quantizers


def exported(model: Any, plain: Any, quantizers: Quantizers, folder: Path) -> Path:
    """The graph as the transform exports it, for the inputs of the tiny families."""
    from edgeopt.transforms.quantize.qat import write

    plain.load_state_dict(model.state_dict(), strict=False)
    plain.set_attn_implementation("eager")
    positions_known(plain, model)
    traced(plain, folder / "model.onnx")
    write(folder / "model.onnx", quantizers)
    return folder / "model.onnx"


def run(path: Path) -> Any:
    """ONNX Runtime's answer, with exact sums where the processor has no int8 dot product.

    On such a processor its sums overflow in 16 bits.
    """
    from edgeopt.export.session import open_session
    from edgeopt.support import host
    from edgeopt.testing.exporters import exact_query

    feed = {name: each.numpy() for name, each in zip(("ids", "mask"), inputs().values(), strict=True)}
    if host.cpu_flags() & {"avx512_vnni", "avx_vnni", "asimddp"}:
        return torch.from_numpy(open_session(path).run(None, feed)[0])
    return torch.from_numpy(np.asarray(exact_query(path, path.parent)(feed)).reshape(len(feed["ids"]), -1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_onnx_runtime_computes_what_torch_does(family: str, tmp_path: Path) -> None:
    import onnx

    model, plain = tiny(family), tiny(family)
    before = logits(model)
    quantizers = observed(model)
    path = exported(model, plain, quantizers, tmp_path)
    ours = logits(model)
    torch.testing.assert_close(run(path), ours, atol=2e-3, rtol=0)
    assert float((ours - before).abs().max()) > 5e-3, "int8 is seen in the logits"
    graph = onnx.load(str(path)).graph
    eights = {
        t.name: t
        for t in graph.initializer
        if t.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) and t.dims and len(t.dims) == 2
    }
    assert len(eights) == len(quantizers.linears) + len(quantizers.tables)
    assert sum(n.op_type == "QuantizeLinear" for n in graph.node) == len(quantizers.ranges), (
        "query, key and value read one"
    )
    floats = [t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 2]
    assert all(np.prod(t.dims) <= 32 * 4 for t in floats), (
        "no matrix is left in float but MPNet's table of position biases"
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_cut_model_with_learned_ranges(family: str, tmp_path: Path) -> None:
    kept = Kept(
        [KeptLayer(0, [1, 3], [0, 2, 5]), KeptLayer(1, [], [1]), KeptLayer(2, None, [])], hidden=list(range(20))
    )
    model, plain = tiny(family), tiny(family)
    for each in (model, plain):
        cut(each, kept)
    quantizers = observed(model, learned=2.0)
    for each in quantizers.ranges:
        assert each.growth is not None
        each.growth.data.fill_(-0.05)
    torch.testing.assert_close(run(exported(model, plain, quantizers, tmp_path)), logits(model), atol=2e-3, rtol=0)


@pytest.mark.filterwarnings("ignore")
def test_scope_and_the_products_that_run_in_int8(tmp_path: Path) -> None:
    """Each quantized product is one of onnxruntime's integer kernels, and no weight is dequantized at run time."""
    import onnx
    import onnxruntime as ort

    from edgeopt.models.anatomy import anatomy
    from edgeopt.transforms.quantize.scope import in_block

    bert = anatomy("bert")
    for scope, linears, products in (("mlp", 6, 6), ("attention", 12, 12), ("all", 20, 20)):
        model, plain = tiny("bert"), tiny("bert")
        quantizers = observed(model, lambda name, scope=scope: in_block(name, scope, bert))  # type: ignore[misc]
        assert len(quantizers.linears) == linears
        path = exported(model, plain, quantizers, tmp_path)
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(str(tmp_path / "optimized.onnx")).graph.node
        integer = [n for n in nodes if n.op_type in ("MatMulIntegerToFloat", "QGemm", "DynamicQuantizeMatMul")]
        assert len(integer) == products, sorted(n.op_type for n in nodes)
        assert sum(n.op_type == "DequantizeLinear" for n in nodes) == len(quantizers.tables)
