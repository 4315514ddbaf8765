"""Stage `adapter`: IP-Adapter (arXiv 2308.06721) trained in its standard way, with the UNet frozen.

The adapter acts in all eleven blocks. The reference is the image to be generated itself, or sometimes an
abstract image in the same colours. Image and text are dropped independently, the text more often than
guidance requires, and some captions name another object, so that the image has to convey what it shows even where
the text says otherwise. An adapter trained in this way transfers the object of the reference as well as its look: the
content leakage that InstantStyle reduces.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, IPAdapterAttnProcessor
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from instantstyle.synthetic import MINI_SCOPE, Scenes
from training.mini.abstract_images import render_abstract_images
from training.mini.captions import ATTRIBUTES, sample_captions
from training.mini.device import seeded_generator
from training.mini.frozen_models import TextConditioning, size_conditioning, zero_dropped
from training.mini.nested_unet import LatentBatch, SizeConditioning, Timesteps
from training.mini.scene_cache import SceneCache
from training.mini.settings import CROSS_DIM, EMBEDDING_DIM, IMAGE_SIZE, IMAGE_TOKENS
from training.mini.stage import Scalar, Stage, load_averaged_part, load_averaged_weights, masked_mean
from training.mini.unet import UnetStage, average_weights, load_latest_unet

IMAGE_DROPOUT, CAPTION_DROPOUT = 0.1, 0.5
MISNAMED_SHARE = 0.5  # share of captions that name another object, as captions of the web are often wrong
ABSTRACT_SHARE = 0.15  # share of references replaced by an abstract image in the same colours
NOISE_BIAS = 1.5
THING = [*ATTRIBUTES].index("thing")
COLOURS = [[*ATTRIBUTES].index(name) for name in ("body", "behind")]

AdapterWeights = dict[str, dict[str, Tensor]]
"""`image_proj` and `ip_adapter`: the two parts of a standard adapter file, tensors by name."""


class AdapterStage(Stage[nn.ModuleDict]):
    """Trains the projection of image embeddings and the adapter's keys and values."""

    def __init__(self, folder: Path, name: str = "adapter") -> None:
        self.name = name
        self.unet = UnetStage(folder)
        encoders = [self.unet.codec.encode, self.unet.clip.encode_image]
        self.cache = SceneCache(MINI_SCOPE, encoders, self.encode_scenes)
        unet = load_latest_unet(self.unet, folder)
        self.module = install_adapter(unet, make_initial_weights(unet))

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Mean squared error of the velocity; reported for samples with a reference."""
        samples = self.sample_conditioning(batch, generator)
        timesteps = self.unet.diffusion.sample_timesteps(batch, generator, bias=NOISE_BIAS)
        predicted, target = self.predict_velocity(samples, timesteps, generator)
        error = (predicted - target).pow(2).mean((1, 2, 3))
        return error.mean(), dict(with_image=masked_mean(samples.has_image, error.detach()))

    def sample_conditioning(self, batch: int, generator: Generator) -> "ReferencedImages":
        """Sample images with captions and references, some of which are dropped."""
        scenes, encodings = self.cache.sample(batch, generator)
        latents, embeds, abstract_embeds, states, pooled, is_misnamed, caption_states = encodings
        uniform = torch.rand(3, batch, generator=generator)
        has_text, has_image = uniform[0] >= CAPTION_DROPOUT, uniform[1] >= IMAGE_DROPOUT
        has_object = uniform[2] >= ABSTRACT_SHARE
        embeds = torch.where(has_object[:, None], embeds, abstract_embeds)
        stated = stated_attributes(
            caption_states.bool() & has_text[:, None],
            is_misnamed.bool(),
            has_reference=has_image & has_object,
            has_colours=has_image & ~has_object,
        )
        return ReferencedImages(
            scenes=scenes,
            latents=latents,
            text=zero_dropped(states, pooled, has_text),
            sizes=size_conditioning(scenes, IMAGE_SIZE, torch.zeros(batch, dtype=torch.bool)),
            image_embeds=(embeds * has_image[:, None])[:, None],
            has_image=has_image,
            stated=stated,
        )

    def predict_velocity(
        self, samples: "ReferencedImages", timesteps: Timesteps, generator: Generator
    ) -> tuple[LatentBatch, LatentBatch]:
        """Add new noise to the latents and return the predicted and the true velocity."""
        return self.unet.predict_velocity(
            samples.latents, samples.text, timesteps, generator, samples.sizes, samples.image_embeds
        )

    def encode_scenes(self, scenes: Scenes, generator: Generator) -> Sequence[Tensor]:
        """Encode abstract images in the scenes' colours, and captions of objects and layouts.

        The captions never state the look, which the reference has to convey.
        """
        abstract_images = render_abstract_images(scenes.look, IMAGE_SIZE, generator)
        embeds = self.unet.clip.encode_image(abstract_images)
        named = misname(scenes, generator)
        captions = sample_captions(named, generator, thing=1.0, layout=0.3, look=0.0)
        is_misnamed = named.thing != scenes.thing
        return embeds, *self.unet.clip.encode_text(captions.texts), is_misnamed, captions.stated


@dataclass(frozen=True)
class ReferencedImages:
    """Images to generate, and what they are conditioned on.

    Attributes:
        scenes: What they show.
        latents: Their latents.
        text: Encoded captions, zeros where they are dropped.
        sizes: Size and crop conditioning.
        image_embeds: Embeddings of the references, zeros where they are dropped.
        has_image: Whether the reference is not dropped.
        stated: Which attributes of `captions.ATTRIBUTES` reference and caption together state.
    """

    scenes: Scenes
    latents: LatentBatch
    text: TextConditioning
    sizes: SizeConditioning
    image_embeds: Float[Tensor, "image 1 width"]
    has_image: Bool[Tensor, " image"]
    stated: Bool[Tensor, "image attribute"]


def stated_attributes(
    caption_states: Bool[Tensor, "image attribute"],
    is_misnamed: Bool[Tensor, " image"],
    has_reference: Bool[Tensor, " image"],
    has_colours: Bool[Tensor, " image"],
) -> Bool[Tensor, "image attribute"]:
    """Return which attributes of each image to be drawn follow from its caption and its reference.

    A reference is the image to be drawn itself: all of its attributes do, even where the caption names another object.

    Args:
        caption_states: Which attributes the caption states.
        is_misnamed: Whether it names another object.
        has_reference: Whether the image itself is the reference.
        has_colours: Whether the reference is an abstract image, which states colours only.
    """
    stated = caption_states.clone()
    stated[:, THING] &= ~is_misnamed
    stated[:, COLOURS] |= has_colours[:, None]
    return stated | has_reference[:, None]


def misname(scenes: Scenes, generator: Generator) -> Scenes:
    """Replace the object of a share of the scenes by a random one, for their captions."""
    others = torch.randint(MINI_SCOPE.things, (len(scenes),), generator=generator)
    is_wrong = torch.rand(len(scenes), generator=generator) < MISNAMED_SHARE
    return replace(scenes, thing=torch.where(is_wrong, others, scenes.thing))


def make_initial_weights(unet: UNet2DConditionModel) -> AdapterWeights:
    """Make a new adapter in the standard file layout; keys and values start as copies of the text's."""
    rows = IMAGE_TOKENS * CROSS_DIM
    generator = seeded_generator(0)
    image_proj = {
        "proj.weight": torch.randn(rows, EMBEDDING_DIM, generator=generator) / EMBEDDING_DIM**0.5,
        "proj.bias": torch.zeros(rows),
        "norm.weight": torch.ones(CROSS_DIM),
        "norm.bias": torch.zeros(CROSS_DIM),
    }
    layers = {}
    for number, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            attention: Any = unet.get_submodule(name.removesuffix(".processor"))
            layers[f"{number}.to_k_ip.weight"] = attention.to_k.weight.detach().clone()
            layers[f"{number}.to_v_ip.weight"] = attention.to_v.weight.detach().clone()
    return {"image_proj": image_proj, "ip_adapter": layers}


def install_adapter(unet: UNet2DConditionModel, weights: AdapterWeights) -> nn.ModuleDict:
    """Load an adapter into the UNet with diffusers' own loader.

    Args:
        unet: UNet, changed in place.
        weights: Adapter in the standard file layout.

    Returns:
        The projection and the attention processors, which are trained, as one module.
    """
    unet._load_ip_adapter_weights([weights], low_cpu_mem_usage=False)
    processors: dict[str, Any] = {name: _without_fused_attention(part) for name, part in unet.attn_processors.items()}
    unet.set_attn_processor(processors)
    layers = [part for part in unet.attn_processors.values() if isinstance(part, nn.Module)]
    projection = cast(nn.Module, unet.encoder_hid_proj)
    return nn.ModuleDict({"projection": projection, "layers": nn.ModuleList(layers)}).requires_grad_(True)


def _without_fused_attention(processor: Any) -> AttnProcessor | IPAdapterAttnProcessor:
    """Replace a processor by one without fused attention, whose backward pass is slow in bfloat16 on CPUs."""
    if not isinstance(processor, nn.Module):
        return AttnProcessor()
    fused: Any = processor
    plain = IPAdapterAttnProcessor(fused.hidden_size, fused.cross_attention_dim, fused.num_tokens, fused.scale)
    plain.to_k_ip, plain.to_v_ip = fused.to_k_ip, fused.to_v_ip
    return plain


def latest_adapter_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of stage `distilled-adapter`, or before that is trained those of the stages before."""
    if (folder / "distilled-adapter.pt").exists():
        return load_averaged_weights("distilled-adapter", folder)
    return adversarial_adapter_weights(folder)


def adversarial_adapter_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of stage `adapter`, or their mean with those of `adversarial-adapter` if that is trained."""
    weights = load_averaged_weights("adapter", folder)
    if not (folder / "adversarial-adapter.pt").exists():
        return weights
    return average_weights(weights, load_averaged_part("adversarial-adapter", "adapter", folder))


def to_standard_state_dict(module: nn.ModuleDict) -> dict[str, Tensor]:
    """Return the weights of an installed adapter under the key names of `ip-adapter_*.safetensors`."""
    parts: Any = module
    projection = parts["projection"].image_projection_layers[0]
    state = {
        "image_proj.proj.weight": projection.image_embeds.weight,
        "image_proj.proj.bias": projection.image_embeds.bias,
        "image_proj.norm.weight": projection.norm.weight,
        "image_proj.norm.bias": projection.norm.bias,
    }
    for number, layer in enumerate(parts["layers"]):
        # The standard numbers count self-attention layers too, which have even numbers and no adapter
        # weights.
        state[f"ip_adapter.{2 * number + 1}.to_k_ip.weight"] = layer.to_k_ip[0].weight
        state[f"ip_adapter.{2 * number + 1}.to_v_ip.weight"] = layer.to_v_ip[0].weight
    return {name: weight.detach().contiguous() for name, weight in state.items()}
