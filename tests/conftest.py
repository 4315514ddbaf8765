"""A small random SDXL with the topology, block names and code path of the real one, and adapters for it."""

import gc
import json
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from hypothesis import settings
from PIL import Image
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from instantstyle import InstantStyle
from instantstyle.architectures import match_architecture
from instantstyle.core.adapter_layers import cross_attention_layers
from instantstyle.unet.blocks import Block, Layer

from .shared_pipeline import SharedPipeline

# An example takes longer on a busy machine, which says nothing about the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_collection_finish() -> None:
    """Leave what imports and collection created out of garbage collections: each would visit millions of objects."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Fail where a test, after its fixtures are torn down, leaves the pipeline that all tests share changed."""
    yield
    shared = item.session.stash.get(SHARED, None)
    if shared is not None and (leftovers := shared.restore()):
        number = len(leftovers)
        pytest.fail(
            f"{number} leftovers in `pipe`; mark the test by usefixtures(own_pipe): {', '.join(leftovers[:8])}"
        )


SHARED = pytest.StashKey[SharedPipeline]()

CROSS_DIM = 32
EMBEDDING_DIM = 24
HIDDEN = 16
TOKENS = 4


@pytest.fixture(scope="session", autouse=True)
def _exact_numbers() -> Generator[None]:
    """Compute in float32 on every machine, also where half precision is faster; models of a whole module too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("instantstyle.models.default_dtype.fastest_cpu_dtype", lambda: torch.float32)
        yield


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty style library instead of the user's own."""
    folder = tmp_path_factory.getbasetemp() / "styles"
    monkeypatch.setenv("INSTANTSTYLE_STYLES", str(folder))
    return folder


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP tokenizer whose tokens are single letters."""
    folder = tmp_path_factory.mktemp("tokenizer")
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


def text_config(**changes: Any) -> CLIPTextConfig:
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    ends = {"vocab_size": 54, "bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53}
    return CLIPTextConfig(**{**sizes, **ends, "projection_dim": EMBEDDING_DIM, **changes})


def make_unet(**changes: Any) -> UNet2DConditionModel:
    sizes: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (8, 16, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 1, 2),
        "attention_head_dim": (1, 2, 2),
        "cross_attention_dim": CROSS_DIM,
        "norm_num_groups": 4,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 8 * 6 + EMBEDDING_DIM,
    }
    return UNet2DConditionModel(**{**sizes, **changes})


def make_pipe(tokenizer_folder: Path) -> StableDiffusionXLPipeline:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "block_out_channels": (4, 8),
        "norm_num_groups": 4,
        "latent_channels": 4,
        "sample_size": 16,
    }
    blocks: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
    }
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder, model_max_length=77)
    scheduler: Any = DDIMScheduler()
    pipe = StableDiffusionXLPipeline(
        vae=AutoencoderKL(**sizes, **blocks),
        text_encoder=CLIPTextModel(text_config()),
        text_encoder_2=CLIPTextModelWithProjection(text_config()),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=make_unet(),
        scheduler=scheduler,
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def make_image_encoder(hidden: int = HIDDEN, projection: int = EMBEDDING_DIM) -> CLIPVisionModelWithProjection:
    torch.manual_seed(1)
    sizes: dict[str, Any] = {
        "hidden_size": hidden,
        "intermediate_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    }
    config = CLIPVisionConfig(**sizes, projection_dim=projection, image_size=32, patch_size=8)
    return CLIPVisionModelWithProjection(config).eval()


def _random(*shape: int, seed: int) -> torch.Tensor:
    # So large that a missing or doubled style exceeds the tolerance.
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.5


def layer_weights(layers: Sequence[Layer]) -> dict[str, torch.Tensor]:
    return {
        f"{layer.number}.to_{letter}_ip.weight": _random(layer.width, layer.cross_dim, seed=layer.number + offset)
        for layer in layers
        for offset, letter in enumerate("kv")
    }


def base_projection(dim: int = EMBEDDING_DIM, cross_dim: int = CROSS_DIM) -> dict[str, torch.Tensor]:
    return {
        "proj.weight": _random(TOKENS * cross_dim, dim, seed=100),
        "proj.bias": _random(TOKENS * cross_dim, seed=101),
        "norm.weight": 1 + _random(cross_dim, seed=102),
        "norm.bias": _random(cross_dim, seed=103),
    }


def full_projection(dim: int = HIDDEN, cross_dim: int = CROSS_DIM) -> dict[str, torch.Tensor]:
    shapes = {"proj.0": (dim, dim), "proj.2": (cross_dim, dim), "proj.3": (cross_dim,)}
    weights = {
        f"{name}.weight": _random(*shape, seed=200 + number) for number, (name, shape) in enumerate(shapes.items())
    }
    return weights | {f"{name}.bias": _random(shape[0], seed=210) for name, shape in shapes.items()}


def plus_projection(
    dim: int = HIDDEN, cross_dim: int = CROSS_DIM, inner: int = 64, tokens: int = 6
) -> dict[str, torch.Tensor]:
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, tokens, inner),
        "proj_in.weight": (inner, dim),
        "proj_in.bias": (inner,),
        "proj_out.weight": (cross_dim, inner),
        "proj_out.bias": (cross_dim,),
        "norm_out.weight": (cross_dim,),
        "norm_out.bias": (cross_dim,),
    }
    for layer in (f"layers.{depth}" for depth in range(4)):
        shapes |= {f"{layer}.0.{norm}.{end}": (inner,) for norm in ("norm1", "norm2") for end in ("weight", "bias")}
        shapes |= {f"{layer}.0.to_q.weight": (128, inner), f"{layer}.0.to_kv.weight": (256, inner)}
        shapes |= {f"{layer}.0.to_out.weight": (inner, 128), f"{layer}.1.0.weight": (inner,)}
        shapes |= {f"{layer}.1.0.bias": (inner,), f"{layer}.1.1.weight": (4 * inner, inner)}
        shapes |= {f"{layer}.1.3.weight": (inner, 4 * inner)}
    return {name: _random(*shape, seed=300 + number) for number, (name, shape) in enumerate(shapes.items())}


def make_shallow(tokenizer_folder: Path) -> InstantStyle:
    """Four blocks of one layer, for tests that compile them: the time to compile grows with the number of layers."""
    pipe = make_pipe(tokenizer_folder)
    shallow: dict[str, Any] = {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (8, 16),
        "attention_head_dim": (1, 2),
        "layers_per_block": 1,
        "transformer_layers_per_block": 1,
    }
    pipe.register_modules(unet=make_unet(**shallow))
    layers = cross_attention_layers(pipe.unet)
    roles = {"style": (Block.parse("up_blocks.0.attentions.1"),), "layout": (Block.parse("mid_block.attentions.0"),)}
    architecture = match_architecture(layer.name for layer in layers).with_roles(roles, "tests")
    state = {"image_proj": base_projection(), "ip_adapter": layer_weights(layers)}
    return InstantStyle(pipe, adapter=state, image_encoder=make_image_encoder(), architecture=architecture)


@pytest.fixture(scope="session")
def shared_pipe(tokenizer_folder: Path, request: pytest.FixtureRequest) -> SharedPipeline:
    shared = SharedPipeline(partial(make_pipe, tokenizer_folder))
    request.session.stash[SHARED] = shared
    return shared


@pytest.fixture
def pipe(request: pytest.FixtureRequest) -> StableDiffusionXLPipeline:
    """One pipeline for all tests that leave it as it was.

    A test that changes it is marked by `@pytest.mark.usefixtures("own_pipe")`: this and `styled` are then its own.
    """
    if "own_pipe" in request.fixturenames:
        return request.getfixturevalue("own_pipe")
    return request.getfixturevalue("shared_pipe").get()


@pytest.fixture
def own_pipe(tokenizer_folder: Path) -> StableDiffusionXLPipeline:
    """A pipeline for one test, which may change it."""
    return make_pipe(tokenizer_folder)


@pytest.fixture(scope="session")
def layers() -> list[Layer]:
    return cross_attention_layers(make_unet())


@pytest.fixture(scope="session")
def state(layers) -> dict[str, dict[str, torch.Tensor]]:
    """A base adapter for the small UNet, under the standard names."""
    return {"image_proj": base_projection(), "ip_adapter": layer_weights(layers)}


@pytest.fixture(scope="session")
def image_encoder() -> CLIPVisionModelWithProjection:
    return make_image_encoder()


@pytest.fixture
def styled(pipe, state, image_encoder) -> InstantStyle:
    return InstantStyle(pipe, adapter=state, image_encoder=image_encoder)


@pytest.fixture(scope="session")
def reference() -> Image.Image:
    """An image that is not square, with detail everywhere."""
    noise = torch.randint(0, 256, (40, 56, 3), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)
    return Image.fromarray(noise.numpy()).resize((112, 80), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def short() -> dict[str, Any]:
    """Arguments of a short call that returns latents."""
    return {"num_inference_steps": 2, "output_type": "latent", "height": 16, "width": 16}


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """A folder with a small pipeline of FLUX.1, without an adapter."""
    from .parity.flux import make_flux

    folder = tmp_path_factory.mktemp("flux")
    make_flux(tokenizer_folder).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def redux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small weights of FLUX.1 Redux and their image encoder."""
    from .parity.flux import save_redux

    return save_redux(tmp_path_factory.mktemp("redux"))
