"""Which transforms there are: ours by name, and those of other distributions by entry point."""

from __future__ import annotations

from edgeopt.step.transform import AnyTransform, Transform
from edgeopt.support.registry import Registry, instance_of

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
    "pretrain.mlm": "edgeopt.transforms.pretrain.mlm:PretrainMlm",
    "pretrain.rtd": "edgeopt.transforms.pretrain.rtd:PretrainRtd",
    "prune.cofi": "edgeopt.transforms.prune.cofi:CofiPrune",
    "prune.fisher": "edgeopt.transforms.prune.fisher:FisherPrune",
    "prune.layers": "edgeopt.transforms.prune.layers:DropLayers",
    "prune.magnitude": "edgeopt.transforms.prune.magnitude:MagnitudePrune",
    "quantize.dynamic": "edgeopt.transforms.quantize.dynamic:DynamicQuantize",
    "quantize.qat": "edgeopt.transforms.quantize.qat:Qat",
    "quantize.static": "edgeopt.transforms.quantize.static:StaticQuantize",
}


TRANSFORMS: Registry[AnyTransform] = Registry(
    "edgeopt.transforms", "transform", _OURS, instance_of(Transform, "transform")
)


def names() -> tuple[str, ...]:
    """Every name that `use:` may hold."""
    return tuple(sorted(TRANSFORMS))


def get(name: str) -> AnyTransform:
    """The transform of that name. Raises KeyError when there is none, and Unusable for a plugin that cannot be used."""
    return TRANSFORMS[name]
