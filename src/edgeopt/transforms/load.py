"""The first step of every chain, put in by the planner: the model as it is given, with the task's head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgeopt.models.tokenizer import FILE
from edgeopt.models.unused import unexplained
from edgeopt.spec.recipe import StepParams
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Figures, StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import EdgeoptError, Place, bad_input
from edgeopt.tasks import task_of


class Load(Transform[StepParams]):
    """Read weights and tokenizer; a head that the checkpoint lacks is initialized from the seed."""

    name = "load"
    version = 3  # token types that the tokenizer states not to give are one
    summary = "the pretrained model with the task's head"
    Params = StepParams
    shaped_by_task = True
    contract = Contract(adds=facts(Fact.TORCH), needs=("torch", "transformers", "tokenizers"))

    def apply(self, state: State, params: StepParams, context: StepContext) -> None:
        from edgeopt.support.quiet import quiet_libraries

        quiet_libraries()
        import torch
        import transformers

        from edgeopt.models.load import one_type, save_model
        from edgeopt.models.parts import head_of, is_inside
        from edgeopt.models.ship_tokenizer import ship_tokenizer
        from edgeopt.models.tokenizer import INPUTS, check_size, read_tokenizer, untyped

        torch.manual_seed(context.seed)
        task = task_of(context.task, context.data.label_names)
        try:
            config = transformers.AutoConfig.from_pretrained(state.folder, local_files_only=True)
            found = read_tokenizer(state.folder, config.model_type)
            task.check_family(config.model_type)
            model, missing, unused = task.load(state.folder)
        except EdgeoptError:
            raise
        except Exception as error:  # transformers raises many kinds for a folder that does not fit together
            raise _unreadable(error, len(task.names) or 1) from None
        head = head_of(model)
        body = [k for k in missing if not is_inside(k, head)]
        if body:
            raise bad_input(
                "E315",
                f"the checkpoint lacks {len(body)} weights that its config.json promises, {body[0]} first",
                help="the folder mixes two models, or a file of it is cut short",
            )
        if lost := unexplained(unused):
            raise bad_input(
                "E319",
                f"the checkpoint has {len(lost)} weights that no module of transformers' {type(model).__name__} takes, "
                f"{lost[0]} first",
                place=Place.of(state.folder),
                help="the model that edgeopt would load is not the one that was trained: see `edgeopt explain E319`",
            )
        check_size(found, model.get_input_embeddings().num_embeddings)
        rows = task.queries([texts for split in (context.data.train, context.data.report) for texts in split.texts])
        if untyped(found) and any(len(texts) > 1 for texts in rows) and one_type(model):
            found = replace(found, stated={**found.stated, INPUTS: None})
        save_model(model, context.output)
        renamed = ship_tokenizer(found, rows, context.output, words=task.reads_words and bool(missing))
        context.told.update({"head_trained": not missing, "parameters": sum(p.numel() for p in model.parameters())})
        if renamed:
            context.progress.say(
                f"transformers' class reads {FILE} of {state.folder.name} otherwise than it says: "
                "it is shipped without a class, as it is"
            )

    def observe(self, before: State, after: Path, params: StepParams) -> Figures:
        return {}


def _unreadable(error: Exception, classes: int) -> Exception:
    text = " ".join(str(error).split())
    if "size mismatch" in text or "mismatched" in text.lower() or "ignore_mismatched_sizes" in text:
        return bad_input(
            "E316",
            f"the checkpoint's head does not fit: the data has {classes} outputs",
            help="start from the bare encoder, or give data with the classes that the model was trained for",
        )
    return bad_input(
        "E315",
        f"transformers cannot read the model: {text[:200]}",
        help="check config.json, model.safetensors and the tokenizer files",
    )
