"""A model that is begun from nothing: what its recipe says, and the folder that is made of it.

The folder is a checkpoint as any other, with random weights: all that follows knows of no difference. It is kept in the
store, named by what decides it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeopt.models.source import CONFIG, TOKENIZER_FILES, ModelSource
from edgeopt.support import host
from edgeopt.support.files import file_digest, key_of

#: What configs call the tokens before and behind a text.
_AROUND = (("bos", "cls"), ("eos", "sep"))


@dataclass(frozen=True)
class Begun(ModelSource):
    """A model that is begun from nothing.

    shape: of its config. words: what decides its tokenizer. seed: of its weights. kept: the folder of the tokenizer,
    where one is given.
    """

    shape: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    kept: Path | None = None

    @property
    def config(self) -> dict[str, Any] | None:
        return super().config or dict(self.shape)

    @property
    def key(self) -> str:
        """The name of the folder."""
        needs = {name: host.installed(name) for name in ("torch", "transformers", "tokenizers")}
        return key_of({"shape": dict(self.shape), "words": dict(self.words), "seed": self.seed, "needs": needs})

    def kept_in(self, root: Path) -> Begun:
        """The model with its folder, where one was made below `root`."""
        folder = root / self.key
        return replace(self, folder=folder) if folder.is_dir() else self


def words_of(folder: Path) -> dict[str, Any]:
    """What decides a tokenizer that is given: the contents of its files."""
    return {name: file_digest(folder / name) for name in TOKENIZER_FILES if (folder / name).is_file()}


def write_model(
    shape: Mapping[str, Any], folder: Path, vocab: int, padding: int, around: tuple[int, int], seed: int
) -> None:
    """Write config.json and random weights, drawn from the seed.

    around: the tokens before and behind a text; a config names them where by default it names others, which the
    vocabulary does not have. Raises what transformers raises for a shape that it makes no model of.
    """
    from edgeopt.support.quiet import quiet_libraries

    quiet_libraries()
    import torch
    from transformers import AutoConfig, AutoModel

    from edgeopt.models.load import save_model

    options = {name: value for name, value in shape.items() if name != "model_type"}
    usual = AutoConfig.for_model(shape["model_type"])
    tokens = {f"{name}_token_id": around[i] for i, names in enumerate(_AROUND) for name in names}
    named = {name: number for name, number in tokens.items() if (getattr(usual, name, None) or 0) >= vocab}
    sizes = {"vocab_size": vocab, "pad_token_id": padding, **named}
    config = AutoConfig.for_model(shape["model_type"], **{**options, **sizes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(config, dtype=torch.float32)
    save_model(model, folder)
    known = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if lost := [name for name in options if known.get(name) != options[name]]:
        raise ValueError(f"transformers does not keep '{lost[0]}' of the shape")
