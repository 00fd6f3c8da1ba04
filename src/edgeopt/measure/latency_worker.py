"""The process that measures latency: `python -m edgeopt.measure.latency_worker`, task on stdin."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.export import Runnable
from edgeopt.measure.choice import Query, best_options
from edgeopt.tasks.encode import length

Feed = dict[str, np.ndarray[Any, np.dtype[np.int64]]]
_WARM_WINDOW = 10
_WARM_LIMIT = 60


def main() -> None:
    task = json.load(sys.stdin)
    target = task["target"]
    pin(target["threads"])
    feeds = {str(s): feeds_of(task["rows"], s, target["batch"]) for s in target["sequence"]}
    probe = feeds[str(target["sequence"][0])]
    queries: dict[str, Query] = {}
    about: dict[str, dict[str, Any]] = {}
    for name, given in task["graphs"].items():
        file = Runnable.of_json(given)
        made = file.exporter
        choice = best_options(file.open, made.defaults(target["threads"]), made.changes(target["threads"]), probe)
        queries[name] = choice.query
        about[name] = {"runtime": made.runtime, "device": "cpu", "session": {**file.settings, **choice.options}, "gain": choice.gain}
    if task["torch"]:
        queries["baseline-torch"], device = torch_query(Path(task["torch"]), target["threads"])
        about["baseline-torch"] = {"runtime": "torch", "device": device, "session": {}, "gain": None}
    results = []
    for sequence in target["sequence"]:
        samples = interleaved(queries, feeds[str(sequence)], target["queries"], target["max_seconds"])
        results += [{"subject": name, "sequence": sequence, "samples": samples[name], **about[name]} for name in queries]
    json.dump(results, sys.stdout)


def pin(threads: int) -> None:
    """Run on as many processors as there are threads, and no others, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        have = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, have[-min(threads, len(have)) :])


def feeds_of(rows: list[dict[str, list[Any]]], sequence: int | str, batch: int) -> list[Feed]:
    """Batches of real token ids: at their own lengths ("task"), or repeated or cut to a fixed length. What a decoder is
    given keeps its length."""
    out: list[Feed] = []
    for start in range(0, max(len(rows) - batch + 1, 1), batch):
        part = [rows[(start + i) % len(rows)] for i in range(batch)]
        out.append({name: _batch(name, part, sequence) for name in part[0]})
    return out


def _batch(name: str, rows: list[dict[str, list[Any]]], sequence: int | str) -> np.ndarray[Any, np.dtype[np.int64]]:
    own = sequence == "task" or name.startswith("decoder_")
    width = max(length(r, name) for r in rows) if own else int(sequence)
    return np.array([_fitted(r[name], width, repeat=not own) for r in rows], dtype=np.int64)


def _fitted(values: list[Any], width: int, *, repeat: bool) -> list[Any]:
    """Token numbers, or those of each choice, of just that width."""
    if isinstance(values[0], list):
        return [_fitted(v, width, repeat=repeat) for v in values]
    return (values * (width // len(values) + 1))[:width] if repeat else values + [0] * (width - len(values))


def torch_query(folder: Path, threads: int) -> tuple[Query, str]:
    """The FP32 model run eagerly by torch: on the GPU where there is one, else on these processors."""
    import inspect

    import torch

    from edgeopt.models.load import load_model

    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = load_model(folder)
    model = model.to(device)
    accepted = set(inspect.signature(model.forward).parameters)

    def query(feed: Feed) -> object:
        with torch.inference_mode():
            logits = model(**{k: torch.from_numpy(v).to(device) for k, v in feed.items() if k in accepted}).logits
            return logits.cpu()  # waits for the GPU

    return query, torch.cuda.get_device_name() if device == "cuda" else "cpu"


def interleaved(queries: dict[str, Query], feeds: list[Feed], rounds: int, max_seconds: float) -> dict[str, list[float]]:
    """Milliseconds a query: in each round every subject answers the same feed once, in random order.
    Rounds before the latencies are steady do not count."""
    order = list(queries)
    rng = random.Random(0)
    samples: dict[str, list[float]] = {name: [] for name in queries}

    def one_round(number: int) -> None:
        feed = feeds[number % len(feeds)]
        rng.shuffle(order)
        for name in order:
            start = time.perf_counter_ns()
            queries[name](feed)
            samples[name].append((time.perf_counter_ns() - start) / 1e6)

    warm = time.monotonic() + max_seconds / 4
    for number in range(_WARM_LIMIT):
        one_round(number)
        if time.monotonic() > warm or (number >= 2 * _WARM_WINDOW and steady(samples)):
            break
    for values in samples.values():
        values.clear()
    end, parent = time.monotonic() + max_seconds, os.getppid()
    for number in range(rounds):
        one_round(number)
        if os.getppid() != parent:
            raise SystemExit("the run that asked is gone")
        if time.monotonic() > end:
            break
    return samples


def steady(samples: dict[str, list[float]]) -> bool:
    """The last ten rounds are within a tenth of the ten before, for every subject."""
    for values in samples.values():
        late, early = np.median(values[-_WARM_WINDOW:]), np.median(values[-2 * _WARM_WINDOW : -_WARM_WINDOW])
        if abs(late - early) > 0.1 * early:
            return False
    return True


if __name__ == "__main__":
    main()
