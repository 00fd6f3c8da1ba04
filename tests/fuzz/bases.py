"""What is mutated: rows for each type of task in each format, and sound recipes whose keys cover the format."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]

_DOCUMENT = [
    {"words": ["Ann", "sees", "her", "dog"], "coref_spans": [[0, 0, 0], [0, 2, 2], [1, 3, 3]]},
    {"words": ["It", "barks"], "coref_spans": [[1, 0, 0]]},
]
_CONLL = """#begin document (a); part 000
a 0 0 Ann NNP (0)
a 0 1 sees VBZ -
a 0 2 her PRP$ (1|(0)
a 0 3 dog NN 1)

a 0 0 It PRP (1)
a 0 1 barks VBZ -

#end document
"""


def _labeled(split: str, count: int) -> list[Row]:
    return [
        {
            "text": f"{split} good{i} word{i}",
            "pair": f"word{i % 7}",
            "label": i % 2,
            "score": i / 4,
            "source": "ab"[i % 2],
        }
        for i in range(count)
    ]


def _rows(task: str, split: str) -> list[Row]:
    count = 8 if split == "train" else 5
    if task == "choice":
        return [
            {
                "question": f"{split} {i}",
                "choices": {"label": ["A", "B"], "text": ["good0", f"bad{i}"]},
                "answer": "AB"[i % 2],
            }
            for i in range(count)
        ]
    if task == "tags":
        return [
            {"words": [split, f"word{i}", "good0"], "tags": ["O", "B-X", "I-X"][: 3 - i % 2] + ["O"] * (i % 2)}
            for i in range(count)
        ]
    if task == "coref":
        return [{"sentences": _DOCUMENT}] * 2
    if task == "summary":
        return [{"document": f"{split} word{i} good0 bad0", "summary": f"word{i}"} for i in range(count)]
    return _labeled(split, count)


def write_data(folder: Path) -> list[Path]:
    """folder/TASK/train.jsonl and validation.jsonl for each task.

    Below folder/formats are the same rows in the other formats.
    """
    for task in ("texts", "choice", "tags", "coref", "summary"):
        (folder / task).mkdir(parents=True)
        for split in ("train", "validation"):
            (folder / task / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows(task, split)))
    return [
        path for task in ("texts", "choice", "tags", "coref", "summary") for path in _formats(folder / "formats", task)
    ]


def _formats(folder: Path, task: str) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(exist_ok=True)
    rows = _rows(task, "train")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    made: dict[str, str | bytes] = {
        f"{task}.jsonl": lines,
        f"{task}.json": json.dumps(rows, indent=1),
        f"{task}.jsonl.gz": gzip.compress(lines.encode(), mtime=0),
    }
    if task == "texts":
        cells = [list(rows[0]), *([str(v) for v in row.values()] for row in rows)]
        made |= {
            "texts.csv": "".join('"' + '","'.join(c) + '"\n' for c in cells),
            "texts.tsv": "".join("\t".join(c) + "\n" for c in cells),
        }
        made["texts.csv.gz"] = gzip.compress("".join(";".join(c) + "\n" for c in cells).encode(), mtime=0)
    if task == "coref":
        made["coref.conll"] = _CONLL
    for name, content in made.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{task}.parquet")
    return [*(folder / name for name in made), folder / f"{task}.parquet"]


#: The keys of a task over each kind of rows.
TASKS: dict[str, Row] = {
    "texts": {"type": "text-classification", "text": "text", "label": "label"},
    "choice": {"type": "multiple-choice", "text": "question", "choices": "choices", "label": "answer"},
    "tags": {"type": "token-classification", "text": "words", "label": "tags"},
    "coref": {"type": "coreference", "text": "sentences", "pairs": {"max_antecedents": 2, "window": 2, "context": 4}},
    "summary": {"type": "summarization", "text": "document", "label": "summary", "max_target_length": 8},
}


def task_over(data: str, kind: str, **more: Any) -> Row:
    return {**TASKS[kind], "dataset": {"path": f"{data}/{kind}"}, "max_length": 16, **more}


def recipes(model: str, data: str) -> list[Row]:
    """Sound recipes. model and data: folders, as the recipes name them."""
    head = {"edgeopt": 1, "name": "fuzz", "model": {"id": model}}
    texts, train = task_over(data, "texts"), {"epochs": 1, "batch_size": 4, "learning_rate": 1e-3, "precision": "fp32"}
    target = {
        "name": "board",
        "threads": 2,
        "sequence": [16, "task"],
        "queries": 64,
        "max_seconds": 5.0,
        "instructions": ["avx2|neon"],
        "device": "Xeon",
        "memory_mb": 500.0,
    }
    return [
        {
            **head,
            "description": "an adapter, merged, pruned, in int8",
            "task": {
                **texts,
                "metrics": ["accuracy", "f1"],
                "labels": ["0", "1"],
                "slices": ["source"],
                "selection": 0.25,
                "report": "validation",
            },
            "baseline": {"finetune": {**train, "class_weights": "balanced", "keep_best": True}},
            "steps": [
                {
                    "id": "adapt",
                    "use": "adapter.lora",
                    "r": 4,
                    "alpha": 8,
                    "target_modules": ["query", "value"],
                    **train,
                },
                {"id": "merge", "use": "merge"},
                {"id": "prune", "use": "prune.magnitude", "amount": 0.2, "scope": "layer"},
                {
                    "id": "int8",
                    "use": "quantize.static",
                    "calibration": {"samples": 4, "method": "percentile", "percentile": 99.9},
                },
            ],
            "export": [{"format": "onnx"}, {"format": "transformers-js", "options": {"dtypes": ["q8"], "fp32": False}}],
            "targets": ["cpu-1-thread", target],
            "gates": [
                {"metric": "accuracy", "max_drop": 0.04, "slice": "worst", "confidence": 0.9},
                {"metric": "size", "max_ratio": 0.3},
                {"metric": "latency.p50", "min_speedup": 1.5, "target": "board", "sequence": 16, "against": "torch"},
            ],
            "emissions": None,
            "diagnostics": {"flips": 3, "texts": False},
            "seed": 7,
        },
        {
            **head,
            "task": {
                **texts,
                "dataset": {
                    "data_files": {
                        "train": [f"{data}/texts/train.jsonl"],
                        "validation": f"{data}/texts/validation.jsonl",
                    },
                    "max_rows": {"train": 6},
                },
                "train_with": [
                    {"dataset": {"path": f"{data}/texts"}, "text": "pair", "label": "label", "labels": ["0", "1"]}
                ],
                "long_text": "window",
                "stride": 4,
                "text": ["text"],
            },
            "steps": [
                {
                    "id": "tune",
                    "use": "finetune",
                    **train,
                    "epochs": 2,
                    "sampling": {"method": "annealed", "anneal_by": 0.5},
                    "early_stopping": {"patience": 1},
                },
                {
                    "id": "student",
                    "use": "finetune",
                    **train,
                    "distill": {
                        "teacher": ["baseline", "tune"],
                        "losses": {"labels": 0.5, "logits": 1.0},
                        "temperature": 2.0,
                        "unlabelled": {"dataset": {"path": f"{data}/texts"}, "text": "pair"},
                    },
                },
                {"use": "quantize.dynamic"},
            ],
            "baseline": {"finetune": train},
            "export": "auto",
            "seeds": [1, 2],
        },
        {
            **head,
            "task": {
                **texts,
                "type": "text-regression",
                "label": "score",
                "text": ["text", "pair"],
                "metrics": ["spearman"],
            },
            "steps": [
                {"id": "first", "use": "finetune", **train},
                {"id": "cofi", "use": "prune.cofi", "sparsity": 0.5, **train},
                {"id": "qat", "use": "quantize.qat", **train},
            ],
            "baseline": {"finetune": train},
            "gates": [{"metric": "spearman", "max_drop_relative": 0.1}, {"metric": "memory.peak", "max_mb": 900.0}],
            "matrix": {
                "axes": {
                    "prune": {
                        "off": {
                            "remove": ["cofi"],
                            "insert": [{"before": "qat", "step": {"id": "tune", "use": "finetune"}}],
                        },
                        "fisher": {"replace": {"cofi": {"use": "prune.fisher", "sparsity": 0.5}}},
                        "on": None,
                    },
                    "seed": [1, 2],
                    "steps.cofi.sparsity": [0.5, 0.6],
                },
                "exclude": [{"prune": "off", "seed": 2}],
            },
        },
        {
            **head,
            "task": task_over(data, "choice"),
            "baseline": {"finetune": train},
            "steps": [{"use": "adapter.prompt", "virtual_tokens": 2, **train}],
        },
        {
            **head,
            "task": task_over(data, "tags"),
            "baseline": {"finetune": train},
            "steps": [{"use": "adapter.bitfit", **train}, {"use": "quantize.static"}],
        },
        {
            **head,
            "task": task_over(data, "coref"),
            "baseline": {"finetune": train},
            "steps": [{"use": "finetune"}, {"use": "prune.layers", "drop": [1]}],
        },
        {
            **head,
            "task": task_over(data, "summary"),
            "baseline": {"finetune": train},
            "steps": [{"use": "finetune", **train}, {"use": "quantize.dynamic"}],
        },
    ]
