"""Models of a state folder: loaded, saved, and looked into."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.models.adapter import attach_saved
from edgeopt.models.anatomy import anatomy
from edgeopt.models.source import CONFIG, TOKENIZER_FILES, WEIGHTS
from edgeopt.support.quiet import quiet_libraries

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

#: Modules that adapters put into a layer.
_ADDED = {"bottleneck", "lora_A", "lora_B"}


def load_base(folder: Path) -> Any:
    """The model of a torch state, in evaluation mode, without its adapter."""
    quiet_libraries()
    from edgeopt.models.nf4 import unpacked

    return unpacked(model_class(folder).from_pretrained(folder, local_files_only=True, dtype="float32", **_placing(folder)).eval())


def model_class(folder: Path) -> Any:
    """The class of transformers that the model of a torch state was saved from: it has the head of its task."""
    import transformers

    from edgeopt.models.slicing import class_for

    (name,) = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["architectures"]
    if name == "EncoderDecoderModel":
        from edgeopt.models.pair import EncoderDecoderModel

        return EncoderDecoderModel
    return class_for(getattr(transformers, name), folder)


def head_of(model: Any) -> list[str]:
    """Names of the modules that are new for the task: those with weights beside the encoder."""
    shape = anatomy(bare(model).config.model_type)
    if shape.new:
        return [name for name, _ in bare(model).named_modules() if f".{name}".endswith(tuple(f".{end}" for end in shape.new))]
    return [name for name, module in bare(model).named_children() if name != shape.base and next(module.parameters(), None) is not None]


def takes(model: Any) -> set[str]:
    """Names of the inputs that the model's forward has a use for."""
    inner = bare(model)
    return _useful(inner.forward, getattr(inner.config, "type_vocab_size", None))


def takes_of(folder: Path) -> set[str]:
    """The same of a torch state, whose model is not loaded."""
    return _useful(model_class(folder).forward, json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("type_vocab_size"))


def _useful(forward: Callable[..., Any], types: int | None) -> set[str]:
    """types: how many token types the model has. Where there is one, all tokens are of it, whatever numbers the tokenizer gives them."""
    import inspect

    return {name for name in inspect.signature(forward).parameters if name != "self" and (name != "token_type_ids" or types != 1)}


def one_type(model: Any) -> bool:
    """Make all token types the first, in place: for a model that was trained with that one alone, whatever its tokenizer numbers. Returns
    whether it has any."""
    import torch

    found = False
    for name, module in model.named_modules():
        if name.endswith("token_type_embeddings"):
            with torch.no_grad():
                module.weight[1:] = module.weight[:1]
            found = True
    return found


def layer_count(config: Any) -> int:
    """Layers of the encoder, or of a pair's decoder."""
    return int(getattr(config, "decoder", config).num_hidden_layers)


def is_inside(parameter: str, modules: Sequence[str]) -> bool:
    """Whether a parameter, by its name in a model or in peft's wrapper of it, belongs to one of the modules."""
    return any(f".{module}." in f".{parameter}" for module in modules)


def load_model(folder: Path, *, trainable_adapter: bool = False) -> PreTrainedModel:
    """The model of a torch state, in evaluation mode, with its adapter attached where it has one."""
    model: Any = load_base(folder)
    return attach_saved(model, folder, trainable=trainable_adapter).eval()


def _placing(folder: Path) -> dict[str, Any]:
    """A base in NF4 would go to the GPU by itself."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return {"device_map": {"": "cpu"}} if "quantization_config" in config else {}


def save_model(model: Any, folder: Path) -> None:
    """config.json and model.safetensors, without a trace of where they came from: equal weights give
    equal files."""
    model.config._name_or_path = ""
    model.save_pretrained(folder)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    for part in (config, config.get("encoder", {}), config.get("decoder", {})):
        part.pop("_name_or_path", None)
    if names := getattr(model.config, "id2label", None):  # which transformers leaves out where they are its default two
        config |= {"id2label": {str(i): name for i, name in names.items()}, "label2id": {name: i for i, name in names.items()}}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def copy_files(source: Path, target: Path, names: tuple[str, ...]) -> None:
    """Copy those of the files that exist, as hard links where the file system allows: states are immutable."""
    for name in names:
        if (source / name).is_file():
            try:
                (target / name).hardlink_to(source / name)
            except OSError:
                shutil.copyfile(source / name, target / name)


def copy_tokenizer(source: Path, target: Path) -> None:
    copy_files(source, target, TOKENIZER_FILES)


def copy_base(source: Path, target: Path) -> None:
    """Everything of a torch state but its adapter."""
    copy_files(source, target, (CONFIG, WEIGHTS, *TOKENIZER_FILES))


def bare(model: Any) -> Any:
    """The transformers model inside peft's wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def prunable(model: Any) -> Iterator[tuple[str, nn.Linear]]:
    """The linear layers inside the encoder's numbered layers: what pruning works on. Embeddings, pooler
    and head stay whole, and so does what an adapter adds."""
    from torch import nn

    inside = anatomy(bare(model).config.model_type)
    for name, module in bare(model).named_modules():
        if isinstance(module, nn.Linear) and inside.layer_of(name) is not None and not _ADDED & set(name.split(".")):
            yield name, module
