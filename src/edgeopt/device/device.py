"""What a bundle is tried by, on the device: python device.py selftest|profile [FOLDER].

Needs what run.py needs; prints JSON.

selftest: what the model says of the bundle's texts against what was expected. profile: the same, starts in fresh
processes, and latency as the target in the manifest asks for it. Exit status 1 where the self-test fails, 2 where the
model does not load or the arguments are others.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from guard import end_with_parent  # type: ignore[import-not-found]
from run import Model, onnxruntime, tokenizers  # type: ignore[import-not-found]

_WARM_WINDOW, _WARM_LIMIT, _STARTS = 10, 60, 9


def selftest(folder: Path) -> dict[str, Any]:
    """Hold the model's logits against those that were expected; a logit that is no number fails.

    Of the answer: the largest absolute difference of a logit, the text that has it, and the first text whose label is
    another though two logits were further apart than the tolerance. Embeddings are looked at by `vectors_apart`.
    """
    given, model = json.loads((folder / "selftest.json").read_text(encoding="utf-8")), Model(folder)
    if model.about["task"].get("vector"):
        return {**vectors_apart(model, given), **versions(model), "texts": len(given["texts"])}
    wanted, limit = [np.array(row) for row in given["logits"]], given["tolerance"]
    answers = [model.logits(*texts) for texts in given["texts"]]
    found = [np.abs(a - w).max() for a, w in zip(answers, wanted, strict=True)]
    worst = int(np.argmax(found))  # a nan counts as the largest
    flips = [
        i
        for i, (a, w) in enumerate(zip(answers, wanted, strict=True))
        if model.about["labels"] and a.argmax() != w.argmax() and w.max() - w[a.argmax()] > limit
    ]
    return {
        "passed": bool(found[worst] <= limit) and not flips,
        "flipped": flips[0] if flips else None,
        **versions(model),
        "max_abs_diff": float(np.nan_to_num(found[worst], nan=np.inf)),
        "tolerance": limit,
        "texts": len(found),
        "worst": worst,
    }


def vectors_apart(model: Model, given: dict[str, Any]) -> dict[str, Any]:
    """Hold embeddings against those that were expected: of texts as queries, and as passages where that is another.

    `max_abs_diff` is the mean over the texts of how far an embedding is off, as a share of its length: kernels that
    round otherwise move each text a little and no text far, and a wrong pooling or tokenizer moves all of them far. A
    wrong prompt may move them as little as kernels do, so the embeddings must also be nearer to those behind their own
    prompt than to those behind another or none; `mistaken` is the one that they are nearer to.
    """
    known = {"query": given["logits"], **given.get("prompts", {})}
    wanted = {name: np.array(rows, dtype=np.float64) for name, rows in known.items()}
    off, mistaken = {}, None
    for name in [name for name in ("query", "passage") if name in wanted]:
        found = np.stack([model.logits(*texts, passage=name == "passage") for texts in given["texts"]])
        length = np.linalg.norm(wanted[name], axis=1)
        apart = {other: np.linalg.norm(found - rows, axis=1) / length for other, rows in wanted.items()}
        off[name], nearest = apart[name], min(apart, key=lambda other: apart[other].mean())
        if apart[nearest].mean() < apart[name].mean():
            mistaken = mistaken or [name, nearest]
    most = max(off.values(), key=lambda each: np.nan_to_num(each.mean(), nan=np.inf))
    return {
        "passed": bool(most.mean() <= given["tolerance"]) and mistaken is None,
        "mistaken": mistaken,
        "max_abs_diff": float(np.nan_to_num(most.mean(), nan=np.inf)),
        "tolerance": given["tolerance"],
        "worst": int(np.argmax(most)),  # a nan counts as the largest
    }


def versions(model: Model) -> dict[str, Any]:
    """The packages that answer, and those that the run was made with."""
    here = {module.__name__: module.__version__ for module in (onnxruntime, tokenizers, np)}
    return {"packages": here, "made": model.about["packages"]}


def latency(folder: Path) -> list[dict[str, Any]]:
    """Samples in milliseconds a query at each sequence of the target."""
    texts = json.loads((folder / "selftest.json").read_text(encoding="utf-8"))["texts"]
    target = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["target"]
    pin(target["threads"])
    model = Model(folder)
    rows = [model.feed(*t) for t in texts]
    out = []
    for sequence in target["sequence"]:
        feeds = [
            batch([rows[(begin + i) % len(rows)] for i in range(target["batch"])], sequence)
            for begin in range(len(rows))
        ]
        out.append(
            {"sequence": sequence, "samples": timed(model.session, feeds, target["queries"], target["max_seconds"])}
        )
    return out


def pin(threads: int) -> None:
    """Run on as many processors as there are threads, and no others, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        have = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, have[-min(threads, len(have)) :])


def batch(rows: list[dict[str, Any]], sequence: int | str) -> dict[str, Any]:
    """One feed of the rows: padded to the longest ("task"), or repeated or cut to a fixed length."""
    if sequence == "task":
        width = max(r["input_ids"].shape[1] for r in rows)
        return {
            name: np.concatenate([np.pad(r[name], [(0, 0), (0, width - r[name].shape[1])]) for r in rows])
            for name in rows[0]
        }
    return {name: np.concatenate([np.resize(r[name], (1, int(sequence))) for r in rows]) for name in rows[0]}


def timed(session: onnxruntime.InferenceSession, feeds: list[Any], queries: int, max_seconds: float) -> list[float]:
    """Milliseconds of each query, once ten of them are within a tenth of the ten before."""
    samples: list[float] = []
    warm, end = time.monotonic() + max_seconds / 4, time.monotonic() + max_seconds
    while len(samples) < _WARM_LIMIT and time.monotonic() < warm and not steady(samples):
        samples.append(query(session, feeds[len(samples) % len(feeds)]))
    samples = []
    while len(samples) < queries and (time.monotonic() < end or not samples):
        samples.append(query(session, feeds[len(samples) % len(feeds)]))
    return [round(s, 4) for s in samples]


def steady(samples: list[float]) -> bool:
    """Whether the median of the last ten is within a tenth of that of the ten before."""
    late, early = samples[-_WARM_WINDOW:], samples[-2 * _WARM_WINDOW : -_WARM_WINDOW]
    return len(early) == _WARM_WINDOW and bool(abs(np.median(late) - np.median(early)) <= 0.1 * np.median(early))


def query(session: onnxruntime.InferenceSession, feed: dict[str, Any]) -> float:
    """Milliseconds that one query takes."""
    begun = time.perf_counter_ns()
    session.run(None, feed)
    return (time.perf_counter_ns() - begun) / 1e6


def fresh_start(folder: Path) -> dict[str, Any]:
    """Milliseconds to open the files and answer one query, and the largest resident size in bytes.

    Measured in a copy of this process, which has only imported the runtime.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        end_with_parent()
        try:  # never back into what the copy was made from
            os.write(writer, json.dumps(_start(folder)).encode())
            os._exit(0)
        except BaseException as error:
            print(error, flush=True)
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as file:
        answer = file.read()
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(2)
    found: dict[str, Any] = json.loads(answer)
    return found


def _start(folder: Path) -> dict[str, Any]:
    text = json.loads((folder / "selftest.json").read_text(encoding="utf-8"))["texts"][0]
    begun = time.perf_counter_ns()
    Model(folder).logits(*text)
    milliseconds, status = (time.perf_counter_ns() - begun) / 1e6, Path("/proc/self/status")
    if status.exists():
        peak = (
            next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:")) * 1024
        )
    else:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"ms": round(milliseconds, 3), "peak_bytes": peak}


if __name__ == "__main__":
    end_with_parent()
    if not 2 <= len(sys.argv) <= 3 or sys.argv[1] not in ("selftest", "profile"):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    what, folder = sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parent)
    result: dict[str, Any] = {}
    if what == "profile":
        # before this process has opened anything itself
        result["starts"] = [fresh_start(folder) for _ in range(_STARTS)]
    result["selftest"] = selftest(folder)
    if what == "profile" and result["selftest"]["passed"]:
        result["latency"] = latency(folder)
    print(json.dumps(result))
    sys.exit(0 if result["selftest"]["passed"] else 1)
