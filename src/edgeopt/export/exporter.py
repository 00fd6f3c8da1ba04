"""What an exporter is: a finished state to a folder that a runtime loads, and how that is run.

Exporters are found through the entry-point group `edgeopt.exporters`; edgeopt's own live in the
import package `edgeopt_exporters`, which nothing here imports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from edgeopt.export import session
from edgeopt.export.session import Options
from edgeopt.store.facts import Facts
from edgeopt.store.store import State
from edgeopt.support import host
from edgeopt.support.installation import install
from edgeopt.support.registry import Registry, instance_of

#: dynamic: not at all. buckets: to the next of 32, 64, 128, …. max_length: all to the same length. Where a query is
#: padded, the file has fixed shapes and takes one text a query.
Padding = Literal["dynamic", "buckets", "max_length"]
Precision = Literal["fp32", "int8"]
#: Logits for a feed of int64 arrays by input name, of shape (batch, sequence).
Query = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class ExportInput:
    """The states that an exporter may write from.

    state: what is exported. fp32: the ONNX state it was quantized from, or the same state; None where it was trained
    in int8 and never had a float graph. torch: the torch state that the graph was made from; None where training for
    int8 followed it. max_length: the most tokens that a query may have.
    """

    state: State
    fp32: State | None
    torch: State | None = None
    max_length: int = 128


@dataclass(frozen=True)
class Exported:
    """What an exporter wrote into its folder, where tokenizer.json is, too.

    artifact: the file that is measured, relative to the folder. settings: what it has to be opened with on any machine,
    as `Exporter.open` takes it. optimized: where the graph is to be saved as the runtime optimizes it, once it is known
    with which options that is quickest. precision: of its weights; None: the graph's.
    """

    artifact: Path
    settings: Options = field(default_factory=dict)
    optimized: Path | None = None
    precision: Precision | None = None


class Exporter(ABC):
    """Base of every exporter. What is written runs in ONNX Runtime unless the methods that open it say otherwise."""

    name: ClassVar[str]
    summary: ClassVar[str]
    #: What runs the file where it is measured, as reports call it.
    runtime: ClassVar[str] = "onnxruntime"
    #: Facts that the state must have, and must not have.
    requires: ClassVar[Facts]
    forbids: ClassVar[Facts] = frozenset()
    #: What is converted: the state's graph, as it is; or the torch model that it was made from, which the exporter
    #: quantizes itself.
    source: ClassVar[Literal["graph", "torch"]] = "graph"
    #: What a query may be padded to, the default first; the option `padding` chooses where there are several.
    paddings: ClassVar[tuple[Padding, ...]] = ("dynamic",)
    #: Whether the artifact has the same bytes each time it is written of the same state.
    reproducible: ClassVar[bool] = True
    #: Distributions that must be installed, and edgeopt's extra that brings them.
    needs: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    #: Modules whose import is the start of a program, not of a model.
    imports: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    #: Option names with their defaults; values in a recipe must be of the same type.
    options: ClassVar[dict[str, Any]] = {}
    #: Whether the runtime that measures it is the one that it is written for; `auto` leaves others out.
    native: ClassVar[bool] = True

    @abstractmethod
    def write(self, given: ExportInput, folder: Path, options: Mapping[str, Any]) -> Exported:
        """Write into an empty folder what the runtime loads. options: all of `known_options`."""

    def variants(self) -> dict[str, dict[str, Any]]:
        """Ways of writing that `auto` measures: options by what tells them apart; the default is first, named ""."""
        return {"" if i == 0 else padding: {"padding": padding} if i else {} for i, padding in enumerate(self.paddings)}

    @property
    def known_options(self) -> dict[str, Any]:
        """Every option with its default."""
        return {**self.options, **({"padding": self.paddings[0]} if len(self.paddings) > 1 else {})}

    def padding(self, options: Mapping[str, Any]) -> Padding:
        """What the options say that queries are padded to, or the exporter's default."""
        found: Padding = options.get("padding", self.paddings[0])
        return found

    def misfit(self, options: Mapping[str, Any]) -> str | None:
        """What is wrong with options of the right types, if anything."""
        return None

    def open(self, path: Path, options: Options) -> Query:
        """Run what was written. options: those of `defaults` or of session.json, with the file's settings."""
        return session.onnx_query(path, options)

    def defaults(self, threads: int | None) -> dict[str, Any]:
        """The runtime's own options on so many threads; None: on all processors."""
        return dict(session.QUIET) if threads is None else session.defaults(threads)

    def for_rows(self, threads: int) -> tuple[dict[str, Any], int]:
        """The options with which many rows are answered one by one, and how many of them at once.

        ONNX Runtime takes several at a time, each on a thread of its own: quicker than all threads on a short text, and
        the sums are the same. Of another runtime nobody knows whether it may be asked so.
        """
        if type(self).open is not Exporter.open:
            return self.defaults(None), 1
        return {**self.defaults(None), "intra_op_num_threads": 1}, threads

    def changes(self, threads: int) -> list[dict[str, Any]]:
        """Changes of options that may make a file quicker, the most promising first."""
        return session.changes(threads)

    def loading(self, lengths: Sequence[int] | None) -> str:
        """Lines of Python for the model card, which define `run(feeds)`, a function that returns logits.

        They are given `folder`, `file`, `options` from session.json and, where queries are padded, their `lengths`.
        Empty: the file is loaded as ONNX files are.
        """
        return ""


@dataclass(frozen=True)
class Runnable:
    """A file that an exporter wrote, or a graph that is a state's, and with what it is opened."""

    path: Path
    format: str = "onnx"
    settings: Options = field(default_factory=dict)

    @property
    def exporter(self) -> Exporter:
        return exporter(self.format)

    def open(self, options: Options) -> Query:
        """Open the file; options: on top of its settings."""
        return self.exporter.open(self.path, {**self.settings, **options})

    def as_json(self) -> dict[str, Any]:
        """Plain data of which `of_json` makes it again, in a worker for example."""
        return {"path": str(self.path), "format": self.format, "settings": dict(self.settings)}

    @classmethod
    def of_json(cls, given: Mapping[str, Any]) -> Runnable:
        """What `as_json` gave, as a Runnable again."""
        return cls(Path(given["path"]), given["format"], given["settings"])


EXPORTERS: Registry[Exporter] = Registry("edgeopt.exporters", "exporter", {}, instance_of(Exporter, "exporter"))


def exporter(name: str) -> Exporter:
    """The installed exporter of that name. Raises InputError E122 where there is none, or it cannot be used."""
    return EXPORTERS.needed(name)


def exporter_names() -> list[str]:
    """The names of all installed exporters, in their order."""
    return sorted(EXPORTERS)


def unfit(
    made: Exporter, options: Mapping[str, Any], facts: Facts, task: str, *, flat: bool, float_graph: bool
) -> str | None:
    """Why an exporter cannot take a state with these facts, made for a task of that type, if so.

    flat: whether the task's queries have no other axes than batch and sequence. float_graph: whether the state's graph
    was made from a torch model in float32 as it is.
    """
    if lacking := made.requires - facts:
        return f"needs {', '.join(sorted(lacking))}, which the last step does not provide"
    if in_the_way := made.forbids & facts:
        return f"cannot take {', '.join(sorted(in_the_way))}, which the last step leaves"
    if made.source == "torch" and not float_graph:
        return "quantizes the float model itself, and this one was trained in int8"
    if made.padding(options) != "dynamic" and not flat:
        return f"has fixed shapes, which do not work for {task}"
    return None


def absent(made: Exporter) -> list[str]:
    """Distributions that the exporter needs and that are not installed."""
    return [name for name in made.needs if host.installed(name) is None]


def install_command(made: Exporter) -> str:
    """The command that installs what the exporter needs."""
    return install(made.extra) if made.extra else f"pip install {' '.join(made.needs)}"
