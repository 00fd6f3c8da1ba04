"""Which transforms there are: ours by name, and those of other distributions by entry point."""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import entry_points

from edgeopt.step.transform import AnyTransform, TransformType

GROUP = "edgeopt.transforms"

_OURS = {
    "finetune": "edgeopt.transforms.finetune:Finetune",
    "distill": "edgeopt.transforms.distill:Distill",
    "adapter.lora": "edgeopt.transforms.adapters.lora:Lora",
    "adapter.adalora": "edgeopt.transforms.adapters.adalora:AdaLora",
    "adapter.ia3": "edgeopt.transforms.adapters.ia3:Ia3",
    "adapter.qlora": "edgeopt.transforms.adapters.qlora:Qlora",
    "adapter.prompt": "edgeopt.transforms.adapters.virtual_tokens:Prompt",
    "adapter.prefix": "edgeopt.transforms.adapters.virtual_tokens:Prefix",
    "adapter.bottleneck": "edgeopt.transforms.adapters.bottleneck:BottleneckAdapter",
    "adapter.bitfit": "edgeopt.transforms.adapters.bitfit:BitFit",
    "merge": "edgeopt.transforms.merge:Merge",
    "prune.cofi": "edgeopt.transforms.prune.cofi:CofiPrune",
    "prune.fisher": "edgeopt.transforms.prune.fisher:FisherPrune",
    "prune.layers": "edgeopt.transforms.prune.layers:DropLayers",
    "prune.magnitude": "edgeopt.transforms.prune.magnitude:MagnitudePrune",
    "quantize.dynamic": "edgeopt.transforms.quantize.dynamic:DynamicQuantize",
    "quantize.qat": "edgeopt.transforms.quantize.qat:Qat",
    "quantize.static": "edgeopt.transforms.quantize.static:StaticQuantize",
}


@functools.cache
def names() -> tuple[str, ...]:
    """Every name that `use:` may hold."""
    return tuple(sorted({*_OURS, *(e.name for e in entry_points(group=GROUP))}))


@functools.cache
def get(name: str) -> AnyTransform:
    """The transform of that name. Raises KeyError when there is none."""
    if name in _OURS:
        module, _, attribute = _OURS[name].partition(":")
        cls: TransformType = getattr(importlib.import_module(module), attribute)
    else:
        found = {e.name: e for e in entry_points(group=GROUP)}
        cls = found[name].load()
    transform = cls()
    if transform.name != name:
        raise TypeError(f"the transform registered as {name!r} calls itself {transform.name!r}")
    return transform
