"""The process that measures energy: `python -m edgeopt.measure.energy_worker`, task on stdin."""

from __future__ import annotations

import json
import random
import sys
import time
from itertools import cycle
from typing import Any

from edgeopt.export.exporter import Runnable
from edgeopt.measure.emissions import metering
from edgeopt.measure.energy import as_block
from edgeopt.measure.latency_worker import Feed, feeds_of, pin
from edgeopt.measure.session_choice import Query
from edgeopt.support.workers import read_task

IDLE = "idle"


def main() -> None:
    """Blocks of each model and of idling, as `measured` gives them: JSON on stdout."""
    task = read_task()
    with metering(task["country"]):
        pass  # the first time it looks for the machine's parts, which takes seconds
    pin(task["threads"])
    queries = {name: Runnable.of_json(file).open({}) for name, file in task["graphs"].items()}
    feeds = feeds_of(task["rows"], "task", 1)
    for query in queries.values():
        for feed in feeds[:10]:
            query(feed)
    json.dump(measured(queries, feeds, task["blocks"], task["seconds"], task["country"]), sys.stdout)


def measured(
    queries: dict[str, Query], feeds: list[Feed], blocks: int, seconds: float, country: str
) -> dict[str, list[tuple[dict[str, Any], int]]]:
    """Blocks of each model and of idling, in every round all of them in random order: so drift meets them alike."""
    order, rng = [IDLE, *queries], random.Random(0)
    out: dict[str, list[tuple[dict[str, Any], int]]] = {name: [] for name in order}
    for _ in range(blocks):
        rng.shuffle(order)
        for name in order:
            with metering(country) as used:
                answered = idle(seconds) if name == IDLE else answer(queries[name], feeds, seconds)
            out[name] += [as_block(energy, answered) for energy in used]
    return out


def idle(seconds: float) -> int:
    """Answer nothing for so long, and return so: 0 queries."""
    time.sleep(seconds)
    return 0


def answer(query: Query, feeds: list[Feed], seconds: float) -> int:
    """How many queries were answered, one after another."""
    end = time.monotonic() + seconds
    for number, feed in enumerate(cycle(feeds), 1):
        query(feed)
        if time.monotonic() >= end:
            return number
    return 0


if __name__ == "__main__":
    main()
