"""What mkdocs is told besides mkdocs.yml: README.md is the home page, and files outside docs/ are part of the site.

A page may link to any file of the repository, as it does on a forge. On the site such a file stands below repository/,
and links lead there. A link to a folder becomes plain text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HOME = ROOT / "README.md"
_LINK = re.compile(r"\[([^\[\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(^```.*?^```\n?)", re.M | re.S)


def on_config(config: MkDocsConfig) -> None:
    """Anchors as forges make them, so that a link holds in both places."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the home page, and each file of the repository that a page leads to."""
    waiting, seen = [HOME, *DOCS.rglob("*.md")], set(DOCS.rglob("*"))
    while waiting:
        path = waiting.pop()
        if path not in seen:
            files.append(File.generated(config, _place(path), abs_src_path=str(path)))
            seen.add(path)
        if path.suffix == ".md":
            waiting += [target for target in _targets(path) if target.is_file() and target not in seen]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links of the site."""
    source = Path(str(page.file.abs_src_path))

    def changed(match: re.Match[str]) -> str:
        text, name, anchor = match[1], match[2], match[3] or ""
        target = _target(source, name)
        if target is None:
            return match[0]
        if target.is_dir():
            return text
        return f"[{text}]({posixpath.relpath(_place(target), posixpath.dirname(page.file.src_uri))}{anchor})"

    return _outside_fences(markdown, lambda text: _LINK.sub(changed, text))


def _outside_fences(text: str, change: Callable[[str], str]) -> str:
    return "".join(part if part.startswith("```") else change(part) for part in _FENCE.split(text))


def _targets(path: Path) -> list[Path]:
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    return [found for match in _LINK.finditer(text) if (found := _target(path, match[2]))]


def _target(source: Path, name: str) -> Path | None:
    """The file or folder of the repository that a link names; None for addresses and for what is not there."""
    if re.match(r"[a-z]+:", name):
        return None
    found = (source.parent / name).resolve()
    return found if found.exists() and found.is_relative_to(ROOT) else None


def _place(path: Path) -> str:
    """Where a file of the repository stands on the site."""
    if path == HOME:
        return "index.md"
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    return f"repository/{path.relative_to(ROOT).as_posix()}"
