"""A report as a real run on MRPC makes it, for tests of what is drawn from it."""

from __future__ import annotations

import hashlib
from typing import Any

from edgeopt.results.model import (
    Difference,
    Gate,
    Latency,
    Parity,
    RecipeInfo,
    Report,
    SeedResult,
    Seeds,
    Speedup,
    Spread,
    Step,
    Subject,
    SubjectName,
    Task,
)

TARGET = "cpu-1-thread"
DIGEST = "9f2b6c1d" * 8


def sample_report(**changes: Any) -> Report:
    """The sample with whole fields replaced."""
    fields: dict[str, Any] = {
        "edgeopt": "0.1.0",
        "created": "2025-06-03T14:05:11Z",
        "verdict": "pass",
        "recipe": RecipeInfo(
            name="mrpc-minilm-int8", source="recipes/mrpc.yaml", digest=DIGEST, overrides=["steps.int8.samples=64"]
        ),
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "task": Task(
            type="text-classification",
            dataset="nyu-mll/glue mrpc",
            split="validation",
            rows=408,
            labels=["not_equivalent", "equivalent"],
            max_length=128,
        ),
        "gates": gates(),
        "baseline": subject("onnx/model.onnx", 0.8407, 0.8877, 90_871_532, 22_565_376, "fp32"),
        "candidate": subject("onnx/model_quantized.onnx", 0.8382, 0.8852, 23_014_208, 17_256_704, "int8"),
        "differences": [
            Difference(metric="accuracy", delta=-0.0025, low=-0.0147, high=0.0098),
            Difference(metric="f1", delta=-0.0025, low=-0.0113, high=0.0061),
        ],
        "latency": [
            latency("candidate", 8.52, 9.11, None),
            latency("baseline", 21.43, 22.68, 24.9),
            latency("baseline-torch", 29.87, 31.02, 35.4),
            latency("candidate", 3.14, 5.92, None, sequence="task"),
            latency("baseline", 7.9, 14.8, None, sequence="task"),
        ],
        "speedups": [
            speedup("baseline", 2.515, 2.47, 2.56),
            speedup("baseline-torch", 3.506, 3.41, 3.6),
            speedup("baseline", 2.516, 2.38, 2.65, sequence="task"),
        ],
        "parity": [
            Parity(subject="baseline", max_abs_diff=3.1e-6, tolerance=1e-4, rows=64),
            Parity(subject="candidate", max_abs_diff=2.4e-6, tolerance=1e-4, rows=64),
        ],
        "steps": [
            step(
                "finetune",
                "finetune",
                "baseline",
                412.6,
                90_890_112,
                cached=True,
                **training(22_713_986, 22_713_986, 397.2),
            ),
            step(
                "adapt",
                "adapter.lora",
                "candidate",
                388.1,
                96_214_880,
                cached=True,
                **training(443_906, 23_157_892, 371.5),
                adapter_bytes=1_775_624,
            ),
            step("merge", "merge", "candidate", 1.93, 90_890_112),
            step("prune", "prune.magnitude", "candidate", 244.0, 90_890_112, sparsity=0.235),
            step("lower", "export.onnx", "candidate", 6.2, 90_871_532, sparsity=0.235),
            step("int8", "quantize.static", "candidate", 18.4, 23_014_208, sparsity=0.235),
        ],
        "environment": {
            "cpu": {"model": "Intel Xeon Platinum 8481C", "cores": 2, "flags": ["avx2", "avx512_vnni"]},
            "os": "Linux 6.1",
            "packages": {"onnxruntime": "1.31.1", "torch": "2.8.0"},
            "gpu": None,
        },
        "notes": ["p99 of the candidate is left out: 400 queries are too few."],
    }
    return Report.model_validate({**fields, **changes})


def training(trainable: int, parameters: int, seconds: float) -> dict[str, Any]:
    """Figures of a training."""
    return {
        "trainable_parameters": trainable,
        "parameters": parameters,
        "trainable_share": round(trainable / parameters, 6),
        "loading_seconds": 1.234,
        "computing_seconds": seconds - 1.5,
        "train_seconds": seconds,
        "examples_per_second": 27.7,
        "peak_rss_bytes": 1_843_000_000,
        "precision": "bf16",
    }


def seeds() -> Seeds:
    """Three seeds of which mean and standard deviation are easily worked out by hand."""
    pairs = {1: (0.8407, 0.8382), 2: (0.8507, 0.8282), 3: (0.8307, 0.8332)}
    results = [
        SeedResult(seed=s, baseline={"accuracy": b, "f1": b + 0.04}, candidate={"accuracy": c, "f1": c + 0.04})
        for s, (b, c) in pairs.items()
    ]
    # differences −.0025, −.0225, .0025: mean −.0075, deviations .005, −.015, .01
    spread = {"baseline_std": 0.01, "candidate_std": 0.005, "difference_mean": -0.0075, "difference_std": 0.000175**0.5}
    means = {"accuracy": (0.8407, 0.8332), "f1": (0.8807, 0.8732)}
    return Seeds(
        results=results,
        spreads=[Spread(metric=m, baseline_mean=b, candidate_mean=c, **spread) for m, (b, c) in means.items()],
    )


def gates() -> list[Gate]:
    return [
        Gate(
            metric="accuracy",
            verdict="pass",
            value=0.0025,
            bound=0.02,
            kind="max_drop",
            reason="the upper bound of the drop is below 2.00 points",
            low=None,
            high=0.0147,
            confidence=0.95,
            line=14,
        ),
        Gate(
            metric="latency.p50",
            verdict="pass",
            value=2.515,
            bound=2,
            kind="min_speedup",
            reason="the lower bound of the speed-up is above 2×",
            low=2.47,
            high=None,
            confidence=0.95,
            target=TARGET,
            sequence=128,
            against="baseline",
            line=15,
        ),
        Gate(
            metric="size",
            verdict="pass",
            value=23.014,
            bound=25,
            kind="max_mb",
            reason="23.0 MB is within 25 MB",
            low=None,
            high=None,
            line=16,
            confidence=0.95,
        ),
    ]


def subject(artifact: str, accuracy: float, f1: float, size: int, nonzero: int, precision: str) -> Subject:
    return Subject.model_validate(
        {
            "artifact": artifact,
            "metrics": {"accuracy": accuracy, "f1": f1},
            "size_bytes": size,
            "parameters": 22_565_376,
            "extra": {"precision": accuracy - 0.01, "recall": accuracy + 0.07},
            "inference_seconds": size / 2e7,
            "nonzero": nonzero,
            "precision": precision,
            "memory_peak_bytes": 180_000_000 + size,
            "cold_start_ms": size / 5e5,
        }
    )


def latency(
    name: SubjectName, p50: float, p90: float, p99: float | None, sequence: Any = 128, target: str = TARGET
) -> Latency:
    return Latency(
        subject=name,
        target=target,
        runtime="torch 2.8.0" if name == "baseline-torch" else "onnxruntime 1.31.1",
        device="Intel Xeon Platinum 8481C",
        threads=1,
        batch=1,
        sequence=sequence,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        queries=400 if p99 is None else 800,
    )


def speedup(against: SubjectName, ratio: float, low: float, high: float, sequence: Any = 128) -> Speedup:
    return Speedup(against=against, target=TARGET, sequence=sequence, percentile="p50", ratio=ratio, low=low, high=high)


def step(name: str, use: str, chain: str, seconds: float, size: int, cached: bool = False, **figures: Any) -> Step:
    return Step.model_validate(
        {
            "id": name,
            "use": use,
            "key": hashlib.sha256(f"{chain}.{name}".encode()).hexdigest(),
            "cached": cached,
            "seconds": seconds,
            "chain": chain,
            "digest": DIGEST,
            "size_bytes": size,
            "figures": figures,
        }
    )
