"""What goes wrong in a step, as one error that names the step, and of several seeds the seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edgeopt.plan import PlannedStep
from edgeopt.support.errors import EdgeoptError, StepError, step_failed
from edgeopt.support.memory import ran_out
from edgeopt.support.publishing import is_disk_full


@contextmanager
def step_errors(step: PlannedStep, output: Path) -> Iterator[None]:
    """Whatever is raised inside a step, SystemExit too, becomes one StepError that names the step; but Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except StepError as error:
        issue = replace(
            error.issues[0], message=_named(step, error.issues[0].message), place=error.issues[0].place or step.place
        )
        raise StepError(issue) from error
    except EdgeoptError as error:
        raise error.saying([replace(i, place=i.place or step.place) for i in error.issues]) from error
    except BaseException as error:
        if ran_out(error):
            raise step_failed(
                "E406", f"step '{step.id}' ({step.use}) ran out of memory", help="lower batch_size or max_length"
            ) from error
        if is_disk_full(error, output):
            raise step_failed(
                "E405",
                f"the disk is full: step '{step.id}' ({step.use}) could not be written",
                help="free space (`edgeopt cache gc`) and type the same command again",
            ) from error
        text = " ".join(str(error).split())[:300] or type(error).__name__
        issue = step_failed(
            "E401",
            f"step '{step.id}' ({step.use}) failed: {type(error).__name__}: {text}",
            help="if the recipe is right, report it with the log",
        ).issues[0]
        raise StepError(replace(issue, place=step.place)) from error


@contextmanager
def variant_errors(variant: str) -> Iterator[None]:
    """A failed step of one of several seeds says which."""
    try:
        yield
    except StepError as error:
        if not variant:
            raise
        raise StepError([replace(i, message=f"{variant}: {i.message}") for i in error.issues]) from error


def _named(step: PlannedStep, message: str) -> str:
    return message if f"'{step.id}'" in message else f"step '{step.id}' ({step.use}): {message}"
