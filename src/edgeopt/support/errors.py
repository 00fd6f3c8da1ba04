"""Exit codes, and the one form in which edgeopt tells a user what went wrong.

    EdgeoptError
    ├── InputError      exit 2   recipe, flag, data file or model folder: the user can mend it
    ├── StepError       exit 3   a step ran and failed, or did not do what it declared
    └── Interrupted     exit 130

Every error carries one or more `Issue`s: code, message, place, help. `edgeopt explain CODE` prints the
longer text that `edgeopt.support.explanations` holds for the code.
"""

from __future__ import annotations

import copy
import enum
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from edgeopt.support.installation import install

Path_ = tuple[str | int, ...]


class ExitCode(enum.IntEnum):
    """What the process exit status means, for every command."""

    PASS = 0
    GATE_FAILED = 1
    BAD_INPUT = 2
    STEP_FAILED = 3
    INCONCLUSIVE = 4
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class Place(NamedTuple):
    """A place: a file with a line and a column, both counted from 1, or a command line option."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        parts = [self.source, *(str(n) for n in (self.line, self.column) if n is not None)]
        return ":".join(parts)

    @classmethod
    def of(cls, path: Path, line: int | None = None, column: int | None = None) -> Place:
        """A place in a file, shown relative to the working directory where it lies below it."""
        try:
            shown = path.resolve().relative_to(Path.cwd())
        except (ValueError, OSError, RuntimeError):  # elsewhere, or a loop of links
            shown = path
        return cls(str(shown), line, column)


@dataclass(frozen=True)
class Issue:
    """One problem: its code, what is wrong, where it is, how to fix it, and lines that show why."""

    code: str
    message: str
    place: Place | None = None
    help: str | None = None
    context: tuple[str, ...] = field(default=())

    def render(self) -> str:
        """The issue as shown on a terminal: the code and message, then separate lines for place, context and help."""
        lines = [f"error[{self.code}]: {self.message}"]
        if self.place:
            lines.append(f"  --> {self.place}")
        lines += [f"   | {line}" for line in self.context]
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """The issue as a dict, in the form that `--json` prints."""
        place = self.place and {"source": self.place.source, "line": self.place.line, "column": self.place.column}
        return {"code": self.code, "message": self.message, "place": place, "help": self.help}


class EdgeoptError(Exception):
    """Base of every error that edgeopt raises on purpose."""

    exit_code = ExitCode.STEP_FAILED

    def __init__(self, issues: Issue | Sequence[Issue]) -> None:
        # several checks may meet the same problem, which is told once
        self.issues: tuple[Issue, ...] = (issues,) if isinstance(issues, Issue) else tuple(dict.fromkeys(issues))
        super().__init__("\n".join(issue.render() for issue in self.issues))

    def saying(self, issues: Sequence[Issue]) -> EdgeoptError:
        """An error of the same kind with these issues in place of its own."""
        made = copy.copy(self)
        EdgeoptError.__init__(made, issues)
        return made

    def __reduce__(self) -> tuple[object, ...]:
        """For `copy` and `pickle`: the same error, whatever the arguments are that its class is made with."""
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[EdgeoptError], args: tuple[object, ...]) -> EdgeoptError:
    return kind.__new__(kind, *args)


class InputError(EdgeoptError):
    """Recipe, flag, data file or model folder that the user has to mend."""

    exit_code = ExitCode.BAD_INPUT


class StepError(EdgeoptError):
    """A step that failed while it ran, or whose result is not what it declared."""

    exit_code = ExitCode.STEP_FAILED


class Interrupted(EdgeoptError):
    """Ctrl-C or SIGTERM: what is finished is kept, nothing half-written is left."""

    exit_code = ExitCode.INTERRUPTED


def bad_input(code: str, message: str, *, place: Place | None = None, help: str | None = None) -> InputError:
    """An InputError of one issue."""
    return InputError(Issue(code, message, place, help))


def step_failed(code: str, message: str, *, help: str | None = None) -> StepError:
    """A StepError of one issue, which has no place in a file."""
    return StepError(Issue(code, message, None, help))


#: Dependencies that a machine which only gates does without, by the names that they are installed and imported by.
HEAVY = ("torch", "transformers", "peft", "accelerate", "datasets", "safetensors", "pyarrow", "scipy")


@contextmanager
def contained() -> Iterator[None]:
    """Within, nothing but Ctrl-C ends the process: a plugin's or a library's SystemExit is an error like any other."""
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise unforeseen(error) from error


def unforeseen(error: BaseException) -> EdgeoptError:
    """The error to show for an exception that nobody raised on purpose.

    That is a full disk outside a step, a process that lost the others, a package that an installation without the heavy
    ones lacks, what a plugin or a library would have ended the process with, or a defect of edgeopt.
    """
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in HEAVY:
        return bad_input("E206", f"this needs {error.name}, which is not installed here", help=install())
    text = " ".join(str(error).split())[:300]
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return StepError(Issue("E405", f"the disk is full: {text}", help="free space and type the same command again"))
    rank = os.environ.get("RANK", "0")
    if rank not in ("", "0"):
        return StepError(
            Issue(
                "E401",
                f"process {rank} lost the others: {type(error).__name__}",
                help="the first error of the launch is the cause",
            )
        )
    if not isinstance(error, Exception):
        what = f"code that edgeopt called tried to end the process: {type(error).__name__}: {text}"
        return step_failed("E401", what, help="it is a plugin or a library; EDGEOPT_DEBUG=1 shows where")
    return StepError(
        Issue(
            "E900",
            f"a bug in edgeopt: {type(error).__name__}: {text}",
            help="report it with the output of the same command under EDGEOPT_DEBUG=1",
        )
    )
