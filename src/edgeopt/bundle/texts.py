"""The texts that a bundle is tried by, and how far its answers may be from those that were expected."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer

from edgeopt.bundle.manifest import TOKENIZER
from edgeopt.bundle.verify import MAX_TEXTS
from edgeopt.export.session import onnx_query
from edgeopt.gates.rows_of_run import rows_of
from edgeopt.results.model import Report
from edgeopt.results.sealed import Run
from edgeopt.spec.recipe import TaskSpec
from edgeopt.statistics.bounds import Values
from edgeopt.support.errors import InputError, Place, bad_input
from edgeopt.support.reading import MB
from edgeopt.tasks import Task
from edgeopt.tasks.encode import Encoder

Texts = tuple[str, ...]
Logits = np.ndarray[Any, np.dtype[np.float32]]
#: Bytes of a file of texts at most.
_LARGEST = 16 * MB
#: Other ways in which the runtime may compute the same graph: what they differ by, other processors may too.
_WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"graph_optimization_level": "ORT_ENABLE_BASIC"},
    {"graph_optimization_level": "ORT_DISABLE_ALL"},
)
#: Queries of random tokens by which that is found out, always the same ones, and the most tokens of one.
PROBES, _LONGEST = 32, 64
#: How many times the root mean square of those differences a logit may be off; and at least which share of the logits'
#: scale: of int8 nearly three times what versions of the runtime were found to differ by
#: (benchmarks/results/bundle_versions.json).
_WIDER = 4.0
_LEAST = {"fp32": 1e-3, "int8": 0.1}
#: The same of embeddings. Static int8 of MiniLM-L6 without VNNI, where sums overflow, was .12 from exact sums (32 rows
#: of STS-B); pooling by the first token was .95 off, a cased tokenizer .60, a prompt more .38, no normalization 3.9.
_LEAST_VECTOR = {"fp32": 0.01, "int8": 0.2}
#: How far a logit may be from what the run wrote, on the processor that it ran on.
_SAME = 1e-3


def rows_of_run(run: Run, task: TaskSpec, count: int) -> tuple[list[int], list[Texts]]:
    """Numbers and texts of rows of the report split, `count` at most, evenly spread over their lengths.

    Raises InputError E151 where they are not to be found.
    """
    split, _ = rows_of(run, task)
    order = sorted(range(len(split)), key=lambda i: (sum(map(len, split.texts[i])), i))
    chosen = sorted({order[round(place)] for place in np.linspace(0, len(order) - 1, min(count, len(order)))})
    return chosen, [split.texts[i] for i in chosen]


def read_texts(path: Path, need: int) -> list[Texts]:
    """The queries in a user's file: a text a line, or in a .jsonl file a string or a list of two.

    need: texts of a query. Raises InputError E144.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise bad_input("E144", f"--texts {path} is larger than {_LARGEST / MB:g} MB")
        lines = [line for line in data.decode("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise bad_input("E144", f"--texts {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    found = [_text(line, Place.of(path, number), path.suffix == ".jsonl", need) for number, line in enumerate(lines, 1)]
    if not 0 < len(found) <= MAX_TEXTS:
        raise bad_input("E144", f"--texts {path} has {len(found)} texts, and a bundle has 1 to {MAX_TEXTS}")
    return found


def _text(line: str, place: Place, as_json: bool, need: int) -> Texts:
    try:
        value = json.loads(line) if as_json else line
    except ValueError as error:
        raise bad_input("E144", f"this is not JSON: {error}", place=place) from None
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()
    if len(texts) != need or not all(isinstance(t, str) for t in texts):
        shape = 'a list of two: ["one", "other"]' if need > 1 else "a string"
        raise bad_input(
            "E144",
            f"a query of this model is {need} text{'s' * (need > 1)}",
            place=place,
            help=f"one a line in a .jsonl file, each {shape}",
        )
    return texts


def outputs_of(folder: Path, model: str, task: Task, rows: Sequence[Texts], options: dict[str, Any]) -> Values:
    """The outputs of the rows, as the task has them, one query at a time as a device serves them.

    Raises InputError E144 where the file does not open.
    """
    encoder = Encoder(folder, task.spec.max_length)
    features = task.encode(encoder, rows)
    answers = _answers(folder / model, options, [encoder.pad([ids]) for ids in features.ids])
    return task.gather([*answers], features)


def logits_of(folder: Path, model: str, task: Task, queries: Sequence[Texts], options: dict[str, Any]) -> Logits:
    """The model's logits for queries, or their vectors, shape (queries, numbers).

    Raises InputError E144 where the file does not open.
    """
    return np.stack([task.shown(output) for output in outputs_of(folder, model, task, queries, options)])


def probe_logits(folder: Path, model: str, max_length: int, options: dict[str, Any]) -> Logits:
    """The model's logits for probes, shape (PROBES, logits): the same queries whatever texts a bundle has.

    They are of random tokens of the model's vocabulary, of lengths up to 64, each between what begins and ends a text.
    Raises InputError E144 where the file does not open.
    """
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()
    around, rng = tokenizer.encode("").ids, np.random.default_rng(0)
    feeds = []
    for length in np.linspace(4, min(max_length, _LONGEST), PROBES).round().astype(int):
        ids = rng.integers(0, tokenizer.get_vocab_size(with_added_tokens=False), max(int(length), 1))
        if len(around) == 2 and len(ids) > 2:
            ids[0], ids[-1] = around
        ones = np.ones((1, len(ids)), np.int64)
        feeds.append({"input_ids": ids[None].astype(np.int64), "attention_mask": ones, "token_type_ids": 0 * ones})
    return _answers(folder / model, options, feeds)


def _answers(graph: Path, options: dict[str, Any], feeds: Sequence[dict[str, Any]]) -> Logits:
    try:
        query = onnx_query(graph, options, limited=True)
        return np.stack([query(feed)[0] for feed in feeds])
    except InputError as error:
        raise bad_input(
            "E144", error.issues[0].message.replace(f"{graph.parent}/", ""), help="apply the recipe again"
        ) from None


def vector_tolerance(
    ask: Callable[[dict[str, Any]], Logits], options: dict[str, Any], precision: Literal["fp32", "int8"]
) -> float:
    """How far embeddings may be off on average on another processor, as a share of their length.

    That is one and a half times what the runtime's levels of optimization differ by on the probes, and `_LEAST_VECTOR`
    at least: a mean over texts hardly varies. ask: as `tolerance_of` has it.
    """
    served = ask(options)
    length = np.linalg.norm(served, axis=1)
    apart = max(float(np.mean(np.linalg.norm(ask(way) - served, axis=1) / length)) for way in _WAYS)
    return float(f"{max(1.5 * apart, _LEAST_VECTOR[precision]):.3g}")


def tolerance_of(
    ask: Callable[[dict[str, Any]], Logits], options: dict[str, Any], precision: Literal["fp32", "int8"]
) -> float:
    """How far a logit may be off on another device or version of the runtime.

    That is four times the root mean square of what the runtime's levels of optimization differ by on the probes, and a
    share of the logits' scale at least. Through int8 a sum in another order may end in the neighboring integer, so that
    this is far more than float's rounding; a root mean square is that of many sums, where the largest difference would
    be luck. ask: the probes' logits by options.
    """
    served = ask(options)
    apart = max(float(np.sqrt(np.mean(np.abs(ask(way) - served).max(axis=1) ** 2))) for way in _WAYS)
    scale = float(np.sqrt(np.mean(served**2)))
    least = _LEAST[precision] * (scale if precision == "int8" else max(1.0, scale))
    return float(f"{max(_WIDER * apart, least):.3g}")


def check_measured(run: Path, rows: Sequence[int], outputs: Values, report: Report, task: Task) -> None:
    """Raises InputError E144 where the model is not the one that the run measured.

    outputs: of those rows, with the runtime's default options. Other processors answer otherwise, so it is looked at on
    the run's own alone.
    """
    from edgeopt.gates.evidence import read_answers
    from edgeopt.support import host

    if report.environment.get("cpu") != host.cpu_name():
        return
    found = task.kept_of(outputs)
    measured = read_answers(run, task).candidate[list(rows), : found.shape[1]]
    apart = float(np.abs(measured - found).max(initial=0.0))
    if not apart <= _SAME * max(1.0, float(np.abs(measured).max(initial=0.0))):
        raise bad_input(
            "E144",
            f"{report.candidate.artifact} is not the model that the run measured: its logits differ by {apart:.2g}",
            help="apply the recipe again",
        )
