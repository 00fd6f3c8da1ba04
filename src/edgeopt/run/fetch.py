"""Model, rows and teachers of a plan, here: downloaded where they were not, and checked as far as only now can be."""

from __future__ import annotations

from dataclasses import replace

from edgeopt.corpus.source import Corpus
from edgeopt.data import TaskData
from edgeopt.models.begun import Begun
from edgeopt.models.source import ModelSource, download
from edgeopt.plan import Plan, check_order, hub_data_name, in_order, load_rows
from edgeopt.plan.fit import fit_issues
from edgeopt.plan.references import all_references, misfits
from edgeopt.run.begin import begin
from edgeopt.store.store import Store
from edgeopt.support.errors import InputError


def fetch(plan: Plan, store: Store) -> Plan:
    """The plan with model and rows here, downloaded where they were not.

    Raises InputError where they cannot be had or do not fit.
    """
    source, data = plan.source, plan.data
    if source.folder is None:
        source = begin(source, plan.recipe, store) if isinstance(source, Begun) else download(source)
        # only now is it known whether the checkpoint has a trained head, and what else it has
        check_order(plan.recipe, source)
    if data is None:
        data = in_order(plan.recipe, source, load_rows(plan.recipe, source))
        store.remember_source(hub_data_name(plan.recipe), data.key("train"))
    elif source is not plan.source:
        data = in_order(plan.recipe, source, data)  # only now is it known in which order the head has them
    if source is not plan.source or data is not plan.data:
        issues = fit_issues(plan.recipe, source, data)
        if issues:
            raise InputError(issues)
    checkpoints = _downloaded(plan, source, data)
    return replace(plan, source=source, data=data, checkpoints=checkpoints, corpora=_asked(plan, store))


def _asked(plan: Plan, store: Store) -> dict[str, Corpus]:
    """The plain text that steps read, of the hub's the commit known. Raises InputError E312."""
    found = {id: corpus.asked() for id, corpus in plan.corpora.items()}
    for corpus in found.values():
        if corpus.on_hub:
            store.remember_source(corpus.named, {"fingerprint": corpus.commit, "labels": []})
    return found


def _downloaded(plan: Plan, model: ModelSource, data: TaskData) -> dict[str, ModelSource]:
    """The checkpoints that steps name, all of them here. Raises InputError E208 where one turns out not to fit."""
    found = {name: download(source) if source.folder is None else source for name, source in plan.checkpoints.items()}
    named = [n for n in all_references(plan.recipe) if n.reference.name in found]
    issues = [i for n in named for i in misfits(n, found[n.reference.name], plan.recipe, model, data)]
    if issues:
        raise InputError(issues)
    return found
