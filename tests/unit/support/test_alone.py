"""One thread of a process builds at a time, and contexts that threads share end with the last."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edgeopt.support.alone import alone, shared
from edgeopt.support.errors import InputError
from edgeopt.support.progress import Progress, log, telling


def test_a_second_thread_says_that_it_waits_and_waits() -> None:
    order: list[str] = []
    waits = threading.Event()

    def say(text: str) -> None:
        order.append(text)
        waits.set()

    def second() -> None:
        with alone(say):
            order.append("second")

    thread = threading.Thread(target=second)
    with alone(order.append):
        thread.start()
        assert waits.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["waiting for another run of this process: one at a time …", "first", "second"]


def test_within_a_building_another_one_is_refused_and_all_else_goes_on() -> None:
    with alone(print):
        with alone(print, builds=False), pytest.raises(InputError, match="E100"), alone(print):
            pass
        with pytest.raises(InputError, match="E100"), alone(print):
            pass
    with alone(print):  # and is free again
        pass


def test_the_thread_that_reminds_is_within_what_its_owner_is_within() -> None:
    """What it tells may ask for a turn too, and its owner waits for it to end."""
    told: list[str] = []

    class Telling(Progress):
        def say(self, text: str) -> None:
            with alone(print, builds=False):
                told.append(text)

    with alone(print), Telling().during("work", after=0.001):
        while not told:
            pass
    assert told == ["work …"]


def test_a_shared_context_ends_with_the_last_who_is_within() -> None:
    seen: list[str] = []

    @shared
    @contextmanager
    def here() -> Iterator[None]:
        seen.append("in")
        yield
        seen.append("out")

    first, second = here(), here()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert seen == ["in"]
    second.__exit__(None, None, None)
    with here():
        assert seen == ["in", "out", "in"]


def test_lines_reach_the_log_until_the_last_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "level", logging.WARNING)
    first, second = telling(show=False), telling(show=False)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert log.level == logging.INFO
    second.__exit__(None, None, None)
    assert log.level == logging.WARNING
