"""Conformance tests raise AssertionError, whatever the plugin raised."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from edgeopt.support.errors import EdgeoptError
from edgeopt.support.words import first_line

P = ParamSpec("P")
T = TypeVar("T")


def failing(check: Callable[P, T]) -> Callable[P, T]:
    """Wrap the check so that every error becomes an AssertionError with the original message."""

    @functools.wraps(check)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return check(*args, **kwargs)
        except AssertionError:
            raise
        except Exception as error:
            told = str(error) if isinstance(error, EdgeoptError) else f"{type(error).__name__}: {first_line(error)}"
            raise AssertionError(told) from error

    return checked
