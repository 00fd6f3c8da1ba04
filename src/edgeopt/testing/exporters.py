"""check_exporter: does what an exporter wrote behave like the graph it was given?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeopt.export import Exported, Exporter, ExportInput
from edgeopt.measure.session import input_names, open_session
from edgeopt.store import State, file_digest
from edgeopt.tasks.encode import Encoder
from edgeopt.transforms.lower import GRAPH

#: Largest difference of a logit that another runtime may make of the same graph.
TOLERANCE = 1e-3
_TEXTS = [("a",), ("the film is good , and the cast is better",), ("not one minute of it is worth the price of a ticket " * 3,)]


def check_exporter(exporter: Exporter, *, state: State, work: Path) -> Exported:
    """Write the state with the exporter and run what was written. Raises AssertionError.

    Checked: it declares facts that the state has; it writes into its folder alone and leaves the state as
    it was; the artifact and tokenizer.json are there; two writes give the same bytes; its logits are those
    of ONNX Runtime on the state's graph within 1e-3, for rows of several lengths."""
    assert exporter.requires <= state.facts, f"{exporter.name} needs {sorted(exporter.requires - state.facts)}, which this state lacks"
    before = _digests(state.folder)
    folders = [work / "a", work / "b"]
    for folder in folders:
        folder.mkdir(parents=True)
    exported, _ = (exporter.write(ExportInput(state, state), folder, {}) for folder in folders)
    assert _digests(state.folder) == before, f"{exporter.name} changed the state it was given"
    assert (folders[0] / exported.artifact).exists(), f"{exported.artifact} was not written"
    assert (folders[0] / "tokenizer.json").is_file(), "the folder has no tokenizer.json: nothing can feed the model"
    assert _digests(folders[0]) == _digests(folders[1]), "two writes of the same state differ"
    encoder, reference = Encoder(folders[0], 32), open_session(state.folder / GRAPH)
    names = input_names(reference)
    for ids in encoder.ids(_TEXTS):
        feed = {k: v for k, v in encoder.pad([ids]).items() if k in names}
        difference = float(np.abs(exporter.logits(folders[0], exported, feed) - reference.run(["logits"], feed)[0]).max())
        assert difference <= TOLERANCE, f"{exporter.name} differs from ONNX Runtime by {difference:.2g} in a logit"
    return exported


def _digests(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): file_digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}
