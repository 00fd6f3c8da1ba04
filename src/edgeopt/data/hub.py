"""A dataset of the hub, through the datasets library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.data.raw import ColumnPlace, raw_rows
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import bad_input
from edgeopt.support.paths import not_here
from edgeopt.support.words import first_line
from edgeopt.tasks.columns import Raw, Read


@dataclass(frozen=True)
class Hub:
    """A loaded dataset. names: those of the class numbers, where it states them. source: as shown in the report."""

    splits: Mapping[str, Any]
    names: list[str] | None
    source: str

    def read(self, split: str, read: Read, column_place: ColumnPlace) -> list[Raw]:
        """What `read` makes of the rows of a split. column_place: where the recipe names a column."""
        return raw_rows(f"{self.source} ({split})", enumerate(self.splits[split], 1), read, column_place)


def open_hub(task: TaskSpec, folder: Path) -> Hub:
    """The splits of a dataset of the hub. Raises InputError E312 where it cannot be had.

    folder: the recipe's, where the rows might have been.
    """
    from edgeopt.support.quiet import quiet_libraries

    quiet_libraries()
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    spec = task.dataset
    assert spec.path is not None
    shown = "/".join(p for p in (spec.path, spec.name) if p)
    try:
        loaded: Any = datasets.load_dataset(spec.path, spec.name, revision=spec.revision)
    except (OSError, ValueError, HfHubHTTPError, RuntimeError) as error:
        # RuntimeError: httpx clients closed or datasets scripts refused; nothing here is a bug of ours
        raise bad_input(
            "E312",
            f"{not_here(spec.path, folder)}; dataset '{shown}' cannot be loaded from the hub: {first_line(error)}",
            help="give local files instead: task.dataset: {data_files: {train: …, validation: …}} or --set "
            "task.dataset.path=FOLDER",
        ) from None
    splits = {split: loaded[split] for split in ("train", "validation", "test") if split in loaded}
    label = task.label if isinstance(task.label, str) else None  # columns of 0 and 1 are named themselves
    feature = next(iter(splits.values())).features.get(label) if splits else None
    feature = getattr(feature, "feature", feature)  # of a list of tags
    return Hub(splits, list(getattr(feature, "names", None) or []) or None, shown)
