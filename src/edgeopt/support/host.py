"""What this machine is, found without importing torch."""

from __future__ import annotations

import functools
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_version = functools.cache(version)  # each look reads a file, and the keys of a plan ask hundreds of times

#: CPU flags that decide how fast int8 and bf16 are, by the name Linux gives them
INT8_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
SHOWN_FLAGS = ("avx2", "avx512f", *INT8_FLAGS, *BF16_FLAGS)


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Flags of the first processor in /proc/cpuinfo; empty where there is no such file."""
    text = _cpuinfo()
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def cpu_name() -> str:
    """The processor's name as the system tells it, else its architecture."""
    found = re.search(r"^model name\s*:\s*(.*)$", _cpuinfo(), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def processors() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpus() -> int:
    """Processors this process may run on, or fewer where EDGEOPT_THREADS lowers that."""
    wanted = os.environ.get("EDGEOPT_THREADS", "")
    return max(1, min(processors(), int(wanted))) if wanted.isdecimal() else processors()


def is_busy() -> bool:
    """Whether other programs use most of the processors: threads that wait for each other are then far slower than one.

    Said, not acted on: the number of threads decides the last bits of a training.
    """
    if cpus() == 1 or not hasattr(os, "getloadavg"):
        return False
    return os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1)


def memory_bytes() -> int | None:
    """The machine's memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def forget_peak_memory() -> None:
    """Start the measuring of `peak_memory` anew, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def peak_memory() -> int:
    """Bytes of the largest resident memory of this process since `forget_peak_memory`."""
    import resource

    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def installed(distribution: str) -> str | None:
    """Version of an installed distribution, else None."""
    try:
        return _version(distribution)
    except PackageNotFoundError:  # which is not remembered: it may be installed meanwhile
        return None


def has_cuda() -> bool:
    """Whether torch can use a GPU here: a driver's device, and a torch that is not the CPU build."""
    torch = installed("torch")
    return Path("/dev/nvidiactl").exists() and torch is not None and not torch.endswith("+cpu")


def environment() -> dict[str, Any]:
    """What a figure depends on besides the recipe."""
    names = ("torch", "transformers", "peft", "accelerate", "onnx", "onnxruntime", "tokenizers", "numpy")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cpus": cpus(),
        "processors": processors(),
        "cpu_flags": sorted(cpu_flags() & set(SHOWN_FLAGS)),
        "memory_bytes": memory_bytes(),
        "gpu": has_cuda(),
        "packages": {name: installed(name) for name in names},
    }


def machine_differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What decides latency and memory, and differs between two environments: a line each.

    Looked at are the processor, its number and flags, and ONNX Runtime.
    """
    pairs = [(name, one.get(name), other.get(name)) for name in ("cpu", "processors", "cpu_flags")]
    pairs.append(("onnxruntime", *(e.get("packages", {}).get("onnxruntime") for e in (one, other))))
    return [f"{name} {_shown(a)} ≠ {_shown(b)}" for name, a, b in pairs if a != b]


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
