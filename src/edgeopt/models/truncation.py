"""Which end of a long text a tokenizer cuts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.support.errors import Place, bad_input

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def check_side(folder: Path, tokenizer: Tokenizer, stated: Mapping[str, Any] | None = None) -> None:
    """Raises InputError E321 where long texts are to lose their beginning.

    Training, measuring and every way of serving cut the end. tokenizer: as it was read, before anything is set of it.
    stated: what tokenizer_config.json says, which is read where it is not given.
    """
    if stated is None:
        try:
            found = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            found = None  # whoever needs it says so
        stated = found if isinstance(found, dict) else {}
    for name, key, side in (
        ("tokenizer_config.json", "truncation_side", stated.get("truncation_side")),
        ("tokenizer.json", "truncation.direction", (tokenizer.truncation or {}).get("direction")),
    ):
        if isinstance(side, str) and side.lower() == "left":
            raise bad_input(
                "E321",
                f"{name} says that long texts lose their beginning ({key} is {json.dumps(side)}), but edgeopt "
                f"cuts their end",
                place=Place.of(folder / name),
                help=f'set {key} to "right" if the model was trained that way; otherwise cut the texts in the data',
            )
