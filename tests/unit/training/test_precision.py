"""What `precision: auto` means on a machine: shortcuts, the decision by given timings, and that it stays."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeopt.run import execute
from edgeopt.spec.recipe import TrainedStepParams
from edgeopt.step import registry
from edgeopt.support import host
from edgeopt.training import precision
from edgeopt.training.precision import Timings, asks, decide, decisions, known, settled

CONFIG = {"hidden_size": 384, "intermediate_size": 1536}


@pytest.fixture
def bf16_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cpu_flags", lambda: frozenset({"avx512f", "avx512_bf16"}))
    monkeypatch.setattr(host, "has_cuda", lambda: False)


def given(fp32: float, bf16: float, asked: list[tuple[int, int, int]]) -> object:
    def time_both(hidden: int, inner: int, threads: int) -> Timings:
        asked.append((hidden, inner, threads))
        return [fp32] * 5, [bf16] * 4 + [9.0]

    return time_both


@pytest.mark.usefixtures("bf16_flag")
@pytest.mark.parametrize(("fp32", "bf16", "chosen"), [(0.25, 0.5, "fp32"), (0.25, 0.24, "fp32"), (0.25, 0.1, "bf16")])
def test_the_quicker_one_is_taken_and_stays(fp32: float, bf16: float, chosen: str, tmp_path: Path) -> None:
    """The flag alone decides nothing: with avx512_bf16 and no AMX a step took 0.5 s in bf16 and 0.25 in fp32."""
    asked: list[tuple[int, int, int]] = []
    assert known(CONFIG, tmp_path) is None
    found = decide(CONFIG, tmp_path, given(fp32, bf16, asked))  # type: ignore[arg-type]
    assert found.precision == chosen and f"{fp32 * 1e3:.1f} ms in fp32 and {bf16 * 1e3:.1f} ms in bf16" in found.why
    assert asked == [(384, 1536, host.cpus())]
    again = decide(CONFIG, tmp_path, given(bf16, fp32, asked))  # type: ignore[arg-type]
    assert again == found == known(CONFIG, tmp_path) and len(asked) == 1, (
        "a resumed run has the precision that it began with"
    )
    assert decisions(tmp_path) == [f"{chosen} at 384 × 1536: {found.why}"]


@pytest.mark.usefixtures("bf16_flag")
def test_another_width_or_machine_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []
    decide(CONFIG, tmp_path, given(1.0, 2.0, asked))  # type: ignore[arg-type]
    for config, changes in (
        ({"dim": 768, "hidden_dim": 3072}, {}),
        (CONFIG, {"cpu_name": lambda: "another"}),
        (CONFIG, {"cpus": lambda: 63}),
    ):
        with monkeypatch.context() as patch:
            for name, value in changes.items():
                patch.setattr(host, name, value)
            assert known(config, tmp_path) is None
            decide(config, tmp_path, given(1.0, 2.0, asked))  # type: ignore[arg-type]
    assert [a[:2] for a in asked] == [(384, 1536), (768, 3072), (384, 1536), (384, 1536)] and asked[-1][2] == 63


def test_without_instructions_nothing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cpu_flags", lambda: frozenset({"avx2"}))
    monkeypatch.setattr(host, "has_cuda", lambda: False)
    for config in (CONFIG, None):
        found = known(config, tmp_path)
        assert found is not None and found.precision == "fp32" and not list(tmp_path.iterdir())


@pytest.mark.usefixtures("bf16_flag")
@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"decision": 3}', '{"decision": {"precision": "bf16"}}'])
def test_a_damaged_memory_is_measured_anew(text: str, tmp_path: Path) -> None:
    decide(CONFIG, tmp_path, given(1.0, 2.0, []))  # type: ignore[arg-type]
    (path,) = tmp_path.iterdir()
    path.write_text(text)
    assert known(CONFIG, tmp_path) is None and decisions(tmp_path) == []
    assert decide(CONFIG, tmp_path, given(2.0, 1.0, [])).precision == "bf16"  # type: ignore[arg-type]
    assert json.loads(path.read_text())["decision"]["precision"] == "bf16"


@pytest.mark.usefixtures("bf16_flag")
def test_a_model_that_is_not_here_is_not_decided(tmp_path: Path) -> None:
    assert known(None, tmp_path) is None


def test_it_is_replaced_wherever_it_stands() -> None:
    plain = TrainedStepParams()
    assert asks(plain) and settled(plain, "bf16").precision == "bf16" and plain.precision == "auto"
    cofi = registry.get("prune.cofi").Params.model_validate(
        {"sparsity": 0.5, "precision": "fp32", "recover": {"epochs": 1}}
    )
    found = settled(cofi, "bf16")
    assert (
        asks(cofi)
        and not asks(found)
        and found.model_dump()["precision"] == "fp32"
        and found.model_dump()["recover"]["precision"] == "bf16"
    )
    named = TrainedStepParams(precision="fp32")
    assert not asks(named) and settled(named, "bf16") is named


def test_it_is_really_measured_with_a_few_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(precision, "_SECONDS", 0.0)
    before = torch.random.get_rng_state()
    one, other = precision._time(16, 32, 1)
    assert len(one) == len(other) == 5 and min(*one, *other) > 0
    assert torch.equal(before, torch.random.get_rng_state()), "a training that follows draws the same numbers"


def test_nobody_is_told_of_a_measurement_where_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the instructions, and where it was measured before: the progress line is that of the decision alone."""
    said: list[str] = []
    plan: Any = SimpleNamespace(
        steps=[SimpleNamespace(params=SimpleNamespace(), label="")],
        source=SimpleNamespace(config=CONFIG),
        decided=lambda found: found.precision,
    )
    progress: Any = SimpleNamespace(during=lambda *_: pytest.fail("nothing is measured"), say=said.append)
    monkeypatch.setattr(execute, "asks", lambda _: True)
    monkeypatch.setattr(execute, "_width", lambda _: 16)
    monkeypatch.setattr(execute, "known", lambda *_: precision.Decision("fp32", "no instructions"))
    store: Any = SimpleNamespace(measured=Path("x"))
    found: Any = execute._decided(plan, store, progress)
    assert found == "fp32"
    assert said == ["precision: auto  fp32: no instructions"]
