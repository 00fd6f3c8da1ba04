"""edgeopt: declarative optimization of transformer encoders for CPUs, phones and browsers.

    import edgeopt

    run = edgeopt.apply("recipe.yaml", set={"steps.prune.amount": 0.4})
    run.verdict, run.metrics, run.model_dir
    run.predict(["A text."])

What there is stands in `edgeopt.api`, and is imported when it is first asked for: `import edgeopt` is quick and imports
no torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from edgeopt.support.telemetry import switch_off
from edgeopt.support.version import __version__ as __version__

if TYPE_CHECKING:
    from edgeopt.api import Cells as Cells
    from edgeopt.api import EdgeoptError as EdgeoptError
    from edgeopt.api import Gated as Gated
    from edgeopt.api import InputError as InputError
    from edgeopt.api import Planned as Planned
    from edgeopt.api import Run as Run
    from edgeopt.api import StepError as StepError
    from edgeopt.api import apply as apply
    from edgeopt.api import apply_cells as apply_cells
    from edgeopt.api import compare as compare
    from edgeopt.api import diff as diff
    from edgeopt.api import gate as gate
    from edgeopt.api import load as load
    from edgeopt.api import plan as plan
    from edgeopt.api import validate as validate
    from edgeopt.recipe.expand import Grid as Grid
    from edgeopt.recipe.load import Recipe as Recipe
    from edgeopt.report.compare.diff import Diff as Diff
    from edgeopt.report.compare.runs import Comparison as Comparison
    from edgeopt.results.model import Gate as Gate
    from edgeopt.results.model import Latency as Latency
    from edgeopt.results.model import Report as Report
    from edgeopt.run.predict import Prediction as Prediction
    from edgeopt.support.errors import Issue as Issue
    from edgeopt.support.progress import Update as Update

__all__ = [
    "Cells",
    "Comparison",
    "Diff",
    "EdgeoptError",
    "Gate",
    "Gated",
    "Grid",
    "InputError",
    "Issue",
    "Latency",
    "Planned",
    "Prediction",
    "Recipe",
    "Report",
    "Run",
    "StepError",
    "Update",
    "__version__",
    "apply",
    "apply_cells",
    "compare",
    "diff",
    "gate",
    "load",
    "plan",
    "validate",
]
#: What the functions give, and are told, for a program to name: of each the module that it is in.
_GIVEN = {
    "Comparison": "edgeopt.report.compare.runs",
    "Diff": "edgeopt.report.compare.diff",
    "Gate": "edgeopt.results.model",
    "Grid": "edgeopt.recipe.expand",
    "Issue": "edgeopt.support.errors",
    "Latency": "edgeopt.results.model",
    "Prediction": "edgeopt.run.predict",
    "Recipe": "edgeopt.recipe.load",
    "Report": "edgeopt.results.model",
    "Update": "edgeopt.support.progress",
}

switch_off()


if not TYPE_CHECKING:  # which would take any name for one that is here

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'edgeopt' has no attribute '{name}'")
        return getattr(import_module(_GIVEN.get(name, "edgeopt.api")), name)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        """Keeps `edgeopt.plan` the function: importing the package of that name would put that in its place."""
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
