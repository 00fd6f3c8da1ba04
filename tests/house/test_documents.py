"""What documents say: links that lead somewhere, and no figure that was measured but in pages made from the results."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import edgeopt
from edgeopt.support.installation import install

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    p.relative_to(ROOT)
    for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/papers/*/README.md")]
)
#: Made by scripts/make_docs.py from the code and from the results of the benchmarks.
MADE = {
    p for p in DOCUMENTS if p.parts[:2] == ("docs", "benchmarks") or p.name in ("recipe.md", "commands.md", "errors.md")
}
#: The pages whose examples show what a run printed.
SHOWING = {Path("docs/tutorial.md")}
#: Of the pages that a user reads, those whose figures are settings, limits and defaults alone.
READ = [p for p in DOCUMENTS if p not in MADE | SHOWING and p.name != "CHANGELOG.md" and "papers" not in p.parts]

_UNIT = r"(?:ms|kB|MB|GB|s|seconds?|min|minutes?|points?|times|×|%)"
FIGURE = re.compile(rf"(?<![\w.])(?:[-+−±]?\d[\d,]*(?:\.\d+)?\s?{_UNIT}(?!\w)|[-+−±]?\d*\.\d{{2,}}(?![\w.]))")
#: What has the form of a measured figure and is a setting, a limit, a version or a definition, with what stands around
#: it.
SETTINGS = (
    r"Python (?:of )?\d\.\d+",
    r"95 %",
    r"about every 30 seconds",
    r"1 % besides",
    r"onnxruntime`?`? \(\d\.\d+ and later",
    r"1 MB is 10\^6",
    r"64 MB",
    r"2 GB",
    r"within 10 % of",
    r"more than 1 %",
    r"after 5 seconds",
    r"within 10 seconds",
    r"by more than 5 %",
    r"at most 300 MB",
    r"60 seconds or more",
    r"80 of 100",
    r"`?\.60`?, `?\.90`?",
)


def prose(path: Path) -> str:
    """Without code, whose figures are examples, and without addresses."""
    text = re.sub(r"^```.*?^```", "", (ROOT / path).read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`\n]*`", "``", text))


@pytest.mark.parametrize("path", READ, ids=str)
def test_measured_figures_stand_only_in_pages_that_are_made_from_results(path: Path) -> None:
    text = " ".join(prose(path).split())
    for setting in SETTINGS:
        text = re.sub(setting, "", text)
    found = [text[max(m.start() - 50, 0) : m.end() + 20] for m in FIGURE.finditer(text)]
    assert not found, (
        f"{path}: move these into a template of docs/benchmarks/, which reads benchmarks/results, or add what is a "
        f"setting to SETTINGS: {found}"
    )


def anchors(path: Path) -> set[str]:
    """The anchors that a Markdown renderer gives the headings."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", (ROOT / path).read_text(encoding="utf-8"), flags=re.M):
        kept = "".join(c for c in heading.lower() if c in " -_" or unicodedata.category(c)[0] in "LN")
        found.add(kept.replace(" ", "-"))
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / path).read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        other = (ROOT / path).parent / name if name else ROOT / path
        assert other.exists(), f"{path}: {target}"
        if anchor and other.suffix == ".md":
            assert anchor in anchors(other), f"{path}: {target}"


def test_every_page_has_its_place_on_the_site() -> None:
    """A page that is in no menu is found by nobody, and `make docs` refuses it."""

    def pages(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        given = entry.values() if isinstance(entry, dict) else entry
        assert isinstance(given, Iterable)
        return [page for each in given for page in pages(each)]

    listed = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    written = {p.relative_to("docs").as_posix() for p in DOCUMENTS if p.parts[0] == "docs"}
    assert len(set(listed)) == len(listed)
    ours = {page for page in listed if not page.startswith("repository/")} - {"index.md"}  # README.md is index.md
    assert ours == written, "put each page into `nav` of mkdocs.yml"


def test_the_python_reference_has_every_name_of_the_package() -> None:
    """`make docs` fills the page from the docstrings of what it names."""
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    named = dict(found.rpartition(".")[::-2] for found in re.findall(r"^::: ([\w.]+)$", text, re.M))
    assert set(named) == set(edgeopt.__all__) - {"__version__"}
    assert not [name for name, module in named.items() if not hasattr(import_module(module), name)]


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("\n") <= 200


#: Those that name files of this repository.
NAMING = [p for p in DOCUMENTS if p not in MADE and "papers" not in p.parts and p.name != "CHANGELOG.md"]
#: What examples call files of the reader's own.
THEIRS = {"sentiment/run.py", "recipes/mine.yaml", "recipes/sentiment", "recipes/sentiment.yaml"}
_TOPS = ("benchmarks", "docs", "exporters", "recipes", "schema", "scripts", "src", "tests")
NAMED = re.compile(rf"(?<![\w./:-])(?:(?:[\w.-]+/)*[\w-]+\.py\b|(?:{'|'.join(_TOPS)})/(?:[\w./-]*\w)?)")


def is_there(name: str) -> bool:
    """Whether a file is below the root, below a package, or, of a name alone, anywhere."""
    if "/" not in name:
        return any(any((ROOT / top).rglob(name)) for top in ("src", "exporters", "scripts", "tests", "benchmarks"))
    return any(
        (root / name).exists() for root in (ROOT, ROOT / "src" / "edgeopt", ROOT / "exporters" / "edgeopt_exporters")
    )


@pytest.mark.parametrize("path", NAMING, ids=str)
def test_every_file_that_is_named_is_there(path: Path) -> None:
    found = set(NAMED.findall((ROOT / path).read_text(encoding="utf-8"))) - THEIRS
    assert not [name for name in sorted(found) if not is_there(name)]


def test_the_architecture_is_short_and_names_files() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert text.count("\n") < 250 and len(set(NAMED.findall(text))) > 40
    assert {"cli/apply.py", "run/execute.py", "report/write.py"} <= set(NAMED.findall(text))


def test_the_changelog_says_nothing_twice() -> None:
    """Merges of CHANGELOG.md keep the lines of both sides, also those that one side changed."""
    lines = [line for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines() if len(line) > 40]
    assert not sorted({line for line in lines if lines.count(line) > 1})


def test_no_text_says_to_install_edgeopt_from_an_index() -> None:
    """On an index there is no edgeopt: whoever types that gets an error, or somebody else's package."""
    files = [
        *ROOT.glob("*.md"),
        *(
            p
            for name in ("src", "exporters", "docs", "recipes")
            for p in (ROOT / name).rglob("*")
            if p.suffix in (".py", ".md", ".yaml")
        ),
    ]
    wrong = re.compile(r"pip install '?edgeopt\b(?!/)")
    assert len(files) > 100 and not [p for p in files if wrong.search(p.read_text(encoding="utf-8"))]
    assert (
        install("tasks") == "pip install '.[tasks]' in the checkout of edgeopt"
        and install() == "pip install . in the checkout of edgeopt"
    )
