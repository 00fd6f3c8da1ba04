"""ModernBERT (Warner et al. 2024, Smarter, Better, Faster, Longer), and what has its layers: Ettin, mmBERT.

Norms stand before attention and feed-forward, and the first layer takes the embeddings' norm for its first. One matrix
makes queries, keys and values, one both factors of the gated neurons. Positions turn queries and keys, and most layers
attend to the tokens near by alone. Nothing in a layer has a bias, unless the config says so.
"""

from edgeopt.models.anatomy import Anatomy

MODERNBERT = Anatomy(
    base="model",
    layers="model.layers",
    self_attention="attn",
    attention=("attn.Wqkv",),
    projections=("attn.Wo", "mlp.Wo"),
    ffn_in="mlp.Wi",
    activation="mlp.act",
    gated=True,
    norms=("attn_norm", "mlp_norm"),
    pre_norm=True,
    first_lacks=("attn_norm",),
    final_norm="final_norm",
    tables=("embeddings.tok_embeddings",),
    embedding_norm="embeddings.norm",
    readers=("head.dense", "classifier"),
    positions_after="rotary",
    by_layer=("layer_types",),
    biases=("attention_bias", "mlp_bias", "norm_bias"),
)
