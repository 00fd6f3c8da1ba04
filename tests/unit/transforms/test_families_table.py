"""The table of families in the documents says what the transforms refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path

from contract.test_conformance import STEPS

from edgeopt.models.anatomy import FAMILIES, PAIR
from edgeopt.models.source import ModelSource
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step import registry

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "transforms.md"
TASK = {"type": "text-classification", "dataset": {"path": "data"}, "text": "text"}
#: Sizes by every name that a family has for them, and biases where nothing says otherwise.
CONFIG = {name: 64 for family in FAMILIES.ours if family != PAIR for name in FAMILIES[family].sizes}


def refused(family: str, folder: Path) -> set[str]:
    """The transforms that refuse a model of the family for what it is."""
    (folder / "config.json").write_text(json.dumps({**CONFIG, "model_type": family}))
    model = ModelSource(family, None, folder, True)
    found = set()
    for use, given in STEPS.values():
        transform = registry.get(use)
        params = transform.Params.model_validate({**given, **({"corpus": {"path": "."}} if "corpus" in given else {})})
        if any(family in message for _, message, _ in transform.fit(params, TaskSpec.model_validate(TASK), model)):
            found.add(use)
    return found


def test_the_table_is_what_the_plan_refuses(tmp_path: Path) -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|(.*)\| (yes|no) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {family for family, _, _ in rows} == {*FAMILIES.ours} - {PAIR}
    for family, without, summaries in rows:
        assert set(re.findall(r"`([a-z.]+)`", without)) == refused(family, tmp_path), family
        assert (summaries == "yes") == FAMILIES[family].decodes, family
