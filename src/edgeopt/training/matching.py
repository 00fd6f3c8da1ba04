"""Which layers of a student learn from which of its teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from edgeopt.models.structure import Structure
from edgeopt.spec.recipe import Distillation
from edgeopt.support.errors import bad_input
from edgeopt.training.distill_terms import evenly


def matched(match: Literal["uniform", "dynamic"] | Sequence[int], ours: int, theirs: int) -> list[tuple[int, int]]:
    """Pairs (layer of the student, layer of the teacher); with `dynamic` only the teacher's hold, at most four.

    ours, theirs: how many layers they have. Raises InputError E208 where a list does not fit them.
    """
    if isinstance(match, str):
        count = min(ours, theirs, *((4,) if match == "dynamic" else ()))
        return list(zip(evenly(ours, count), evenly(theirs, count), strict=True))
    if len(match) != ours:
        raise bad_input(
            "E208",
            f"'match' names {len(match)} layers of the teacher, and the student has {ours} layers",
            help="name one for each",
        )
    if wrong := [n for n in match if n >= theirs]:
        raise bad_input(
            "E208",
            f"the teacher has no layer {wrong[0]}: it has {theirs}, numbered from 0",
            help=f"layers: 0 to {theirs - 1}",
        )
    return list(enumerate(match))


class Matching:
    """The layers of a student and of its teacher that are compared.

    pairs: (layer of the student, layer of the teacher). dynamic: the student's are chosen anew in every batch, by least
    distance. last: the last layers of both. widths: of what their layers write. Raises InputError E208 where layers
    cannot be matched.
    """

    def __init__(self, spec: Distillation, student: Structure, teacher: Structure) -> None:
        self.losses, self.relation_heads, self.student, self.teacher = (
            spec.losses,
            spec.relation_heads,
            student,
            teacher,
        )
        self.dynamic = spec.match == "dynamic"
        self.widths = (student.hidden, teacher.hidden)
        ours, theirs = len(student.layers), len(teacher.layers)
        self.last = (ours - 1, theirs - 1)
        self.pairs = matched(spec.match, ours, theirs)
        for s, t in self.related():
            self.heads(s, t)

    def related(self) -> list[tuple[int, int]]:
        """The pairs whose attention or values are compared; where pairs change, all that may be."""
        pairs = [(s, t) for s in range(len(self.student.layers)) for _, t in self.pairs] if self.dynamic else self.pairs
        return [*(pairs if self.losses.attention else ()), *([self.last] if self.losses.values else ())]

    def heads(self, s: int, t: int) -> int:
        """Relation heads of a pair of layers."""
        sides = [(self.student, s), (self.teacher, t)]
        counts = [structure.layers[i].head_count for structure, i in sides]
        if not all(counts):
            raise bad_input(
                "E208", "a layer without heads has no attention to compare", help="set 'attention' and 'values' to 0"
            )
        if self.relation_heads is None:
            if counts[0] != counts[1]:
                message = f"layer {s} of the student has {counts[0]} heads, and layer {t} of the teacher {counts[1]}"
                raise bad_input(
                    "E208",
                    message,
                    help="give 'relation_heads': a number that divides both models' heads times their width, such as 1",
                )
            return counts[0]
        wide = [count * structure.dense.head_size for count, (structure, _) in zip(counts, sides, strict=True)]
        if any(w % self.relation_heads for w in wide):
            message = (
                f"relation_heads: {self.relation_heads} does not divide the width of the attention, "
                f"{wide[0]} of the student and {wide[1]} of the teacher"
            )
            raise bad_input("E208", message, help="give a number that divides both")
        return self.relation_heads

    def items(self) -> dict[str, int]:
        """The names of what is looked at of the teacher's layers, such as `hidden-3`, each with its width."""
        out: dict[str, int] = {}
        if self.losses.hidden or self.losses.cosine:
            out |= {f"hidden-{t}": self.teacher.hidden for _, t in self.pairs}
        inside = (
            {("query", t) for _, t in self.pairs} | {("key", t) for _, t in self.pairs}
            if self.losses.attention
            else set()
        )
        inside |= {("value", self.last[1])} if self.losses.values else set()
        return out | {
            f"{kind}-{t}": self.teacher.layers[t].head_count * self.teacher.dense.head_size
            for kind, t in sorted(inside)
        }
