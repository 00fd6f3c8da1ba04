"""An older environment with optimum opens the shipped folder by the lines of the model card."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from interop.conftest import Finished

from edgeopt.export.session import open_session

pytestmark = pytest.mark.interop
ROWS = 50
LOOP = """
import sys

rows = json.loads(Path(sys.argv[1]).read_text())
told = {"truncation": True, "max_length": int(sys.argv[3]), "return_tensors": "pt"}
found = [model(**tokenizer(*row, **told)).logits[0].tolist() for row in rows]
Path(sys.argv[2]).write_text(json.dumps(found))
"""


def test_optimum_gives_the_same_logits(finished: Finished, other_python: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(finished.rows[:ROWS]))
    (tmp_path / "card.py").write_text(finished.code("python", "With optimum") + LOOP)
    command = [
        other_python,
        tmp_path / "card.py",
        tmp_path / "rows.json",
        tmp_path / "found.json",
        str(finished.max_length),
    ]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, cwd=finished.folder / "model", env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in finished.labels
    options = json.loads((finished.folder / "model" / "session.json").read_text())["onnx/model_quantized.onnx"]
    expected = finished.logits(open_session(finished.graph, options), count=ROWS)
    np.testing.assert_allclose(json.loads((tmp_path / "found.json").read_text()), expected, rtol=0, atol=1e-5)
