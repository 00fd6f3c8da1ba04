"""An encoder and a decoder that both start from one encoder's checkpoint.

Rothe et al. 2020, "Leveraging Pre-trained Checkpoints for Sequence Generation Tasks": BERT2BERT, weights not shared.

Encoder, decoder and what stands between them are one graph, from document and decoder's tokens to logits, so that
lowering, int8, parity, size and latency know nothing of pairs. The price: no keys and values are kept, and the
document is read again for each token that is written. What the checkpoint lacks, attention to the encoder and the
layers before the words' scores, is the head.
"""

from __future__ import annotations

from pathlib import Path

import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, EncoderDecoderConfig, PreTrainedModel

from edgeopt.models.anatomy import PAIR

#: The decoder's output bias starts at zero; some checkpoints have it.
_BIASES = ("predictions.bias", "decoder.bias", "lm_head.bias")


class EncoderDecoderModel(transformers.EncoderDecoderModel):  # type: ignore[misc]
    """A pair without the encoder's pooler, which nothing reads; its files load in transformers' class of this name.

    With the pooler, a parameter without a gradient would stop a training on several processes.
    """

    #: the loss is the mean of a batch: Trainer must divide it where gradients are added up
    accepts_loss_kwargs = False

    def __init__(
        self,
        config: EncoderDecoderConfig | None = None,
        encoder: PreTrainedModel | None = None,
        decoder: PreTrainedModel | None = None,
    ) -> None:
        super().__init__(config, encoder, decoder)
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None


def load(folder: Path, *, start: int, end: int, pad: int) -> tuple[EncoderDecoderModel, list[str], list[str]]:
    """The pair made of a folder, the names of the weights that the folder lacked, and of those that it has in vain.

    The folder has an encoder or a pair. It lacks the attention to the encoder and, of a bare encoder, what stands
    before the words' scores; in vain it has what neither encoder nor decoder takes.

    start, end, pad: token ids that a text of the decoder starts, ends and is filled up with.
    """
    options = {"local_files_only": True, "dtype": "float32", "output_loading_info": True}
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type == PAIR:
        model, info = EncoderDecoderModel.from_pretrained(folder, **options)
        missing, unused = [*info["missing_keys"]], {*info["unexpected_keys"]}
    else:
        encoder, read = AutoModel.from_pretrained(folder, **options)
        missing, unused = [f"encoder.{k}" for k in read["missing_keys"]], {*read["unexpected_keys"]}
        # of no cache is made use: the graph has none
        as_decoder = AutoConfig.from_pretrained(
            folder, local_files_only=True, is_decoder=True, add_cross_attention=True, use_cache=False
        )
        decoder, read = AutoModelForCausalLM.from_pretrained(folder, config=as_decoder, **options)
        missing, unused = (
            [*missing, *(f"decoder.{k}" for k in read["missing_keys"])],
            unused & {*read["unexpected_keys"]},
        )
        both = EncoderDecoderConfig.from_encoder_decoder_configs(encoder.config, decoder.config)
        model = EncoderDecoderModel(both, encoder, decoder)
    for name, value in {"decoder_start_token_id": start, "eos_token_id": end, "pad_token_id": pad}.items():
        setattr(model.config, name, value)
        setattr(model.generation_config, name, value)
    model.config.vocab_size = model.config.decoder.vocab_size
    return model.eval(), sorted(k for k in missing if ".pooler." not in k and not k.endswith(_BIASES)), sorted(unused)
