"""A small random Kolors: SDXL's blocks, with ChatGLM's hidden states projected to the width of the text tokens."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import KolorsPipeline
from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig

from ..conftest import make_pipe, make_unet

WIDTH = 16
"""Width of ChatGLM's hidden states, which is 4096 in Kolors."""


@cache
def train_tokenizer(folder: Path) -> ChatGLMTokenizer:
    """Train a tokenizer of single letters, in a folder of its own: CLIP's tokenizer would be read from its files."""
    from sentencepiece import SentencePieceTrainer

    own = folder / "chatglm"
    own.mkdir()
    letters = " ".join("abcdefghijklmnopqrstuvwxyz")
    SentencePieceTrainer.train(
        sentence_iterator=iter([letters] * 3),
        model_prefix=str(own / "tokenizer"),
        vocab_size=30,
        model_type="char",
        minloglevel=2,
    )
    return ChatGLMTokenizer(str(own / "tokenizer.model"))


def make_kolors(folder: Path) -> KolorsPipeline:
    """Make a pipeline.

    Args:
        folder: The folder of CLIP's tokenizer, in which ChatGLM's is written too.
    """
    pipe = make_pipe(folder)
    sizes: dict[str, Any] = {"hidden_size": WIDTH, "ffn_hidden_size": 16, "kv_channels": 8, "num_attention_heads": 2}
    # As Kolors has them, text_encoder/config.json.
    settings: dict[str, Any] = {"add_qkv_bias": True, "multi_query_attention": True, "original_rope": True}
    config = ChatGLMConfig(num_layers=2, padded_vocab_size=64, multi_query_group_num=1, **sizes, **settings)
    torch.manual_seed(13)
    text_encoder: Any = ChatGLMModel(config).eval()
    for name, weight in text_encoder.named_parameters():
        # diffusers leaves the weights of a new model uninitialized.
        torch.nn.init.normal_(weight, mean=1.0 if "norm" in name else 0.0, std=0.2)
    unet = make_unet(
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="text_proj",
        projection_class_embeddings_input_dim=8 * 6 + WIDTH,
    )
    made = KolorsPipeline(
        vae=pipe.vae,
        text_encoder=text_encoder,
        tokenizer=train_tokenizer(folder),
        unet=unet.eval(),
        scheduler=pipe.scheduler,
        force_zeros_for_empty_prompt=False,
    )
    made.set_progress_bar_config(disable=True)
    return made
