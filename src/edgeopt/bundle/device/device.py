"""What a bundle is tried by, on the device: python device.py selftest|profile [FOLDER]. Needs what run.py needs; prints JSON.

selftest: the logits of the bundle's texts against those that were expected. profile: the same, then latency as the target
in the manifest asks for it, and starts in fresh processes. Exit status 1 where the self-test fails.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from run import Model  # type: ignore[import-not-found]

_WARM_WINDOW, _WARM_LIMIT, _STARTS = 10, 60, 5


def selftest(folder: Path) -> dict[str, Any]:
    """Largest absolute difference of a logit, and the text that has it."""
    given, model = json.loads((folder / "selftest.json").read_text(encoding="utf-8")), Model(folder)
    found = [np.abs(model.logits(*texts) - np.array(logits)).max() for texts, logits in zip(given["texts"], given["logits"], strict=True)]
    worst = int(np.argmax(found))  # a nan counts as the largest
    passed = bool(found[worst] <= given["tolerance"])
    return {
        "passed": passed,
        "max_abs_diff": float(np.nan_to_num(found[worst], nan=np.inf)),
        "tolerance": given["tolerance"],
        "texts": len(found),
        "worst": worst,
    }


def profile(folder: Path) -> dict[str, Any]:
    """Samples in milliseconds a query at each sequence of the target."""
    texts = json.loads((folder / "selftest.json").read_text(encoding="utf-8"))["texts"]
    target = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["target"]
    pin(target["threads"])
    model = Model(folder)
    rows = [model.feed(*t) for t in texts]
    latency = []
    for sequence in target["sequence"]:
        feeds = [batch([rows[(start + i) % len(rows)] for i in range(target["batch"])], sequence) for start in range(len(rows))]
        latency.append({"sequence": sequence, "samples": timed(model.session, feeds, target["queries"], target["max_seconds"])})
    return {"latency": latency, "starts": [start(folder) for _ in range(_STARTS)]}


def pin(threads: int) -> None:
    """Run on as many processors as there are threads, and no others, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        have = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, have[-min(threads, len(have)) :])


def batch(rows: list[dict[str, Any]], sequence: int | str) -> dict[str, Any]:
    """One feed of the rows: padded to the longest ("task"), or repeated or cut to a fixed length."""
    if sequence == "task":
        width = max(r["input_ids"].shape[1] for r in rows)
        return {name: np.concatenate([np.pad(r[name], [(0, 0), (0, width - r[name].shape[1])]) for r in rows]) for name in rows[0]}
    return {name: np.concatenate([np.resize(r[name], (1, int(sequence))) for r in rows]) for name in rows[0]}


def timed(session: Any, feeds: list[Any], queries: int, max_seconds: float) -> list[float]:
    """Milliseconds of each query, once ten of them are within a tenth of the ten before."""
    samples: list[float] = []
    warm, end = time.monotonic() + max_seconds / 4, time.monotonic() + max_seconds
    while len(samples) < _WARM_LIMIT and time.monotonic() < warm and not steady(samples):
        samples.append(query(session, feeds[len(samples) % len(feeds)]))
    samples, parent = [], os.getppid()
    while len(samples) < queries and (time.monotonic() < end or not samples):
        samples.append(query(session, feeds[len(samples) % len(feeds)]))
        if os.getppid() != parent:
            sys.exit("who asked is gone")
    return [round(s, 4) for s in samples]


def steady(samples: list[float]) -> bool:
    late, early = samples[-_WARM_WINDOW:], samples[-2 * _WARM_WINDOW : -_WARM_WINDOW]
    return len(early) == _WARM_WINDOW and bool(abs(np.median(late) - np.median(early)) <= 0.1 * np.median(early))


def query(session: Any, feed: dict[str, Any]) -> float:
    begun = time.perf_counter_ns()
    session.run(None, feed)
    return (time.perf_counter_ns() - begun) / 1e6


def start(folder: Path) -> dict[str, Any]:
    """Opening the files and answering one query in a fresh process: milliseconds, and its largest resident size."""
    done = subprocess.run([sys.executable, __file__, "start", str(folder)], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _started(folder: Path) -> dict[str, Any]:
    import resource

    text = json.loads((folder / "selftest.json").read_text(encoding="utf-8"))["texts"][0]
    begun = time.perf_counter_ns()
    Model(folder).logits(*text)
    milliseconds = (time.perf_counter_ns() - begun) / 1e6
    return {"ms": round(milliseconds, 3), "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


if __name__ == "__main__":
    command, folder = sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parent)
    if command == "start":
        print(json.dumps(_started(folder)))
        sys.exit()
    result = {"selftest": selftest(folder)}
    if command == "profile" and result["selftest"]["passed"]:
        result.update(profile(folder))
    print(json.dumps(result))
    sys.exit(0 if result["selftest"]["passed"] else 1)
