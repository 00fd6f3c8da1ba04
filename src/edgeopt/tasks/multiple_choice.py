"""Which of several choices answers a question: CommonsenseQA, SWAG, ARC and the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, ClassVar, cast

from edgeopt.support.errors import Place, bad_input
from edgeopt.tasks import columns
from edgeopt.tasks.base import Texts, Values
from edgeopt.tasks.classification import Classification
from edgeopt.tasks.encode import Encoder, Features


class MultipleChoice(Classification):
    """The right one of several choices: each is read together with the question and gets one logit.

    Inputs and logits have the shapes (batch, choices, sequence) and (batch, choices), as transformers' models and
    optimum's exports have them. Every row has as many choices; the classes are their places: A, B, C …
    """

    auto_class: ClassVar[str] = "AutoModelForMultipleChoice"
    default_metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    windowed: ClassVar[bool] = False
    output_axes: ClassVar[dict[int, str]] = {0: "batch", 1: "choices"}
    has_choices: ClassVar[bool] = True
    one_query: ClassVar[bool] = False
    typed: ClassVar[bool] = False
    flat: ClassVar[bool] = False
    takes_prefix: ClassVar[bool] = False
    told_by_outputs: ClassVar[bool] = False
    reads: ClassVar[str | None] = "a question and its choices"
    pipeline: ClassVar[str | None] = "multiple-choice"

    @property
    def outputs(self) -> int | None:
        return None

    def read(self, row: columns.Cells, place: Place) -> columns.Raw:
        spec = self.spec
        columns.require(row, (*spec.columns, self.label_column), place)
        question, *choices = self.texts(row, place)
        given = row[spec.choices] if isinstance(spec.choices, str) else None
        named = given.get("label") if isinstance(given, Mapping) else None
        marks = tuple(named) if isinstance(named, list | tuple) else ()
        return (question, *choices), self._answer(row[self.label_column], marks, tuple(choices), place), place

    def texts(self, row: columns.Cells, place: Place) -> Texts:
        column, *others = self.spec.columns
        question = columns.text(row[column], column, place)
        if not isinstance(self.spec.choices, str):
            return (question, *(columns.text(row[c], c, place) for c in others))
        given = row[self.spec.choices]
        if isinstance(given, Mapping):
            columns.require(given, ("text",), place)
            given = given["text"]
        return (question, *columns.texts(given, self.spec.choices, place, least=2))

    def _answer(self, label: object, marks: Sequence[Any], choices: Texts, place: Place) -> int:
        """Place of the right choice: the label is its mark, its letter, its number from 0, or its text."""
        name = columns.word(label, place)
        for known in (
            [str(m) for m in marks],
            list(ascii_uppercase[: len(choices)]),
            [str(i) for i in range(len(choices))],
            list(choices),
        ):
            if known.count(name) == 1:
                return known.index(name)
        raise bad_input(
            "E304",
            f"the label {columns.short(label)} is not one of the {len(choices)} choices",
            place=place,
            help="give the right choice's letter, its number from 0, or its text",
        )

    def classes(self, rows: Sequence[columns.Raw], given: Sequence[str] | None) -> list[str]:
        count = len(rows[0][0]) - 1
        if count > len(ascii_uppercase):
            raise bad_input(
                "E304", f"the row has {count} choices, and may have {len(ascii_uppercase)}", place=rows[0][2]
            )
        return list(ascii_uppercase[:count])

    def label(self, raw: object, place: Place) -> int:
        return cast(int, raw)  # as `read` gives it

    def check(self, rows: Sequence[columns.Raw]) -> None:
        for texts, _, place in rows:
            if len(texts) - 1 != len(self.names):
                raise bad_input(
                    "E304",
                    f"the row has {len(texts) - 1} choices, and the first row of train {len(self.names)}",
                    place=place,
                    help="give every row the same number of choices, or remove the row",
                )

    def notes(self, labels: Values, outputs: Values) -> list[str]:
        return [f"A latency is that of one question with its {len(self.names)} choices."]

    def head_options(self) -> dict[str, Any]:
        return {}

    def encode(self, encoder: Encoder, texts: Sequence[Texts]) -> Features:
        return encoder.choices(texts)
