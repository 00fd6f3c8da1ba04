"""The lowest versions that pyproject.toml admits, as pip's constraints: `python scripts/lowest_constraints.py > FILE`.

They are those of the dependencies, of the extras and of the tests' own packages. `make test-lowest` installs with them.
"""

import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest(project: Path = PROJECT) -> Iterator[str]:
    """`name==version` of every requirement that has a lower bound."""
    said = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    for requirement in chain(said["dependencies"], *said["optional-dependencies"].values()):
        if found := re.fullmatch(r"([\w.-]+)>=([\w.]+)(,.*)?", requirement):
            yield f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    print(*lowest(), sep="\n")
