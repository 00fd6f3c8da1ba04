"""A model and rows that are real and tiny: every test that applies a recipe uses them."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import quick
from helpers import WORDS, write_rows

# matrices this small gain nothing from a second thread, and lose much where the machine is busy
os.environ.setdefault("EDGEOPT_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # what tests ask of torch and numpy themselves
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # some tests import onnxruntime before edgeopt
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks the hub
os.environ.pop("COLUMNS", None)  # xdist's processes have that of its terminal; what is printed here goes to none
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
#: What configs call them.
_NAMES = {"pad": "PAD", "bos": "CLS", "eos": "SEP", "cls": "CLS", "sep": "SEP"}


@pytest.fixture(scope="session", autouse=True)
def quick_latency() -> Iterator[None]:
    """Runs in the tests' own process have made-up latencies; tests that are about them ask for `real_latency`.

    A process that measures, and imports torch for that, takes longer than all else that a tiny recipe does.
    """
    with quick.latency():
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_disk() -> Iterator[None]:
    """Files of the tests' own process are handed to the operating system alone: no test cuts the power."""
    with patch("os.fsync"):
        yield


@pytest.fixture(scope="module")
def real_latency(quick_latency: None) -> Iterator[None]:
    with quick.latency(real=True):
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare BERT encoder with two layers of width 32 and 100 words, as transformers saves one."""
    from edgeopt.support.quiet import quiet_libraries

    quiet_libraries()
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny") / "model"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(_SPECIAL) + len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)
    _save_tokenizer(folder)
    _import_what_trains()
    # accelerate collects garbage after each training, and would look through all that these libraries are made of
    gc.collect()
    gc.freeze()
    return folder


@pytest.fixture(scope="session")
def tiny_electra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as an ELECTRA, whose embeddings are narrower than its layers and whose head has two."""
    from edgeopt.support.quiet import quiet_libraries

    quiet_libraries()
    import torch
    from transformers import ElectraConfig, ElectraModel

    folder = tmp_path_factory.mktemp("tiny") / "electra"
    torch.manual_seed(0)
    config = ElectraConfig(
        vocab_size=len(_SPECIAL) + len(WORDS),
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    ElectraModel(config).save_pretrained(folder)
    _save_tokenizer(folder)
    return folder


#: A config's class, and what it has besides the tiny model's shape: two layers of ModernBERT see two tokens to either
#: side, and far positions share DeBERTa's rows.
_OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "modernbert": ("ModernBertConfig", {"num_hidden_layers": 3, "local_attention": 4}),
    "data2vec-text": ("Data2VecTextConfig", {}),
    "deberta-v2": (
        "DebertaV2Config",
        {
            "relative_attention": True,
            "position_buckets": 4,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
        },
    ),
}


@pytest.fixture(scope="session", params=_OTHERS)
def other_family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as one of each family whose layers are unlike BERT's; the folder has the family's name."""
    from edgeopt.support.quiet import quiet_libraries

    quiet_libraries()
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("tiny") / str(request.param)
    torch.manual_seed(0)
    numbers = {f"{name}_token_id": _SPECIAL.index(f"[{token}]") for name, token in _NAMES.items()}
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    name, more = _OTHERS[request.param]
    sizes = {"vocab_size": len(_SPECIAL) + len(WORDS), "max_position_embeddings": 128}
    config = getattr(transformers, name)(**{**sizes, **shape, **numbers, **more})
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    _save_tokenizer(folder)
    return folder


def _import_what_trains() -> None:
    """Import now what trainings and exports do later, so that it is frozen too."""
    for name in ("datasets", "edgeopt.training.trainer", "onnxruntime.quantization", "peft", "torch.onnx.utils"):
        import_module(name)


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate([*_SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", words["[SEP]"]), ("[CLS]", words["[CLS]"]))
    names = {f"{name.strip('[]').lower()}_token": name for name in _SPECIAL}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.jsonl (64 rows) and validation.jsonl (32), whose labels follow from their words.

    The label says whether good or bad words prevail in `text`, the score by how much; `pair` tells nothing.
    """
    return write_rows(tmp_path_factory.mktemp("tiny") / "data", train=64, validation=32)
