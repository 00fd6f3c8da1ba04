"""A short text that says what a long one says: XSum, CNN/DailyMail and the like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgeopt.models.anatomy import Anatomy
from edgeopt.support.errors import Place
from edgeopt.tasks import columns, greedy
from edgeopt.tasks.base import IGNORED, Feed, Run, Texts, Values
from edgeopt.tasks.counted import CountedTask
from edgeopt.tasks.encode import Encoder, Features, Ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Summarization(CountedTask):
    """A summary of a document, by a pair made of one encoder's checkpoint.

    The pair is an encoder that reads the document and a decoder that writes (models/pair.py). A row's texts are the
    document and the reference; a query shows the decoder the reference, as in training: parity, calibration and latency
    are those of one such pass. The outputs that count are the texts that the model writes greedily by itself, arrays of
    str. ROUGE is that of Lin (2004) by Google's rouge-score: F1, stemmed words.
    """

    auto_class: ClassVar[str] = "EncoderDecoderModel"
    known_metrics: ClassVar[tuple[str, ...]] = ("rouge1", "rouge2", "rougeL")
    default_metrics: ClassVar[tuple[str, ...]] = ("rouge1", "rouge2", "rougeL")
    sliced: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("rouge-score",)
    output_axes: ClassVar[dict[int, str]] = {0: "batch", 1: "target"}
    selects_by_loss: ClassVar[bool] = True
    has_classes: ClassVar[bool] = False
    has_decoder: ClassVar[bool] = True
    writes: ClassVar[bool] = True
    flat: ClassVar[bool] = False
    annotated: ClassVar[str | None] = "the decoder of summarization is shown the reference summary"
    reads: ClassVar[str | None] = "a document"
    pipeline: ClassVar[str | None] = "summarization"

    def takes(self, anatomy: Anatomy) -> bool:
        return anatomy.decodes

    @property
    def target_length(self) -> int:
        """The most tokens that a summary may have, both special tokens counted."""
        assert self.spec.target_length is not None
        return self.spec.target_length

    def read(self, row: columns.Cells, place: Place) -> columns.Raw:
        (column,), label = self.spec.columns, self.label_column
        columns.require(row, (column, label), place)
        document, summary = row[column], columns.text(row[label], label, place)
        # XSum has documents that are empty, and a dataset of the hub cannot be mended
        return (document if document == "" else columns.text(document, column, place), summary), summary, place

    def label(self, raw: object, place: Place) -> str:
        return str(raw)

    @property
    def outputs(self) -> int | None:
        return None

    def load(self, folder: Path) -> tuple[PreTrainedModel, list[str], list[str]]:
        from edgeopt.models import pair

        encoder = Encoder(folder, self.spec.max_length)
        start, end = encoder.ends
        return pair.load(folder, start=start, end=end, pad=encoder.pad_id)

    def encode(self, encoder: Encoder, texts: Sequence[Texts]) -> Features:
        """Queries for the rows, without padding. A document alone is one whose summary is to be written."""
        return encoder.summaries([(*row, "")[:2] for row in texts], self.target_length)

    def targets(self, features: Features, labels: Sequence[Any]) -> list[Any]:
        assert features.targets is not None
        return features.targets

    def label_batch(self, labels: list[Any], width: int) -> Values:
        longest = max(map(len, labels))
        return np.array([[*ids, *[IGNORED] * (longest - len(ids))] for ids in labels], dtype=np.int64)

    def answer(self, run: Run, feed: Feed, encoder: Encoder) -> str | None:
        """The summary; None where the model gave a word a score that is no number."""
        start, end = encoder.ends
        document = {name: values for name, values in feed.items() if name != "decoder_input_ids"}
        try:
            ids = greedy.write(run, document, start=start, end=end, max_length=self.target_length)
        except FloatingPointError:
            return None
        return str(encoder.tokenizer.decode(ids))

    def answer_batch(self, run: Run, queries: Sequence[Ids], encoder: Encoder) -> list[Any]:
        """The summary of each query, written one after another: each text ends where it ends."""
        return [self.answer(run, encoder.pad([ids]), encoder) for ids in queries]

    def stack(self, outputs: Sequence[Any]) -> Values:
        return np.array(outputs, dtype=object)

    def stack_labels(self, labels: Sequence[Any]) -> Values:
        return np.array(labels, dtype=object)

    @property
    def label_shape(self) -> Any:
        return str

    @property
    def output_shape(self) -> Any:
        return str | None

    def plain_label(self, label: object) -> str:
        return str(label)

    def plain_output(self, output: object, label: object) -> str | None:
        return None if output is None else str(output)

    def sound(self, labels: Values, outputs: Values) -> Values:
        return np.array([isinstance(text, str) for text in outputs], dtype=bool)

    def trivial(self, labels: Values, outputs: Values) -> dict[str, Values]:
        """Summaries that are fluent and of another document, and such as have what is in most references.

        The former are the references of the rows before, the latter the commonest words, as many as a reference has.
        """
        words = [text.split() for text in labels]
        counts = Counter(word for text in words for word in set(text))
        common = " ".join(word for word, _ in counts.most_common(round(float(np.mean([len(text) for text in words])))))
        found = {"writing the commonest words": np.full(len(labels), common, dtype=object)}
        return {**found, "writing the summary of another document": np.roll(labels, 1)} if len(labels) > 1 else found

    def predict(self, outputs: Values) -> Values:
        return outputs

    def counts(self, metric: str, labels: Values, outputs: Values) -> Values:
        """Each row's score and a one, shape (rows, 2)."""
        from rouge_score.rouge_scorer import RougeScorer

        score = RougeScorer([metric], use_stemmer=True).score
        return np.array(
            [(score(truth, text or "")[metric].fmeasure, 1.0) for truth, text in zip(labels, outputs, strict=True)]
        )

    def value(self, metric: str, counts: Values) -> Values:
        """The mean of the rows' scores."""
        return np.asarray(counts[:, 0] / counts[:, 1])

    def notes(self, labels: Values, outputs: Values) -> list[str]:
        words = np.mean([len((text or "").split()) for text in outputs])
        return [
            "A latency is that of one pass over the document and a whole reference summary. "
            "A summary takes a pass for each of its tokens, the last as long as this, as nothing is kept between "
            f"passes; the candidate's have {words:.0f} words on average."
        ]

    def key(self) -> Mapping[str, Any]:
        return {**super().key(), "max_target_length": self.target_length}
