"""How token states become the embedding of a text: pooling, dense layers, dimensions, prompts. No torch.

A state keeps it as a field of config.json. sentence-transformers keeps it in a folder of modules, which is read here,
and written beside what is shipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from edgeopt.models.source import CONFIG, LENGTH, MODULES, PROMPTS
from edgeopt.support.errors import InputError, Place, bad_input
from edgeopt.support.files import write_json

Pooling = Literal["mean", "cls", "last", "max"]
#: The field of config.json that holds it.
FIELD = "edgeopt_embedding"
_POOLINGS: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last", "max": "max"}
#: The words of older versions, each a field of its own.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
#: Functions of torch behind a dense layer, by how the names of their classes end.
ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid")
_HELP = (
    "edgeopt reads Transformer, one Pooling (mean, cls, lasttoken or max), Dense layers and Normalize, in this order; "
    "for another model remove modules.json and state task.pooling and task.normalize"
)


@dataclass(frozen=True)
class Dense:
    """A linear layer behind the pooling. activation: one of ACTIVATIONS."""

    inputs: int
    outputs: int
    bias: bool
    activation: str


@dataclass(frozen=True)
class Sentence:
    """How a text's embedding is made of the states of its tokens.

    dimensions: how many of its numbers are kept, the first ones, before it is made of length 1; None: all. query,
    passage: what stands before a first text and a second one. lower: whether texts are read in small letters.
    """

    pooling: Pooling = "mean"
    dense: tuple[Dense, ...] = ()
    dimensions: int | None = None
    normalize: bool = True
    query: str = ""
    passage: str = ""
    lower: bool = False

    def as_json(self) -> dict[str, Any]:
        """Plain data for config.json, of which `from_json` makes it again."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sentence:
        """What `as_json` gave. Raises TypeError or KeyError where the data is none of it."""
        made = cls(**{**data, "dense": tuple(Dense(**layer) for layer in data["dense"])})
        if not (isinstance(made.query, str) and isinstance(made.passage, str)):
            raise TypeError("a prompt is not a text")
        return made

    def width(self, hidden: int) -> int:
        """Numbers of an embedding, of a model of that width."""
        whole = self.dense[-1].outputs if self.dense else hidden
        return min(self.dimensions or whole, whole)

    def read(self, text: str, *, passage: bool) -> str:
        """A text as the tokenizer is given it, as sentence-transformers gives it."""
        whole = ((self.passage if passage else self.query) + text).strip()
        return whole.lower() if self.lower else whole


def has_field(folder: Path) -> bool:
    """Whether the model of a state is an embedder."""
    return FIELD in _json(folder / CONFIG)


def sentence_in(folder: Path) -> Sentence | None:
    """What a state, a shipped folder or a folder of sentence-transformers says; None where it says nothing.

    Raises InputError E326 for modules that edgeopt does not have, E315 for files that are damaged.
    """
    config = _json(folder / CONFIG)
    try:
        if FIELD in config:
            return Sentence.from_json(config[FIELD])
        return _of_modules(folder) if (folder / MODULES).is_file() else None
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        name = CONFIG if FIELD in config else MODULES
        raise bad_input(
            "E315",
            f"{name} does not say how embeddings are made: {error!r}",
            place=Place.of(folder / name),
            help="copy or download the folder again",
        ) from None


def longest_text(folder: Path) -> int | None:
    """Tokens of the longest text that the model reads, as sentence-transformers keeps it; None where it is not said."""
    most = _json(folder / LENGTH).get("max_seq_length")
    return most if isinstance(most, int) and not isinstance(most, bool) and most >= 4 else None


def _of_modules(folder: Path) -> Sentence:
    kinds = [(str(m["type"]).rpartition(".")[2], folder / m["path"]) for m in json.loads(_text(folder / MODULES))]
    names = [kind for kind, _ in kinds]
    layers = [kind for kind in names[2:] if kind == "Dense"]
    if names[:2] != ["Transformer", "Pooling"] or names[2:] not in (layers, [*layers, "Normalize"]):
        raise _unknown(folder, f"its modules are {', '.join(names)}")
    if kinds[0][1].resolve() != folder.resolve():
        raise _unknown(folder, f"its Transformer is in {kinds[0][1].name}, not in the folder itself")
    prompts = _json(folder / PROMPTS)
    given = prompts.get("prompts") or {}
    default = str(given.get(prompts.get("default_prompt_name"), ""))
    return Sentence(
        pooling=_pooling(folder, _json(kinds[1][1] / "config.json")),
        dense=tuple(_dense(folder, _json(path / "config.json")) for kind, path in kinds if kind == "Dense"),
        normalize=names[-1] == "Normalize",
        query=default,
        passage=default,
        lower=bool(_json(folder / LENGTH).get("do_lower_case", False)),
    )


def _pooling(folder: Path, config: dict[str, Any]) -> Pooling:
    given = config.get("pooling_mode", [mode for flag, mode in _FLAGS.items() if config.get(flag)])
    modes = [given] if isinstance(given, str) else list(given)
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise _unknown(folder, f"its pooling is {' and '.join(map(str, modes)) or 'not stated'}")
    if not config.get("include_prompt", True):
        raise _unknown(folder, "its pooling leaves out the prompt")
    return _POOLINGS[modes[0]]


def _dense(folder: Path, config: dict[str, Any]) -> Dense:
    activation = str(config.get("activation_function", "Identity")).rpartition(".")[2]
    if activation not in ACTIVATIONS:
        raise _unknown(folder, f"the activation of a Dense layer is {activation}")
    return Dense(int(config["in_features"]), int(config["out_features"]), bool(config.get("bias", True)), activation)


def _unknown(folder: Path, what: str) -> InputError:
    return bad_input(
        "E326",
        f"this folder of sentence-transformers is not read: {what}",
        place=Place.of(folder / MODULES),
        help=_HELP,
    )


def dense_names(number: int, layer: Dense) -> dict[str, str]:
    """The names of a dense layer's weights in edgeopt's model, by those in its own folder."""
    parts = ["weight", *(["bias"] if layer.bias else [])]
    return {f"linear.{part}": f"dense.{number}.{part}" for part in parts}


def dense_of_modules(folder: Path) -> list[Path]:
    """The folders of the dense layers that modules.json names; nothing where there is none."""
    if FIELD in _json(folder / CONFIG) or not (folder / MODULES).is_file():
        return []
    return [folder / m["path"] for m in json.loads(_text(folder / MODULES)) if str(m["type"]).endswith(".Dense")]


def write_modules(folder: Path, max_length: int, weights: Path | None) -> None:
    """Write what sentence-transformers reads beside config.json of a folder with a state's texts.

    In the words of its older versions, which the newer ones read too. weights: model.safetensors of the torch state
    that it was made of, which has the dense layers. Nothing where the model is no embedder, or has dense layers whose
    weights are not there.
    """
    config = _json(folder / CONFIG)
    if FIELD not in config:
        return
    sentence, hidden = Sentence.from_json(config[FIELD]), _hidden(config)
    if sentence.dense and weights is None:
        return
    modes = {flag: _POOLINGS.get(mode) == sentence.pooling for flag, mode in _FLAGS.items()}
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden, **modes})
    for layer, tensors in _dense_layers(sentence, hidden, weights):
        modules.append(("Dense", f"{len(modules)}_Dense"))
        _write_dense(folder / modules[-1][1], layer, tensors)
    if sentence.normalize:
        modules.append(("Normalize", f"{len(modules)}_Normalize"))
        (folder / modules[-1][1]).mkdir(exist_ok=True)
    kinds = [(f"sentence_transformers.models.{kind}", path) for kind, path in modules]
    write_json(
        folder / MODULES, [{"idx": i, "name": str(i), "path": p, "type": kind} for i, (kind, p) in enumerate(kinds)]
    )
    write_json(folder / LENGTH, {"max_seq_length": max_length, "do_lower_case": sentence.lower})
    prompts = {"query": sentence.query, "passage": sentence.passage, "document": sentence.passage}
    default = "query" if sentence.query and sentence.query == sentence.passage else None
    given = {name: text for name, text in prompts.items() if text}
    write_json(folder / PROMPTS, {"prompts": given, "default_prompt_name": default, "similarity_fn_name": "cosine"})


def _dense_layers(sentence: Sentence, hidden: int, weights: Path | None) -> Iterator[tuple[Dense, dict[str, Any]]]:
    """Every dense layer with its weights, and one that keeps the first dimensions, where not all are."""
    from safetensors import safe_open

    for number, layer in enumerate(sentence.dense):
        assert weights is not None
        with safe_open(weights, "numpy") as file:
            yield layer, {theirs: file.get_tensor(ours) for theirs, ours in dense_names(number, layer).items()}
    whole, kept = replace(sentence, dimensions=None).width(hidden), sentence.width(hidden)
    if kept < whole:
        eye = np.eye(kept, whole, dtype=np.float32)
        yield Dense(whole, kept, bias=False, activation="Identity"), {"linear.weight": eye}


def _write_dense(folder: Path, layer: Dense, tensors: dict[str, Any]) -> None:
    from safetensors.numpy import save_file

    module = "linear" if layer.activation == "Identity" else "activation"
    sizes = {"in_features": layer.inputs, "out_features": layer.outputs, "bias": layer.bias}
    _write(folder / "config.json", {**sizes, "activation_function": f"torch.nn.modules.{module}.{layer.activation}"})
    save_file(tensors, folder / "model.safetensors")


def embedding_width(config: Mapping[str, Any]) -> int:
    """Numbers of an embedding of the model with this config."""
    return Sentence.from_json(config[FIELD]).width(_hidden(config))


def _hidden(config: Mapping[str, Any]) -> int:
    return int(config.get("hidden_size", config.get("dim", 0)))


def stated(sentence: Sentence, asked: Mapping[str, Any]) -> Sentence:
    """The settings with those that a recipe states in their place; what it leaves None stays."""
    return replace(sentence, **{name: value for name, value in asked.items() if value is not None})


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    write_json(path, content)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _json(path: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where there is none. Raises ValueError where it is none."""
    return cast(dict[str, Any], json.loads(_text(path))) if path.is_file() else {}
