"""DeBERTa-v2 and v3 (He et al. 2021), whose attention adds up what tokens say and how far they are apart.

One table of relative positions, which far ones share in buckets, serves all layers. Each makes keys and queries of its
rows, by the matrices that make those of tokens (as published), or by further ones. The models of version 2 have a
convolution behind the first layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgeopt.models.anatomy import Convolution, Positions, Relative, bert_like

#: What a config calls the scores of tokens with positions, and the linear that makes the positions' part of them.
_KINDS = {"c2p": "attention.self.pos_key_proj", "p2c": "attention.self.pos_query_proj"}


def _positions(config: Mapping[str, Any]) -> Positions:
    if not config.get("relative_attention"):
        return Positions(0, 0, ())
    asked = config.get("pos_att_type") or ()
    asked = [x.strip() for x in asked.lower().split("|")] if isinstance(asked, str) else asked
    found = tuple(linear for kind, linear in _KINDS.items() if kind in asked)
    names = ("position_buckets", "max_relative_positions", "max_position_embeddings")
    reach = next((n for name in names if isinstance(n := config.get(name), int) and n > 0), 512)
    return Positions(2 * reach, 2 * reach * len(found), () if config.get("share_att_key") else found)


DEBERTA_V2 = replace(
    bert_like("deberta", ("pooler.dense", "classifier", "qa_outputs"), "embeddings.embed_proj"),
    attention=("attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"),
    relative=Relative("encoder.rel_embeddings", "encoder.LayerNorm", tuple(_KINDS.values()), _positions),
    behind_first=Convolution("encoder.conv", "encoder.conv.conv", "encoder.conv.LayerNorm", "conv_kernel_size"),
    positions_if="position_biased_input",
    takes_prefix=False,
    decodes=False,
)
