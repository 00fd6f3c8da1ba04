"""Whether an error says that memory ran out, the machine's or a GPU's."""

from __future__ import annotations

import sys


def ran_out(error: BaseException) -> bool:
    """Whether it does, in Python's words or in torch's, which says so in a RuntimeError."""
    if isinstance(error, MemoryError):
        return True
    if "torch" not in sys.modules or not isinstance(error, Exception):
        return False
    from accelerate.utils.memory import should_reduce_batch_size

    return bool(should_reduce_batch_size(error))
