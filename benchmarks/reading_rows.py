"""What reading rows costs: 200,000 rows of a classification in each format, read, checked and held against train.

    python benchmarks/reading_rows.py [ROWS]

Times are this process's own processor time, the least of three readings, without the write of the files. Writes
benchmarks/results/reading_rows.json.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeopt.data import load_data
from edgeopt.data.files import read_rows
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support import host

RESULT = Path(__file__).parent / "results" / "reading_rows.json"


def write(folder: Path, rows: list[dict[str, Any]]) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(lines)
    (folder / "rows.json").write_text(json.dumps(rows, indent=1))
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress(lines.encode(), 1))
    for name, delimiter in (("rows.csv", ","), ("rows.tsv", "\t")):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    return sorted(folder.iterdir())


def seconds(run: Callable[[], Any]) -> float:
    taken = []
    for _ in range(3):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken)


def main(count: int = 200_000) -> None:
    rng, words = random.Random(0), [f"word{i}" for i in range(5000)]
    rows = [
        {"text": " ".join(rng.choices(words, k=rng.randint(5, 25))), "label": rng.randrange(3)} for _ in range(count)
    ]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in write(folder, rows):
            spec = TaskSpec.model_validate(
                {
                    "type": "text-classification",
                    "dataset": {"data_files": {"train": path.name, "validation": "few.jsonl"}},
                    "text": "text",
                }
            )
            (folder / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:100]))
            file, whole = (
                seconds(lambda path=path: sum(1 for _ in read_rows(path))),
                seconds(lambda spec=spec: load_data(spec, folder)),
            )
            data = load_data(spec, folder)
            start = time.process_time()
            leaked = data.leaked
            leak = time.process_time() - start
            assert leaked == 100
            found[path.name.removeprefix("rows.")] = {
                k: round(v / count * 1e6, 2) for k, v in (("file_us", file), ("load_us", whole), ("leaks_us", leak))
            }
    result = {"rows": count, "us_per_row": found, "cpu": host.cpu_name(), "python": sys.version.split()[0]}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
