"""A model with a head of a pre-training: read from any torch folder, and kept as transformers has such a model.

The head is the folder's own where it has one; else it is new. It guesses words, by the word embeddings, or says of each
token whether it was replaced. What a pooler has learned is kept in the folder, as the class with this head has none and
a task's may have one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.models.source import WEIGHTS, structure_in
from edgeopt.support.errors import bad_input
from edgeopt.support.quiet import quiet_libraries

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Families that transformers has with a head that says which tokens were replaced.
DETECTORS = ("electra",)
#: Classes of transformers with a head that guesses words, and with one that says which tokens were replaced.
FOR_WORDS, FOR_DETECTION = "AutoModelForMaskedLM", "AutoModelForPreTraining"


def with_head(folder: Path, kind: str) -> tuple[PreTrainedModel, bool]:
    """The encoder of a torch folder with another head, and whether that is the folder's.

    kind: FOR_WORDS or FOR_DETECTION. What is new is drawn from torch's generator. Raises InputError E314 for a family
    without such a head, or a model that lost dimensions which the head reads, and E315 where the folder lacks weights
    of the encoder.
    """
    quiet_libraries()
    import transformers

    from edgeopt.models.slicing import class_for

    _check_width(folder)
    try:
        model, info = class_for(getattr(transformers, kind), folder).from_pretrained(
            folder, local_files_only=True, dtype="float32", output_loading_info=True
        )
    except (ValueError, KeyError) as error:
        raise bad_input(
            "E314", f"transformers has no model of this kind with such a head: {' '.join(str(error).split())[:200]}"
        ) from None
    base = f"{model.base_model_prefix}."
    missing = sorted(info["missing_keys"])
    if body := [name for name in missing if name.startswith(base)]:
        raise bad_input("E315", f"the checkpoint lacks {len(body)} weights of its encoder, {body[0]} first")
    return model, not missing


def save_with_pooler(model: PreTrainedModel, source: Path, folder: Path) -> None:
    """Save a model, and beside its weights those of a pooler that the folder has from which it was read."""
    from safetensors.torch import load_file, save_file

    from edgeopt.models.load import save_model

    save_model(model, folder)
    if poolers := _poolers(source, str(model.base_model_prefix)):
        save_file({**load_file(folder / WEIGHTS), **poolers}, folder / WEIGHTS, metadata={"format": "pt"})


def _poolers(source: Path, base: str) -> dict[str, torch.Tensor]:
    """The weights of a folder's pooler, by the names that a model with a head has for them."""
    from safetensors import safe_open

    found = {}
    for path in sorted(source.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  it is no dictionary
                if "pooler" in name.split("."):
                    found[name if name.startswith(f"{base}.") else f"{base}.{name}"] = file.get_tensor(name)
    return found


def _check_width(folder: Path) -> None:
    try:
        structure = structure_in(folder)
    except ValueError:
        return
    if structure.hidden < structure.dense.hidden:
        raise bad_input(
            "E314",
            f"the model has {structure.hidden} of its {structure.dense.hidden} hidden dimensions left, and a head that "
            "guesses words reads all of them",
            help="put the pre-training before the step that cuts them",
        )
