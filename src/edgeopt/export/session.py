"""ONNX Runtime sessions, opened the same way wherever edgeopt measures, and with the options that session.json ships.

Options are a mapping: attributes of `onnxruntime.SessionOptions` by name (`intra_op_num_threads`,
`enable_cpu_mem_arena`, `enable_mem_pattern`; `graph_optimization_level` by the name of its value), entries of the
session's configuration, which have a dot in their name, and `disabled_optimizers`, a list. No others are set, wherever
they come from: `device/guard.py`.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
import textwrap
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.device import guard
from edgeopt.device.guard import LEVEL, OPTIMIZERS, session_options
from edgeopt.export.graph_files import DATA, is_large
from edgeopt.support.errors import bad_input

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Options = Mapping[str, Any]

#: All processors, and none is taken by an idle session's threads from another session.
QUIET: Options = {"session.intra_op.allow_spinning": "0"}
#: Seconds that one query may take where rows are answered: the largest encoder takes a minute for one on the slowest
#: device.
PATIENCE = 600.0
_AGAIN = "export the model again, or copy it again"
#: Outputs of a graph that are looked for, where it has several.
OUTPUTS = ("logits", "sentence_embedding")
#: Options that change which kernels compute the graph, and so the last digits of its logits.
KERNELS = (OPTIMIZERS, LEVEL)


def defaults(threads: int) -> dict[str, Any]:
    """The runtime's own choices on so many threads.

    Only, threads that wait for work stop spinning when the query ends: they would take the processors from what is
    measured next, or from whatever else the device does.
    """
    return {"intra_op_num_threads": threads, **({"session.force_spinning_stop": "1"} if threads > 1 else {})}


def open_session(path: Path, options: Options = QUIET) -> InferenceSession:
    """A CPU session with these options.

    The lines of the model card do the same. Raises ValueError for options that no session.json may set.
    """
    return _opened(path, options)


def save_optimized(path: Path, options: Options, to: Path) -> dict[str, Any]:
    """Write the graph as the runtime optimizes it for this processor; returns the options to open that file with.

    It is in the runtime's own format where `to` ends in .ort. No optimization may run over it again: the runtime would
    fuse what it was told to leave apart.
    """
    _opened(path, options, to)
    return {**{k: v for k, v in options.items() if k not in KERNELS}, "graph_optimization_level": "ORT_DISABLE_ALL"}


def _opened(path: Path, options: Options, to: Path | None = None) -> InferenceSession:
    """A CPU session. to: where the runtime is to write the optimized graph, which only we say, and no options."""
    import onnxruntime as ort

    settings = session_options(ort, dict(options))
    if to is not None:
        settings.optimized_model_filepath = str(to)
        if to.suffix == ".ort":
            settings.add_session_config_entry("session.save_model_format", "ORT")
        elif is_large(path):
            settings.add_session_config_entry("session.optimized_model_external_initializers_file_name", to.name + DATA)
    return ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


@functools.cache
def option_lines() -> str:
    """Lines of Python, for who has no edgeopt, that set what session.json in `folder` says of `file`.

    They set it of `options`, an onnxruntime.SessionOptions, as far as `guard` lets it: they are its own lines, with its
    constants written out.
    """
    _, lines = inspect.getsource(guard.set_options).split('"""\n')
    lines = (
        textwrap.dedent(lines)
        .strip()
        .replace("given", 'json.loads((folder / "session.json").read_text(encoding="utf-8")).get(file, {})')
    )
    for name in ("OPTIMIZERS", "LEVEL", "ENTRIES", "ATTRIBUTES", "MAX_THREADS"):
        value = json.dumps(getattr(guard, name))
        lines = re.sub(rf"\b{name}\b", f"({value[1:-1]})" if value.startswith("[") else value, lines)
    return lines


def input_names(session: InferenceSession) -> list[str]:
    """The names of a graph's inputs, in their order."""
    return [i.name for i in session.get_inputs()]


def output_names(session: InferenceSession) -> list[str]:
    """The names of a graph's outputs, the one that answers first."""
    return sorted((o.name for o in session.get_outputs()), key=lambda name: name not in OUTPUTS)


def onnx_query(
    path: Path, options: Options, *, limited: bool = False, named: str | None = None
) -> Callable[[Mapping[str, Any]], Any]:
    """A query that gives the output of a graph that has one of the names of OUTPUTS, or its first where none has.

    Of its feed it takes the inputs that the graph has. limited: a query that takes longer than PATIENCE is broken off;
    the watch costs a tenth of a millisecond, so not where time is measured. named: there must be an output of that
    name. Raises InputError E131 where the graph does not open or lacks it, and a query E212 where the runtime fails or
    is broken off.
    """
    try:
        session = open_session(path, options)
    except ValueError:  # options
        raise
    except Exception as error:  # the runtime's exceptions have no base of their own
        raise bad_input(
            "E131", f"{path} cannot be opened by ONNX Runtime: {told(error)}", help="export it again"
        ) from None
    names, outputs = set(input_names(session)), output_names(session)
    if named is not None and named not in outputs:
        help = "edgeopt's and optimum's exports have it"
        raise bad_input("E131", f"{path} has no output '{named}'; its outputs are {', '.join(outputs)}", help=help)
    wanted = outputs[:1] if named is None else [named]
    run = _limited(session) if limited else session.run

    def query(feed: Mapping[str, Any]) -> Any:
        try:
            return run(wanted, {k: v for k, v in feed.items() if k in names})[0]
        except TimeoutError:
            raise bad_input(
                "E212", f"{path} takes more than {PATIENCE:.0f} seconds for one query", help=_AGAIN
            ) from None
        except Exception as error:
            raise bad_input(
                "E212", f"{path} cannot answer a query in ONNX Runtime: {told(error)}", help=_AGAIN
            ) from None

    return query


def told(error: Exception) -> str:
    """What the runtime says, on one line."""
    return " ".join(str(error).split())[:300]


def _limited(session: InferenceSession) -> Callable[..., Any]:
    """The session's `run`, which raises TimeoutError after PATIENCE."""
    import onnxruntime as ort

    def run(outputs: list[str], feed: Mapping[str, Any]) -> Any:
        # the runtime looks at the flag before each node, of a loop's body too
        options, late = ort.RunOptions(), threading.Event()

        def stop() -> None:
            late.set()
            options.terminate = True

        watch = threading.Timer(PATIENCE, stop)
        watch.daemon = True
        watch.start()
        try:
            return session.run(outputs, feed, options)
        except Exception:
            if late.is_set():
                raise TimeoutError from None
            raise
        finally:
            watch.cancel()

    return run


def changes(threads: int, *, kernels: bool = True) -> list[dict[str, Any]]:
    """What is tried of ONNX Runtime's options, the most promising first.

    kernels: those too that change which kernels compute the graph; for a file that is optimized already they come too
    late.
    """
    found: list[dict[str, Any]] = [
        {"disabled_optimizers": ["SkipLayerNormFusion"]},
        {"disabled_optimizers": ["BiasGeluFusion"]},
    ]
    if threads > 1:
        found.append({"session.intra_op.allow_spinning": "0"})
    while threads > 1:
        threads //= 2
        found.append({"intra_op_num_threads": threads})
    found += [
        {"enable_cpu_mem_arena": False},
        {"enable_mem_pattern": False},
        {"graph_optimization_level": "ORT_ENABLE_BASIC"},
    ]
    return [c for c in found if kernels or not set(c) & set(KERNELS)]
