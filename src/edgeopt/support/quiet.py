"""Keep the chatter of the libraries out of the user's sight: it goes to the log of the run."""

from __future__ import annotations

import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from edgeopt.support.alone import shared


@functools.cache
def quiet_libraries() -> None:
    """Silence bars, advice and load warnings; call before importing torch, transformers or datasets."""
    for name, value in {
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
        "CODECARBON_LOG_LEVEL": "critical",
        "BITSANDBYTES_NOWELCOME": "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }.items():
        os.environ.setdefault(name, value)
    # threads that wait by spinning for long take the processors from whoever else works here: with two other programs
    # on two processors a training took 25 s with 100,000 spins, 6 s with these, and no longer alone than before
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    logging.getLogger().addHandler(logging.NullHandler())  # else what has no handler goes to stderr
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").propagate = True
    for name in (
        "transformers",
        "datasets",
        "torch",
        "torchao",
        "accelerate",
        "peft",
        "huggingface_hub",
        "httpx",
        "bitsandbytes",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*pin_memory.*")


@shared
@contextmanager
def hushed() -> Iterator[None]:
    """Within, libraries that were imported before, and read no variables any more, are as quiet as the others.

    What they warn of goes to the log and fails nothing, whoever has asked for errors in place of warnings (`python -W
    error`): a step would fail because a library calls what is deprecated.
    """
    with ExitStack() as after:
        after.enter_context(warnings.catch_warnings())
        if any(action == "error" for action, *_ in warnings.filters):
            warnings.filterwarnings("default", module="(?!edgeopt)")
        if transformers := sys.modules.get("transformers"):
            logger = logging.getLogger("transformers")
            after.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
            bars = transformers.utils.logging
            _without(after, bars.is_progress_bar_enabled(), bars.disable_progress_bar, bars.enable_progress_bar)
        for name in ("datasets.utils", "huggingface_hub.utils"):
            bars = sys.modules.get(name)
            if bars is not None:
                _without(
                    after, not bars.are_progress_bars_disabled(), bars.disable_progress_bars, bars.enable_progress_bars
                )
        yield


def _without(after: ExitStack, shown: bool, off: Callable[[], Any], on: Callable[[], Any]) -> None:
    if shown:
        off()
        after.callback(on)
