"""What a run loads, loaded once for all copies that `helpers.Copied` makes."""

from importlib import import_module

from edgeopt.support.quiet import quiet_libraries

quiet_libraries()
for name in (
    "torch",
    "transformers",
    "datasets",
    "peft",
    "onnxruntime.quantization",
    "torch.onnx.utils",
    "edgeopt.api",
    "edgeopt.cli",
    "edgeopt.run.measuring",
    "edgeopt.training.trainer",
):
    import_module(name)
