"""Task types: how rows become model inputs, and logits become metrics."""

from edgeopt.tasks.metrics import metrics_of, predictions_of

__all__ = ["metrics_of", "predictions_of"]
