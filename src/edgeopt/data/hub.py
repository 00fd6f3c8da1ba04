"""A dataset of the hub, through the datasets library."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from edgeopt.data.sources import Read
from edgeopt.errors import Place, bad_input
from edgeopt.recipe.schema import TaskSpec
from edgeopt.tasks import task_of
from edgeopt.tasks.cells import Raw


def load_hub(task: TaskSpec, only: Collection[str] = (), read: Read | None = None) -> tuple[dict[str, list[Raw]], list[str] | None, str]:
    """(raw rows by split, class names where the dataset states them, source as shown in the report). only: which splits,
    where not train and the one to report on. read: where not the task's way.
    Raises InputError E312 where the dataset cannot be had."""
    from edgeopt.quiet import quiet_libraries

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
            f"dataset '{shown}' cannot be loaded from the hub: {first_line(error)}",
            help="give local files instead: task.dataset: {data_files: {train: …, validation: …}} or --set task.dataset.path=FOLDER",
        ) from None
    splits = {split: loaded[split] for split in ("train", "validation", "test") if split in loaded}
    wanted = only or {"train", task.report or ("validation" if "validation" in splits else "test")}
    read = read or task_of(task).read_all
    raw = {
        split: [r for number, row in enumerate(rows, 1) for r in read(row, Place(f"{shown} ({split})", number))]
        for split, rows in splits.items()
        if split in wanted
    }
    feature = next(iter(splits.values())).features.get(task.label) if splits else None
    feature = getattr(feature, "feature", feature)  # of a list of tags
    return raw, list(getattr(feature, "names", None) or []) or None, shown


def first_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
