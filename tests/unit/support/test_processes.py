"""Workers end with the process that asked them, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeopt.bundle.verify import DEVICE
from edgeopt.support.workers import run_worker

SLEEP = "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(300)"
TOLD = f"import os, sys, time; from edgeopt.support import workers; workers.read_task(); {SLEEP}"
#: Each a worker that never ends by itself: told its task; the same where no signal is sent, as on other systems; the
#: copy of a worker that starts a model; and what edgeopt runs of a bundle, which has nothing of edgeopt.
WORKERS = {
    "a worker": TOLD,
    "a worker that is sent no signal": TOLD.replace(
        "workers.read_task()", "workers.end_with_parent = lambda: None; workers.read_task()"
    ),
    "a copy of a worker": "import os, sys, time; from edgeopt.measure.cold_worker import *; read_task(); "
    f"in_child(lambda: exec({SLEEP!r}), '')",
    "a script of a bundle": f"import os, sys, time; sys.path.insert(0, {str(DEVICE)!r}); import guard; "
    f"guard.end_with_parent(); {SLEEP}",
    "one that looks": f"import os, sys, time; sys.path.insert(0, {str(DEVICE)!r}); sys.platform = 'other'; import "
    f"guard; guard.end_with_parent(); {SLEEP}",
}


def ended(pid: int) -> bool:
    """Whether it runs no more, though nobody may have waited for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("kind", WORKERS)
def test_a_worker_ends_when_who_asked_is_killed(kind: str, tmp_path: Path) -> None:
    told = tmp_path / "pid"
    asks = f"from edgeopt.support.workers import run_worker; run_worker(['-c', {WORKERS[kind]!r}, {str(told)!r}], 1)"
    parent = subprocess.Popen([sys.executable, "-c", asks])
    end = time.monotonic() + 60
    while not (told.exists() and told.read_text()) and time.monotonic() < end and parent.poll() is None:
        time.sleep(0.01)
    worker = int(told.read_text())
    try:
        assert not ended(worker)
        parent.kill()
        parent.wait()
        end = time.monotonic() + 30
        while not ended(worker) and time.monotonic() < end:
            time.sleep(0.01)
        assert ended(worker)
    finally:
        if not ended(worker):
            os.kill(worker, signal.SIGKILL)


def test_a_worker_is_told_its_task_and_answers() -> None:
    code = (
        "import sys; from edgeopt.support.workers import read_task; print(read_task()['a'] * 2); print('why', "
        "file=sys.stderr); sys.exit(3)"
    )
    done = run_worker(["-c", code], {"a": "x" * 100_000})
    assert (done.stdout, done.stderr, done.returncode) == ("x" * 200_000 + "\n", "why\n", 3)


def test_one_that_ends_before_it_reads_and_one_that_takes_too_long() -> None:
    assert run_worker(["-c", "raise SystemExit(4)"], "x" * 1_000_000).returncode == 4
    begun = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        run_worker(["-c", "import time; time.sleep(60)"], None, timeout=0.2)
    assert time.monotonic() - begun < 30
