"""How fast a text file becomes tokens, by its size and the number of processes, and how much memory that takes.

A text of each size is generated from the documents of another, in an order that is drawn anew in each pass, and removed
again. Each case runs in a process of its own, which may not hold more than --limit-gb. With --work a second start goes
on where the first stopped. The disk needs room for the largest text and half as much for its tokens.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
from pathlib import Path
from typing import Any

from benchmarks.common import save, worker
from edgeopt.support import host


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True, help="text whose lines are the documents; may end in .gz")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.json")
    parser.add_argument("--work", type=Path, required=True, help="keep texts and results here, to go on from")
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[0.1, 1.0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=1, help="how often each case is measured, in turns")
    parser.add_argument("--limit-gb", type=float, default=2.0, help="what each process may hold")
    parser.add_argument("--tokens", type=int, default=128, help="of a row")
    parser.add_argument("--rows", type=int, default=10_000, help="rows that are read, in the order of a training")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    file = options.work / "corpus_size.json"
    done: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for size in sorted(options.gigabytes):
        for turn in range(options.turns):
            for count in options.processes:
                if (key := f"{size:g} GB, {count} processes, turn {turn}") not in done:
                    done[key] = {"gigabytes": size, "processes": count, **measured(size, count, options)}
                    file.write_text(json.dumps(done, indent=1), encoding="utf-8")
                    print(key, done[key], flush=True)
                    save("corpus_size", result(done, options))
        (options.work / "text.txt").unlink(missing_ok=True)


def measured(size: float, processes: int, options: Any) -> dict[str, Any]:
    text, store = options.work / "text.txt", options.work / "corpora"
    if not text.exists() or text.stat().st_size < size * 1e9:
        generate(options.text, text, round(size * 1e9))
    shutil.rmtree(store, ignore_errors=True)
    task = {
        "text": str(text.resolve()),
        "tokenizer": str(options.tokenizer.resolve()),
        "store": str(store.resolve()),
        "processes": processes,
        "limit_bytes": round(options.limit_gb * 1e9),
        "tokens": options.tokens,
        "rows": options.rows,
    }
    found: dict[str, Any] = json.loads(worker("benchmarks.corpus_step", task))
    shutil.rmtree(store)
    return found


def generate(source: Path, target: Path, size: int) -> None:
    """Write so many bytes of the source's documents, or few more."""
    with gzip.open(source, "rb") if source.suffix == ".gz" else source.open("rb") as file:
        lines = [line for line in file if line.strip()]
    draw, written = random.Random(0), 0
    part = target.with_suffix(".part")
    with part.open("wb") as out:
        while written < size:
            draw.shuffle(lines)
            for line in lines:
                written += out.write(line)
                if written >= size:
                    break
    part.rename(target)


def result(done: dict[str, Any], options: Any) -> dict[str, Any]:
    return {
        "what": "a generated text file in tokens: seconds of the wall clock, peaks of the resident memory",
        "limit_gb": options.limit_gb,
        "tokens_of_a_row": options.tokens,
        "cases": list(done.values()),
        "processors": host.cpus(),
    }


if __name__ == "__main__":
    main()
