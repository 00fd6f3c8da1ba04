"""The objective of replaced token detection: an auxiliary model fills hidden tokens in, and the model says which.

Joint (ELECTRA: Clark et al. 2020): a narrower generator is trained along, on the same embeddings. Frozen
(Fast-ELECTRA): any model that guesses words, which a temperature makes guess worse at first:
T = 1 + (T0 − 1)·exp(−u/τ), u the share of the training that is done.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from edgeopt.tasks.base import IGNORED
from edgeopt.training.distill_terms import question
from edgeopt.training.held_out import OnText
from edgeopt.training.masked_words import Picked
from edgeopt.training.masking import LUCK
from edgeopt.training.objective import ROW

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Tokens that words are drawn for at once: the sums over all words are in float64.
_AT_ONCE = 256


def temperature_at(share: float, start: float, decay: float) -> float:
    """The temperature when so much of the training is done."""
    return 1.0 + (start - 1.0) * math.exp(-share / decay)


def drawn(scores: torch.Tensor, temperature: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """A word for each row of scores, drawn from softmax(scores / temperature), by Gumbel noise in float32."""
    noise = torch.empty_like(scores, dtype=torch.float32).exponential_(generator=generator).log().neg()
    return (scores.float() / temperature + noise).argmax(-1)


def drawn_at(scores: torch.Tensor, temperature: float, luck: torch.Tensor) -> torch.Tensor:
    """A word for each row of scores, drawn from softmax(scores / temperature) by a number between 0 and 1 of its own.

    The same number draws the same word, whichever device or process asks.
    """
    found = []
    for some, numbers in zip(torch.split(scores, _AT_ONCE), torch.split(luck, _AT_ONCE), strict=True):
        sums = torch.softmax(some.float() / temperature, -1).double().cumsum(-1)
        found.append(torch.searchsorted(sums, (numbers * sums[:, -1]).unsqueeze(-1), right=True).squeeze(-1))
    return torch.cat(found).clamp(max=scores.shape[-1] - 1)


class ReplacedTokens(OnText):
    """Cross-entropy of what is replaced and what is not over all tokens, and of a joint generator's guesses.

    auxiliary: the model that guesses. joint: whether it is trained along. weight: of the detection's loss. start,
    decay: of the temperature. bf16: whether the auxiliary model computes in bfloat16, as the main one does then. Words
    are drawn in float32 all the same.
    """

    def __init__(
        self,
        auxiliary: PreTrainedModel,
        *,
        joint: bool,
        weight: float,
        start: float = 1.0,
        decay: float = 1.0,
        bf16: bool = False,
    ) -> None:
        self.auxiliary, self.joint, self.weight_of_detection = auxiliary, joint, weight
        self.start, self.decay, self.bf16 = start, decay, bf16
        self.picked = Picked()
        if joint:
            self.module = auxiliary
        else:
            auxiliary.eval().requires_grad_(False)

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        with self.picked.inside(self.auxiliary):
            yield

    def weight(self, batches: Sequence[dict[str, Any]]) -> torch.Tensor | None:
        """How many tokens are guessed, and how many are judged."""
        guessed = torch.stack([(batch["labels"] != IGNORED).sum() for batch in batches]).sum()
        judged = torch.stack([batch["attention_mask"].sum() for batch in batches]).sum()
        return torch.stack([guessed, judged]).float()

    def loss(self, model: nn.Module, batch: dict[str, Any], step: int, steps: int) -> torch.Tensor:
        scores, wanted, filled, replaced = self.filled_in(batch, self.temperature(step, steps))
        own = torch.tensor([len(wanted), int(batch["attention_mask"].sum())], dtype=torch.float32)
        guessed, judged = (own if self.mean_weight is None else self.mean_weight).clamp(min=1.0).to(scores.device)
        answers = model(input_ids=filled, attention_mask=batch["attention_mask"]).logits
        detection: torch.Tensor = detection_loss(answers, replaced, batch["attention_mask"]) / judged
        if not self.joint:
            return detection
        guesses: torch.Tensor = F.cross_entropy(scores, wanted, reduction="sum") / guessed
        return guesses + self.weight_of_detection * detection

    def temperature(self, step: int, steps: int) -> float:
        """The temperature behind so many of all optimizer steps."""
        return temperature_at(step / max(steps, 1), self.start, self.decay)

    def filled_in(
        self, batch: dict[str, Any], temperature: float, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """(scores of the words for the hidden tokens, those tokens, the batch filled in, which tokens are replaced).

        What is drawn follows from the batch's LUCK, and where it has none from the generator.
        """
        device = batch["input_ids"].device
        self.auxiliary.to(device)
        asked, labels = question({name: values for name, values in batch.items() if name != LUCK})
        chosen = labels != IGNORED
        self.picked.positions = chosen
        half = torch.autocast(device.type, torch.bfloat16, enabled=self.bf16)
        try:
            with torch.set_grad_enabled(self.joint and torch.is_grad_enabled()), half:
                scores = self.auxiliary(**asked).logits.squeeze(0).float()
        finally:
            self.picked.positions = None
        original = torch.where(chosen, labels, batch["input_ids"])
        filled = original.clone()
        scored, luck = scores.detach(), batch.get(LUCK)
        filled[chosen] = (
            drawn(scored, temperature, generator) if luck is None else drawn_at(scored, temperature, luck[chosen])
        )
        return scores, labels[chosen], filled, filled != original

    def tally(self, model: nn.Module, batch: dict[str, Any]) -> dict[str, float]:
        noise = torch.Generator(batch["input_ids"].device).manual_seed(int(batch[ROW][0]))
        training = self.auxiliary.training
        self.auxiliary.eval()
        scores, wanted, filled, replaced = self.filled_in(batch, 1.0, noise)
        self.auxiliary.train(training)
        answers = model(input_ids=filled, attention_mask=batch["attention_mask"]).logits
        return {
            **detected(answers, replaced, batch["attention_mask"]),
            "guessed": int((scores.argmax(-1) == wanted).sum()),
            "hidden": len(wanted),
        }

    def shares(self, sums: Mapping[str, float]) -> dict[str, float]:
        return detection_shares(sums)


def detection_loss(answers: torch.Tensor, replaced: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The sum over all tokens but padding of the cross-entropy of what is replaced."""
    judged = mask.bool()
    return F.binary_cross_entropy_with_logits(answers.float()[judged], replaced[judged].float(), reduction="sum")


def detected(answers: torch.Tensor, replaced: torch.Tensor, mask: torch.Tensor) -> dict[str, float]:
    """Sums over all tokens but padding: how many there are, are said to be replaced, are replaced, were found."""
    judged = mask.bool()
    said, truly = answers[judged] > 0, replaced[judged]
    return {
        "loss": float(detection_loss(answers, replaced, mask)),
        "tokens": int(judged.sum()),
        "right": int((said == truly).sum()),
        "said": int(said.sum()),
        "replaced": int(truly.sum()),
        "found": int((said & truly).sum()),
    }


def detection_shares(sums: Mapping[str, float]) -> dict[str, float]:
    """Loss and accuracy of the detection, precision, recall and share of what is replaced, the auxiliary's accuracy."""
    of = {
        "loss": ("loss", "tokens"),
        "accuracy": ("right", "tokens"),
        "precision": ("found", "said"),
        "recall": ("found", "replaced"),
        "replaced": ("replaced", "tokens"),
        "auxiliary_accuracy": ("guessed", "hidden"),
    }
    return {name: sums[a] / max(sums[b], 1) for name, (a, b) in of.items()}
