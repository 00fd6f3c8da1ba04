"""Where a bundle is pushed to: `mlflow:NAME`, or `hf:OWNER/NAME` and perhaps `@REVISION`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from edgeopt.support.errors import bad_input

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}"
_FORMS = {
    "mlflow": re.compile(r"(?P<name>[A-Za-z0-9_][\w. -]{0,249})", re.ASCII),
    "hf": re.compile(rf"(?P<name>{_PART}/{_PART})(?:@(?P<revision>{_PART}))?", re.ASCII),
}
_HELP = "give mlflow:NAME, hf:OWNER/NAME or hf:OWNER/NAME@REVISION"


@dataclass(frozen=True)
class Address:
    """A registered model of MLflow's, or a branch of a repository. revision: None where the form has none."""

    kind: Literal["mlflow", "hf"]
    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}{f'@{self.revision}' if self.revision else ''}"


def address_of(text: str) -> Address:
    """Read an address. Raises InputError E146."""
    kind, _, rest = text.partition(":")
    form = _FORMS.get(kind)
    if form is None:
        raise bad_input("E146", f"{text!r} names no place to push to", help=_HELP)
    found = form.fullmatch(rest)
    if found is None or ".." in rest:
        what = (
            "a name of letters, digits, spaces, . _ and -" if kind == "mlflow" else "OWNER/NAME, and perhaps @REVISION"
        )
        raise bad_input("E146", f"behind {kind}: stands {what}, and not {rest!r}", help=_HELP)
    named = found.groupdict()
    return Address("mlflow" if kind == "mlflow" else "hf", named["name"], named.get("revision"))
