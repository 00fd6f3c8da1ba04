"""Which int8 remedies `policy: auto` settles on: what is sure decides, and a row that happens to flip does not."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeopt.statistics.bounds import accuracy_difference
from edgeopt.transforms.quantize import policy
from edgeopt.transforms.quantize.build import Remedies
from edgeopt.transforms.quantize.judge import Judged
from edgeopt.transforms.quantize.policy import Outcome, Tolerance, search

GIVEN = Remedies("minmax", None, False)


def judged(rows: int, lost: int, kl: float, gained: int = 0) -> Judged:
    """On so many rows, of which the float graph alone is right on `lost`."""
    base, candidate = np.ones(rows, bool), np.ones(rows, bool)
    candidate[:lost], base[lost : lost + gained] = False, False
    spread = np.random.default_rng(rows).exponential(size=rows)
    return Judged(
        kl * spread / spread.mean(), (base == candidate).astype(float), partial(accuracy_difference, base, candidate)
    )


def settled(tmp_path: Path, tolerance: Tolerance, *found: Judged) -> Outcome:
    """What is settled on, given what each graph does in turn; the last does as those after it."""
    built: list[str] = []

    def build(remedies: Remedies, path: Path) -> None:
        built.append(remedies.words())
        path.write_text(remedies.words())

    def judge(path: Path) -> Judged:
        return found[min(len(built), len(found)) - 1]

    names = [f"node-{i}" for i in range(20)]
    builder: Any = SimpleNamespace(names=names, build=build)
    ranking: Any = SimpleNamespace(nodes=[SimpleNamespace(name=n) for n in names])
    judging: Any = judge
    outcome = search(builder, judging, tolerance, GIVEN, lambda remedies, worst: ranking, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_text() == outcome.chosen.words()
    assert [t["remedies"] for t in outcome.tried] == built
    return outcome


DROP = Tolerance(max_drop=0.005)


@pytest.fixture(autouse=True)
def _graphs_are_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "copy_graph", shutil.copyfile)


def test_one_flipped_row_decides_nothing(tmp_path: Path) -> None:
    """A drop of .0067 is one row of 150: neither is the margin missed by it, nor held without."""
    for lost in (0, 1):
        outcome = settled(
            tmp_path,
            DROP,
            judged(150, lost, 0.02),
            judged(150, 1 - lost, 0.03),
            judged(150, 0, 0.01),
            judged(150, 0, 0.04),
        )
        assert outcome.held is None
        assert outcome.chosen == outcome.chosen.__class__("mse", None, False), (
            "the least KL of those that cost no speed"
        )
        assert len(outcome.tried) == 5 and not outcome.chosen.kept
        assert all(t["low"] < 0.005 < t["high"] for t in outcome.tried)


def test_what_is_sure_to_hold_ends_the_search(tmp_path: Path) -> None:
    outcome = settled(tmp_path, DROP, judged(4000, 0, 0.02))
    assert (outcome.held, outcome.chosen, len(outcome.tried)) == (True, GIVEN, 1)
    assert settled(tmp_path, Tolerance(kl=0.05), judged(150, 3, 0.02)).held is True  # every row has a share in the KL
    assert settled(tmp_path, Tolerance(agreement=0.9), judged(150, 3, 0.02)).held is True


def test_speed_is_paid_only_where_all_else_is_sure_to_miss(tmp_path: Path) -> None:
    worse = [judged(2000, 60, 0.1 - 0.01 * i) for i in range(5)]
    outcome = settled(tmp_path, DROP, *worse, judged(2000, 50, 0.04), judged(2000, 6, 0.02))
    assert (outcome.held, len(outcome.chosen.kept), len(outcome.tried)) == (None, 2, 7)
    outcome = settled(tmp_path, DROP, *worse)
    assert (outcome.held, len(outcome.tried)) == (False, 9)


def test_a_margin_is_said_to_hold_no_oftener_than_in_5_of_100(tmp_path: Path) -> None:
    """All remedies truly drop by just the margin, in rows that they share."""
    rng, wrong, margin, rows = np.random.default_rng(0), 0, Tolerance(max_drop=0.03), 600
    for _ in range(60):
        shared = rng.random(rows)
        tried = []
        for _ in range(5):
            u = np.where(rng.random(rows) < 0.8, shared, rng.random(rows))
            tried.append(judged(rows, int(np.sum(u < 0.05)), 0.01, int(np.sum(u > 0.98))))
        wrong += settled(tmp_path, margin, *tried).held is True
    assert wrong <= 6  # 3 on average at most; more than 6 in 60 would be chance once in thirty


def test_bounds_of_a_kl_need_two_rows() -> None:
    alone = Judged(np.array([0.1]), None, None)
    assert alone.kl_bounds(policy.CONFIDENCE)[1:] == (0.0, float("inf"))
