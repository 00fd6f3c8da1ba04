"""Writes a folder's tokenizer into the first state: tokenizer.json byte for byte, and a tokenizer_config.json beside.

By that config transformers reads tokenizer.json as it is, too.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

from edgeopt.models.converted import check_conversion, first_difference
from edgeopt.models.tokenizer import CONFIG_FILE, FILE, INPUTS, Found, Rows, as_shipped, disagreement, plain_config

#: Rows on which readings of a tokenizer are compared.
COMPARED = 2000


def ship_tokenizer(found: Found, rows: Rows, output: Path, *, words: bool) -> bool:
    """Write tokenizer.json and tokenizer_config.json into the output's folder.

    words: whether rows are lists of words and the head is new, so that a byte-level tokenizer may, and must, be told of
    the spaces between them. Returns whether transformers' own class reads the rows otherwise, so that the folder names
    none. Raises InputError E320 with the first row whose ids are in doubt.
    """
    rows = [*islice(rows, COMPARED)]
    if (issue := disagreement(found, rows)) is not None:
        raise issue
    if found.slow is not None:
        check_conversion(found.folder, found.slow, found.tokenizer, found.stated, rows)
    text = as_shipped(found, words=words)
    if found.slow is None and text == found.text:
        shutil.copyfile(found.folder / FILE, output / FILE)
    else:
        (output / FILE).write_text(text, encoding="utf-8")
    config = _own_config(found, output, rows, spaced=text != found.text)
    if config is not None and INPUTS in found.stated and found.stated[INPUTS] is None:
        config.pop(INPUTS, None)  # the model is given token types after all
    (output / CONFIG_FILE).write_text(
        json.dumps(config or plain_config(found), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return config is None


def _own_config(found: Found, output: Path, rows: Rows, *, spaced: bool) -> dict[str, Any] | None:
    """The tokenizer_config.json that transformers' class of the family writes.

    None where transformers does not, by it, read tokenizer.json as it is.
    """
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            AutoTokenizer.from_pretrained(
                found.folder, **options, **({"add_prefix_space": True} if spaced else {})
            ).save_pretrained(folder)
            shutil.copyfile(output / FILE, folder / FILE)
            shutil.copyfile(found.folder / "config.json", folder / "config.json")
            own = AutoTokenizer.from_pretrained(folder, **options).backend_tokenizer
            config: dict[str, Any] = {
                k: v
                for k, v in json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")).items()
                if k not in options
            }
        except Exception:  # transformers raises many kinds for what it cannot read: the tokenizers library has read it
            return None
    shipped = Tokenizer.from_file(str(output / FILE))
    for tokenizer in (own, shipped):
        tokenizer.no_padding()
        tokenizer.no_truncation()
    pair = ("a", "b")
    same = (
        own.encode(*pair).ids == shipped.encode(*pair).ids
        and own.encode(*pair).type_ids == shipped.encode(*pair).type_ids
    )
    return config if same and first_difference("", output, ("", own), ("", shipped), rows, "") is None else None
