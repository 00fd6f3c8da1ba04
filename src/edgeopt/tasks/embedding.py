"""The embedding of a text, by which texts are compared: sentence-transformers' models, on pairs with a similarity."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from edgeopt.models.sentence import Sentence, embedding_width, sentence_in, stated
from edgeopt.models.source import CONFIG
from edgeopt.spec.recipe import EmbeddingLosses, PromptsSpec
from edgeopt.statistics.bounds import Bounds
from edgeopt.statistics.metric_bounds import (
    counted_bounds,
    counted_difference,
    is_constant,
    metric_bounds,
    metric_difference,
)
from edgeopt.support.errors import Place
from edgeopt.support.reading import Finite
from edgeopt.tasks import columns, ranking
from edgeopt.tasks.base import Answer, Label, Task, Texts, Values
from edgeopt.tasks.encode import Encoder, Features
from edgeopt.tasks.losses import LabelLoss
from edgeopt.tasks.metrics import METRICS
from edgeopt.tasks.pair_losses import PairLoss

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from edgeopt.spec.recipe import TaskSpec, Training
    from edgeopt.tasks.split import Split

#: The file beside the model that says how embeddings are stored in fewer bits.
STORED = "embeddings.json"
#: Columns of what is compared, from the end: the cosine to the baseline's embedding, and that of a constant.
AGREEMENT, CONSTANT = -2, -1


class Embedding(Task):
    """A vector for each text. Of a row of two texts the cosine of both is what is held against the label.

    An output of the model is an array (texts of the row, width). Of it and the baseline's `compared` makes the numbers
    that metrics are of: the cosine of a pair, the mean cosine to the baseline's embeddings of the same texts, and what
    that would be of one embedding for all texts, the baseline's mean.
    """

    auto_class: ClassVar[str] = "AutoModel"
    known_metrics: ClassVar[tuple[str, ...]] = ("spearman", "pearson", "agreement", *ranking.METRICS)
    default_metrics: ClassVar[tuple[str, ...]] = ("spearman", "pearson", "agreement")
    unlabelled_metrics: ClassVar[tuple[str, ...]] = ("agreement",)
    beside_baseline: ClassVar[tuple[str, ...]] = ("agreement",)
    searched_metrics: ClassVar[tuple[str, ...]] = ranking.METRICS
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = dict.fromkeys(default_metrics, (-1.0, 1.0))
    point_losses: ClassVar[tuple[str, ...]] = ("contrastive", "cosent", "cosine")
    embeds: ClassVar[bool] = True
    vector: ClassVar[str | None] = "embedding"
    files: ClassVar[tuple[str, ...]] = (CONFIG, STORED)
    has_classes: ClassVar[bool] = False
    softmax: ClassVar[bool] = False
    takes_prefix: ClassVar[bool] = False
    reads: ClassVar[str | None] = "a text"
    pipeline: ClassVar[str | None] = "sentence-similarity"

    #: Whether single texts are those of the second column, whose prompt stands before them.
    passages = False

    # rows

    def over(self, spec: TaskSpec) -> Embedding:
        made = Embedding(spec)
        made.passages = spec.text in self.spec.columns[1:] or (
            self.spec.passages is not None and spec.text == self.spec.passages.text
        )
        return made

    def over_passages(self, column: str) -> Embedding:
        """The task that embeds the texts of a column behind the prompt of passages, whatever the column is called."""
        made = self.over(self.spec.model_copy(update={"text": column}))
        made.passages = True
        return made

    def behind_others(self, folder: Path) -> dict[str, Embedding]:
        """The task that reads queries as passages, or behind no prompt, as far as that is not what it does."""
        sentence, column = self.sentence(folder), self.query_columns[0]
        found = {"passage": self.over_passages(column)} if sentence.passage != sentence.query else {}
        if sentence.query and sentence.passage:
            bare = self.spec.model_copy(update={"text": column, "prompts": PromptsSpec()})
            found["none"] = Embedding(bare)
        return found

    def label(self, raw: object, place: Place) -> Label:
        return columns.score(raw, place) if self.spec.label else 0.0

    def queries(self, texts: Sequence[Texts]) -> list[Texts]:
        return [(text,) for row in texts for text in row]

    @property
    def texts_a_row(self) -> int:
        """Texts of a row to train on."""
        return len(self.spec.columns)

    @property
    def query_texts(self) -> int:
        return 1

    @property
    def text_columns(self) -> tuple[str, ...]:
        return (*self.spec.columns, *([self.spec.passages.text] if self.spec.passages else []))

    @property
    def query_columns(self) -> tuple[str, ...]:
        """The column whose texts are embedded: of two the first."""
        return self.spec.columns[:1]

    def read_query(self, given: object, place: Place) -> Texts:
        """One text, or the first column of a row."""
        if isinstance(given, Mapping):
            columns.require(given, self.query_columns, place)
            given = given[self.query_columns[0]]
        return (columns.text(given, self.query_columns[0], place),)

    # model

    @property
    def outputs(self) -> int | None:
        return None

    @property
    def graph_outputs(self) -> tuple[str, ...]:
        return ("sentence_embedding", "last_hidden_state")

    def exported(self, model: Any, given: Mapping[str, Any]) -> tuple[torch.Tensor, ...]:
        """The embedding, and the last layer's states."""
        found = model(**given, output_hidden_states=True)
        return found.logits, found.hidden_states[-1]

    def head_options(self) -> dict[str, Any]:
        return {}

    def made(self) -> Mapping[str, Any]:
        spec = self.spec
        prompts = {} if spec.prompts is None else {"query": spec.prompts.query, "passage": spec.prompts.passage}
        kept = max(spec.dimensions) if isinstance(spec.dimensions, list) else spec.dimensions
        asked = {"pooling": spec.pooling, "normalize": spec.normalize, "dimensions": kept, **prompts}
        return {name: value for name, value in asked.items() if value is not None}

    def sentence(self, folder: Path) -> Sentence:
        """How the model of a folder makes embeddings, with what the recipe states in the place of what the folder says.

        Raises InputError E315 or E326.
        """
        return stated(sentence_in(folder) or Sentence(), self.made())

    def load(self, folder: Path) -> tuple[PreTrainedModel, list[str], list[str]]:
        from edgeopt.models import embedder

        return embedder.load(folder, self.sentence(folder))

    # features

    def encode(self, encoder: Encoder, texts: Sequence[Texts]) -> Features:
        sentence = self.sentence(encoder.path.parent)
        read = [(sentence.read(text, passage=self.passages or i > 0),) for row in texts for i, text in enumerate(row)]
        return Features(encoder.ids(read), [number for number, row in enumerate(texts) for _ in row])

    def training_rows(
        self, encoder: Encoder, split: Split, accepted: Collection[str]
    ) -> tuple[list[dict[str, Any]], Features]:
        """One query a row, of all its texts, which the model reads one by one."""
        flat = self.encode(encoder, split.texts).ids
        texts, rows = len(split.texts[0]) if len(split) else 1, []
        for number, label in enumerate(split.labels):
            padded = encoder.pad(flat[number * texts : (number + 1) * texts])
            rows.append({**{n: v.tolist() for n, v in padded.items() if n in accepted}, "labels": label})
        return rows, Features(rows, list(range(len(rows))))

    def training_loss(
        self, params: Training, weights: Sequence[float] | None, labels: Sequence[Any]
    ) -> LabelLoss | None:
        spec = params.of_pairs or self._usual_loss
        if spec is None:
            return None
        return PairLoss(spec, self.sizes, min(labels, default=0.0), max(labels, default=1.0))

    def label_loss(self, weights: Sequence[float] | None = None, smoothing: float = 0.0) -> LabelLoss:
        assert self._usual_loss is not None
        return PairLoss(self._usual_loss, self.sizes)

    def mean_loss(self, model: PreTrainedModel, batch: dict[str, Any], labels: Sequence[Any]) -> torch.Tensor:
        loss = self.label_loss()
        return loss({"logits": model(**batch).logits}, batch["labels"])

    @property
    def _usual_loss(self) -> EmbeddingLosses | None:
        """What pairs are trained by where a recipe does not say; None: single texts say nothing by themselves."""
        if self.texts_a_row < 2:
            return None
        return EmbeddingLosses(cosent=1.0) if self.spec.label else EmbeddingLosses(contrastive=1.0)

    def label_batch(self, labels: list[Any], width: int) -> Values:
        return np.array(labels, dtype=np.float32)

    def answer_numbers(self, folder: Path) -> int:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return self.texts_a_row * embedding_width(config)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of an embedding that are asked for, the most first; empty: all, and no fewer."""
        given = self.spec.dimensions
        return tuple(sorted({*given}, reverse=True)) if isinstance(given, list) else ()

    @property
    def selection_metric(self) -> str:
        return self.spec.metric_names[0] if self.spec.label else "loss"

    # outputs

    def gather(self, outputs: Sequence[Values], features: Features) -> Values:
        """The embeddings of each row's texts, (rows, texts, width)."""
        whole = np.stack([np.asarray(output) for output in outputs])
        return whole.reshape(features.rows[-1] + 1, -1, whole.shape[-1])

    def compared(self, outputs: Values, baseline: Values, labels: Sequence[Any]) -> Values:
        """(rows, 2 or more): see the class. A row with an embedding of no finite numbers has none."""
        ours, theirs = (ranking.unit(x) for x in (outputs, baseline))
        middle = ranking.unit(np.nanmean(theirs.reshape(-1, theirs.shape[-1]), axis=0))
        # an embedding of another width says nothing in the other's space
        alike = np.einsum("rtd,rtd->rt", ours, theirs) if ours.shape == theirs.shape else np.zeros(ours.shape[:2])
        found = [alike.mean(1), (theirs @ middle).mean(1)]
        if outputs.shape[1] == 2:
            cut = [ranking.unit(outputs[..., :size]) for size in self.sizes[1:]]
            found[:0] = [np.einsum("rd,rd->r", each[:, 0], each[:, 1]) for each in (ours, *cut)]
        whole = np.clip(np.stack(found, axis=1), -1.0, 1.0)
        whole[~np.isfinite(outputs).all(axis=(1, 2))] = np.nan
        return np.asarray(whole)

    def kept_of(self, outputs: Values) -> Values:
        """The cosines of pairs; of single texts only the agreement with the baseline is kept."""
        return self.compared(outputs, outputs, ())[:, :AGREEMENT]

    def stack_labels(self, labels: Sequence[Any]) -> Values:
        return np.array(labels, dtype=float)

    def plain_label(self, label: Any) -> float:
        return float(label)

    @property
    def label_shape(self) -> Any:
        return Finite

    @property
    def output_shape(self) -> Any:
        count = 2 + (1 + len(self.sizes[1:])) * (len(self.spec.columns) == 2)
        return Annotated[list[float], Field(min_length=count, max_length=count)]

    def shown(self, output: Any) -> Any:
        return output[0]

    def predict(self, outputs: Values) -> Values:
        """The cosine of each pair; where rows are single texts, that to the baseline's embedding."""
        return np.asarray(outputs[:, 0], dtype=float)

    def answers(self, outputs: Values) -> list[tuple[Answer, float | None]]:
        return [(None, None)] * len(outputs)

    def flips(self, before: Values, after: Values) -> tuple[int, int] | None:
        return None

    # metrics

    def measure(self, metric: str, labels: Values, outputs: Values) -> float:
        if metric == "agreement":
            return float(np.mean(outputs[:, AGREEMENT]))
        return METRICS[metric](labels, self.predict(outputs), 0)

    def difference(self, metric: str, labels: Values, base: Values, candidate: Values, confidence: float) -> Bounds:
        if metric == "agreement":
            return counted_difference(with_ones(base, AGREEMENT), with_ones(candidate, AGREEMENT), mean_of, confidence)
        return metric_difference(metric, labels, self.predict(base), self.predict(candidate), 0, confidence)

    def bounds(self, metric: str, labels: Values, outputs: Values, confidence: float) -> Bounds:
        if metric == "agreement":
            return counted_bounds(with_ones(outputs, AGREEMENT), mean_of, confidence)
        return metric_bounds(metric, labels, self.predict(outputs), 0, confidence)

    def trivial(self, labels: Values, outputs: Values) -> dict[str, Values]:
        same = np.zeros_like(outputs)
        same[:, AGREEMENT] = same[:, CONSTANT] = outputs[:, CONSTANT]
        return {"one embedding for all texts": same}

    def unmeasurable(self, metric: str, labels: Values) -> str | None:
        if metric == "agreement" or np.ptp(labels) > 0:
            return None
        return f"the labels of all {len(labels)} rows are the same, and no correlation with them is defined"

    def undefined(self, metric: str, labels: Values, outputs: Values) -> str | None:
        if metric == "agreement" or not is_constant(self.predict(outputs)):
            return None
        return "pairs all have the same cosine, and its correlation is not defined"

    def extra_metrics(self, labels: Values, outputs: Values) -> dict[str, float]:
        names = [n for n in self.unlabelled_metrics if n not in self.spec.metric_names]
        found = {name: self.measured(name, labels, outputs) for name in names}
        return {**found, **self._at_sizes(labels, outputs)}

    def _at_sizes(self, labels: Values, outputs: Values) -> dict[str, float]:
        """The correlations of embeddings of fewer numbers, where the recipe asks for some."""
        names = [name for name in self.spec.metric_names if name not in self.unlabelled_metrics]
        return {
            f"{name}@{size}": METRICS[name](labels, outputs[:, column], 0)
            for column, size in enumerate(self.sizes[1:], 1)
            for name in names
            if len(self.spec.columns) == 2
        }

    def notes(self, labels: Values, outputs: Values) -> list[str]:
        found = []
        if len(self.spec.columns) > 1 and self.spec.corpus is None:
            found.append(f"A latency is that of one text; a row of the data has {len(self.spec.columns)}.")
        if shown := ", ".join(f"{name} {value:.4f}" for name, value in self._at_sizes(labels, outputs).items()):
            found.append(f"The candidate's embeddings cut to their first numbers: {shown}.")
        if not outputs[:, AGREEMENT].any():
            found.append(
                "The candidate's embeddings have another width than the baseline's: an index of the one cannot be "
                "searched with the other, and their agreement is 0."
            )
        return found


def with_ones(outputs: Values, column: int) -> Values:
    """What each row adds to the sum of a column, and a one: what `mean_of` makes the mean of."""
    return np.stack([outputs[:, column], np.ones(len(outputs))], axis=1)


def mean_of(counts: Values) -> Values:
    """The means of sums over rows and their numbers, (draws, 2) to (draws,)."""
    return np.asarray(counts[:, 0] / counts[:, 1])
