"""Small pieces of SVG as text. Sizes are in user units of the picture's viewBox."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Literal, NamedTuple

# Mean width of a character at the pictures' 13-unit type, for fonts as wide as DejaVu Sans.
REGULAR, BOLD = 7.2, 8.4


class Box(NamedTuple):
    """A rectangle in units of the picture; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The point of the box that is nearest to (x, y)."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)

    def within(self, other: Box) -> bool:
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


def tag(name: str, content: str = "", /, **attributes: float | str) -> str:
    """One element; `class_` is `class`, `text_anchor` is `text-anchor`. `content` is markup already."""
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    written = "".join(
        f' {key}="{f"{value:.1f}" if isinstance(value, float) else escape(str(value))}"' for key, value in pairs
    )
    return f"<{name}{written}>{content}</{name}>"


def text(
    x: float, y: float, content: str, class_: str = "", anchor: Literal["start", "middle", "end"] = "start"
) -> str:
    """A line of text, which starts, is centered or ends at x."""
    return tag("text", escape(content), x=float(x), y=float(y), class_=class_, text_anchor=anchor)


def words(x: float, y: float, parts: Iterable[tuple[str, str]]) -> str:
    """Texts of different classes after one another, set by the browser, which knows their widths."""
    spans = [
        tag("tspan", escape(content), class_=class_, dx=8 if index else 0)
        for index, (content, class_) in enumerate(parts)
    ]
    return tag("text", "".join(spans), x=float(x), y=float(y))


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """A straight line between two points."""
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def bar(box: Box, class_: str) -> str:
    """A filled rectangle with round corners, at least one unit wide."""
    width, height = max(box.right - box.left, 1.0), box.bottom - box.top
    return tag("rect", x=box.left, y=box.top, width=width, height=height, rx=2, class_=class_)


def picture(width: int, height: float, title: str, parts: Iterable[str]) -> str:
    """The whole picture, named for those who do not see it."""
    content = tag("title", escape(title)) + "".join(parts)
    return tag("svg", content, viewBox=f"0 0 {width} {height:.0f}", role="img", aria_label=title)


def width_of(content: str, *, bold: bool = False) -> float:
    """About how wide a text is, in units of the picture."""
    return len(content) * (BOLD if bold else REGULAR)


def cut(content: str, room: int) -> str:
    """A text of at most `room` characters; the last is an ellipsis where it was longer."""
    return content if len(content) <= room else content[: max(room - 1, 0)] + "…"
