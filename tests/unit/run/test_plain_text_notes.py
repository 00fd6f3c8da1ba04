"""What a report says of a training on plain text: held-out text, a loss that rose, and rows that the model has read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgeopt.run.findings.plain_text import text_notes
from edgeopt.tasks.split import Split

TEXT = {"tokens_seen": 12345, "name": "texts.txt", "address": "ab"}
ROWS = Split("validation", (("one",), ("two",)), (0, 1))


def notes(tmp_path: Path, **figures: Any) -> list[str]:
    state = SimpleNamespace(folder=tmp_path / "states" / "key", figures={"corpus": TEXT, **figures})
    done: Any = SimpleNamespace(step=SimpleNamespace(id="text"), state=state)
    return text_notes(done, ROWS)


def held_out(**ends: tuple[float, float]) -> dict[str, Any]:
    return {f"eval_held_out_{name}": [(0, before), (10, after)] for name, (before, after) in ends.items()}


def test_guesses_have_their_perplexity(tmp_path: Path) -> None:
    first, *_ = notes(tmp_path, curves=held_out(loss=(3.0, 2.0), accuracy=(0.4, 0.6)))
    assert first == (
        "'text' was trained on 12,345 tokens of texts.txt. On held-out text the loss of its guesses went from 3.000 to "
        "2.000 (perplexity 20.1 to 7.4), and 60.0% of them are right."
    )
    worse, *_ = notes(tmp_path, curves=held_out(loss=(3.0, 900.0), accuracy=(0.4, 0.1)))
    assert "It is worse than before" in worse and "(perplexity 20.1 to millions)" in worse


def test_a_detection_has_what_it_is_to_be_compared_with(tmp_path: Path) -> None:
    ends = {"loss": (0.7, 0.3), "accuracy": (0.5, 0.9), "replaced": (0.14, 0.1), "precision": (0.1, 0.8)}
    first, *_ = notes(tmp_path, curves=held_out(**ends, recall=(0.5, 0.25), auxiliary_accuracy=(0.0, 0.35)))
    assert "right about 90.0% of the tokens, of which 10.0% are replaced. It finds 25.0% of these, and 80.0%" in first
    assert "guesses 35.0% of the hidden tokens" in first
    blind, *_ = notes(tmp_path, curves=held_out(**ends, recall=(0.5, 0.0), auxiliary_accuracy=(0.0, 0.35)))
    assert "10.0% are replaced. It finds none of these. The auxiliary" in blind


def test_a_loss_that_rose_is_told(tmp_path: Path) -> None:
    rise = {"step": 340, "loss": 9.0, "lowest_step": 200, "lowest": 6.5, "last": 8.8}
    none, told, gone = notes(tmp_path, divergence=rise, curves={})
    assert none.endswith("No text was held out.")
    assert "diverged: at optimizer step 340 its loss was 9.000, and at step 200 it had been 6.500" in told
    assert "In the end it was 8.800" in told and "not in the store any more" in gone


def test_a_probe_is_told_with_its_rows(tmp_path: Path) -> None:
    told = {"metric": "f1", "rows": 60, "seconds": 1.0}
    _, note, _ = notes(tmp_path, probe=told, curves={"probe": [(0, 0.5), (10, 0.6), (20, 0.75)]})
    assert "On 60 rows held out of train, f1 was 0.5000 in the beginning and 0.7500 in the end" in note
