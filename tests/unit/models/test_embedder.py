"""The embedder's numbers against what numpy makes of the bare encoder's states."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgeopt.models.sentence import Dense, Sentence

torch = pytest.importorskip("torch")
IDS = [[2, 6, 7, 8, 3, 0], [2, 9, 3, 0, 0, 0]]
MASK = [[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]]


def states(folder: Path) -> np.ndarray:
    from transformers import BertModel

    with torch.no_grad():
        model = BertModel.from_pretrained(folder).eval()
        return model(torch.tensor(IDS), attention_mask=torch.tensor(MASK)).last_hidden_state.numpy()


def embedded(folder: Path, sentence: Sentence, ids: object = IDS, mask: object = MASK) -> np.ndarray:
    from edgeopt.models.embedder import load

    model, missing, unused = load(folder, sentence)
    assert missing == ([] if not sentence.dense else ["dense.0.bias", "dense.0.weight"])
    assert all("pooler" in name for name in unused)
    with torch.no_grad():
        return model(torch.tensor(ids), attention_mask=torch.tensor(mask)).logits.numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max"])
def test_poolings_leave_out_padding(tiny_model: Path, pooling: str) -> None:
    found, hidden = embedded(tiny_model, Sentence(pooling=pooling, normalize=False)), states(tiny_model)  # type: ignore[arg-type]
    for row, (tokens, each) in enumerate(zip((5, 3), hidden, strict=True)):
        real = each[:tokens]
        wanted = {"mean": real.mean(0), "cls": real[0], "last": real[-1], "max": real.max(0)}[pooling]
        assert np.allclose(found[row], wanted, atol=1e-6)


def test_dimensions_are_cut_before_the_length_is_made_1(tiny_model: Path) -> None:
    whole = embedded(tiny_model, Sentence(normalize=False))
    found = embedded(tiny_model, Sentence(dimensions=8))
    assert np.allclose(found, whole[:, :8] / np.linalg.norm(whole[:, :8], axis=1, keepdims=True), atol=1e-6)


def test_several_texts_of_a_row_are_read_one_by_one(tiny_model: Path) -> None:
    found = embedded(tiny_model, Sentence(), [IDS], [MASK])
    assert found.shape == (1, 2, 32)
    assert np.allclose(found[0], embedded(tiny_model, Sentence()), atol=1e-6)


def test_an_embedder_is_saved_and_read_back_and_a_plain_encoder_reads_it_too(tiny_model: Path, tmp_path: Path) -> None:
    from edgeopt.models.embedder import load
    from edgeopt.models.load import load_base, save_model, takes_of

    torch.manual_seed(0)
    model, _, _ = load(tiny_model, Sentence(dense=(Dense(32, 4, True, "Tanh"),)))
    save_model(model, tmp_path)
    shutil.copy(tiny_model / "tokenizer.json", tmp_path)
    again = load_base(tmp_path)
    with torch.no_grad():
        one, other = (m(torch.tensor(IDS), attention_mask=torch.tensor(MASK)).logits.numpy() for m in (model, again))
    assert one.shape == (2, 4) and np.array_equal(one, other)
    assert np.allclose(states(tmp_path), states(tiny_model))
    assert {"input_ids", "attention_mask", "token_type_ids"} <= takes_of(tmp_path)
