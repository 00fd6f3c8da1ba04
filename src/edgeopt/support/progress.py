"""Progress for people and for programs.

People see a bar with time left on a terminal and in a notebook, a line now and then elsewhere, all on stderr. For
programs a function is called.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import NamedTuple

from edgeopt.support.alone import shared
from edgeopt.support.visible import one_line, styled

log = logging.getLogger("edgeopt")
#: What the handler is called that writes a run's log.
LOG_OF_RUN = "edgeopt-run"

#: Seconds after which what shows nothing says again that it goes on; and from which on it says how long it took.
REMIND, TOLD = 15.0, 2.0


class Bar:
    """One piece of long work. `update` may be called as often as one likes."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.done = title, max(total, 1), 0
        self.started = self.shown = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """How much is done, with a note such as the loss of a training."""
        self.done = done
        now = time.monotonic()
        if now - self.shown >= 15 and done < self.total:
            self.shown = now
            left = (now - self.started) / max(done, 1) * (self.total - done)
            log.info("%s %d/%d %s, about %.0f s left", self.title, done, self.total, note, left)


class RichBar(Bar):
    """A bar drawn by rich on a terminal, or in a notebook."""

    def __init__(self, title: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__(title, total)
        self.progress = Progress(
            TextColumn("  {task.description:<24}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=Console() if in_notebook() else Console(file=styled(sys.stderr)),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.task = self.progress.add_task(one_line(title), total=self.total, note="")

    def update(self, done: int, note: str = "") -> None:
        self.done = done
        self.progress.update(self.task, total=self.total, completed=done, note=one_line(note))


class Progress:
    """What a run shows while it works."""

    def __init__(self, *, show: bool = True) -> None:
        self.show = show
        self.drawn = show and (sys.stderr.isatty() or in_notebook())
        self._bars = 0

    @contextlib.contextmanager
    def bar(self, title: str, total: int) -> Iterator[Bar]:
        """A bar for a piece of long work, of which `total` is to be done."""
        self._bars += 1
        try:
            if self.drawn:
                bar = RichBar(title, total)
                with bar.progress:
                    yield bar
            else:
                yield Bar(title, total)
        finally:
            self._bars -= 1

    def say(self, text: str) -> None:
        """A line for the reader; it also goes into the run's log."""
        log.info(text)

    @contextlib.contextmanager
    def during(
        self, what: str, seconds: float | None = None, *, most: bool = False, told: bool = True, after: float = 0.0
    ) -> Iterator[None]:
        """Around what takes more than two seconds and shows nothing by itself: says what is done and how long it takes.

        First it says how long it may take, while it takes longer that it goes on, and last how long it took. seconds:
        about, or with `most` at most so many. told: whether it says how long it took. after: seconds in which nothing
        is said, of what mostly is that quick.
        """
        promised = "" if seconds is None else f": {'up to' if most else 'about'} {max(seconds, 1):.0f} s"
        began, done = time.monotonic(), threading.Event()
        if not after:
            self.say(f"{what}{promised} …")

        def remind() -> None:
            if after:
                if done.wait(after):
                    return
                self.say(f"{what}{promised} …")
            while not done.wait(REMIND):
                if not self._bars:
                    self.say(f"  … {time.monotonic() - began:.0f} s so far")

        # in a copy of our context: what it tells is told from within what we are within
        reminding = threading.Thread(target=contextvars.copy_context().run, args=(remind,), daemon=True)
        reminding.start()
        try:
            yield
        finally:
            done.set()
            reminding.join()
        took = time.monotonic() - began
        if told and took >= max(TOLD, after):
            self.say(f"  took {took:.1f} s")


class Update(NamedTuple):
    """What a run reports while it works: a line of text, or the progress of a long task.

    text: the line, or the title of the task. done, total: how much of the task is done, and how much there is. note: a
    detail, such as the training loss.
    """

    text: str
    done: int | None = None
    total: int | None = None
    note: str = ""


class Told(Progress):
    """Calls a function with every line and every step of a piece of long work, and shows nothing.

    A line may come from a thread of its own, which says that something still goes on.
    """

    def __init__(self, tell: Callable[[Update], object]) -> None:
        super().__init__(show=False)
        self._tell = tell

    @contextlib.contextmanager
    def bar(self, title: str, total: int) -> Iterator[Bar]:
        self._bars += 1
        try:
            yield _ToldBar(title, total, self._tell)
        finally:
            self._bars -= 1

    def say(self, text: str) -> None:
        super().say(text)  # into the run's log
        self._tell(Update(text))


class _ToldBar(Bar):
    def __init__(self, title: str, total: int, tell: Callable[[Update], object]) -> None:
        super().__init__(title, total)
        self._tell = tell

    def update(self, done: int, note: str = "") -> None:
        self.done = done
        self._tell(Update(self.title, done, self.total, note))


def in_notebook() -> bool:
    """Whether a bar can be drawn in the notebook in whose kernel this runs: rich draws it with ipywidgets."""
    return "ipykernel" in sys.modules and find_spec("ipywidgets") is not None


@contextlib.contextmanager
def telling(*, show: bool) -> Iterator[None]:
    """Within, edgeopt's lines reach the log of a run, and stderr where they are to be shown.

    The latter only where nobody has said where lines go.
    """
    with _lines(), _on_stderr() if show else contextlib.nullcontext():
        yield


@shared
@contextlib.contextmanager
def _lines() -> Iterator[None]:
    before = log.level
    if not log.isEnabledFor(logging.INFO):
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(before)


@shared
@contextlib.contextmanager
def _on_stderr() -> Iterator[None]:
    handlers = [*log.handlers, *logging.getLogger().handlers]
    if any(not isinstance(h, logging.NullHandler) and h.name != LOG_OF_RUN for h in handlers):
        yield
        return
    shown = logging.StreamHandler(sys.stderr)
    log.addHandler(shown)
    try:
        yield
    finally:
        log.removeHandler(shown)
