"""A model that a recipe begins from nothing: its shape and its tokenizer, found and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeopt.corpus.documents import looked_at
from edgeopt.corpus.source import Corpus, find_corpus
from edgeopt.models.begun import Begun, words_of
from edgeopt.models.shapes import shape_of
from edgeopt.models.tokenizer import read_tokenizer
from edgeopt.recipe.load import Recipe
from edgeopt.spec.corpus import CorpusSpec
from edgeopt.spec.recipe import NewTokenizer, TokenizerTraining
from edgeopt.support.errors import InputError, Place, bad_input
from edgeopt.support.paths import expanded, is_there, nearest


def find_begun(recipe: Recipe, head: str) -> Begun:
    """The model that a recipe begins. head: as a ModelSource has it.

    Raises InputError E106 for a shape that there is not, E308 or E311 for a tokenizer, and as `find_corpus` does.
    """
    spec, place_of = recipe.head.model, recipe.document.place
    assert spec.config is not None
    try:
        shape = shape_of(spec.config)
    except ValueError as error:
        raise bad_input("E106", f"'model.config': {error}", place=place_of(("model", "config"))) from None
    kept, at = None, place_of(("model", "tokenizer"))
    try:
        if isinstance(spec.tokenizer, NewTokenizer):
            words = _of_training(spec.tokenizer.train, recipe.folder)
        else:
            kept = _folder(str(spec.tokenizer), recipe.folder, str(shape["model_type"]))
            words = words_of(kept)
    except InputError as error:
        raise error.saying(
            [i if i.place else i.__class__(i.code, i.message, at, i.help) for i in error.issues]
        ) from None
    return Begun(spec.named, None, None, True, at, head, shape=shape, words=words, seed=recipe.head.seed, kept=kept)


def text_of(training: TokenizerTraining, folder: Path) -> Corpus:
    """The text that a tokenizer is trained on; paths are relative to the folder."""
    given = {"data_files": training.files, "text": training.text, "documents": "line", "held_out": 0.0}
    return find_corpus(CorpusSpec.model_validate(given), folder)


def _of_training(training: TokenizerTraining, folder: Path) -> dict[str, Any]:
    """What decides a tokenizer that is trained."""
    given = training.model_dump(exclude={"files", "text"})
    return {**given, "text": looked_at(text_of(training, folder)).key()}


def _folder(name: str, folder: Path, model_type: str) -> Path:
    path = folder / expanded(name)
    if not is_there(path, Path.is_dir):
        help = f"{nearest(name, folder)} give a folder with tokenizer.json".lstrip()
        raise bad_input("E308", f"tokenizer folder {Place.of(path).source} does not exist", help=help)
    read_tokenizer(path, model_type)
    return path.resolve()
