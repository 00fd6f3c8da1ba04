"""What versions of onnxruntime, tokenizers and numpy change of a bundle's answers, by edgeopt's copy of its self-test.

    python -m benchmarks.bundle_versions BUNDLE FOLDER...

Each FOLDER is what `pip install --no-deps --target FOLDER onnxruntime==1.23.2` wrote, or the like for the other two;
the rest comes from this environment, which is the first row. The options are those of the bundle's session.json.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from benchmarks.common import save
from edgeopt.bundle.verify import DEVICE
from edgeopt.support.workers import run_worker


def main(bundle: Path, folders: list[Path]) -> None:
    given = json.loads((bundle / "selftest.json").read_text(encoding="utf-8"))
    scale = float(np.sqrt(np.mean(np.square(given["logits"]))))
    rows = []
    for folder in [None, *folders]:
        env = {**os.environ, **({"PYTHONPATH": str(folder)} if folder else {})}
        done = run_worker([str(DEVICE / "device.py"), "selftest", str(bundle)], None, env)
        if not done.stdout:
            rows.append(
                {"folder": folder.name if folder else None, "error": done.stderr.strip().splitlines()[-1][:200]}
            )
            continue
        found = json.loads(done.stdout)["selftest"]
        rows.append(
            {
                "packages": found["packages"],
                "passed": found["passed"],
                "max_abs_diff": found["max_abs_diff"],
                "share": found["max_abs_diff"] / scale,
            }
        )
        print(rows[-1], flush=True)
    save(
        "bundle_versions",
        {
            "model": json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["name"],
            "texts": len(given["texts"]),
            "tolerance": given["tolerance"],
            "scale": scale,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
