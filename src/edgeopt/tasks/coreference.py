"""Which mentions of a document are the same entity, asked of pairs of mentions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import count
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from edgeopt.support.errors import Place, bad_input
from edgeopt.support.reading import Count
from edgeopt.tasks import clusters, columns
from edgeopt.tasks.base import Texts, Values
from edgeopt.tasks.classification import Classification
from edgeopt.tasks.counted import CountedTask, matches
from edgeopt.tasks.encode import Features
from edgeopt.tasks.mentions import marked, pairs, read_document

#: Below this many documents a bootstrap of them is known to give bounds that are too narrow.
_FEW = 20


class Coreference(CountedTask, Classification):
    """Coreference of gold mentions, each of which is paired with some that stand before it (`pairs`).

    A row is a pair: the sentences of the earlier and the later mention, each with its mention between square brackets.
    The model says no or yes.

    accuracy, f1, precision and recall are those of pairs (of yes). For conll_f1 every mention joins the one before it
    that is most surely the same, where that is more likely than not; the clusters are scored by MUC, B³ and CEAFe,
    whose mean it is. Pairs of a document depend on one another, so bounds come from resampling documents.

    A label: (same, document, later mention, earlier mention, entity of the later, entity of the earlier).
    """

    has_labels: ClassVar[bool] = False
    known_metrics: ClassVar[tuple[str, ...]] = ("conll_f1", "f1", "precision", "recall", "accuracy")
    default_metrics: ClassVar[tuple[str, ...]] = ("conll_f1", "f1")
    sliced: ClassVar[bool] = False
    windowed: ClassVar[bool] = False
    one_class: ClassVar[bool] = False
    typed: ClassVar[bool] = False
    told_by_outputs: ClassVar[bool] = False
    annotated: ClassVar[str | None] = "the pairs of coreference are made of annotated mentions"
    reads: ClassVar[str | None] = (
        "two texts, the sentences of two mentions, the earlier first, each with its mention between square brackets "
        'as in "[ Ann ] slept ." and "She said [ she ] did ." '
        "(words apart by spaces, brackets of the text itself made round),"
    )

    @property
    def query_texts(self) -> int:
        return 2

    @cached_property
    def _rows_read(self) -> count[int]:
        """Numbers of the rows of the data: those of a JSON list on one line all have one place."""
        return count()

    def read_all(self, row: columns.Cells, place: Place) -> list[columns.Raw]:
        (column,), spec, number = self.spec.columns, self.spec.pairing, next(self._rows_read)
        columns.require(row, (column,), place)
        found: list[columns.Raw] = []
        for part, (sentences, mentions) in enumerate(read_document(row[column], column, place)):
            texts = [marked(sentences[m.sentence], m, spec.context) for m in mentions]
            for later, earlier in pairs(mentions, spec):
                label = ((number, part), later, earlier, mentions[later].entity, mentions[earlier].entity)
                found.append(((texts[earlier], texts[later]), label, place))
        return found

    @property
    def query_columns(self) -> tuple[str, ...]:
        return ("earlier", "later")

    def read_query(self, given: object, place: Place) -> Texts:
        """The two sentences of a pair, each with its mention between square brackets."""
        if isinstance(given, Mapping):
            columns.require(given, self.query_columns, place)
            given = [given[column] for column in self.query_columns]
        earlier, later, *more = columns.texts(given, "pair", place, least=2)
        if more:
            raise bad_input("E304", f"a pair is two texts, and not {len(more) + 2}", place=place)
        return earlier, later

    def classes(self, rows: Sequence[columns.Raw], given: Sequence[str] | None) -> list[str]:
        same = {later == earlier for _, (_, _, _, later, earlier), _ in rows}
        if len(same) == 1:
            which = (
                "every pair of mentions in train is of one entity"
                if True in same
                else "no two mentions that make a pair in train are one entity"
            )
            raise bad_input(
                "E305",
                which,
                help="there must be pairs of both kinds; pairs that are farther apart come with task.pairs.window",
            )
        return ["no", "yes"]

    def labels(self, rows: Sequence[columns.Raw]) -> tuple[tuple[int, ...], ...]:
        numbers: dict[Any, int] = {}
        return tuple(
            (int(later == earlier), numbers.setdefault((place, document), len(numbers)), *mentions, later, earlier)
            for _, (document, *mentions, later, earlier), place in rows
        )

    def documents(self, labels: Sequence[Any]) -> tuple[int, ...]:
        return tuple(label[1] for label in labels)

    def targets(self, features: Features, labels: Sequence[Any]) -> list[Any]:
        return [labels[row][0] for row in features.rows]

    def class_numbers(self, labels: Sequence[Any]) -> Sequence[int]:
        return [label[0] for label in labels]

    @property
    def label_shape(self) -> Any:
        return tuple[Annotated[int, Field(ge=0, le=1)], Count, Count, Count, int, int]

    def plain_label(self, label: Any) -> list[int]:
        return [int(x) for x in label]

    def counts(self, metric: str, labels: Values, outputs: Values) -> Values:
        """Right, predicted and true of each document, or the sums of conll_f1."""
        order = np.argsort(labels[:, 1], kind="stable")
        documents = np.split(order, np.flatnonzero(np.diff(labels[order, 1])) + 1)
        count = {"conll_f1": _clustered, "accuracy": _right}.get(metric, _same)
        return np.array([count(labels[rows], outputs[rows].astype(np.float64)) for rows in documents])

    def value(self, metric: str, counts: Values) -> Values:
        return clusters.conll_f1(counts) if metric == "conll_f1" else super().value(metric, counts)

    def units(self, labels: Values) -> tuple[int, str]:
        return len(np.unique(labels[:, 1])), "documents"

    def trivial(self, labels: Values, outputs: Values) -> dict[str, Values]:
        """Outputs by which no two mentions are one entity, and by which all are."""
        no, yes = (np.tile(np.eye(2)[c], (len(labels), 1)) for c in (0, 1))
        return {"taking every mention for an entity of its own": no, "taking all mentions for one entity": yes}

    def judged_by(self, metric: str) -> str:
        return "f1" if metric == "recall" else metric  # all that is asked for is found where every answer is yes

    def notes(self, labels: Values, outputs: Values) -> list[str]:
        documents = len(np.unique(labels[:, 1]))
        best = self.measure("conll_f1", labels, np.eye(2)[labels[:, 0]])
        few = ", so few that bounds are too narrow" if documents < _FEW else ""
        return [
            f"Coreference is that of gold mentions, {len(_mentions(labels))} in {len(labels)} pairs. "
            f"Bounds resample the documents, {documents} here{few}. "
            f"With every pair right conll_f1 would be {best:.4f}"
            + (": some antecedents are in no pair." if best < 1 else ".")
        ]


def _mentions(labels: Values) -> Values:
    return np.unique(np.concatenate([labels[:, [1, 2]], labels[:, [1, 3]]]), axis=0)


def _clustered(labels: Values, outputs: Values) -> Values:
    _, _, later, earlier, entity, earlier_entity = labels.T.tolist()
    gold = dict(zip([*later, *earlier], [*entity, *earlier_entity], strict=True))
    found = clusters.best_first(zip(later, earlier, (outputs[:, 1] - outputs[:, 0]).tolist(), strict=True))
    return clusters.sums(clusters.clusters(gold), clusters.clusters(found))


def _right(labels: Values, outputs: Values) -> tuple[int, int, int]:
    return int(np.sum(labels[:, 0] == outputs.argmax(1))), len(labels), len(labels)


def _same(labels: Values, outputs: Values) -> tuple[int, int, int]:
    return matches(set(np.flatnonzero(outputs.argmax(1)).tolist()), set(np.flatnonzero(labels[:, 0]).tolist()))
