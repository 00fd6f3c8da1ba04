"""Serves a bundle out of MLflow's registry: `mlflow.pyfunc.load_model` imports this file, and nothing was pickled.

It needs what run.py of the bundle needs, and pandas, in which MLflow hands over and takes tables.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

#: The columns of the tables that the model reads, of a pair two, and of those that it answers.
TEXTS, LABELED, SCORED = ("text", "text_pair"), ("label", "probability"), ("score",)


def answers_of(manifest: "dict[str, Any]") -> "tuple[str, ...]":
    """The columns that the model of a manifest answers."""
    vector = manifest["task"].get("vector")
    return (vector,) if vector else LABELED if manifest["labels"] else SCORED


def _load_pyfunc(path: str) -> "Served":
    """What MLflow calls with the folder of the bundle."""
    return Served(Path(path))


class Served:
    """The model of a bundle, by tables."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = _run_of(folder).Model(folder)
        self.reads = TEXTS[: self.model.about["task"]["texts"]]
        self.answers = answers_of(self.model.about)

    def predict(self, data: "pandas.DataFrame", params: "dict[str, Any] | None" = None) -> "pandas.DataFrame":
        """A row of answers for each row of texts. params: of an embedding `passage`, whether the texts are passages."""
        import pandas

        rows = list(zip(*(data[name].astype(str) for name in self.reads), strict=True))
        told = self.model.answers(rows, passage=bool((params or {}).get("passage")))
        found = [answer[: len(self.answers)] for answer in told]
        return pandas.DataFrame(found, columns=list(self.answers), index=data.index)


def _run_of(folder: Path) -> ModuleType:
    """The bundle's run.py, beside those of others: each imports the guard.py of its own folder."""
    spec = spec_from_file_location(f"edgeopt_bundle_{folder.resolve().parent.name}", folder / "run.py")
    assert spec is not None and spec.loader is not None
    module, before = module_from_spec(spec), sys.modules.pop("guard", None)
    sys.path.insert(0, str(folder))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("guard", None)
        if before is not None:
            sys.modules["guard"] = before
    return module
