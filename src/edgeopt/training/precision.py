"""What `precision: auto` means: measured once on a machine, at the model's own widths, and kept in the store.

That a processor has instructions for bfloat16 does not say that they are quick: with avx512_bf16 alone a small encoder
trains at two thirds of the speed that it has in float32. A processor without them would emulate, and is not asked.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from edgeopt.support import host
from edgeopt.support.errors import InputError
from edgeopt.support.files import write_json
from edgeopt.support.reading import Reader

#: bfloat16 rounds to 8 bits, so that it has to be this much quicker.
WORTH = 1.1
_SECONDS, _WARM, _FEWEST, _TOKENS = 1.0, 2, 5, 512
#: Seconds of one step in float32, and in bfloat16, alternately, for so many seconds.
Timings = tuple[list[float], list[float]]
P = TypeVar("P", bound=BaseModel)
_KEPT = Reader("decision", "E157")


@dataclass(frozen=True)
class Decision:
    """What `precision: auto` means. why: for people."""

    precision: Literal["fp32", "bf16"]
    why: str


def settled(params: P, precision: str) -> P:
    """The parameters with `precision: auto`, wherever it stands in them, replaced."""
    changed: dict[str, Any] = {}
    for name, value in params:
        if name == "precision" and value == "auto":
            changed[name] = precision
        elif isinstance(value, BaseModel) and asks(value):
            changed[name] = settled(value, precision)
    return params.model_copy(update=changed) if changed else params


def asks(params: BaseModel) -> bool:
    """Whether `precision: auto` stands anywhere in the parameters."""
    return any(
        (name == "precision" and value == "auto") or (isinstance(value, BaseModel) and asks(value))
        for name, value in params
    )


def known(config: Mapping[str, Any] | None, measured: Path) -> Decision | None:
    """The decision for a model, by its config, where it needs no measurement or has one; else None.

    Imports no torch. measured: the store's folder of measurements.
    """
    if not host.has_cuda() and not host.cpu_flags() & set(host.BF16_FLAGS):
        return Decision("fp32", "this processor has no instructions for bfloat16")
    if config is None:  # not downloaded yet
        return None
    try:
        kept = _KEPT.json(_path(config, measured))["decision"]
        return Decision("bf16" if kept["precision"] == "bf16" else "fp32", str(kept["why"])[:300])
    except (InputError, KeyError, TypeError):
        return None


def decide(
    config: Mapping[str, Any] | None, measured: Path, time_both: Callable[[int, int, int], Timings] | None = None
) -> Decision:
    """The decision for a model, by its config, measured where it is not known, and kept.

    time_both: called with the widths and the number of threads.
    """
    if (found := known(config, measured)) is not None:
        return found
    about = _about(config or {})
    decision = (
        _of_gpu()
        if host.has_cuda()
        else _of_timings(*(time_both or _time)(about["hidden"], about["inner"], about["threads"]), about)
    )
    write_json(_path(config or {}, measured), {**about, "decision": asdict(decision)})
    return decision


def decisions(measured: Path) -> list[str]:
    """The decisions that were made on this machine, in words, for the doctor."""
    found = []
    for path in sorted(measured.glob("precision-*.json")) if measured.is_dir() else []:
        try:
            kept = _KEPT.json(path)
            if {k: kept[k] for k in _machine()} == _machine():
                found.append(
                    f"{kept['decision']['precision']} at {kept['hidden']} × {kept['inner']}: {kept['decision']['why']}"[
                        :300
                    ]
                )
        except (InputError, KeyError, TypeError):
            continue
    return found


def _machine() -> dict[str, Any]:
    flags = sorted(host.cpu_flags() & {*host.SHOWN_FLAGS, "amx_tile"})
    return {
        "cpu": host.cpu_name(),
        "flags": flags,
        "threads": host.cpus(),
        "torch": host.installed("torch"),
        "gpu": host.has_cuda(),
    }


def _about(config: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that a decision depends on: this machine, and the widths of a model's layers."""
    # of a pair of encoder and decoder
    inside: Mapping[str, Any] = encoder if isinstance(encoder := config.get("encoder"), Mapping) else config
    hidden = _number(inside, "hidden_size", "dim", "d_model") or 768
    return {
        **_machine(),
        "hidden": hidden,
        "inner": _number(inside, "intermediate_size", "hidden_dim", "encoder_ffn_dim") or 4 * hidden,
    }


def _number(config: Mapping[str, Any], *names: str) -> int:
    return next((v for n in names if type(v := config.get(n)) is int and 0 < v <= 1 << 16), 0)


def _path(config: Mapping[str, Any], measured: Path) -> Path:
    return (
        measured / f"precision-{hashlib.sha256(json.dumps(_about(config), sort_keys=True).encode()).hexdigest()}.json"
    )


def _of_timings(fp32: list[float], bf16: list[float], about: Mapping[str, Any]) -> Decision:
    one, other = median(fp32), median(bf16)
    quicker = one / other if other else 0.0
    said = (
        f"a layer's step takes {one * 1e3:.1f} ms in fp32 and {other * 1e3:.1f} ms in bf16 ({about['threads']} threads)"
    )
    return (
        Decision("bf16", f"{said}: {quicker:.2f}× as quick")
        if quicker >= WORTH
        else Decision("fp32", f"{said}: less than {WORTH:g}× as quick")
    )


def _of_gpu() -> Decision:
    import torch

    if not torch.cuda.is_available():
        return Decision("fp32", "torch cannot use the GPU")
    name = torch.cuda.get_device_name()
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Decision("bf16", f"{name} computes bfloat16")
    return Decision("fp32", f"{name} has no bfloat16")


def _time(hidden: int, inner: int, threads: int) -> Timings:
    """Forward and backward steps of what a layer multiplies, on 512 tokens, alternately in both precisions."""
    import torch

    torch.set_num_threads(threads)
    rng = torch.Generator().manual_seed(0)  # no number is drawn from the generator that trainings use

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng).div_(shape[-1] ** 0.5).requires_grad_()

    weights = [*(drawn(hidden, hidden) for _ in range(4)), drawn(inner, hidden), drawn(hidden, inner)]
    tokens = torch.randn(_TOKENS, hidden, generator=rng)

    def step(bf16: bool) -> float:
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            x: Any = tokens
            for weight in weights:
                x = torch.nn.functional.gelu(torch.nn.functional.linear(x, weight))
        x.float().sum().backward()
        return time.perf_counter() - began

    found: Timings = ([], [])
    for _ in range(_WARM):
        step(bf16=False), step(bf16=True)
    end = time.monotonic() + _SECONDS
    while len(found[0]) < _FEWEST or time.monotonic() < end:
        found[0].append(step(bf16=False))
        found[1].append(step(bf16=True))
    return found
