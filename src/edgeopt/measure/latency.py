"""Latency of several subjects in one fresh process, interleaved, with threads pinned.

A process of its own: the threads, arenas and memory of training would be measured too. The work is
in `latency_worker`, which is told its task and writes samples to stdout.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, PlainValidator, TypeAdapter

from edgeopt.export.exporter import Runnable
from edgeopt.export.session import Options
from edgeopt.measure.graph import mixes_batches
from edgeopt.measure.profile import unfit
from edgeopt.measure.twin import TWIN, Twin
from edgeopt.results.model import Number, Starts, SubjectName
from edgeopt.spec.recipe import Target
from edgeopt.support import host, workers
from edgeopt.support.errors import bad_input, step_failed
from edgeopt.support.reading import Count, NotNegative
from edgeopt.tasks.encode import Ids

#: What a query can have taken, in milliseconds: less than a nanosecond, or more than eleven days, was not measured.
Time = Annotated[float, Field(ge=1e-6, le=1e9, allow_inf_nan=False)]
_MILLISECONDS = TypeAdapter(Annotated[list[Time], Field(min_length=1)])
#: How many rounds each opening, or sitting, has.
Parts = Annotated[tuple[Count, ...], Field(max_length=1000)]


def _samples(value: object) -> np.ndarray[Any, np.dtype[np.float64]]:
    return (
        value
        if isinstance(value, np.ndarray)
        else np.array(_MILLISECONDS.validate_python(value, strict=True), dtype=float)
    )


Samples = Annotated[np.ndarray[Any, np.dtype[np.float64]], PlainValidator(_samples)]
#: Starts of each graph, unless the time is up (then three at least).
_STARTS, _STARTS_SECONDS = 9, 10.0
#: Seconds that a worker may take beyond twice what its target allows: openings and single queries of the slowest models
#: are in it.
_PATIENCE = 7200.0
#: Processes among which the queries are divided where latencies of two times are compared, and how often each opens the
#: files.
SITTINGS, _OPENINGS = 5, 4


@dataclass(frozen=True)
class Measured:
    """Samples of one subject on one target at one sequence: milliseconds a batch, one a round.

    Rounds of different subjects with the same number were measured next to each other.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    subject: SubjectName
    target: str
    runtime: str
    device: str
    threads: Number
    batch: Number
    sequence: int | Literal["task"]
    session: dict[str, Any]
    samples: Samples
    #: How rows came into batches.
    order: Literal["data", "length"] = "data"
    #: The runtime's default options' median over that of `session`, with its bounds; None where those are the defaults.
    gain: tuple[NotNegative, NotNegative, NotNegative] | None = None
    #: Milliseconds in which other programs had the processor meanwhile, in no sample of one thread; how often a drift
    #: made the measuring begin anew.
    waited_ms: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)] = 0.0
    restarts: Count = 0
    #: How many rounds each opening of the files has, in order; and each sitting, a process of its own, where there are
    #: several.
    openings: Parts = ()
    sittings: Parts = ()
    #: Whether it was measured at another time than the others, so that its rounds are no pairs with theirs.
    apart: bool = False
    #: Why this machine cannot stand for the target, or these times not for the model whose metrics were measured; for
    #: bounds in milliseconds: the target's device, and the processor measured on.
    unfit: tuple[str, ...] = ()
    named: str | None = None
    processor: str = ""
    #: Multiply-accumulates a second of the quickest products on this target, by precision: `fp32`, `int8`.
    peak: dict[str, NotNegative] | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data, samples to a tenth of a microsecond."""
        return {**self.__dict__, "samples": [round(float(s), 4) for s in self.samples]}

    @classmethod
    def of_json(cls, given: object) -> Measured:
        """What `as_json` wrote, read again. Raises ValueError where that is no such thing."""
        made: Measured = _adapter().validate_json(json.dumps(given), strict=True)
        if made.openings and sum(made.openings) != len(made.samples):
            raise ValueError(f"there are {len(made.samples)} samples, and {sum(made.openings)} of the openings")
        if made.sittings and sum(made.sittings) != len(made.samples):
            raise ValueError(f"there are {len(made.samples)} samples, and {sum(made.sittings)} of the sittings")
        return made


def unpaired(latency: Sequence[Measured]) -> str | None:
    """In what latencies of one time are not what `measure` gives; None where they are.

    It gives rounds of a baseline and a candidate next to each other.
    """
    places: dict[tuple[Any, ...], dict[str, Measured]] = {}
    for m in latency:
        place = places.setdefault((m.target, m.sequence), {})
        if m.subject in place:
            return f"{m.subject} is there twice on {m.target} at {m.sequence}"
        place[m.subject] = m
    for (target, sequence), found in places.items():
        if absent := [name for name in ("baseline", "candidate") if name not in found]:
            return f"there is no {absent[0]} on {target} at {sequence}"
        if len({(len(m.samples), m.openings, m.sittings, m.threads, m.batch, m.order) for m in found.values()}) > 1:
            return f"the subjects on {target} at {sequence} have other numbers of rounds, openings, threads or rows"
    return None


@cache
def _adapter() -> TypeAdapter[Measured]:
    return TypeAdapter(Measured)


def measure(
    target: Target,
    graphs: Mapping[SubjectName, Runnable],
    torch_folder: Path | None,
    rows: list[Ids],
    options: Mapping[SubjectName, Options] | None = None,
    **more: Any,
) -> list[Measured]:
    """Measure the latency of every subject at every sequence of the target.

    rows: encoded rows of the report split. torch_folder: the FP32 baseline as a torch state, measured eagerly. options:
    of graphs whose options are known; those of the others are chosen. more: for the worker alone. Raises StepError
    E409.
    """
    task = {
        "target": target.model_dump(mode="json"),
        "graphs": {name: file.as_json() for name, file in graphs.items()},
        "torch": str(torch_folder) if torch_folder else None,
        "rows": rows[:1024],
        "options": dict(options or {}),
        **more,
    }
    results = run_worker("edgeopt.measure.latency_worker", task)
    about: dict[str, Any] = {
        "target": target.name,
        "threads": target.threads,
        "batch": target.batch,
        "order": target.order,
        "named": target.device,
        "processor": host.cpu_name(),
    }
    lacks, mixed = unfit(target), {name: _mixed(file, target) for name, file in graphs.items()}
    return [
        Measured(
            **{**r, "samples": np.array(r["samples"])},
            **about,
            unfit=(*lacks, *mixed.get(r["subject"], ())),
        )
        for r in results
    ]


def _mixed(file: Runnable, target: Target) -> list[str]:
    """Why a file's times say nothing of the model whose metrics were measured; empty where they do."""
    if target.batch == 1 or not file.path.is_file() or not mixes_batches(file.path):
        return []
    return [
        f"dynamic quantization scales by all that is in a batch: in batches of {target.batch} the model gives other "
        "answers than those that its metrics were measured on; take quantize.static, or a target with batch: 1"
    ]


def sittings(
    target: Target,
    graphs: Mapping[SubjectName, Runnable],
    torch_folder: Path | None,
    rows: list[Ids],
    twin: Twin,
    options: Mapping[SubjectName, Options],
) -> list[Measured]:
    """Measure latencies that can be compared with samples of another time.

    They are measured beside the baseline's twin, in five sittings. Each sitting is a process of its own with a fifth of
    the queries and of the time. options: as for `measure`, also of the twin. Raises StepError E409.
    """
    found: list[Measured] = []
    with tempfile.TemporaryDirectory() as scratch:
        path = twin.write(Path(scratch))
        for sequence in target.sequence:
            if (feed := twin.feed(target.name, sequence)) is None:
                continue
            share = {"queries": math.ceil(target.queries / SITTINGS), "max_seconds": target.max_seconds / SITTINGS}
            one = target.model_copy(update={"sequence": [sequence], **share})
            asked = {"name": TWIN, "path": str(path), "feed": feed.values(), "options": options.get(TWIN)}
            found += measure(
                one, graphs, torch_folder, rows, options, twin=asked, openings=_OPENINGS, sittings=SITTINGS
            )
    return found


def promise(target: Target) -> tuple[str, float]:
    """What `measure` does, and the seconds that it takes at most: search for options, warm-up and openings included.

    Only the start of the programs that run the files comes on top, and what a file takes to be opened once and to
    answer one query.
    """
    lengths = f" at {len(target.sequence)} lengths" if len(target.sequence) > 1 else ""
    return f"latency on {target.name}{lengths}, once torch and the files are loaded", target.max_seconds * len(
        target.sequence
    )


def promise_of_starts(graphs: Mapping[str, Runnable]) -> tuple[str, float]:
    """What `cold_starts` does, and about how many seconds it takes: more, where three starts of each file do."""
    runtimes = {file.exporter.imports for file in graphs.values()}
    return f"cold start and memory of {len(graphs)} file{'s' * (len(graphs) > 1)}", _STARTS_SECONDS * len(runtimes)


def cold_starts(graphs: Mapping[str, Runnable], row: Ids) -> dict[str, Starts]:
    """Starts of each file, in fresh processes that do nothing else, with the files in the page cache.

    One file after the other in each round, and one runtime after the other, so that no process holds another runtime's
    code. Raises StepError E409.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for modules in dict.fromkeys(file.exporter.imports for file in graphs.values()):
        files = {name: file.as_json() for name, file in graphs.items() if file.exporter.imports == modules}
        task = {
            "imports": modules,
            "graphs": files,
            "row": row,
            "repeats": _STARTS,
            "at_least": 3,
            "max_seconds": _STARTS_SECONDS,
        }
        found.update(run_worker("edgeopt.measure.cold_worker", task))
    return {
        name: Starts(ms=[round(s["ms"], 3) for s in found[name]], peak_bytes=[s["peak_bytes"] for s in found[name]])
        for name in graphs
    }


def run_worker(module: str, task: dict[str, Any]) -> Any:
    """What a module answers, run as a worker.

    Raises StepError E409 where it fails or does not end, InputError E212 as `onnx_query` does.
    """
    # what makes training a good neighbor would slow what is measured
    env = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
    asked = task.get("target", {})
    limit = _PATIENCE + 2 * asked.get("max_seconds", 0.0) * len(asked.get("sequence", ()))
    try:
        done = workers.run_worker(["-m", module], task, env, timeout=limit)
    except subprocess.TimeoutExpired:
        raise step_failed(
            "E409",
            f"the measuring process has taken more than {limit / 3600:.0f} hours",
            help="one of its files may never finish",
        ) from None
    if done.returncode != 0 or not done.stdout:  # an exporter of others may have ended it with 0
        told = re.findall(r"error\[(E\d+)\]: (.*)", done.stderr)
        if told and told[-1][0] == "E212":
            raise bad_input(*told[-1], help="export the model again, or copy it again")
        tail = [told[-1][1]] if told else done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise step_failed(
            "E409",
            f"the measuring process failed with exit status {done.returncode}: {tail[0]}",
            help="a negative status is a signal: -9 usually means too little memory",
        )
    return json.loads(done.stdout)
