"""What the agent answers, by the words that ask for it: nothing that comes from a device is taken for granted."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from edgeopt.ship.agent import ID
from edgeopt.support.reading import Count

_Word = Annotated[str, Field(max_length=1000)]


class Probe(TypedDict):
    """What the device is, and what is below the folder."""

    python: Annotated[str, Field(pattern=r"^[0-9]{1,4}\.[0-9]{1,4}")]
    platform: _Word
    machine: _Word
    cpu: _Word
    flags: list[_Word]
    cpus: Count
    packages: dict[_Word, _Word | None]
    free_bytes: Count
    writable: bool
    partial_bytes: Count
    foreign: list[_Word]


class Begun(TypedDict):
    """Whether the version is whole; else of the files that arrived size and SHA-256."""

    whole: bool
    have: dict[str, tuple[Count, str]]


class Ran(TypedDict):
    """How device.py ended and what it printed."""

    status: int
    out: str


class Before(TypedDict):
    """The version that was current before."""

    id: Annotated[str, Field(pattern=f"^{ID}$")] | None
