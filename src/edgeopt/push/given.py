"""What a push is given, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeopt.bundle.manifest import Found
from edgeopt.bundle.verify import Bundle
from edgeopt.push.address import Address
from edgeopt.support.errors import EdgeoptError, step_failed
from edgeopt.support.secrets import safe_line

SBOM = "sbom.cdx.json"


@dataclass(frozen=True)
class Options:
    """What a push may do besides adding.

    failed: also of a run whose verdict is fail. public: into a repository that all can read. replace: over another
    bundle in the same branch. key: see `verified`.
    """

    failed: bool = False
    public: bool = False
    replace: bool = False
    key: Path | None = None


@dataclass(frozen=True)
class Given:
    """A bundle on its way. found: what its run found, which every bundle has that is pushed."""

    bundle: Bundle
    found: Found
    address: Address
    options: Options


@dataclass(frozen=True)
class Pushed:
    """What came of a push.

    version: of the registered model, or the commit. where: a name that the client takes, or a URL. new: False where the
    same bundle was there already, and nothing was sent.
    """

    version: str
    where: str
    new: bool


@contextmanager
def reaching(address: Address, secret: str | None = None) -> Iterator[None]:
    """Within, what the client raises is StepError E422, without secrets. Errors of edgeopt's own stay."""
    try:
        yield
    except EdgeoptError:
        raise
    except Exception as error:  # whatever the client, the network or the server says
        raise step_failed(
            "E422",
            f"{address} could not be pushed to: {type(error).__name__}: {safe_line(error, [secret])}",
            help="look at the address, at your access and at the connection; the same command tries again",
        ) from error
