"""What mkdocstrings is told of our docstrings: a paragraph that begins with >>> is an example."""

from __future__ import annotations

import inspect
import re
from typing import Any

from griffe import Extension, Object


class Examples(Extension):
    """Puts each example into a fence, so that Markdown shows it as code."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring:
            text = inspect.cleandoc(obj.docstring.value)
            obj.docstring.value = "\n\n".join(_fenced(part) for part in re.split(r"\n{2,}", text))


def _fenced(paragraph: str) -> str:
    return f"```pycon\n{paragraph}\n```" if paragraph.startswith(">>> ") else paragraph
