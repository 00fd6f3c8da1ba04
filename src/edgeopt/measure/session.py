"""ONNX Runtime sessions, opened the same way wherever edgeopt measures, and with the options that session.json ships.

Options are a mapping: attributes of `onnxruntime.SessionOptions` by name (`intra_op_num_threads`, `enable_cpu_mem_arena`,
`enable_mem_pattern`; `graph_optimization_level` by the name of its value), entries of the session's configuration, which have
a dot in their name, and `disabled_optimizers`, a list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeopt.graph_files import DATA, is_large

Options = Mapping[str, Any]

#: All processors, and none is taken by an idle session's threads from another session.
QUIET: Options = {"session.intra_op.allow_spinning": "0"}
#: Options that change which kernels compute the graph, and so the last digits of its logits.
KERNELS = ("disabled_optimizers", "graph_optimization_level")


def defaults(threads: int) -> dict[str, Any]:
    """The runtime's own choices on so many threads. Only, threads that wait for work stop spinning when the query ends: they
    would take the processors from what is measured next, or from whatever else the device does."""
    return {"intra_op_num_threads": threads, **({"session.force_spinning_stop": "1"} if threads > 1 else {})}


def open_session(path: Path, options: Options = QUIET) -> Any:
    """A CPU session with these options. The lines of the model card do the same."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    for name, value in options.items():
        if name == "disabled_optimizers":
            settings.add_session_config_entry("optimization.disable_specified_optimizers", ";".join(value))
        elif name == "graph_optimization_level":
            settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, value)
        elif "." in name:
            settings.add_session_config_entry(name, value)
        else:
            setattr(settings, name, value)
    return ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def save_optimized(path: Path, options: Options, to: Path) -> dict[str, Any]:
    """Write the graph as the runtime optimises it for this processor; returns the options to open that file with. No
    optimisation may run over it again: the runtime would fuse what it was told to leave apart."""
    beside = {"session.optimized_model_external_initializers_file_name": to.name + DATA} if is_large(path) else {}
    open_session(path, {**options, **beside, "optimized_model_filepath": str(to)})
    return {**{k: v for k, v in options.items() if k not in KERNELS}, "graph_optimization_level": "ORT_DISABLE_ALL"}


def input_names(session: Any) -> list[str]:
    return [i.name for i in session.get_inputs()]


def onnx_query(path: Path, options: Options) -> Callable[[Mapping[str, Any]], Any]:
    """The first output of a graph, logits of our own, for a feed of which it takes the inputs that it has."""
    session = open_session(path, options)
    names = set(input_names(session))
    return lambda feed: session.run(None, {k: v for k, v in feed.items() if k in names})[0]
