"""A push: open the bundle with every byte checked, refuse what failed its gates, hand it to the place's own client."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeopt.bundle.make import Wanted, make_bundle
from edgeopt.bundle.manifest import Found, Manifest
from edgeopt.bundle.verify import Bundle, verified
from edgeopt.push import hub, registry
from edgeopt.push.address import Address
from edgeopt.push.given import Given, Options, Pushed
from edgeopt.results.sealed import REPORT
from edgeopt.support.errors import bad_input

_WAYS = {"mlflow": registry.push, "hf": hub.push}


def push(path: Path, address: Address, options: Options) -> tuple[Pushed, Manifest]:
    """Push a bundle, or that of a run, which is made first.

    Raises InputError before anything is sent: E140 to E142 and E144 for the bundle, E115 or E150 for a run, E146 where
    the push is refused, E206 where the client is not installed. StepError E422 where the other side cannot be reached
    or says no.
    """
    with _bundle(path, options.key) as bundle:
        found = _passed(bundle.manifest, options)
        return _WAYS[address.kind](Given(bundle, found, address, options)), bundle.manifest


def _passed(manifest: Manifest, options: Options) -> Found:
    """What the run found. Raises InputError E146 where that forbids the push."""
    found = manifest.found
    if found is None:
        raise bad_input(
            "E146",
            "the bundle does not say what verdict its run had: an earlier version made it",
            help="make it anew: `edgeopt bundle RUN`",
        )
    if found.verdict == "fail" and not options.failed:
        reasons = "; ".join(f"{gate.metric}: {gate.reason}" for gate in found.gates if gate.verdict == "fail")
        raise bad_input(
            "E146", f"the verdict of the run is fail: {reasons}", help="mend the model, or push it with --even-failed"
        )
    return found


@contextmanager
def _bundle(path: Path, key: Path | None) -> Iterator[Bundle]:
    """The verified bundle; of a run it is made in a folder that goes again."""
    if not (path / REPORT).is_file():
        with verified(path, key) as bundle:
            yield bundle
        return
    if key is not None:
        raise bad_input(
            "E146", "--key is for a bundle, and this is a run", help="`edgeopt bundle RUN --sign KEY` first"
        )
    with tempfile.TemporaryDirectory(prefix="edgeopt-push-") as made:
        make_bundle(path, Path(made) / "bundle", Wanted())
        with verified(Path(made) / "bundle") as bundle:
            yield bundle
