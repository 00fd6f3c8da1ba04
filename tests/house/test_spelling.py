"""One spelling in code, words, messages and documents: the field's, which is American."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Ends of words are left open. `unlabelled` is a key of recipes.
BRITISH = re.compile(
    r"(?i)(?:quanti|optimi|summari|tokeni|recogni|maximi|minimi|initiali|seriali|normali|generali|speciali|parallel?i)s(?:e|i|a)"
    r"|misspelt|learnt|\bspelt\b|neighbour|colour|favour|behaviour|\bcentre|licence|\banalyse|(?<!un)labell(?:ed|ing)|\bmodell|\bdistils?\b|stabilis"
)
#: What users may write all the same, the words of tests of that, and names that others gave their files.
FOREIGN = {
    "src/edgeopt/support/synonyms.py",
    "src/edgeopt/spec/renamed.py",
    "tests/unit/recipe/test_short.py",
    "tests/unit/spec/test_renamed.py",
    "tests/recipes/bad/schema/use-misspelled.yaml",
    "tests/recipes/bad/by-hand/old-word.yaml",
    "src/edgeopt/bundle/license.py",
}
#: Old words that an error names, and results with the recipes of their time.
HISTORY = ("tests/recipes/bad/renamed/", "benchmarks/results/")
TEXTS = [
    p
    for top in ("src", "exporters", "tests", "scripts", "docs", "recipes", "benchmarks")
    for p in (ROOT / top).rglob("*")
] + list(ROOT.glob("*.md"))


@pytest.mark.parametrize("kind", [".py", ".md", ".yaml", ".j2", ".js", ".html"])
def test_no_word_is_spelled_another_way(kind: str) -> None:
    found = []
    for path in TEXTS:
        name = path.relative_to(ROOT).as_posix()
        if (
            path.suffix != kind
            or name in FOREIGN
            or path.name in ("CHANGELOG.md", Path(__file__).name)
            or name.startswith(HISTORY)
            or "node_modules" in path.parts
        ):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            found += [f"{name}:{number}: {m[0]}" for m in BRITISH.finditer(line)]
    assert not found, found[:20]
