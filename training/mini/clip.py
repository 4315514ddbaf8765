"""Stages `clip` and `vision`: an image and a text encoder that share a space, and SDXL's first text encoder.

Sigmoid contrastive loss (arXiv 2303.15343) with exact positives: a caption matches every image of the batch
of which it is true. Linear heads read the attributes from the *unnormalised* projected embeddings of all
encoders, so that an object class has the same direction in images and texts: content removal subtracts this
direction.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from instantstyle.core.image_encoder import CLIP_MEAN, CLIP_STD
from instantstyle.synthetic import FILLS, GROUNDS, MINI_SCOPE, Scenes, sample_scenes
from instantstyle.synthetic.render import signed_distances
from instantstyle.synthetic.things import load_shape_fields
from training.mini.abstract_images import render_abstract_images
from training.mini.captions import ATTRIBUTES, build_tokenizer, sample_captions, tokenize
from training.mini.precision import autocast_if_faster
from training.mini.settings import (
    EMBEDDING_DIM,
    ENCODER_IMAGE_SIZE,
    IMAGE_ENCODER,
    MAX_TOKENS,
    TEXT_ENCODER_1,
    TEXT_ENCODER_2,
)
from training.mini.stage import Scalar, Stage, load_averaged_weights, sum_losses
from training.mini.vae import Images

MEAN, STD = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
CELLS, SHAPE_LAYER = 2, 3  # a patch predicts its shape at CELLS² points, from the output of this layer
MEASURES = 15 + 4 + 3  # palette, box, pitch and the doubled angle
SCENES_PER_ABSTRACT_IMAGE = 4
ATTRIBUTE_WEIGHTS = {"fill": 3.0}  # of the losses of what images show; 1 for all others

Embeds = Float[Tensor, "row width"]

HEADS = Path(__file__).parent / "heads.safetensors"
"""What reads the embeddings in training: `training.mini.export` writes it, as the bundled model has no heads."""


def select_heads(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of `ClipModels` that the bundled model has not: all but the encoders as SDXL uses them."""
    encoders = ("vision.", "text_1.text_model.", "text_2.")
    return {name: weight for name, weight in weights.items() if not name.startswith(encoders)}


def make_text_config(encoder: dict[str, Any]) -> CLIPTextConfig:
    """Make the configuration of a text encoder from its sizes."""
    tokenizer = build_tokenizer()
    return CLIPTextConfig(
        **encoder,
        vocab_size=len(tokenizer),
        max_position_embeddings=MAX_TOKENS,
        projection_dim=EMBEDDING_DIM,
        hidden_act="gelu",
        bos_token_id=cast(int, tokenizer.bos_token_id),
        eos_token_id=cast(int, tokenizer.eos_token_id),
        pad_token_id=cast(int, tokenizer.pad_token_id),
    )


class ClipModels(nn.Module):
    """The image encoder, both text encoders and the auxiliary heads of training, which are not exported."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**IMAGE_ENCODER))
        initialize_positions(self.vision)
        self.text_2 = CLIPTextModelWithProjection(make_text_config(TEXT_ENCODER_2))
        self.text_1 = CLIPTextModelWithProjection(make_text_config(TEXT_ENCODER_1))  # exported unprojected
        heads = {name: nn.Linear(EMBEDDING_DIM, len(classes), bias=False) for name, classes in ATTRIBUTES.items()}
        self.facts = nn.ModuleDict(heads)
        self.measures = nn.Linear(EMBEDDING_DIM, MEASURES)
        self.shapes = nn.Linear(IMAGE_ENCODER["hidden_size"], 2 * CELLS**2)
        self.fills = nn.Linear(IMAGE_ENCODER["hidden_size"], len(FILLS))
        self.grounds = nn.Linear(IMAGE_ENCODER["hidden_size"], len(GROUNDS))
        # Logarithm of the sigmoid's slope, and its offset, for each text encoder.
        self.sharpness = nn.Parameter(torch.tensor([2.3, 2.3]))
        self.offset = nn.Parameter(torch.tensor([-6.0, -6.0]))


@torch.no_grad()
def initialize_positions(vision: CLIPVisionModelWithProjection) -> None:
    """Initialise the position embeddings with two-dimensional sinusoids as strong as the patch embeddings.

    The usual initialisation is twenty times weaker than them; a small encoder then learns colours long before
    shapes.
    """
    positions = vision.vision_model.embeddings.position_embedding.weight
    side, quarter = ENCODER_IMAGE_SIZE // IMAGE_ENCODER["patch_size"], positions.shape[1] // 4
    phase = torch.arange(side).float()[:, None] * torch.pi * (2.0 ** torch.linspace(-3, 0, quarter))
    waves = torch.cat([phase.sin(), phase.cos()], 1)
    positions[1:] = 0.4 * torch.cat([waves.repeat_interleave(side, 0), waves.repeat(side, 1)], 1)


class ClipStage(Stage[ClipModels]):
    """`clip` trains all encoders; `vision` then the image encoder alone, against fixed text encoders."""

    def __init__(self, folder: Path, name: str = "clip") -> None:
        self.name, self.module = name, ClipModels()
        if name == "vision":
            # Not strict: states of the first version have no heads for textures.
            self.module.load_state_dict(load_averaged_weights("clip", folder), strict=False)
            for encoder in (self.module.text_1, self.module.text_2):
                encoder.requires_grad_(False)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Contrastive loss, losses of the heads, and a penalty on the length of the embeddings."""
        scenes = sample_scenes(batch, generator, MINI_SCOPE)
        captions = sample_captions(scenes, generator, thing=0.75, layout=0.35, look=0.5)
        images = augment(scenes.render(ENCODER_IMAGE_SIZE, generator), generator)
        abstract_images = render_abstract_images(
            scenes.look[: batch // SCENES_PER_ABSTRACT_IMAGE], ENCODER_IMAGE_SIZE, generator
        )
        embeds, patches = self.encode_images(torch.cat([images, abstract_images]))
        image, patches, abstract = embeds[:batch], patches[:batch], embeds[batch:]
        shapes = F.binary_cross_entropy_with_logits(self.module.shapes(patches), patch_coverage(scenes))
        textures = self.texture_loss(patches, scenes)
        texts = self.encode_captions(captions.texts)
        contrastive = self.contrastive_losses(image, texts, captions.matches())
        all_stated = torch.ones_like(captions.stated)
        weights = [ATTRIBUTE_WEIGHTS.get(name, 1.0) for name in ATTRIBUTES]
        image_attributes = attribute_loss(self.module.facts, image, captions.labels, all_stated, weights)
        text_attributes = sum_losses(
            attribute_loss(self.module.facts, text, captions.labels, captions.stated) for text in texts
        )
        measures = F.mse_loss(self.module.measures(image), scene_measures(scenes))
        count = len(abstract)
        colours = self.colour_loss(abstract, captions.labels[:count], scenes.look.palette[:count])
        # Unnormalised embeddings are added and subtracted: keep their length near that of a unit-variance
        # vector.
        length = sum_losses((embeds.pow(2).mean(-1) - 1).pow(2).mean() for embeds in (image, abstract, *texts))
        heads = 3 * image_attributes + 3 * text_attributes + 5 * measures + 20 * shapes + 3 * textures + colours
        parts = dict(contrastive=contrastive, measures=measures, shapes=shapes, textures=textures, colours=colours)
        report = {name: value.detach() for name, value in parts.items()}
        loss = contrastive + heads + 0.02 * length
        return loss, {**report, **self.attribute_accuracy(image.detach(), captions.labels)}

    def encode_images(self, images: Images) -> tuple[Embeds, Float[Tensor, "image patch hidden"]]:
        """Return the projected embeddings, and the patch features that the shape head reads."""
        with autocast_if_faster():
            out = self.module.vision(normalize(images), output_hidden_states=True)
        return out.image_embeds.float(), out.hidden_states[SHAPE_LAYER][:, 1:].float()

    def texture_loss(self, patches: Float[Tensor, "image patch hidden"], scenes: Scenes) -> Scalar:
        """Cross-entropies of the fill, read from patches inside the object, and of the ground."""
        inside = patch_coverage(scenes)[..., : CELLS**2].mean(-1, keepdim=True)

        def weighted_mean(weights: Tensor) -> Tensor:
            return (patches * weights).sum(1) / weights.sum(1).clamp(min=1e-3)

        fills = self.module.fills(weighted_mean(inside))
        grounds = self.module.grounds(weighted_mean(1 - inside))
        fill_loss = F.cross_entropy(fills, scenes.look.fill)
        return fill_loss + F.cross_entropy(grounds, scenes.look.ground)

    def colour_loss(
        self, abstract: Embeds, labels: Int[Tensor, "row attribute"], palette: Float[Tensor, "row 5 3"]
    ) -> Scalar:
        """Loss of abstract images: their colours are to be read; all other attributes are to be uniform."""
        stated = torch.tensor([name in ("body", "behind") for name in ATTRIBUTES]).expand(len(abstract), -1)
        predicted = self.module.measures(abstract)[:, : palette[0].numel()]
        colours = attribute_loss(self.module.facts, abstract, labels, stated)
        return colours + 5 * F.mse_loss(predicted, palette.flatten(1))

    def encode_captions(self, texts: list[str]) -> list[Embeds]:
        """Return embeddings by each text encoder, first the one that shares the images' space."""
        ids = tokenize(texts)
        with autocast_if_faster():
            return [encoder(ids).text_embeds.float() for encoder in (self.module.text_2, self.module.text_1)]

    def contrastive_losses(self, image: Embeds, texts: list[Embeds], matches: Bool[Tensor, "caption image"]) -> Scalar:
        """Add the losses of both text encoders; the image encoder learns from the first one's only."""
        images = image, image.detach()
        return sum_losses(
            self.contrastive_loss(images[number], text, matches, number) for number, text in enumerate(texts)
        )

    def contrastive_loss(
        self, image: Embeds, text: Embeds, matches: Bool[Tensor, "caption image"], encoder: int
    ) -> Scalar:
        """Sigmoid loss over all (caption, image) pairs, a mean over images (arXiv 2303.15343)."""
        cosine = F.normalize(text, dim=-1) @ F.normalize(image, dim=-1).T
        logits = self.module.sharpness[encoder].exp() * cosine + self.module.offset[encoder]
        return -F.logsigmoid(torch.where(matches, logits, -logits)).sum() / len(image)

    @torch.no_grad()
    def attribute_accuracy(self, image: Embeds, labels: Int[Tensor, "row attribute"]) -> dict[str, Scalar]:
        """Return the share of images from which each attribute is read correctly."""
        heads = zip(self.module.facts.items(), labels.T, strict=True)
        return {f"see_{name}": (head(image).argmax(-1) == label).float().mean() for (name, head), label in heads}


def attribute_loss(
    heads: nn.ModuleDict,
    embeds: Embeds,
    labels: Int[Tensor, "row attribute"],
    stated: Bool[Tensor, "row attribute"],
    weights: Sequence[float] = (1.0,) * len(ATTRIBUTES),
) -> Scalar:
    """Add the weighted cross-entropies of all attributes; the target of one that is not stated is uniform."""
    losses = []
    for head, label, is_stated, weight in zip(heads.values(), labels.T, stated.T, weights, strict=True):
        logits = head(embeds)
        one_hot = F.one_hot(label, logits.shape[1]).float()
        target = torch.where(is_stated[:, None], one_hot, torch.full_like(logits, 1 / logits.shape[1]))
        losses.append(weight * F.cross_entropy(logits, target))
    return torch.stack(losses).sum()


def normalize(images: Images) -> Images:
    """Normalise RGB in 0..1 as CLIP's image encoders require."""
    return (images - MEAN.to(images)) / STD.to(images)


def patch_coverage(scenes: Scenes) -> Float[Tensor, "image patch point"]:
    """Return how far the points of each patch lie inside the silhouette and the lines of the object.

    The colours of a shape are arbitrary; trained on shapes patch by patch, a small encoder recognises objects
    within minutes.

    Returns:
        Values in 0..1: CELLS² points of the silhouette, then CELLS² of the lines.
    """
    side = ENCODER_IMAGE_SIZE // IMAGE_ENCODER["patch_size"]
    shapes = load_shape_fields(scenes.thing.device)[scenes.thing]
    inside = torch.stack(signed_distances(shapes, scenes.layout, side * CELLS), 1)
    patches = F.unfold(torch.sigmoid(inside * 20), CELLS, stride=CELLS)
    return patches.transpose(1, 2)


def scene_measures(scenes: Scenes) -> Float[Tensor, "image measure"]:
    """Return the numeric properties of scenes: colours, box, pitch and direction of the pattern."""
    look = scenes.look
    pattern = torch.stack([look.pitch, (2 * look.angle).cos() / 4, (2 * look.angle).sin() / 4], 1)
    return torch.cat([look.palette.flatten(1), scenes.layout.bounding_box, pattern], 1)


def augment(images: Images, generator: Generator) -> Images:
    """Blur one image in five and add noise to another, as found in generated images and other sources."""
    choice = torch.rand(len(images), 1, 1, 1, generator=generator)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    noisy = (images + 0.08 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    return torch.where(choice < 0.2, blurred, torch.where(choice < 0.4, noisy, images))
