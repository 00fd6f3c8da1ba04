"""Where edgeopt came from: a checkout or a wheel, and where the files lie that came along."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

_PARENTS = Path(__file__).resolve().parents
#: The checkout that this file stands in; a folder of Python's where edgeopt was installed from a wheel.
_CHECKOUT = _PARENTS[3]


def shipped(name: str) -> Path:
    """A folder that came with edgeopt: of the checkout, or below `share/edgeopt` of the prefix it was installed in.

    The prefix is looked for upwards from here, because it need not be Python's own: pip has --user and --target.
    """
    if _is_checkout() and (_CHECKOUT / name).is_dir():
        return _CHECKOUT / name
    found = (parent / "share" / "edgeopt" / name for parent in _PARENTS)
    return next((folder for folder in found if folder.is_dir()), _CHECKOUT / name)


def install(extra: str = "") -> str:
    """The command that installs edgeopt, with an extra: from where it came, as it is on no package index."""
    wheel = None if _is_checkout() else _wheel()
    if wheel is not None:
        return f"pip install '{f'edgeopt[{extra}]' if extra else 'edgeopt'} @ {wheel}'"
    what = f"'.[{extra}]'" if extra else "."
    return f"pip install {what} in the checkout of edgeopt"


def _is_checkout() -> bool:
    return (_CHECKOUT / "pyproject.toml").is_file()


def _wheel() -> str | None:
    """The address of the wheel that edgeopt was installed from; None where it was none, or nobody wrote it down."""
    try:
        noted = json.loads(distribution("edgeopt").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return None
    url = noted.get("url")
    return url if isinstance(url, str) and url.endswith(".whl") else None
