"""The proposed recipe as a file, with a comment where something was guessed."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeopt.recipe.proposal.sizes import Training
from edgeopt.support.visible import one_line

_WIDTH = 100
#: Words that YAML reads as text, and that are no words of its own.
_PLAIN = re.compile(r"[A-Za-z_./][\w./-]*", re.ASCII)
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf", "~"}


@dataclass(frozen=True)
class Draft:
    """What the recipe says. task: the keys of `task`. training: None where the model is trained already.

    gates: each with its bound. comments: by key, what is to be said of it.
    """

    path: Path
    name: str
    model: str
    task: Mapping[str, Any]
    training: Training | None
    target: str
    gates: Sequence[Mapping[str, Any]]
    comments: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The file."""
        recipe = one_line(self.path.name)
        lines = [
            "# Proposed by `edgeopt init`. Change wrong guesses, then:",
            f"#   edgeopt validate {recipe}",
            f"#   edgeopt apply {recipe} --out run",
            "edgeopt: 1",
            f"name: {scalar(self.name)}",
            f"model: {scalar({'id': self.model})}",
            "task:",
            *(line for key, value in self.task.items() for line in self._task(key, value)),
            *self._steps(),
            f"targets: [{scalar(self.target)}]",
            *_commented("gates:" if self.gates else "gates: []", self.comments.get("gates")),
            *(
                line
                for gate in self.gates
                for line in _commented(f"  - {scalar(gate)}", self.comments.get(f"gates.{gate['metric']}"))
            ),
            "seed: 42",
        ]
        return "\n".join([*lines, ""])

    def _task(self, key: str, value: Any) -> list[str]:
        """The lines of a key of `task`; of `dataset` one for each key in it."""
        if key != "dataset":
            return _commented(f"  {key}: {scalar(value)}", self.comments.get(key))
        inside = ((f"    {inner}: {scalar(given)}", self.comments.get(inner)) for inner, given in value.items())
        return ["  dataset:", *(line for pair in inside for line in _commented(*pair))]

    def _steps(self) -> list[str]:
        int8 = "  - {id: int8, use: quantize.static} # weights and activations in 8 bits, ranges from rows of train"
        if self.training is None:
            return ["# gates compare with the model as it is, in FP32: it is not trained here", "steps:", int8]
        keys = f"epochs: {self.training.epochs}, learning_rate: {self.training.learning_rate:.1e}".replace("e-0", "e-")
        return [
            "# the FP32 model that gates compare with: the same training as the first step, done once",
            f"baseline: {{finetune: {{{keys}}}}}",
            "steps: # a list: steps run in this order",
            f"  - {{id: tune, use: finetune, {keys}}}",
            "  # for twice the speed: cut, and let the model before the cut teach what is left",
            "  # - {id: prune, use: prune.fisher, macs: 0.5}",
            "  # - {id: recover, use: distill, teacher: tune, losses: {logits: 0.1, hidden: 0.9}, epochs: 1}",
            int8,
        ]


def _commented(line: str, comment: str | None) -> list[str]:
    """The line with its comment, which stands above it where both do not fit."""
    if not comment:
        return [line]
    comment = one_line(comment)
    if len(line) + len(comment) + 3 <= _WIDTH:
        return [f"{line} # {comment}"]
    mark = " " * (len(line) - len(line.lstrip())) + "# "
    return [*textwrap.wrap(comment, _WIDTH, initial_indent=mark, subsequent_indent=mark), line]


def scalar(value: object) -> str:
    """A value as YAML reads it back: flow style, quoted where it has to be."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {scalar(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(scalar, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.casefold() not in _WORDS and value.strip("."):
        return value
    return json.dumps(value, ensure_ascii=True)
