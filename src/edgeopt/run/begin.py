"""A model begun from nothing is made: tokenizer, config and random weights, once, in the store."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from edgeopt.corpus.documents import documents
from edgeopt.corpus.tokenizer_training import config_of, trained
from edgeopt.models.anatomy import anatomy
from edgeopt.models.begun import Begun, write_model
from edgeopt.models.files import copy_tokenizer
from edgeopt.models.source import check_folder
from edgeopt.models.tokenizer import CONFIG_FILE, FILE, read_tokenizer
from edgeopt.plan.begun import text_of
from edgeopt.spec.recipe import NewTokenizer, TokenizerTraining
from edgeopt.support.errors import InputError, bad_input
from edgeopt.support.progress import Progress

if TYPE_CHECKING:
    from edgeopt.recipe.load import Recipe
    from edgeopt.store.store import Store


def begin(source: Begun, recipe: Recipe, store: Store) -> Begun:
    """The model with its folder, made where the store has none.

    Raises InputError E311 or E315 where shape and tokenizer do not go together.
    """
    root, given = store.begun, recipe.head.model.tokenizer
    folder = root / source.key
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f"{source.key}.lock"):
        if not folder.is_dir():
            part = root / f"{source.key}.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            with Progress(show=False).during(f"{source.id} from nothing: tokenizer and random weights", after=2.0):
                _make(source, given.train if isinstance(given, NewTokenizer) else None, recipe.folder, part)
            os.replace(part, folder)
    found = replace(source, folder=folder)
    check_folder(found)
    return found


def _make(source: Begun, training: TokenizerTraining | None, base: Path, folder: Path) -> None:
    """Write the model's files into the folder. base: what paths of the recipe are relative to."""
    kind = str(source.shape["model_type"])
    if source.kept is not None:
        copy_tokenizer(source.kept, folder)
    else:
        assert training is not None
        text = text_of(training, base)
        roberta = anatomy(kind).positions_after == "padding"
        made = trained(
            lambda: documents(text), training.algorithm, training.vocab, lowercase=training.lowercase, roberta=roberta
        )
        made.save(str(folder / FILE))
        (folder / CONFIG_FILE).write_text(json.dumps(config_of(roberta=roberta), indent=2) + "\n", encoding="utf-8")
    tokenizer = read_tokenizer(folder, kind).tokenizer
    vocab = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def number(*names: str) -> int:
        return next((n for name in names if (n := tokenizer.token_to_id(name)) is not None), 0)

    around = number("[CLS]", "<s>"), number("[SEP]", "</s>")
    try:
        write_model(source.shape, folder, vocab, number("[PAD]", "<pad>"), around, source.seed)
    except InputError:
        raise
    except Exception as error:  # transformers raises many kinds for a shape that does not go together
        what = " ".join(str(error).split())[:200]
        raise bad_input("E315", f"transformers makes no model of this shape: {what}", place=source.place) from None
