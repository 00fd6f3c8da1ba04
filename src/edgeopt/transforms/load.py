"""The first step of every chain, put in by the planner: the model as it is given, with the task's head."""

from __future__ import annotations

from pathlib import Path

from edgeopt.contract import Contract, Fact, facts
from edgeopt.errors import EdgeoptError, bad_input, step_failed
from edgeopt.recipe.schema import StepParams
from edgeopt.store import State
from edgeopt.tasks import task_of
from edgeopt.transforms.base import Figures, StepContext, Transform


class Load(Transform[StepParams]):
    """Read weights and tokenizer; a head that the checkpoint lacks is initialised from the seed."""

    name = "load"
    summary = "the pretrained model with the task's head"
    Params = StepParams
    contract = Contract(adds=facts(Fact.TORCH), needs=("torch", "transformers", "tokenizers"))

    def apply(self, state: State, params: StepParams, context: StepContext) -> None:
        from edgeopt.quiet import quiet_libraries

        quiet_libraries()
        import torch
        import transformers

        from edgeopt.models.load import head_of, is_inside, save_model

        torch.manual_seed(context.seed)
        task = task_of(context.task, context.data.label_names)
        try:
            config = transformers.AutoConfig.from_pretrained(state.folder, local_files_only=True)
            tokenizer = transformers.AutoTokenizer.from_pretrained(state.folder, local_files_only=True, **task.tokenizer_options(config.model_type))
            task.check_family(config.model_type)
            model, missing = task.load(state.folder)
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
        if not getattr(tokenizer, "is_fast", False):
            raise bad_input("E311", f"{type(tokenizer).__name__} has no tokenizer.json form", help="save the model with a fast tokenizer")
        if len(tokenizer) > model.config.vocab_size:
            raise bad_input(
                "E311",
                f"the tokenizer has {len(tokenizer)} words, the model's embeddings {model.config.vocab_size}",
                help="the tokenizer belongs to another model",
            )
        save_model(model, context.output)
        tokenizer.save_pretrained(context.output)
        if not (context.output / "tokenizer.json").is_file():
            raise step_failed("E311", "transformers wrote no tokenizer.json")
        context.figures.update(head_trained=not missing, parameters=sum(p.numel() for p in model.parameters()))

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
    return bad_input("E315", f"transformers cannot read the model: {text[:200]}", help="check config.json, model.safetensors and the tokenizer files")
