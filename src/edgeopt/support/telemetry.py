"""Nobody is told that edgeopt runs: libraries that collect figures of their use are told not to.

An imported library cannot be told any more, so `edgeopt/__init__.py` does it before, and the processes that edgeopt
starts inherit it. What the user has set stays.
"""

from __future__ import annotations

import os
import sys

#: By the variable that each reads. onnxruntime from 1.29 on keeps a device id and a database below the home folder and
#: sends them; huggingface_hub says who asks; datasets counts what is loaded; mlflow counts calls; wandb
#: sends its errors.
VARIABLES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
}
#: Importing openvino sends an event to Google Analytics by this package, of which it has a stub where there is none. No
#: variable switches it off; this file says "1" where its user agreed.
_OPENVINO, _AGREED = "openvino_telemetry", "~/intel/openvino_telemetry"
#: The same in lines that we print, for who runs them without edgeopt.
ORT_LINES = 'os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime from 1.29 on collects figures otherwise'
OPENVINO_LINES = (
    'sys.modules.setdefault("openvino_telemetry", None)  # before openvino is imported, which would tell Google '
    "Analytics"
)


def switch_off() -> None:
    """Tell every library that would report its use, by its variable, not to; what the user has set stays."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    if not _agreed():
        sys.modules.setdefault(_OPENVINO, None)  # type: ignore[arg-type]  # None: importing it fails


def _agreed() -> bool:
    try:
        with open(os.path.expanduser(_AGREED), encoding="utf-8") as file:
            return file.read(8).strip() == "1"
    except (OSError, ValueError):
        return False
