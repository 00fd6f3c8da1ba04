"""Whether this machine can stand for the device that a target describes."""

from __future__ import annotations

from edgeopt.spec.recipe import Target
from edgeopt.support import host


def unfit(target: Target) -> list[str]:
    """Why this machine cannot stand for a target, in words; empty where nothing speaks against it.

    Of instructions only what the system says: not all do.
    """
    flags = host.cpu_flags()
    lacking = [wanted for wanted in target.instructions if flags and not flags & set(wanted.split("|"))]
    found = []
    if lacking:
        found.append(
            f"the target has the instructions {', '.join(w.replace('|', ' or ') for w in lacking)}, "
            "this machine does not"
        )
    if more := [flag for flag in target.without if flag in flags]:
        found.append(
            f"this machine has the instructions {', '.join(more)}, which the runtime uses and the target lacks"
        )
    if target.threads > host.cpus():
        found.append(
            f"the target has {target.threads} threads, this machine {host.cpus()} processor{'s' * (host.cpus() > 1)}"
        )
    return found


def elsewhere(named: str | None, processor: str) -> str | None:
    """Why a bound in milliseconds cannot be decided on a processor; None where it can. named: the target's device."""
    if named is None:
        return "this bound needs a target that names its device, and this one names none: add `device`, or use a ratio"
    if named.casefold() not in processor.casefold():
        return (
            f"measured on {processor or 'an unknown processor'}, and the target is for {named}: "
            "measure there, or bound a ratio"
        )
    return None
