"""ONNX Runtime sessions, opened the same way wherever edgeopt measures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Choices worth measuring: the fused SkipLayerNormalization kernel is slow in some releases and
#: fast in others, so each target measures both and ships the better.
CHOICES: tuple[tuple[str, ...], ...] = ((), ("SkipLayerNormFusion",))


def open_session(path: Path, *, threads: int | None = None, disabled: Sequence[str] = ()) -> Any:
    """A CPU session; threads None: one for each processor. Spinning is off: idle sessions of one process
    would take the processors from the one that is measured."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled) or None)


def input_names(session: Any) -> list[str]:
    return [i.name for i in session.get_inputs()]
