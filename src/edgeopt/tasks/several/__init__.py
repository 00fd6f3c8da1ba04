"""Several tasks on one encoder, as the one task that the rest of edgeopt works on.

A row's texts begin with the name of its task. A label is (number of the task, label). An output is the number of the
task, then what its head answers, filled up with zeros. So every row says itself whose it is, and nothing is measured
before labels and outputs agree on that.

A task's own class reads its rows, encodes them and measures them: it is given its own rows alone.
"""

from __future__ import annotations

from typing import ClassVar

from edgeopt.tasks.several.answers import Answers
from edgeopt.tasks.several.measures import Measures
from edgeopt.tasks.several.model import HasHeads
from edgeopt.tasks.several.parts import own_classes
from edgeopt.tasks.several.rows import ReadsRows
from edgeopt.tasks.several.training import Trains

__all__ = ["Several", "own_classes"]


class Several(ReadsRows, HasHeads, Trains, Answers, Measures):
    """Several tasks, each a text classification or regression, with one encoder and a head each."""

    auto_class: ClassVar[str] = "AutoModel"
    known_metrics: ClassVar[tuple[str, ...]] = ()
    default_metrics: ClassVar[tuple[str, ...]] = ()
    several: ClassVar[bool] = True
    softmax: ClassVar[bool] = False
    sliced: ClassVar[bool] = False
    takes_prefix: ClassVar[bool] = False
    reads: ClassVar[str | None] = "a text, or two"
