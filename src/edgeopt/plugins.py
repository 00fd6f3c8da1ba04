"""Everything that a plugin imports: a transform, exporter, task or model family in another package.

docs/how-to/plugins.md has an example of each. These names stay the same between minor versions. Anything else in
edgeopt may move. Nothing here imports torch, because recipes are checked and planned without it. A plugin should import
torch inside the methods that need it. `edgeopt.testing` has conformance tests for plugins.

    >>> from edgeopt.plugins import bert_like
    >>> bert_like("ernie", readers=("classifier",)).layers
    'ernie.encoder.layer'
"""

from pydantic import Field

from edgeopt.export.exporter import Exported, Exporter, ExportInput, Padding, Query
from edgeopt.export.session import Options
from edgeopt.models.anatomy import Anatomy, bert_like
from edgeopt.models.files import copy_tokenizer
from edgeopt.models.load import load_model, save_model
from edgeopt.models.parts import prunable
from edgeopt.spec.recipe import StepParams, TaskSpec, TrainedStepParams, TrainParams
from edgeopt.statistics.bounds import Bounds
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Figures, Found, Reference, StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import InputError, Place, StepError, bad_input, step_failed
from edgeopt.tasks.base import IGNORED, Task, Texts, Values
from edgeopt.tasks.classification import Classification
from edgeopt.tasks.columns import Cells, ClassNumbers, Raw, classes_of, score
from edgeopt.tasks.counted import CountedTask
from edgeopt.tasks.encode import Encoder, Features
from edgeopt.tasks.losses import LabelLoss
from edgeopt.tasks.regression import Regression
from edgeopt.training import train
from edgeopt.training.objective import Objective

__all__ = [
    "IGNORED",
    "Anatomy",
    "Bounds",
    "Cells",
    "ClassNumbers",
    "Classification",
    "Contract",
    "CountedTask",
    "Encoder",
    "ExportInput",
    "Exported",
    "Exporter",
    "Fact",
    "Features",
    "Field",
    "Figures",
    "Found",
    "InputError",
    "LabelLoss",
    "Objective",
    "Options",
    "Padding",
    "Place",
    "Query",
    "Raw",
    "Reference",
    "Regression",
    "State",
    "StepContext",
    "StepError",
    "StepParams",
    "Task",
    "TaskSpec",
    "Texts",
    "TrainParams",
    "TrainedStepParams",
    "Transform",
    "Values",
    "bad_input",
    "bert_like",
    "classes_of",
    "copy_tokenizer",
    "facts",
    "load_model",
    "prunable",
    "save_model",
    "score",
    "step_failed",
    "train",
]
