"""`Run`, the object for a finished run in a Python program."""

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
    """A finished run: its verdict, its figures, and its model, which makes predictions for texts.

    >>> run = Run("runs/tiny")
    >>> run.verdict, sorted(run.metrics)
    ('pass', ['accuracy', 'f1'])
    >>> run.model_dir.name
    'model'

    Opening a run checks every file in its folder against its digest, as the commands do. Raises InputError E115 if the
    folder is not a run, and E150 if a file was changed. In a notebook, a run is shown as the top of its report.
    """

    #: Whether the run was already finished, so that `apply` did not build or measure anything.
    kept: bool = False

    @checked
    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._run = sealed.open_run(Path(folder))

    @classmethod
    def of(cls, run: sealed.Run, *, kept: bool = False) -> Run:
        """Wrap a run that was just opened or written. Its files are not checked again."""
        made = cls.__new__(cls)
        made._run, made.kept = run, kept
        return made

    @property
    def folder(self) -> Path:
        """The run's folder, with the model, report, predictions, lock and log."""
        return self._run.folder

    @property
    def report(self) -> Report:
        """The content of report.json, as typed records."""
        return self._run.report

    @property
    def lock(self) -> dict[str, Any]:
        """The content of recipe.lock: the recipe with its defaults, and digests of all that affects the result."""
        return self._run.lock

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.report.recipe.name

    @property
    def verdict(self) -> Verdict:
        """The verdict of all gates together: `pass`, `fail` or `inconclusive`."""
        return self.report.verdict

    @property
    def gates(self) -> Sequence[Gate]:
        """Every gate, with its verdict, its bound and the reason."""
        return self.report.gates

    @property
    def metrics(self) -> dict[str, float]:
        """The optimized model's metrics, by name. For the FP32 baseline, see `run.report.baseline.metrics`."""
        return self.report.candidate.metrics

    @property
    def latency(self) -> Sequence[Latency]:
        """Latencies in milliseconds per query, each with its model (`subject`), `target` and length (`sequence`)."""
        return self.report.latency

    @property
    def warnings(self) -> Sequence[str]:
        """What to know before trusting the verdict."""
        return self.report.warnings

    @property
    def model_dir(self) -> Path:
        """The folder to ship, with the model, tokenizer.json, config.json, session.json and the model card."""
        return self.folder / MODEL

    @checked
    def predict(self, texts: Iterable[object], *, batch_size: int | None = None) -> list[Prediction]:
        """Predict with the shipped model, using its tokenizer, its class names and the options in session.json.

        >>> answers = Run("runs/tiny").predict(["good1 word2 good3", "bad4 word5"])
        >>> answers[0].label in ("0", "1") and 0.5 <= answers[0].probability <= 1
        True

        A text is a string. If the rows of the recipe have several texts, give a tuple in the order of the columns, or a
        mapping from column to text. For token classification, give a list of words. batch_size: how many texts go
        through the model together. The default is 32. For a dynamically quantized model the default is 1: its answers
        depend on what else is in the batch, and it was measured one text at a time.

        Raises InputError E303 or E304 for something that is not a text. The place of the error looks like `texts[3]`.
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
