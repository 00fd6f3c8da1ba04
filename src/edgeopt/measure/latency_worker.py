"""The process that measures latency: `python -m edgeopt.measure.latency_worker`, task on stdin."""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgeopt.export.exporter import Runnable
from edgeopt.export.session import Options, onnx_query
from edgeopt.measure.arithmetic import peaks, weights_of
from edgeopt.measure.cold_worker import in_child
from edgeopt.measure.rounds import believable
from edgeopt.measure.session_choice import SECONDS, Choice, Query, best_options
from edgeopt.support.workers import read_task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Seconds in all from which on there is time to find the machine's arithmetic limit, too.
_LIMIT_FROM = 4.0
Feed = dict[str, np.ndarray[Any, np.dtype[np.int64]]]


def main() -> None:
    """Measure what the task asks, in sittings where it asks for some: JSON on stdout."""
    task = read_task()
    json.dump(in_sittings(task, task["sittings"]) if task.get("sittings") else measured(task), sys.stdout)


def in_sittings(task: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Measure in so many copies of this process, one after the other; of each subject all sittings joined.

    The copies have the runtimes loaded and have opened no file. The options that the first chooses the others take.
    """
    files = {name: Runnable.of_json(given) for name, given in task["graphs"].items()}
    for module in {m for file in files.values() for m in file.exporter.imports} | (
        {"torch", "transformers"} if task["torch"] else set()
    ):
        importlib.import_module(module)
    if task["torch"]:
        from edgeopt.models.model_class import model_class

        model_class(Path(task["torch"]))  # transformers loads no model's code before it is asked for the class
    parts: list[list[dict[str, Any]]] = []
    for _ in range(count):
        parts.append(in_child(partial(_sitting, task), "a sitting")["measured"])
        chosen = {
            r["subject"]: {k: v for k, v in r["session"].items() if k not in files[r["subject"]].settings}
            for r in parts[0]
            if r["subject"] in files
        }
        task = {**task, "options": {**chosen, **task["options"]}}
    return [_joined(each) for each in zip(*parts, strict=True)]


def _sitting(task: dict[str, Any]) -> dict[str, Any]:
    return {"measured": measured(task)}


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several sittings of one subject as one."""
    whole = {key: [value for part in parts for value in part[key]] for key in ("samples", "openings")}
    return {
        **parts[0],
        **whole,
        "sittings": [len(part["samples"]) for part in parts],
        "waited_ms": sum(part["waited_ms"] for part in parts),
    }


def measured(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Samples of each subject at each sequence, and what they were measured with: what `latency.measure` asks for.

    The process does nothing else.
    """
    target = task["target"]
    pin(target["threads"])
    feeds = {str(s): feeds_of(task["rows"], s, target["batch"], target["order"]) for s in target["sequence"]}
    probe = feeds[str(target["sequence"][0])]
    total = target["max_seconds"] * len(feeds)  # of all that follows, but for the start of torch
    openers: dict[str, Callable[[], Query]] = {}
    about: dict[str, dict[str, Any]] = {}
    if task["torch"]:
        torch_query, device = torch_opener(Path(task["torch"]), target["threads"])
    end = time.monotonic() + total
    searches = sum(not task["options"].get(name) for name in task["graphs"])
    for name, given in task["graphs"].items():
        file, known = Runnable.of_json(given), task["options"].get(name)
        made = file.exporter
        if known:
            choice = Choice(file.open(known), known, None)
        else:
            share = min(SECONDS, total / 4 / searches)
            choice = best_options(
                file.open,
                made.defaults(target["threads"]),
                made.changes(target["threads"]),
                probe,
                target["threads"],
                share,
            )
        openers[name] = partial(file.open, choice.options)
        about[name] = {
            "runtime": made.runtime,
            "device": "cpu",
            "session": {**file.settings, **choice.options},
            "gain": choice.gain,
        }
    if task["torch"]:
        openers["baseline-torch"] = torch_query
        about["baseline-torch"] = {"runtime": "torch", "device": device, "session": {}, "gain": None}
    if twin := task.get("twin"):
        options = twin["options"] or about["baseline"]["session"]
        openers[twin["name"]] = partial(
            _fixed, Path(twin["path"]), options, {name: np.array(v, dtype=np.int64) for name, v in twin["feed"].items()}
        )
        about[twin["name"]] = {"runtime": "onnxruntime", "device": "cpu", "session": options, "gain": None}
    lengths, peak = [n for n in target["sequence"] if n != "task"], None
    if lengths and total >= _LIMIT_FROM and not twin:
        weights = weights_of(Path(next(iter(task["graphs"].values()))["path"]))
        peak = peaks(
            [(n * target["batch"], *kn) for n in lengths for kn in weights], target["threads"], min(2.0, total / 20)
        )
    left, results = (end - time.monotonic()) / len(feeds), []
    for sequence, found in believable(
        openers, feeds, target["threads"], target["queries"], left, task.get("openings")
    ).items():
        for name in openers:
            counted = {
                "samples": found.samples[name],
                "openings": found.openings,
                "waited_ms": sum(found.waited[name]),
                "restarts": found.restarts,
            }
            results.append(
                {
                    "subject": name,
                    "sequence": sequence if sequence == "task" else int(sequence),
                    **counted,
                    "peak": peak,
                    **about[name],
                }
            )
    return results


def _fixed(path: Path, options: Options, feed: Feed) -> Query:
    """A file that answers the same feed, whatever it is asked."""
    query = onnx_query(path, options)
    return lambda _: query(feed)


def pin(threads: int) -> None:
    """Run on as many processors as there are threads, and no others, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        have = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, have[-min(threads, len(have)) :])


def feeds_of(
    rows: list[dict[str, list[Any]]], sequence: int | str, batch: int, order: Literal["data", "length"] = "data"
) -> list[Feed]:
    """Batches of real token ids: at their own lengths ("task"), or repeated or cut to a fixed length.

    What a decoder is given keeps its length. order: in which rows come into batches. Batches are asked in random order,
    so that any number of them stands for all, whatever order the data has; rows that fill no batch are left out before
    they are sorted, as else the longest would be.
    """
    out: list[Feed] = []
    if order == "length":
        rows = sorted(rows[: len(rows) // batch * batch] or rows, key=_read)
    for start in range(0, max(len(rows) - batch + 1, 1), batch):
        part = [rows[(start + i) % len(rows)] for i in range(batch)]
        out.append({name: _batch(name, part, sequence) for name in part[0]})
    random.Random(0).shuffle(out)
    return out


def _batch(name: str, rows: list[dict[str, list[Any]]], sequence: int | str) -> np.ndarray[Any, np.dtype[np.int64]]:
    own = sequence == "task" or name.startswith("decoder_")
    width = max(_tokens(r[name]) for r in rows) if own else int(sequence)
    return np.array([_fitted(r[name], width, repeat=not own) for r in rows], dtype=np.int64)


def _read(row: dict[str, list[Any]]) -> int:
    """How many tokens of a row an encoder reads."""
    return max(_tokens(values) for name, values in row.items() if not name.startswith("decoder_"))


def _tokens(values: list[Any]) -> int:
    """How many tokens a query has, or the longest of its choices.

    As `tasks.encode.length`, whose package would take this process longer to import than all else.
    """
    return len(values[0]) if isinstance(values[0], list) else len(values)


def _fitted(values: list[Any], width: int, *, repeat: bool) -> list[Any]:
    """Token numbers, or those of each choice, of just that width."""
    if isinstance(values[0], list):
        return [_fitted(v, width, repeat=repeat) for v in values]
    return (values * (width // len(values) + 1))[:width] if repeat else values + [0] * (width - len(values))


def torch_opener(folder: Path, threads: int) -> tuple[Callable[[], Query], str]:
    """What makes the FP32 model, run eagerly by torch, ready in memory of its own; and the name of the device.

    It runs on the GPU where there is one, else on these processors.
    """
    import copy

    import torch

    from edgeopt.models.load import load_model, takes

    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(folder).to(device)
    accepted = takes(model)

    def query(copied: PreTrainedModel, feed: Feed) -> object:
        with torch.inference_mode():
            logits = copied(**{k: torch.from_numpy(v).to(device) for k, v in feed.items() if k in accepted}).logits
            return logits.cpu()  # waits for the GPU

    return lambda: partial(query, copy.deepcopy(model)), torch.cuda.get_device_name() if device == "cuda" else "cpu"


if __name__ == "__main__":
    main()
