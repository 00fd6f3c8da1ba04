"""The model a recipe starts from: a local folder or a hub id, checked without importing torch."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgeopt.models.anatomy import FAMILIES, PAIR, Anatomy, family
from edgeopt.models.output_names import as_in_rows, named_outputs
from edgeopt.models.sizes import misfit
from edgeopt.models.structure import FIELD, Structure, of_config
from edgeopt.models.tokenizer import as_shipped, check_size, check_types, disagreement, read_tokenizer
from edgeopt.spec.recipe import ModelSpec
from edgeopt.support.errors import InputError, Place, bad_input
from edgeopt.support.paths import expanded, is_there, looks_local, nearest, not_here

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
#: What makes a folder one of peft's.
ADAPTER_FILE = "adapter_config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
)
#: What sentence-transformers keeps beside an encoder, and in folders of its modules.
MODULES, PROMPTS, LENGTH = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"
_OF_MODULES = ("[0-9]*_*/config.json", "[0-9]*_*/model.safetensors")
_PADDING = 1
_WANTED = (
    CONFIG,
    WEIGHTS,
    INDEX,
    ADAPTER_FILE,
    "model-*.safetensors",
    *(MODULES, PROMPTS, LENGTH, "*_Pooling/config.json", "*_Dense/config.json", "*_Dense/model.safetensors"),
)
_AGAIN = "copy or download the file again"
_KNOWN = "families: {}; plugins can add others (docs/how-to/plugins.md), but none here adds this one"
_PICKLES = ("pytorch_model.bin", "model.bin", "pytorch_model.pt")


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, changed: int) -> str:
    """SHA-256 of a file that has that size and time of change.

    Cached, because a plan of many cells asks for the same again and again.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class ModelSource:
    """Where a recipe's model is. folder: the local folder, or a snapshot already in the hub's cache."""

    id: str
    revision: str | None
    folder: Path | None
    local: bool
    place: Place | None = None
    #: How the name of a model class with the task's head ends.
    head: str = "ForSequenceClassification"
    #: That no folder has the name, which may be the hub's, and which folder has almost the same.
    absent: str = "there is no folder of that name here"
    #: Whether the modules of sentence-transformers belong to it.
    embeds: bool = False

    @property
    def config(self) -> dict[str, Any] | None:
        """What the folder's config.json holds; None: not known yet, or not there."""
        if self.folder is None or not (self.folder / CONFIG).is_file():
            return None
        config: dict[str, Any] = json.loads((self.folder / CONFIG).read_text(encoding="utf-8"))
        return config

    @property
    def model_type(self) -> str | None:
        """What its config states; None: not known yet, or not stated."""
        return (self.config or {}).get("model_type")

    @property
    def has_trained_head(self) -> bool | None:
        """Whether the checkpoint was saved with the head of the task; None: not known yet."""
        config = self.config
        if config is None:
            return None
        names = config.get("architectures")
        return isinstance(names, list) and any(str(a).endswith(self.head) for a in names)

    @property
    def positions(self) -> int | None:
        """Tokens that the position embeddings have room for; None: not known, or no limit."""
        return min((n for n in map(_positions, self.stacks) if n is not None), default=None)

    @property
    def stacks(self) -> list[dict[str, Any]]:
        """Configs of the model's stacks of layers: its own, or those of an encoder and a decoder.

        Empty: not known yet.
        """
        config = self.config
        if config is None:
            return []
        return [config[k] for k in ("encoder", "decoder")] if config.get("model_type") == PAIR else [config]

    @property
    def outputs(self) -> int | None:
        """Outputs of the trained head, as the config states them; None: no trained head, or not known yet."""
        config = self.config
        if config is None or not self.has_trained_head:
            return None
        count = config.get("num_labels")
        if names := named_outputs(config):
            return len(names)
        return count if isinstance(count, int) else 2  # transformers writes neither for its default of two

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the trained head's outputs as rows have them: numbers where the config has none.

        Empty: no trained head, or not known yet.
        """
        config, count = self.config, self.outputs
        if config is None or count is None:
            return ()
        return as_in_rows(named_outputs(config) or [str(i) for i in range(count)])

    @property
    def problem(self) -> str | None:
        """The kind of problem that the trained head was made for, where the config states one."""
        config = self.config
        found = config.get("problem_type") if config and self.has_trained_head else None
        return found if isinstance(found, str) else None

    def doubts(self, rows: Iterable[tuple[str, ...]]) -> InputError | None:
        """An error where the folder states its tokenizer in two ways, shown by the first row whose ids differ by it."""
        if self.folder is None:
            return None
        return disagreement(read_tokenizer(self.folder, str(self.stacks[0].get("model_type"))), rows)

    def tokenizer_as_shipped(self, *, reads_words: bool) -> str:
        """What tokenizer.json of the model's first state will say. reads_words: whether rows are lists of words.

        The model must be here. Raises InputError E311 where its tokenizer cannot be read.
        """
        assert self.folder is not None
        found = read_tokenizer(self.folder, str(self.stacks[0].get("model_type")))
        return as_shipped(found, words=reads_words and not self.has_trained_head)

    def shapes(self) -> dict[str, list[int]]:
        """The shape of every tensor of the safetensors files, by its name. Raises InputError E309, E310 or E315."""
        assert self.folder is not None
        files = [name for name in self.weights() if name.endswith(".safetensors")]
        return {name: shape for file in files for name, shape in _check_safetensors(self.folder / file).items()}

    def fingerprint(self) -> str | None:
        """SHA-256 over weights, config and tokenizer files; None before a hub model is downloaded."""
        if self.folder is None:
            return None
        digest = hashlib.sha256()
        modules = module_files(self.folder) if self.embeds else []
        for name in (CONFIG, *TOKENIZER_FILES, *self.weights(), *modules):
            path = self.folder / name
            if path.is_file():
                found = path.stat()
                digest.update(f"{name}\0{_digest(path, found.st_size, found.st_mtime_ns)}\n".encode())
        return digest.hexdigest()

    def weights(self) -> list[str]:
        """Names of the safetensors files. Raises InputError E309, E310 or E315."""
        assert self.folder is not None
        if (self.folder / WEIGHTS).is_file():
            return [WEIGHTS]
        if (self.folder / INDEX).is_file():
            try:
                mapping = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
                shards = sorted({str(v) for v in mapping.values()})
                if not shards:
                    raise ValueError
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise bad_input(
                    "E315", "the index of the weights is not readable", place=Place.of(self.folder / INDEX), help=_AGAIN
                ) from None
            for shard in shards:
                if Path(shard).name != shard:
                    raise bad_input(
                        "E315",
                        f"the index points outside the folder: {shard!r}",
                        place=Place.of(self.folder / INDEX),
                        help=_AGAIN,
                    )
                if not shard.endswith(".safetensors"):
                    raise bad_input(
                        "E310",
                        f"the index names {shard!r}, which is not safetensors and can run code when read",
                        place=Place.of(self.folder / INDEX),
                        help="save the model with `model.save_pretrained(folder)`",
                    )
            return [INDEX, *shards]
        pickled = [name for name in _PICKLES if (self.folder / name).exists()]
        if pickled:
            raise bad_input(
                "E310",
                f"model folder {self.folder} has pickled weights only ({pickled[0]}), which can run code when read",
                place=self.place,
                help="save it with `model.save_pretrained(folder)`, which writes model.safetensors",
            )
        raise bad_input(
            "E309",
            f"model folder {self.folder} has no {WEIGHTS}",
            place=self.place,
            help="a recipe starts from safetensors; to gate a finished ONNX model: `edgeopt gate MODEL --recipe FILE`"
            if any([*self.folder.glob("*.onnx"), *self.folder.glob("onnx/*.onnx")])
            else "save the model with `model.save_pretrained(folder)`",
        )


def module_files(folder: Path) -> list[str]:
    """Names of the files that sentence-transformers keeps beside the encoder of a folder."""
    if not (folder / MODULES).is_file():
        return []
    inside = sorted(p.relative_to(folder).as_posix() for pattern in _OF_MODULES for p in folder.glob(pattern))
    return [MODULES, PROMPTS, LENGTH, *inside]


def _positions(config: dict[str, Any]) -> int | None:
    most = config.get("max_position_embeddings")
    if not isinstance(most, int):
        return None
    known, pad = family(config.get("model_type")), config.get("pad_token_id", _PADDING)
    last = None if known is None else known.positions_after
    if last == "padding":
        last = pad if isinstance(pad, int) else _PADDING
    return most - last - 1 if isinstance(last, int) else most


def find_model(
    spec: ModelSpec,
    folder: Path,
    place: Place | None = None,
    *,
    head: str = ModelSource.head,
    embeds: bool = ModelSource.embeds,
) -> ModelSource:
    """The model that a recipe names: a local folder (relative to `folder`), which is checked at once, or a hub id.

    head, embeds: see ModelSource. Raises InputError E308-E315.
    """
    path = folder / expanded(spec.id)
    if is_there(path, Path.is_dir):
        source = ModelSource(spec.id, None, path.resolve(), True, place, head, embeds=embeds)
        check_folder(source)
        return source
    if is_there(path, Path.exists):
        raise bad_input(
            "E308", f"{path} is a file, not a model folder", place=place, help="give the folder that holds config.json"
        )
    if looks_local(spec.id):
        raise bad_input(
            "E308",
            f"model folder {Place.of(path).source} does not exist",
            place=place,
            help=(
                f"{nearest(spec.id, folder)} give a folder in transformers' format "
                "(absolute, or relative to the recipe) or a hub id"
            ).lstrip(),
        )
    absent = not_here(spec.id, folder)
    return ModelSource(spec.id, spec.revision, _cached_snapshot(spec), False, place, head, absent, embeds)


def family_of(folder: Path) -> Anatomy:
    """The anatomy of a state's model."""
    return FAMILIES[json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_type"]]


def structure_in(folder: Path) -> Structure:
    """The structure of a state's model. Raises ValueError where its config states no shape."""
    return of_config(json.loads((folder / CONFIG).read_text(encoding="utf-8")))


def check_folder(source: ModelSource) -> None:
    """Raises InputError where config, weights or tokenizer are absent, damaged, pickled or unsupported."""
    assert source.folder is not None
    path = source.folder / CONFIG
    _no_adapter(source)
    if not path.is_file():
        raise bad_input(
            "E309",
            f"model folder {source.folder} has no {CONFIG}",
            place=source.place,
            help="give a folder that `model.save_pretrained` wrote",
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        place = Place.of(path, getattr(error, "lineno", None), getattr(error, "colno", None))
        raise bad_input("E315", f"this is not JSON: {getattr(error, 'msg', error)}", place=place, help=_AGAIN) from None
    model_type = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        remote = isinstance(config, dict) and "auto_map" in config
        what = (
            "comes with its own code, which edgeopt never runs" if remote else "is not an encoder family edgeopt knows"
        )
        raise bad_input(
            "E313" if remote else "E314",
            f"model type {model_type!r} {what}",
            place=Place.of(path),
            help=_KNOWN.format(", ".join(FAMILIES)),
        )
    if (fault := FAMILIES.fault(model_type)) is not None:
        raise InputError(fault.at(Place.of(path)))
    if model_type == PAIR and not all(
        isinstance(config.get(k), dict) and config[k].get("model_type") in FAMILIES for k in ("encoder", "decoder")
    ):
        raise bad_input(
            "E314",
            "the model's encoder or decoder is not of a family edgeopt knows",
            place=Place.of(path),
            help=_KNOWN.format(", ".join(FAMILIES)),
        )
    if FIELD in config:
        try:
            of_config(config)
        except ValueError as error:
            raise bad_input("E315", f"the field {FIELD} is {error}", place=Place.of(path), help=_AGAIN) from None
    shapes = source.shapes()
    if (wrong := misfit(config, shapes)) is not None:
        raise bad_input(
            "E315",
            wrong,
            place=Place.of(path),
            help="the folder has files of two models, or config.json was changed: copy both files again",
        )
    _check_tokenizer(source, shapes)


def _no_adapter(source: ModelSource) -> None:
    """Raises InputError E317 where the folder has an adapter, alone or beside a model.

    peft's library would follow adapter_config.json to another model; and where a model is beside it, nothing says which
    of the two is meant.
    """
    assert source.folder is not None
    path = source.folder / ADAPTER_FILE
    if not is_there(path, Path.exists) and not path.is_symlink():
        return
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind, base = config.get("peft_type"), config.get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError, RecursionError):
        kind = base = None
    of_kind = f" ({kind})" if isinstance(kind, str) else ""
    of_base = f" of the model {base!r}" if isinstance(base, str) and base else ""
    what = f"an adapter{of_kind}{of_base}"
    merge = (
        "merge it with peft: PeftModel.from_pretrained(BASE MODEL, folder).merge_and_unload()"
        ".save_pretrained(NEW FOLDER), with the tokenizer beside"
    )
    if (source.folder / WEIGHTS).is_file() or (source.folder / INDEX).is_file():
        raise bad_input(
            "E317",
            f"model folder {source.folder} has both a model and {what}, so it is not clear which one is meant",
            place=source.place,
            help=f"to use only the model, remove {ADAPTER_FILE} from the folder; otherwise {merge}",
        )
    raise bad_input(
        "E317",
        f"model folder {source.folder} holds {what}, not a model",
        place=source.place,
        help=f"{merge}; or give the base as model.id and train an adapter.* step",
    )


def _check_tokenizer(source: ModelSource, shapes: Mapping[str, list[int]]) -> None:
    """Raises InputError where the model's tokenizer cannot be used with it.

    E311, E320 or E206: there is none, it is damaged, or it numbers tokens or their types that the model has no row for.
    """
    assert source.folder is not None
    stacks = source.stacks
    try:
        found = read_tokenizer(source.folder, str(stacks[0].get("model_type")))
    except InputError as error:
        raise InputError(tuple(replace(issue, place=issue.place or source.place) for issue in error.issues)) from None
    ends = tuple(f"{FAMILIES[str(config['model_type'])].word_table}.weight" for config in stacks)
    tables = [shape[0] for name, shape in shapes.items() if name.endswith(ends) and shape]
    tables += [n for config in stacks if isinstance(n := config.get("vocab_size"), int)]
    if tables:
        check_size(found, min(tables))
    types = [n for config in stacks if isinstance(n := config.get("type_vocab_size"), int) and n > 1]
    if types:
        check_types(found, min(types))


def _check_safetensors(path: Path) -> dict[str, list[int]]:
    """The shape of each tensor of a file whose header and length agree.

    Raises InputError E309 where it is absent, and E315 where it was cut short by a download or a copy.
    """
    if not path.is_file():
        raise bad_input("E309", f"{path.name}, which the index names, is missing", place=Place.of(path), help=_AGAIN)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(size, 100_000_000):
            raise bad_input("E315", "this is not a safetensors file", place=Place.of(path), help=_AGAIN)
        try:
            header = json.loads(file.read(length))
            shapes = {k: [int(n) for n in v["shape"]] for k, v in header.items() if k != "__metadata__"}
            end = max((int(v["data_offsets"][1]) for k, v in header.items() if k != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError):
            raise bad_input(
                "E315", "the header of this safetensors file is damaged", place=Place.of(path), help=_AGAIN
            ) from None
    if size != 8 + length + end:
        raise bad_input(
            "E315",
            f"this safetensors file has {size} bytes and should have {8 + length + end}",
            place=Place.of(path),
            help=_AGAIN,
        )
    return shapes


def _cached_snapshot(spec: ModelSpec) -> Path | None:
    """The snapshot that the hub's cache holds for this id and revision, without asking the network."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{spec.id.replace('/', '--')}"
    revision = spec.revision or "main"
    ref = cache / "refs" / revision
    commit = ref.read_text().strip() if ref.is_file() else revision
    snapshot = cache / "snapshots" / commit
    try:
        check_folder(ModelSource(spec.id, spec.revision, snapshot, False))
    except InputError:
        return None  # absent, half downloaded, or not usable: the download finds out which
    return snapshot


def download(source: ModelSource) -> ModelSource:
    """A hub model's snapshot, downloaded where it is not cached: safetensors, config and tokenizer only.

    Raises InputError E312 where the hub cannot be reached or has no such model.
    """
    from edgeopt.support.quiet import quiet_libraries
    from edgeopt.support.words import first_line

    quiet_libraries()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        folder = snapshot_download(source.id, revision=source.revision, allow_patterns=[*_WANTED, *TOKENIZER_FILES])
    except (OSError, ValueError, RuntimeError, HfHubHTTPError, HFValidationError) as error:
        raise bad_input(
            "E312",
            f"{source.absent}; model '{source.id}' cannot be loaded from the hub: {first_line(error)}",
            place=source.place,
            help="give a local folder instead: --set model.id=FOLDER (absolute, or relative to the recipe)",
        ) from None
    found = replace(source, folder=Path(folder))
    check_folder(found)
    return found
