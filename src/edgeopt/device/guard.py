"""What edgeopt and a bundle's scripts have in common; the standard library alone, because it is copied into bundles.

Which options of ONNX Runtime a session.json may set, and that a process ends with the one that started it.
"""

import ctypes
import os
import re
import signal
import sys
import threading
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxruntime import SessionOptions

#: More threads than this start no quicker on any machine that edgeopt is for, and a million of them hang it.
MAX_THREADS = 256
#: What session.json may set: attributes of SessionOptions, its configuration's entries with their values, and two of
#: their own. Whatever else the runtime knows is refused: some options write files, load libraries or name paths.
ATTRIBUTES = ("intra_op_num_threads", "enable_cpu_mem_arena", "enable_mem_pattern")
ENTRIES = ("session.intra_op.allow_spinning", "session.force_spinning_stop")
OPTIMIZERS, LEVEL = "disabled_optimizers", "graph_optimization_level"
LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_LAYOUT", "ORT_ENABLE_ALL")
_OPTIMIZER = re.compile(r"[A-Za-z0-9_]{1,100}")
_FATAL = 4  # the runtime's logging.h
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


def problem(options: object) -> "str | None":
    """What is wrong with options out of a session.json, in words, if anything."""
    if not isinstance(options, dict):
        return "its options are not an object"
    for name, value in options.items():
        if may := _range(name, value):
            return (
                f"{str(name)[:60]!r} is {str(value)[:60]!r}, and may be {may}"
                if may != "no"
                else f"it sets {str(name)[:60]!r}, which edgeopt never sets"
            )
    return None


def _range(name: object, value: object) -> "str | None":
    """What an option may be, where it is something else; `no` where it may not be set."""
    if name == "intra_op_num_threads":
        return None if type(value) is int and 0 <= value <= MAX_THREADS else f"0 to {MAX_THREADS}"
    if name in ATTRIBUTES:
        return None if type(value) is bool else "true or false"
    if name in ENTRIES:
        return None if value in ("0", "1") else '"0" or "1"'
    if name == LEVEL:
        return None if value in LEVELS else f"one of {', '.join(LEVELS)}"
    if name == OPTIMIZERS:
        good = (
            isinstance(value, list)
            and len(value) <= 100
            and all(isinstance(v, str) and _OPTIMIZER.fullmatch(v) for v in value)
        )
        return None if good else "a list of names"
    return "no"


def session_options(ort: ModuleType, options: "dict[str, Any]") -> "SessionOptions":
    """SessionOptions with these. ort: the module onnxruntime. Raises ValueError for what `problem` finds."""
    if wrong := problem(options):
        raise ValueError(f"session.json is refused: {wrong}")
    settings = ort.SessionOptions()
    # its errors are raised as well; on stderr they would have names out of the graph in them, as they are
    settings.log_severity_level = _FATAL
    ort.set_default_logger_severity(_FATAL)
    set_options(ort, settings, options)
    return settings


def set_options(ort: ModuleType, options: "SessionOptions", given: "dict[str, Any]") -> None:
    """Set what is given. Model cards and README have these lines, with the constants written out: export/session.py."""
    for name, value in given.items():
        if name == OPTIMIZERS:
            options.add_session_config_entry("optimization.disable_specified_optimizers", ";".join(value))
        elif name == LEVEL:
            options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, value)
        elif name in ENTRIES:
            options.add_session_config_entry(name, value)
        elif name in ATTRIBUTES:  # others may write files
            setattr(options, name, min(value, MAX_THREADS))


def end_with_parent() -> None:
    """End this process when the one that started it ends, even by a kill, which gives it no chance to say so.

    Linux sends a signal; elsewhere a thread looks each second.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that was set
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
