"""Workers: processes of our own that measure. Each gets its task as a line of JSON on stdin, and ends when we end.

stdin stays open as long as we live: its end is how a worker knows that we were killed, on any system. Linux sends a
signal besides, which reaches a worker that is deep in the runtime's code, too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from edgeopt.device.guard import end_with_parent


def run_worker(
    arguments: Sequence[str], task: object, env: Mapping[str, str] | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments until it ends; it is killed where that takes too long, or we are interrupted.

    timeout: seconds (subprocess.TimeoutExpired). env: its environment, ours by default.
    """
    command = [sys.executable, "-W", "ignore", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
    ) as process:
        line, process.stdin = process.stdin, None  # else `communicate` would close it
        assert line is not None
        try:
            with suppress(BrokenPipeError):  # it ended already; its status says why
                line.write(json.dumps(task) + "\n")
                line.flush()
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(OSError):
                line.close()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def read_task() -> Any:
    """The worker's side: what it is to do. From here on it ends with the process that asked."""
    end_with_parent()
    task = sys.stdin.readline()
    if not task:
        os._exit(1)
    threading.Thread(target=_until_closed, daemon=True).start()
    return json.loads(task)


def _until_closed() -> None:
    while os.read(0, 1 << 16):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
