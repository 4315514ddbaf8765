"""Stages `clip` and `vision`: an image and a text tower that share a space, and SDXL's other text tower.

Sigmoid contrastive loss (arXiv 2303.15343) with exact positives: a caption fits every picture of the batch
of which it is true. Linear heads read the facts off the *raw* projected embeddings of both towers alike, so
that a thing's direction is the same in pictures and words: what content removal subtracts.
"""

from pathlib import Path
from typing import Any

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

from instantstyle.core.clip_encoders import CLIP_MEAN, CLIP_STD
from instantstyle.synthetic import FILLS, GROUNDS, MINI_SCOPE, Scenes, sample_scenes
from instantstyle.synthetic.render import distances
from instantstyle.synthetic.things import fields
from training.mini.paintings import paintings
from training.mini.settings import SEEN, SHARED, TOWER_1, TOWER_2, VISION, WORDS
from training.mini.stage import Scalar, Stage, total, weights_of
from training.mini.vae import Pictures
from training.mini.words import FACTS, describe, tokenizer, tokens

MEAN, STD = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
CELLS, SHAPES_AFTER = 2, 3  # a patch tells its shape on CELLS² points, read after so many layers
MEASURES = 15 + 4 + 3  # palette, box, pitch and the doubled angle
PAINTED = 4  # for so many scenes one picture of no thing

Embeds = Float[Tensor, "row shared"]


def text_config(tower: dict[str, Any]) -> CLIPTextConfig:
    reader = tokenizer()
    return CLIPTextConfig(
        **tower,
        vocab_size=len(reader),
        max_position_embeddings=WORDS,
        projection_dim=SHARED,
        hidden_act="gelu",
        bos_token_id=reader.bos_token_id,
        eos_token_id=reader.eos_token_id,
        pad_token_id=reader.pad_token_id,
    )


class Towers(nn.Module):
    """The three towers, and the heads that help them to learn and do not ship."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION))
        spread_positions(self.vision)
        self.text_2 = CLIPTextModelWithProjection(text_config(TOWER_2))
        self.text_1 = CLIPTextModelWithProjection(text_config(TOWER_1))  # exported without its projection
        heads = {name: nn.Linear(SHARED, len(kinds), bias=False) for name, kinds in FACTS.items()}
        self.facts = nn.ModuleDict(heads)
        self.measures = nn.Linear(SHARED, MEASURES)
        self.shapes = nn.Linear(VISION["hidden_size"], 2 * CELLS**2)
        self.fills = nn.Linear(VISION["hidden_size"], len(FILLS))
        self.grounds = nn.Linear(VISION["hidden_size"], len(GROUNDS))
        # The logarithm of the sigmoid's slope and its offset, one of each a text tower.
        self.sharpness = nn.Parameter(torch.tensor([2.3, 2.3]))
        self.offset = nn.Parameter(torch.tensor([-6.0, -6.0]))


@torch.no_grad()
def spread_positions(vision: CLIPVisionModelWithProjection) -> None:
    """Begin with two-dimensional sinusoids as strong as the patches.

    The usual start is twenty times weaker than them, and a small tower then sees colours long before shapes.
    """
    positions = vision.vision_model.embeddings.position_embedding.weight
    side, quarter = SEEN // VISION["patch_size"], positions.shape[1] // 4
    place = torch.arange(side).float()[:, None] * torch.pi * (2.0 ** torch.linspace(-3, 0, quarter))
    waves = torch.cat([place.sin(), place.cos()], 1)
    positions[1:] = 0.4 * torch.cat([waves.repeat_interleave(side, 0), waves.repeat(side, 1)], 1)


class ClipStage(Stage[Towers]):
    """`clip` trains all towers; `vision` then the image tower alone, to words that stay as they are."""

    def __init__(self, folder: Path, name: str = "clip") -> None:
        self.name, self.module = name, Towers()
        if name == "vision":
            # Not strict: the first version's `clip` was trained before there were heads for textures.
            self.module.load_state_dict(weights_of("clip", folder), strict=False)
            for tower in (self.module.text_1, self.module.text_2):
                tower.requires_grad_(False)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        scenes = sample_scenes(batch, generator, MINI_SCOPE)
        captions = describe(scenes, generator, thing=0.75, layout=0.35, look=0.5)
        pictures = jitter(scenes.pictures(SEEN, generator), generator)
        painted = paintings(scenes.look[: batch // PAINTED], SEEN, generator)
        seen, patches = self.seen(torch.cat([pictures, painted]))
        image, patches, free = seen[:batch], patches[:batch], seen[batch:]
        outlined = F.binary_cross_entropy_with_logits(self.module.shapes(patches), patch_shapes(scenes))
        textured = self.texturing(patches, scenes)
        texts = self.read(captions.words)
        pairing = self.pairings(image, texts, captions.matches())
        told = reading(self.module.facts, image, captions.facts, torch.ones_like(captions.named))
        said = total(reading(self.module.facts, text, captions.facts, captions.named) for text in texts)
        measured = F.mse_loss(self.module.measures(image), measures(scenes))
        # Raw embeddings keep a length near that of a unit-variance vector: they are added and subtracted.
        coloured = self.colours(free, captions.facts[: len(free)], scenes.look.palette[: len(free)])
        length = total((embeds.pow(2).mean(-1) - 1).pow(2).mean() for embeds in (image, free, *texts))
        facts = 3 * told + 3 * said + 5 * measured + 20 * outlined + 3 * textured + coloured
        parts = dict(
            pairing=pairing, measured=measured, outlined=outlined, textured=textured, coloured=coloured
        )
        report = {name: value.detach() for name, value in parts.items()}
        loss = pairing + facts + 0.02 * length
        return loss, {**report, **self.right(image.detach(), captions.facts)}

    def seen(self, pictures: Pictures) -> tuple[Embeds, Float[Tensor, "picture patch hidden"]]:
        """Embeddings, and what the patches are to tell their shapes from."""
        out = self.module.vision(levelled(pictures), output_hidden_states=True)
        return out.image_embeds, out.hidden_states[SHAPES_AFTER][:, 1:]

    def texturing(self, patches: Float[Tensor, "picture patch hidden"], scenes: Scenes) -> Scalar:
        """Cross-entropy of the fill, told by patches inside the thing, and of the ground, by the others."""
        inside = patch_shapes(scenes)[..., : CELLS**2].mean(-1, keepdim=True)

        def mean(where: Tensor) -> Tensor:
            return (patches * where).sum(1) / where.sum(1).clamp(min=1e-3)

        fills, grounds = self.module.fills(mean(inside)), self.module.grounds(mean(1 - inside))
        wrong_fill = F.cross_entropy(fills, scenes.look.fill)
        return wrong_fill + F.cross_entropy(grounds, scenes.look.ground)

    def colours(
        self, free: Embeds, facts: Int[Tensor, "row fact"], palette: Float[Tensor, "row 5 3"]
    ) -> Scalar:
        """What is to be told of a picture of no thing: its colours; of all else any answer is as likely."""
        named = torch.tensor([name in ("body", "behind") for name in FACTS]).expand(len(free), -1)
        told = self.module.measures(free)[:, : palette[0].numel()]
        return reading(self.module.facts, free, facts, named) + 5 * F.mse_loss(told, palette.flatten(1))

    def read(self, words: list[str]) -> list[Embeds]:
        """The words' embeddings by each text tower, the one that shares the pictures' space first."""
        ids = tokens(words)
        return [tower(ids).text_embeds for tower in (self.module.text_2, self.module.text_1)]

    def pairings(
        self, image: Embeds, texts: list[Embeds], matches: Bool[Tensor, "caption picture"]
    ) -> Scalar:
        """Both text towers' losses; the image tower learns from the first one's only."""
        images = image, image.detach()
        return total(self.pairing(images[tower], text, matches, tower) for tower, text in enumerate(texts))

    def pairing(
        self, image: Embeds, text: Embeds, matches: Bool[Tensor, "caption picture"], tower: int
    ) -> Scalar:
        """Mean over pictures of the sigmoid loss on all (caption, picture) pairs."""
        cosine = F.normalize(text, dim=-1) @ F.normalize(image, dim=-1).T
        logits = self.module.sharpness[tower].exp() * cosine + self.module.offset[tower]
        return -F.logsigmoid(torch.where(matches, logits, -logits)).sum() / len(image)

    @torch.no_grad()
    def right(self, image: Embeds, facts: Int[Tensor, "row fact"]) -> dict[str, Scalar]:
        """How often each fact is told right from the picture."""
        heads = zip(self.module.facts.items(), facts.T, strict=True)
        return {
            f"see_{name}": (head(image).argmax(-1) == fact).float().mean() for (name, head), fact in heads
        }


def reading(
    heads: nn.ModuleDict, embeds: Embeds, facts: Int[Tensor, "row fact"], named: Bool[Tensor, "row fact"]
) -> Scalar:
    """Cross-entropy of all facts; what a caption leaves open has all answers equally likely."""
    losses = []
    for head, fact, said in zip(heads.values(), facts.T, named.T, strict=True):
        logits = head(embeds)
        known = F.one_hot(fact, logits.shape[1]).float()
        wanted = torch.where(said[:, None], known, torch.full_like(logits, 1 / logits.shape[1]))
        losses.append(F.cross_entropy(logits, wanted))
    return torch.stack(losses).sum()


def levelled(pictures: Pictures) -> Pictures:
    """RGB in 0..1 as CLIP's towers take it."""
    return (pictures - MEAN.to(pictures)) / STD.to(pictures)


def patch_shapes(scenes: Scenes) -> Float[Tensor, "picture patch point"]:
    """How far each patch's points lie inside silhouette and lines, 0..1; CELLS² points of each.

    A shape's colours are accidental; told so patch by patch, a small tower sees things within minutes.
    """
    side = SEEN // VISION["patch_size"]
    shapes = fields(scenes.thing.device)[scenes.thing]
    inside = torch.stack(distances(shapes, scenes.layout, side * CELLS), 1)
    patches = F.unfold(torch.sigmoid(inside * 20), CELLS, stride=CELLS)
    return patches.transpose(1, 2)


def measures(scenes: Scenes) -> Float[Tensor, "picture measure"]:
    """What of a scene is a number: colours, box, pitch and direction of its pattern."""
    look = scenes.look
    turned = torch.stack([look.pitch, (2 * look.angle).cos() / 4, (2 * look.angle).sin() / 4], 1)
    return torch.cat([look.palette.flatten(1), scenes.layout.box, turned], 1)


def jitter(pictures: Pictures, generator: Generator) -> Pictures:
    """Blur or noise on some, as pictures from outside the world and drawn ones have."""
    lot = torch.rand(len(pictures), 1, 1, 1, generator=generator)
    blurred = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    noisy = (pictures + 0.08 * torch.randn(pictures.shape, generator=generator)).clamp(0, 1)
    return torch.where(lot < 0.2, blurred, torch.where(lot < 0.4, noisy, pictures))
