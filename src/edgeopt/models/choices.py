"""Prompt tuning of a model with choices, which peft lacks: its own prepends tokens to (batch, sequence) alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModelForSequenceClassification

if TYPE_CHECKING:
    from transformers.utils import ModelOutput


class PromptedChoices(PeftModelForSequenceClassification):  # type: ignore[misc]
    """A model with choices that reads the learned tokens before each of them.

    input_ids and the masks: (batch, choices, sequence). Files are peft's; a model that is read by plain peft lacks this
    forward.
    """

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        **more: Any,
    ) -> ModelOutput:
        batch, choices, width = input_ids.shape
        texts = self.word_embeddings(input_ids.reshape(-1, width))
        prompts = self.get_prompt(batch_size=batch * choices).to(texts.dtype)
        tokens = prompts.shape[1]
        inputs = torch.cat((prompts, texts), dim=1).reshape(batch, choices, tokens + width, -1)

        def widened(values: torch.Tensor, fill: int) -> torch.Tensor:
            return torch.cat((values.new_full((batch, choices, tokens), fill), values), dim=2)

        if token_type_ids is not None:
            more["token_type_ids"] = widened(token_type_ids, 0)
        return self.base_model(inputs_embeds=inputs, attention_mask=widened(attention_mask, 1), **more)
