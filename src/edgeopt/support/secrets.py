"""Tokens and passwords, kept out of what is printed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from edgeopt.support.words import first_line

#: Variables of the environment by which clients of hubs and trackers are given secrets.
_VARIABLES = (
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "DATABRICKS_TOKEN",
    "WANDB_API_KEY",
)
_IN_ADDRESS = re.compile(r"(?<=://)[^\s/@]+(?=@)")


def hidden(text: str, more: Iterable[str | None] = ()) -> str:
    """A text with *** in place of every secret: those of the environment, `more`, and what stands before @ in a URL."""
    secrets = {found.strip() for found in (*map(os.environ.get, _VARIABLES), *more) if found and found.strip()}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _IN_ADDRESS.sub("***", text)


def safe_line(error: BaseException, more: Iterable[str | None] = ()) -> str:
    """An error's text as `first_line` has it, without secrets; these go before it is cut, as half of one tells much."""
    return first_line(RuntimeError(hidden(str(error) or type(error).__name__, more)))
