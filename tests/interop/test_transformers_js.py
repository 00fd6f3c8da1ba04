"""transformers.js under node opens the shipped folder by the lines of the model card."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from interop.conftest import Finished

pytestmark = pytest.mark.interop
ROWS = 50
ONE = "found.push((await classify(row[0]))[0].label);"
PAIR = """
  const told = { text_pair: row[1], truncation: true, max_length: Number(process.argv[4]) };
  const { logits } = await model(await tokenizer(row[0], told));
  found.push(model.config.id2label[logits.data.indexOf(Math.max(...logits.data))]);"""
LOOP = """
import { readFileSync, writeFileSync } from 'node:fs';

const found = [];
for (const row of JSON.parse(readFileSync(process.argv[2], 'utf8'))) {
  %s
}
writeFileSync(process.argv[3], JSON.stringify(found));
"""


def test_transformers_js_gives_the_same_labels(finished: Finished, node_folder: Path, tmp_path: Path) -> None:
    rows = finished.rows[:ROWS]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    script = node_folder / "card.mjs"  # node looks for packages above the script
    script.write_text(finished.code("js", "With transformers.js") + LOOP % (PAIR if len(rows[0]) > 1 else ONE))
    command = ["node", script, tmp_path / "rows.json", tmp_path / "found.json", str(finished.max_length)]
    done = subprocess.run(command, cwd=finished.folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert any(label in done.stdout for label in finished.labels)  # the printed example
    expected = [finished.labels[i] for i in finished.logits(count=ROWS).argmax(axis=1)]
    assert json.loads((tmp_path / "found.json").read_text()) == expected
