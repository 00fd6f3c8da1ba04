"""Embedding models as they are: FP32, int8 and 128 dimensions, beside sentence-transformers' own ways, interleaved.

    python -m benchmarks.embedding_int8 --model all-MiniLM-L6-v2=FOLDER --model e5-small=FOLDER --data FOLDER
        --peer-python PYTHON

--data has stsb/ (train, validation, test) and boolq/ (train, validation). A model whose name begins with e5 gets its
prompts. PYTHON is one with sentence-transformers and optimum-onnx, and --peer-path a folder with openvino, nncf and
optimum-intel that is added to its path. What a peer cannot do is a row that says why.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.common import applied, save
from edgeopt.spec.recipe import TaskSpec
from edgeopt.statistics.metric_bounds import metric_difference
from edgeopt.tasks import ranking, task_of
from edgeopt.tasks.retrieval import of_pairs
from edgeopt.tasks.split import Split

ROOT = Path(__file__).parents[1]
MAX_LENGTH, CUT, CONFIDENCE = 256, 128, 0.95
Rows = list[dict[str, Any]]


class Process:
    """One process of embedding_peers."""

    def __init__(self, python: Path, path: Path | None = None) -> None:
        own = [] if path is None else [str(path)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([*own, str(ROOT), str(ROOT / "src")])}
        command = [str(python), "-W", "ignore", "-m", "benchmarks.embedding_peers"]
        self.running = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=env,
        )

    def ask(self, **asked: Any) -> dict[str, Any]:
        assert self.running.stdin and self.running.stdout
        self.running.stdin.write(json.dumps(asked) + "\n")
        self.running.stdin.flush()
        found: dict[str, Any] = json.loads(self.running.stdout.readline())
        return found


@contextlib.contextmanager
def process(python: Path, path: Path | None = None) -> Iterator[Process]:
    found = Process(python, path)
    try:
        yield found
    finally:
        found.running.terminate()
        found.running.wait()


def rows(path: Path, count: int) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][:count]


def graphs(name: str, folder: Path, args: argparse.Namespace, prompts: dict[str, str]) -> dict[str, tuple[Path, Any]]:
    """FP32, dynamic and static: the graph, and the options of the runtime that its run chose."""
    found = {}
    for how in ("dynamic", "static"):
        data = {"path": str(args.data / "stsb"), "max_rows": {"validation": 60}}
        recipe = {
            "edgeopt": 1,
            "name": f"{name}-{how}",
            "model": {"id": str(folder)},
            "task": {
                "type": "embedding",
                "dataset": data,
                "text": ["sentence1", "sentence2"],
                "label": "label",
                "pooling": "mean",
                "normalize": True,
                "prompts": prompts,
                "max_length": MAX_LENGTH,
            },
            "steps": [{"use": f"quantize.{how}"}],
            "targets": [{"name": "brief", "threads": 1, "sequence": ["task"], "queries": 64, "max_seconds": 5}],
            "gates": [],
        }
        model = applied(recipe, args.work) / "model"
        said = json.loads((model / "session.json").read_text(encoding="utf-8"))
        made = {how: model / "onnx" / "model_quantized.onnx", "fp32": model / "onnx" / "model.onnx"}
        found |= {kind: (p, said.get(p.relative_to(model).as_posix(), {})) for kind, p in made.items()}
    return found


def subjects(
    made: dict[str, tuple[Path, Any]], folder: Path, work: Path, texts: list[str]
) -> dict[str, dict[str, Any]]:
    """How each subject is opened, ours first."""
    own = {
        f"edgeopt {kind}": {"how": "edgeopt", "graph": str(p), "options": o} for kind, (p, o) in sorted(made.items())
    }
    theirs = {
        "torch": {"backend": "torch"},
        "onnx": {"backend": "onnx"},
        "onnx int8": {"backend": "onnx", "int8": "avx2"},
        "openvino": {"backend": "openvino"},
        "openvino int8": {"backend": "openvino", "int8": "static", "calibration": texts},
    }
    peers = {
        f"sentence-transformers {name}": {
            "how": "sentence-transformers",
            "folder": str(folder),
            "to": str(work / name.replace(" ", "-")),
            **given,
        }
        for name, given in theirs.items()
    }
    return {name: {**given, "max_length": MAX_LENGTH} for name, given in (own | peers).items()}


def quality(found: dict[str, dict[str, Any]], pairs: Rows, search: Split) -> dict[str, dict[str, Any]]:
    """Of each subject's vectors (pairs, queries and passages) the metrics, beside those of FP32."""
    labels = np.array([row["label"] for row in pairs], dtype=float)
    base = found["edgeopt fp32"]
    spec = {"type": "embedding", "dataset": {"path": "."}, "text": ["q", "p"], "corpus": "rows"}
    task = task_of(TaskSpec.model_validate(spec))

    def measured(given: dict[str, Any]) -> tuple[Any, Any]:
        first, second = (ranking.unit(x) for x in np.split(given["pairs"], 2))
        return np.einsum("rd,rd->r", first, second), task.compared(
            given["search"][:, None], given["search"][:, None], search.labels
        )

    cosines, searched = measured(base)
    out = {}
    for name, given in found.items():
        ours, theirs = measured(given)
        spearman = metric_difference("spearman", labels, cosines, ours, 0, CONFIDENCE)
        ndcg = task.difference("ndcg@10", task.stack_labels(search.labels), searched, theirs, CONFIDENCE)
        same = {}
        if given["pairs"].shape == base["pairs"].shape:
            alike = [np.einsum("rd,rd->r", ranking.unit(given[k]), ranking.unit(base[k])) for k in ("pairs", "search")]
            same = {"cosine": round(float(np.mean(np.concatenate(alike))), 4)}
        out[name] = {
            "spearman": round(task_of(PAIR).measure("spearman", labels, ours[:, None]), 4),
            "ndcg@10": round(float(theirs[:, 0].mean()), 4),
            "spearman_difference": [round(x, 4) for x in (spearman.low, spearman.high)],
            "ndcg@10_difference": [round(x, 4) for x in (ndcg.low, ndcg.high)],
            **same,
        }
    return out


PAIR = TaskSpec.model_validate({"type": "embedding", "dataset": {"path": "."}, "text": ["a", "b"], "label": "c"})


def timed(
    asked: dict[str, Process], texts: dict[str, list[str]], prompts: dict[str, str], rounds: int
) -> dict[str, Any]:
    """Processor milliseconds of a sentence at batch 1, and texts a second at batch 32, interleaved in random order."""
    rng, samples = random.Random(0), {name: {"p50_ms": [], "sentences": [], "passages": []} for name in asked}
    sentences, passages = texts["sentences"], texts["passages"]
    for each in range(-1, rounds):
        for name in rng.sample(list(asked), len(asked)):
            some = rng.sample(sentences, 64)
            alone = [_cpu(asked[name], name, [text], prompts["query"], 1) for text in some[:24]]
            many = _cpu(asked[name], name, some, prompts["query"], 32)
            long = _cpu(asked[name], name, rng.sample(passages, 32), prompts["passage"], 32)
            if each >= 0:  # the first round warms up
                samples[name]["p50_ms"].append(1000 * median(alone))
                samples[name]["sentences"].append(64 / many)
                samples[name]["passages"].append(32 / long)
    return {
        name: {kind: [round(f(values), 2) for f in (median, min, max)] for kind, values in found.items()}
        for name, found in samples.items()
    }


def _cpu(asked: Process, name: str, texts: list[str], prompt: str, batch: int) -> float:
    return float(asked.ask(do="time", name=name, texts=texts, prompt=prompt, batch=batch)["cpu"])


def measured(name: str, folder: Path, args: argparse.Namespace, ours: Process, peers: Process) -> dict[str, Any]:
    """The figures of every subject of a model."""
    e5 = name.startswith("e5")
    prompts = {"query": "query: ", "passage": "passage: "} if e5 else {"query": "", "passage": ""}
    pairs = rows(args.data / "stsb" / "test.jsonl", args.pairs)
    asked_rows = rows(args.data / "boolq" / "validation.jsonl", args.queries)
    search = of_pairs(
        Split("validation", tuple((r["question"], r["passage"]) for r in asked_rows), (0.0,) * len(asked_rows))
    )
    calibration = [row["sentence1"] for row in rows(args.data / "stsb" / "train.jsonl", 300)]
    made = graphs(name, folder, args, prompts)
    opened, told, vectors = {}, {}, {}
    for subject, given in subjects(made, folder, args.work / f"{name}-peers", calibration).items():
        process = ours if given["how"] == "edgeopt" else peers
        key = f"{name} {subject}"
        told[subject] = process.ask(do="open", name=key, **given)
        print(subject, told[subject], file=sys.stderr)
        if "error" in told[subject]:
            continue
        opened[key] = process
        parts = {}
        queries = [text for (text,) in search.texts]
        for part, texts, prompt in (
            ("first", [r["sentence1"] for r in pairs], "query"),
            ("second", [r["sentence2"] for r in pairs], "query"),
            ("queries", queries, "query"),
            ("passages", list(search.passages), "passage"),
        ):
            to = args.work / f"{key} {part} {len(texts)}.npy".replace(" ", "-")
            if not to.is_file():  # one that was interrupted goes on where it was
                process.ask(do="embed", name=key, texts=texts, prompt=prompts[prompt], to=str(to))
            parts[part] = np.load(to)
        vectors[subject] = {
            "pairs": np.concatenate([parts["first"], parts["second"]]),
            "search": np.concatenate([parts["queries"], parts["passages"]]),
        }
        if subject in ("edgeopt fp32", "edgeopt static"):
            vectors[f"{subject}, {CUT} dimensions"] = {k: v[:, :CUT] for k, v in vectors[subject].items()}
    figures = quality(vectors, pairs, search)
    texts = {"sentences": [r["sentence1"] for r in pairs], "passages": list(search.passages)}
    times = timed(opened, texts, prompts, args.rounds)
    return {
        "model": name,
        "pairs": len(pairs),
        "queries": len(search),
        "passages": len(search.passages),
        "subjects": [
            {"name": s, **told.get(s, {}), **figures.get(s, {}), **times.get(f"{name} {s}", {})}
            for s in {**told, **vectors}
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peer-python", type=Path, required=True)
    parser.add_argument("--peer-path", type=Path)
    parser.add_argument("--pairs", type=int, default=1379)
    parser.add_argument("--queries", type=int, default=3270)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", type=Path, default=Path("build/embedding_int8"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    begun, found = time.monotonic(), []
    with process(Path(sys.executable)) as ours, process(args.peer_python, args.peer_path) as peers:
        for given in args.model:
            name, _, folder = given.partition("=")
            found.append(measured(name, Path(folder).resolve(), args, ours, peers))
    code = (
        "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions() "
        "if d.name in ('sentence-transformers', 'transformers', 'torch', 'onnxruntime', 'optimum', 'optimum-onnx', "
        "'optimum-intel', 'openvino', 'nncf')}))"
    )
    env = {**os.environ, "PYTHONPATH": str(args.peer_path or "")}
    versions = json.loads(subprocess.check_output([str(args.peer_python), "-c", code], text=True, env=env))
    minutes = round((time.monotonic() - begun) / 60, 1)
    save("embedding_int8", {"models": found, "rounds": args.rounds, "peers": versions, "minutes": minutes})


if __name__ == "__main__":
    main()
