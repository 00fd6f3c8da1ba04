"""Why a step is to be built again: what differs from its last key, and nothing that only looks different."""

from __future__ import annotations

from edgeopt.plan.lookup import _changed


def test_what_was_kept_as_a_list_is_no_other_than_a_tuple() -> None:
    before = {"corpus": {"columns": ["one", "two"], "train": ["a"]}, "params": {"mask": 0.15}}
    after = {"corpus": {"columns": ("one", "two"), "train": ["b"]}, "params": {"mask": 0.2}}
    assert _changed(before, after) == "the text changed; mask 0.15 → 0.2"


def test_a_step_that_now_reads_rows_says_so_in_words() -> None:
    after = {"data": {"fingerprint": "ab"}, "task": {"type": "text-classification"}}
    assert _changed({}, after) == "the training rows changed; the task changed"
