"""Tokenizes a corpus and reads rows of it, within a limit of memory; what `benchmarks.corpus_size` starts.

Reads a task as JSON from stdin, and prints what it took.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any


def main() -> None:
    task: dict[str, Any] = json.load(sys.stdin)
    os.environ["EDGEOPT_THREADS"] = str(task["processes"])
    limit = int(task["limit_bytes"])
    # what a process may hold of its own; its workers inherit it. Files that are mapped are not counted
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    print(json.dumps(made(task)))


def made(task: dict[str, Any]) -> dict[str, Any]:
    """Seconds, tokens and the peak of memory of each stage, in bytes."""
    from edgeopt.corpus.rows import CorpusRows, frame_of
    from edgeopt.corpus.shards import shards
    from edgeopt.corpus.source import find_corpus
    from edgeopt.models.tokenizer import read_tokenizer
    from edgeopt.spec.corpus import CorpusSpec
    from edgeopt.support import host
    from edgeopt.support.progress import Progress

    if host.cpus() != task["processes"]:
        raise SystemExit(f"{task['processes']} processes are asked for, and there are {host.cpus()} processors")
    begun = host.peak_memory()
    found = read_tokenizer(Path(task["tokenizer"]), "bert")
    frame = frame_of(found.tokenizer)
    spec = CorpusSpec(data_files=task["text"], documents="line")
    corpus = find_corpus(spec, Path.cwd())
    started = time.monotonic()
    corpus.key()
    hashed = time.monotonic()
    kept = shards(corpus, found.text, frame.behind, Path(task["store"]), Progress(show=False))
    tokenized, peak = time.monotonic(), host.peak_memory()
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    from edgeopt.training.sampler import LengthGroupedSampler

    host.forget_peak_memory()
    imported = host.peak_memory()
    rows = CorpusRows(kept.stream("train"), frame, task["tokens"], pack=True)
    sampler = LengthGroupedSampler(rows.lengths, 32, 0)
    for row in islice(sampler, task["rows"]):
        rows[row]
    return {
        "begun_bytes": begun,
        "hash_seconds": round(hashed - started, 2),
        "seconds": round(tokenized - hashed, 2),
        "processor_seconds": round(time.process_time() + workers.ru_utime + workers.ru_stime, 2),
        "tokens": kept.stream("train").tokens,
        "characters": kept.characters,
        "bytes": kept.bytes,
        "peak_bytes": peak,
        "worker_peak_bytes": workers.ru_maxrss * 1024 if task["processes"] > 1 else 0,
        "rows": len(rows),
        "rows_peak_bytes": host.peak_memory() - imported,
    }


if __name__ == "__main__":
    main()
