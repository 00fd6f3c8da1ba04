"""A finished run as a Python program holds it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.results import sealed
from edgeopt.results.folder import MODEL
from edgeopt.run.arguments import checked

if TYPE_CHECKING:
    from edgeopt.results.model import Gate, Latency, Report, Verdict
    from edgeopt.run.predict import Prediction, Predictor


class Run:
    """A finished run: its verdict, its figures, and its model, which answers texts.

    >>> run = Run("runs/tiny")
    >>> run.verdict, sorted(run.metrics)
    ('pass', ['accuracy', 'f1'])
    >>> run.model_dir.name
    'model'

    Opening checks every file of the folder against its digest, as the commands do. Raises InputError E115 for what is
    no run's folder, and E150 where a file of it is not as it was written. In a notebook a run shows itself as the head
    of its report.
    """

    #: Whether `apply` found it finished, and built and measured nothing.
    kept: bool = False

    @checked
    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._run = sealed.open_run(Path(folder))

    @classmethod
    def of(cls, run: sealed.Run, *, kept: bool = False) -> Run:
        """A run that was just opened or written, whose files need not be checked again."""
        made = cls.__new__(cls)
        made._run, made.kept = run, kept
        return made

    @property
    def folder(self) -> Path:
        """Where everything is: model, report, predictions, lock and log."""
        return self._run.folder

    @property
    def report(self) -> Report:
        """All that report.json says, as typed records."""
        return self._run.report

    @property
    def lock(self) -> dict[str, Any]:
        """What recipe.lock says: the recipe with its defaults, and the digests of all that decided the result."""
        return self._run.lock

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.report.recipe.name

    @property
    def verdict(self) -> Verdict:
        """`pass`, `fail` or `inconclusive`: that of all gates together."""
        return self.report.verdict

    @property
    def gates(self) -> Sequence[Gate]:
        """Every gate with its verdict, its bound and the reason."""
        return self.report.gates

    @property
    def metrics(self) -> dict[str, float]:
        """The optimized model's metrics by their names. The FP32 baseline's are `run.report.baseline.metrics`."""
        return self.report.candidate.metrics

    @property
    def latency(self) -> Sequence[Latency]:
        """Milliseconds a query: `subject` says of which model, `target` and `sequence` where and at which length."""
        return self.report.latency

    @property
    def warnings(self) -> Sequence[str]:
        """What stands beside the verdict."""
        return self.report.warnings

    @property
    def model_dir(self) -> Path:
        """The folder that is shipped: the model, tokenizer.json, config.json, session.json and the model card."""
        return self.folder / MODEL

    @checked
    def predict(self, texts: Iterable[object], *, batch_size: int | None = None) -> list[Prediction]:
        """Ask the shipped model about texts, with the options of session.json, its tokenizer and its names of classes.

        >>> answers = Run("runs/tiny").predict(["good1 word2 good3", "bad4 word5"])
        >>> answers[0].label in ("0", "1") and 0.5 <= answers[0].probability <= 1
        True

        A text is a string; where the recipe's rows have several, a tuple in the order of its columns, or a mapping from
        columns to texts; for token classification a list of words. batch_size: how many share a pass through the model,
        by default 32. What a dynamically quantized model answers depends on what shares the pass, and it was measured
        with one text a pass, which is its default.

        Raises InputError E303 or E304 for what is no text, with the place `texts[3]`.
        """
        if isinstance(texts, str):
            texts = [texts]
        return self._predictor(texts, batch_size)

    @cached_property
    def _predictor(self) -> Predictor:
        from edgeopt.run.predict import Predictor, asked_of_run

        return Predictor(asked_of_run(self._run))

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.verdict})"

    def _repr_html_(self) -> str:
        from edgeopt.report.html import render_head

        return render_head(self.report)
