"""A bound on the memory that a graph may ask for while it is opened and answers.

It is needed because an operator may make a tensor of any shape out of a few bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeopt.support import host

#: The runtime holds weights up to four times: the file, what is read of it, optimized, and packed for the kernels.
_TIMES = 4
#: Bytes beside the weights, for threads and their heaps; and for each row in the works, at 512 tokens.
_BESIDE, _ROW, _TOKENS = 8 << 30, 1 << 30, 512


@contextmanager
def bounded(size: int, tokens: int = _TOKENS) -> Iterator[None]:
    """Bound the address space that this process may take while the block runs; beyond it the runtime raises an error.

    size: bytes of the graph with its weights. tokens: of the longest row, by the square of which attention grows. Only
    where Linux tells what is taken.
    """
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(statm.read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    most = taken + _TIMES * size + _BESIDE + host.cpus() * int(_ROW * max(1.0, (tokens / _TOKENS) ** 2))
    limits = [n for n in (soft, hard) if n != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([most, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
