"""FLUX.1, Chroma and SD3.5 from single files: what is in the file is read, the rest comes from its base."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

import instantstyle
from instantstyle.errors import ModelError
from instantstyle.models.identify import identify_file
from instantstyle.models.load import load_pipeline
from instantstyle.models.load_plan import plan
from instantstyle.models.registry import CARDS
from instantstyle.models.required_files import list_missing, list_required_files
from instantstyle.models.resolve import find_card
from instantstyle.models.transformer_file import find_file_conflicts

from ..parity import flux, sd3
from .original_layout import WRITERS, State, narrow_conversion, write_vae

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*FluxPosEmbed:FutureWarning", "ignore:The model was trained on images of"
)

FAMILIES = {
    "flux-dev": ("FluxPipeline", "FluxTransformer2DModel"),
    "flux-schnell": ("FluxPipeline", "FluxTransformer2DModel"),
    "chroma": ("ChromaPipeline", "ChromaTransformer2DModel"),
    "sd35-large": ("StableDiffusion3Pipeline", "SD3Transformer2DModel"),
}
"""Pipeline and transformer of the families."""

PREFIX = "model.diffusion_model."


def make_pipe(family: str, tokenizer_folder: Path) -> Any:
    name, class_name = FAMILIES[family]
    if family == "sd35-large":
        pipe = sd3.make_pipeline(name, tokenizer_folder)
        torch.manual_seed(3)
        # By its last block the family is recognised.
        pipe.transformer = type(pipe.transformer)(**{**pipe.transformer.config, "num_layers": 38})
        return pipe
    pipe = flux.make_pipeline(name, tokenizer_folder)
    if family == "flux-schnell":
        torch.manual_seed(4)
        pipe.transformer = type(pipe.transformer)(**{**pipe.transformer.config, "guidance_embeds": False})
    assert type(pipe.transformer).__name__ == class_name
    return pipe


def draw(pipe: Any) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(1)
    sizes = {"height": 32, "width": 48, "num_inference_steps": 2}
    return pipe("a", output_type="pt", generator=generator, **sizes).images


def assert_same(loaded: Any, pipe: Any) -> None:
    """Compare all weights, and images within rounding: tensors that are mapped from a file are aligned otherwise."""
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            found, expected = getattr(loaded, name).state_dict(), part.state_dict()
            assert set(found) == set(expected)
            assert [key for key in expected if not found[key].equal(expected[key])] == []
            part.eval()
    torch.testing.assert_close(draw(loaded), draw(pipe), rtol=0, atol=1e-5)


@pytest.fixture
def saved(tmp_path, tokenizer_folder, monkeypatch):
    """Return a function that writes a folder of a family with a single file in place of the transformer's weights."""

    def write(family: str) -> tuple[Any, Path]:
        pipe, class_name = make_pipe(family, tokenizer_folder), FAMILIES[family][1]
        if not class_name.startswith("SD3"):
            narrow_conversion(monkeypatch, class_name, flux.WIDTH)
        folder = tmp_path / "folder"
        pipe.save_pretrained(folder)
        (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
        path = folder / "download (3).safetensors"
        save_file(WRITERS[class_name](pipe.transformer.state_dict()), path)
        return pipe, path

    return write


SLOW = pytest.param("sd35-large", marks=pytest.mark.slow)


@pytest.mark.parametrize("family", ["flux-dev", "flux-schnell", "chroma", SLOW])
def test_a_transformer_is_loaded_with_the_other_parts_of_its_folder(saved, family):
    pipe, path = saved(family)
    card = find_card(str(path))
    assert card.held == ("transformer",)
    assert card.defaults == CARDS[family].defaults
    assert list_missing(list_required_files(card)) == []
    loaded = load_pipeline(card, torch.float32)
    assert type(loaded) is type(pipe)
    assert_same(loaded, pipe)


@pytest.mark.parametrize("family", ["flux-dev", "chroma", SLOW])
def test_a_file_with_all_parts_needs_configs_only(saved, family):
    pipe, path = saved(family)
    state = {f"{PREFIX}{name}": tensor for name, tensor in load_file(path).items()}
    state |= {f"vae.{name}": tensor for name, tensor in write_vae(pipe.vae.state_dict()).items()}
    for component, name in ENCODERS[family].items():
        prefix = f"text_encoders.{name}.transformer."
        for key, tensor in getattr(pipe, component).state_dict().items():
            is_flat = name == "clip_l" and not key.startswith("text_")
            state[f"{prefix}{'text_model.' if is_flat else ''}{key}"] = tensor
    save_file({name: tensor.clone() for name, tensor in state.items()}, path)
    for part in ("vae", *ENCODERS[family]):
        for weights in (path.parent / part).glob("*.safetensors"):
            weights.unlink()
    card = find_card(str(path))
    assert set(card.held) == {"transformer", "vae", *ENCODERS[family]}
    assert list_missing(list_required_files(card)) == []
    assert_same(load_pipeline(card, torch.float32), pipe)


ENCODERS = {
    "flux-dev": {"text_encoder": "clip_l", "text_encoder_2": "t5xxl"},
    "chroma": {"text_encoder": "t5xxl"},
    # Of its CLIP-L diffusers takes the projection to be the identity, which that of the small one is not.
    "sd35-large": {"text_encoder_2": "clip_g", "text_encoder_3": "t5xxl"},
}
"""Names of text encoders in single files, by component."""


def test_what_is_missing_comes_from_the_registered_model(saved, snapshot, tmp_path, tokenizer_folder):
    """A file elsewhere: the folder's other files are in the cache, without the weights of its transformer."""
    pipe, path = saved("flux-dev")
    card = CARDS["flux-dev"]
    base = snapshot(card.pipeline, card.pipeline_revision)
    path = path.rename(tmp_path / "flux1-dev.safetensors")
    with pytest.raises(ModelError) as error:
        load_pipeline_of(path)
    assert str(error.value).startswith(f"{path} is incomplete: 16 files of black-forest-labs/FLUX.1-dev not found in ")
    assert str(error.value).endswith(
        "The file has the weights of transformer only; the rest is taken from flux-dev, or from the file's own "
        "folder if that has a model_index.json with the other parts, as a model in diffusers' layout does."
    )
    shutil.copytree(tmp_path / "folder", base, dirs_exist_ok=True)
    for file in ("vocab.json", "merges.txt"):
        shutil.copy(tokenizer_folder / file, base / "tokenizer" / file)
    # The published T5 is in two files.
    weights = base / "text_encoder_2" / "model.safetensors"
    state = load_file(weights)
    weights.unlink()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = {"metadata": {}, "weight_map": {key: names[place % 2] for place, key in enumerate(state)}}
    (weights.parent / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in names:
        held = {key: tensor for key, tensor in state.items() if index["weight_map"][key] == name}
        save_file(held, weights.parent / name, metadata={"format": "pt"})
    assert list_missing(list_required_files(find_card(str(path)))) == []
    assert_same(load_pipeline_of(path), pipe)


def load_pipeline_of(path: Path) -> Any:
    return load_styled(path).pipe


def load_styled(path: Path) -> Any:
    return instantstyle.load(path, plain=True, dtype=torch.float32)


def test_weights_in_eight_bits_are_cast(saved):
    """Without scales they are numbers as others are, which diffusers casts."""
    _, path = saved("flux-dev")
    state = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(path).items()}
    save_file(state, path)
    loaded = load_styled(path)
    transformer = loaded.pipe.transformer
    assert {tensor.dtype for tensor in transformer.state_dict().values()} == {torch.float32}
    expected = state["img_in.weight"].to(torch.float32)
    assert transformer.x_embedder.weight.equal(expected)
    [planned] = [
        each
        for each in plan(str(path), blocks=["all"], plain=True, dtype=torch.bfloat16).weights
        if each.file.part == "transformer"
    ]
    assert planned.num_bytes == 2 * sum(tensor.numel() for tensor in state.values())


def without(state: State, *names: str) -> State:
    return {name: tensor for name, tensor in state.items() if name not in names}


def replaced(state: State, name: str, tensor: torch.Tensor) -> State:
    assert name in state
    return {**state, name: tensor}


CHANGES: dict[str, tuple[Callable[[State], State], str]] = {
    "a tensor is missing": (
        lambda state: without(state, "double_blocks.1.img_mlp.2.bias"),
        r"does not fit the transformer of \S+ \(\S+transformer/config.json\): it has no tensor "
        r"double_blocks\.1\.img_mlp\.2\.bias\.$",
    ),
    "no guidance, as FLUX.1-schnell": (
        lambda state: {name: tensor for name, tensor in state.items() if not name.startswith("guidance_in")},
        r"missing are time_text_embed\.guidance_embedder\.linear_1\.weight, .* and 1 more\.$",
    ),
    "a block more": (
        lambda state: state | {"double_blocks.0.img_attn.extra.weight": torch.zeros(1)},
        r"unknown are double_blocks\.0\.img_attn\.extra\.weight\.$",
    ),
    "another width": (
        lambda state: replaced(state, "txt_in.weight", torch.zeros(flux.WIDTH, 7)),
        r"of another shape context_embedder\.weight is 32×7 and not 32×32\.$",
    ),
    "weights with scales": (
        lambda state: state | {"scaled_fp8": torch.zeros(2), "img_in.scale_weight": torch.zeros(1)},
        r"has quantized weights, which are not read \(img_in\.scale_weight, scaled_fp8\); use a file in bfloat16",
    ),
    "integers": (
        lambda state: replaced(state, "img_in.bias", torch.zeros(flux.WIDTH, dtype=torch.uint8)),
        r"tensors that are not floating-point numbers: img_in\.bias \(u8\)",
    ),
    "FLUX.1 Fill": (
        lambda state: replaced(state, "img_in.weight", torch.zeros(flux.WIDTH, 384)),
        r"by its tensors: the transformer of FLUX\.1 Fill, which is not supported",
    ),
    "a LoRA of the original layout, which has norms": (
        lambda state: state | {"double_blocks.0.img_attn.proj.lora_A.weight": torch.zeros(1)},
        r"by its tensors: a LoRA; ",
    ),
    "a transformer in diffusers' layout": (
        lambda state: {"transformer_blocks.0.attn.add_q_proj.weight": torch.zeros(1)},
        r"a transformer in diffusers' layout; put it in the folder transformer of a model in that layout",
    ),
    "FLUX.2": (
        lambda state: without(state, "img_in.weight") | {"single_stream_modulation.lin.weight": torch.zeros(1)},
        r"by its tensors: the transformer of FLUX\.2, which is not supported",
    ),
    "SD3.5 Medium": (
        lambda state: {"joint_blocks.23.x_block.mlp.fc1.weight": torch.zeros(1), "pos_embed": torch.zeros(1)},
        r"by its tensors: the transformer of SD3 or SD3\.5 Medium, for which no adapter is published",
    ),
}
"""Changes of a file of FLUX.1-dev, and what is said of the file that results."""


@pytest.mark.parametrize("change", CHANGES)
def test_another_file_is_refused_by_what_it_is(saved, change):
    _, path = saved("flux-dev")
    changed, message = CHANGES[change]
    save_file(changed(load_file(path)), path)
    with pytest.raises(ModelError, match=message) as error:
        load_styled(path)
    assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match=message):
        plan(str(path), plain=True)


def test_an_adapter_is_no_model(tmp_path):
    path = tmp_path / "ip_adapter.ckpt"
    torch.save({name: torch.zeros(1).expand(shape) for name, shape in flux.list_xlabs_shapes().items()}, path)
    with pytest.raises(ModelError, match=r"by its tensors: IP-Adapter \(base, 4 tokens\) for FLUX\.1; needs CLIP"):
        load_styled(path)


def test_an_incomplete_file_and_one_of_gguf_are_refused(saved):
    _, path = saved("flux-dev")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=r"cannot be a model: .* is not a complete .safetensors file .*download it"):
        load_styled(path)
    for suffix in (".gguf", ".safetensors"):
        path.with_suffix(suffix).write_bytes(b"GGUF" + bytes(20))
        with pytest.raises(ModelError, match=r"is in the format GGUF, which is not read; use a .safetensors file"):
            load_styled(path.with_suffix(suffix))


@pytest.mark.parametrize("name", ["flux1-dev.sft", "flux1-dev", "flux1-dev.SAFETENSORS"])
def test_a_file_that_diffusers_would_take_for_a_pickle_is_refused_before_other_parts_are_loaded(saved, name):
    _, path = saved("flux-dev")
    renamed = path.rename(path.parent / name)
    with pytest.raises(ModelError, match=r"models are read by their suffix; rename it to flux1-dev\.safetensors\.$"):
        find_card(str(renamed))


def test_a_config_of_no_transformer_that_is_styled_is_refused(saved):
    _, path = saved("flux-dev")
    (path.parent / "transformer" / "config.json").write_text("{}")
    [error] = find_file_conflicts(find_card(str(path)))
    assert "config.json is the config of no transformer that is styled (FluxTransformer2DModel, " in str(error)


@pytest.mark.slow
def test_a_folder_of_sd35_that_was_saved_without_its_t5_is_loaded_and_serves_a_file(saved):
    """diffusers documents that its pipeline needs none."""
    pipe, path = saved("sd35-large")
    pipe.register_modules(text_encoder_3=None, tokenizer_3=None)
    for part in ("text_encoder_3", "tokenizer_3"):
        shutil.rmtree(path.parent / part)
    pipe.save_config(path.parent)
    pipe.transformer.save_pretrained(path.parent / "transformer")
    for model in (path, path.parent):
        loaded = load_pipeline(find_card(str(model)), torch.float32)
        assert loaded.text_encoder_3 is None
        assert_same(loaded, pipe)


def test_a_text_encoder_with_missing_tensors_is_refused(saved):
    """diffusers leaves them without data."""
    pipe, path = saved("flux-dev")
    prefix = "text_encoders.t5xxl.transformer."
    encoder = {f"{prefix}{name}": tensor.clone() for name, tensor in pipe.text_encoder_2.state_dict().items()}
    lost = f"{prefix}encoder.final_layer_norm.weight"
    save_file(load_file(path) | without(encoder, lost), path)
    message = r"lacks tensors of the text_encoder_2: encoder\.final_layer_norm\.weight; use another file\.$"
    with pytest.raises(ModelError, match=message):
        load_styled(path)


CONFIGS: dict[str, tuple[dict[str, Any], int]] = {
    # huggingface.co/black-forest-labs/FLUX.1-dev and lodestones/Chroma1-HD: defaults of diffusers' classes.
    "flux-dev": ({"guidance_embeds": True}, 780),
    "flux-schnell": ({"guidance_embeds": False}, 776),
    "chroma": ({}, 643),
    # huggingface.co/stabilityai/stable-diffusion-3.5-large, transformer/config.json.
    "sd35-large": (
        {
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
            "qk_norm": "rms_norm",
        },
        923,
    ),
}
"""Sizes of the published transformers where diffusers' defaults are others, and the number of their tensors in the
original layout."""


@pytest.mark.parametrize("family", CONFIGS)
def test_files_with_the_names_and_shapes_of_the_published_ones_fit(family, snapshot, tmp_path):
    settings, count = CONFIGS[family]
    class_name = FAMILIES[family][1]
    with torch.device("meta"):
        network = getattr(diffusers, class_name)(**settings)
    config = snapshot(CARDS[family].pipeline, CARDS[family].pipeline_revision) / "transformer"
    network.save_config(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in WRITERS[class_name](network.state_dict()).items()}
    assert len(shapes) == count
    # A .ckpt file stores views, so that full-size shapes take no space.
    path = tmp_path / "model.ckpt"
    state = {f"{PREFIX}{name}": torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    torch.save(state, path)
    card = find_card(str(path))
    assert card.base is CARDS[family]
    assert list(find_file_conflicts(card)) == []
    assert identify_file(path).option == f"--model {path} --adapter {family}"
    first = f"{PREFIX}{'context_embedder' if family == 'sd35-large' else 'txt_in'}.bias"
    torch.save({**state, first: torch.zeros(5)}, path)
    [error] = find_file_conflicts(find_card(str(path)))
    assert "of another shape context_embedder.bias is 5 and not " in str(error)


def test_a_file_in_the_folder_of_another_family_takes_the_registered_model(saved, hub):
    _, path = saved("chroma")
    index = path.parent / "model_index.json"
    index.write_text(index.read_text().replace("ChromaPipeline", "FluxPipeline"))
    assert find_card(str(path)).base is CARDS["chroma"]


def test_a_lora_is_not_merged_into_a_transformer(saved, tmp_path):
    _, path = saved("flux-dev")
    save_file({"transformer.x.lora_A.weight": torch.zeros(1, 1)}, tmp_path / "ink.safetensors")
    with pytest.raises(
        ModelError, match=r"FluxPipeline has a diffusion transformer\. LoRA files are merged into UNets"
    ):
        instantstyle.load(path, plain=True, dtype=torch.float32, loras=[tmp_path / "ink.safetensors"])
