"""The texts that a recipe names: found, and looked at as far as a plan can, without reading them all."""

from __future__ import annotations

import glob
import hashlib
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from edgeopt.data.files import SUFFIXES, stem_and_suffix
from edgeopt.data.sources import FOLDER_NAMES, local_folder
from edgeopt.spec.corpus import CorpusFiles, CorpusSpec
from edgeopt.support.errors import InputError, Place, bad_input
from edgeopt.support.files import key_of
from edgeopt.support.paths import expanded, is_there, nearest, not_here
from edgeopt.support.words import first_line

#: Files of text alone; the others are tables.
TEXT = (".txt", ".text")
READ = (*TEXT, *(suffix for suffix in SUFFIXES if suffix != ".conll"))
#: Names below a folder that are looked at to say where its files are.
_LOOKED_AT = 10_000
_FORMATS = "txt, jsonl, json, csv, tsv or parquet, each also with .gz"


@dataclass(frozen=True)
class Corpus:
    """Plain text that is found: files, or a dataset of the hub. commit: which of the hub's, where that is known.

    absent: that no folder has the name, which may be the hub's.
    """

    spec: CorpusSpec
    train: tuple[Path, ...] = ()
    validation: tuple[Path, ...] = ()
    commit: str | None = None
    absent: str = ""

    @property
    def on_hub(self) -> bool:
        """Whether the texts are the hub's."""
        return not self.train

    @property
    def name(self) -> str:
        """How it is called in a report."""
        if self.on_hub:
            return "/".join(p for p in (self.spec.path, self.spec.name) if p)
        return self.spec.path or ", ".join(path.name for path in self.train)

    @property
    def named(self) -> str:
        """What the store remembers the commit of a hub dataset by."""
        return "corpus:" + key_of({"path": self.spec.path, "revision": self.spec.revision})

    def key(self) -> dict[str, Any] | None:
        """What decides the documents: digests of contents and no paths; None where the hub was not asked yet."""
        if self.on_hub and self.commit is None:
            return None
        source: dict[str, Any] = (
            {"hub": [self.spec.path, self.spec.name, self.commit]}
            if self.on_hub
            else {"train": list(map(_content, self.train)), "validation": list(map(_content, self.validation))}
        )
        return {
            **source,
            "columns": self.spec.columns,
            "documents": self.spec.documents,
            **({"delimiter": self.spec.delimiter} if self.spec.delimiter else {}),
            "held_out": 0.0 if self.validation else self.spec.held_out,
        }

    def recalled(self, known: dict[str, Any] | None) -> Corpus:
        """The corpus with the commit that the store remembers of its hub dataset, if any."""
        return replace(self, commit=known["fingerprint"]) if known and self.on_hub else self

    def not_loaded(self, error: Exception) -> InputError:
        """What to say of a hub dataset that cannot be had."""
        return bad_input(
            "E312",
            f"{self.absent}; dataset '{self.name}' cannot be loaded from the hub: {first_line(error)}",
            help="give local files instead: corpus: {data_files: …}",
        )

    def asked(self) -> Corpus:
        """The corpus with the commit of its hub dataset. Raises InputError E312 where the hub cannot be reached."""
        if not self.on_hub or self.commit is not None:
            return self
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        assert self.spec.path is not None
        try:
            found = HfApi().dataset_info(self.spec.path, revision=self.spec.revision).sha
        except (OSError, ValueError, HfHubHTTPError, RuntimeError) as error:
            raise self.not_loaded(error) from None
        return replace(self, commit=found)


def find_corpus(spec: CorpusSpec, folder: Path) -> Corpus:
    """The texts that a recipe names; paths are relative to `folder`.

    Raises InputError E301 for files that are not there, E302 for those of another format.
    """
    if spec.data_files is not None:
        given = spec.data_files if isinstance(spec.data_files, CorpusFiles) else CorpusFiles(train=spec.data_files)
        train, validation = (_listed(names, folder) for names in (given.train, given.validation))
        return Corpus(spec, train, validation)
    assert spec.path is not None
    root = local_folder(
        spec.path,
        folder,
        "corpus",
        of_a_file="name it in corpus.data_files, or give its folder",
        give="give a folder of text files, or a hub id",
    )
    return Corpus(spec, absent=not_here(spec.path, folder)) if root is None else Corpus(spec, *_in_folder(root))


def _listed(names: str | list[str] | None, folder: Path) -> tuple[Path, ...]:
    """The files of these names, each file once: patterns overlap, and a link may lead back to the folder it is in."""
    given, found = [names] if isinstance(names, str) else names or [], dict[Path, Path]()
    for path in (path for name in given for path in _named(name, folder)):
        found.setdefault(path.resolve(), path)
    return tuple(found.values())


def _named(name: str, folder: Path) -> list[Path]:
    """The file of that name, or those that its `*`, `?` and `**` stand for, in the order of their names."""
    path = folder / expanded(name)
    if not glob.has_magic(name) or is_there(path, Path.exists):
        return [_file(path)]
    pattern = os.path.join(glob.escape(str(folder)), expanded(name))
    found = [p for p in map(Path, sorted(glob.glob(pattern, recursive=True))) if _is_read(p)]
    if not found:
        raise bad_input(
            "E301",
            f"no {_FORMATS} file has a name like {name}",
            help="names are relative to the recipe's folder, or absolute; `**/` stands for folders",
        )
    return found


def _is_read(path: Path) -> bool:
    return stem_and_suffix(path)[1] in READ and path.is_file()


def _file(path: Path) -> Path:
    if not is_there(path, Path.is_file):
        what = "is a folder, not a file" if is_there(path, Path.is_dir) else "does not exist"
        near = nearest(path.name, path.parent, Path.is_file)
        help = f"{near} the path is relative to the recipe's folder, or absolute".lstrip()
        help = "name a folder with `path`" if is_there(path, Path.is_dir) else help
        raise bad_input("E301", f"corpus file {Place.of(path).source} {what}", help=help)
    if stem_and_suffix(path)[1] not in READ:
        raise bad_input(
            "E302",
            f"corpus file {Place.of(path).source} is not {_FORMATS}",
            place=Place.of(path),
            help="convert it, or rename it to end in the format it has",
        )
    return path


def _in_folder(root: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """(files to train on, files to look at) of a folder: those of the splits' names, or all."""
    found = sorted(filter(_is_read, root.iterdir()))
    named = {split: tuple(p for p in found if stem_and_suffix(p)[0] in names) for split, names in FOLDER_NAMES.items()}
    if named["train"]:
        return named["train"], named["validation"]
    if not found:
        below = next(filter(_is_read, islice(root.rglob("*"), _LOOKED_AT)), None)
        like = f"corpus: {{data_files: {Place.of(root).source}/**/*{stem_and_suffix(below)[1]}*}}" if below else ""
        raise bad_input(
            "E301",
            f"corpus folder {Place.of(root).source} has no {_FORMATS} file",
            help=f"for those of the folders in it: {like}" if below else "give another folder",
        )
    return tuple(found), ()


def _content(path: Path) -> list[str]:
    """Format and digest of a file."""
    stat = path.stat()
    return [stem_and_suffix(path)[1], _digest(path, stat.st_size, stat.st_mtime_ns)]


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, changed: int) -> str:
    """SHA-256 of a file that has that size and time of change, as a plan asks for the same again and again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
