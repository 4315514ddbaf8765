"""Stage `clip`: an image tower and a text tower that share a space, and SDXL's second, smaller text tower.

Sigmoid contrastive loss (arXiv 2303.15343) with exact positives: a caption fits every picture of the batch of
which it is true. Linear heads read the facts off the *raw* projected embeddings of both towers alike, so that a
thing's direction is the same in pictures and words: what content removal subtracts.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

from instantstyle.world import MINI_SCOPE, Scenes, sample_scenes
from instantstyle.world.render import distances
from instantstyle.world.things import fields
from training.mini.settings import PICTURE, SHARED, TOWER_1, TOWER_2, VISION, WORDS
from training.mini.stage import Stage
from training.mini.words import FACTS, Captions, describe, tokenizer, tokens

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]  # CLIP's
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
CELLS, SHAPES_AFTER = 2, 3  # a patch tells its shape on CELLS² points, read after so many layers
MEASURES = 15 + 4 + 3  # palette, box, pitch and the doubled angle


def text_config(tower: dict) -> CLIPTextConfig:
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
    def __init__(self) -> None:
        super().__init__()
        self.vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION))
        spread_positions(self.vision)
        self.text_2 = CLIPTextModelWithProjection(text_config(TOWER_2))
        self.text_1 = CLIPTextModelWithProjection(text_config(TOWER_1))  # exported without its projection
        self.facts = nn.ModuleDict({name: nn.Linear(SHARED, len(kinds), bias=False) for name, kinds in FACTS.items()})
        self.measures = nn.Linear(SHARED, MEASURES)
        self.shapes = nn.Linear(VISION["hidden_size"], 2 * CELLS**2)
        self.sharpness = nn.Parameter(torch.tensor([2.3, 2.3]))  # log of the sigmoid's slope, one a text tower
        self.offset = nn.Parameter(torch.tensor([-6.0, -6.0]))


@torch.no_grad()
def spread_positions(vision: CLIPVisionModelWithProjection) -> None:
    """Begin with two-dimensional sinusoids as strong as the patches.

    The usual start is twenty times weaker than them, and a small tower then sees colours long before shapes.
    """
    positions = vision.vision_model.embeddings.position_embedding.weight
    side, quarter = PICTURE // VISION["patch_size"], positions.shape[1] // 4
    place = torch.arange(side).float()[:, None] * torch.pi * (2.0 ** torch.linspace(-3, 0, quarter))
    waves = torch.cat([place.sin(), place.cos()], 1)
    positions[1:] = 0.4 * torch.cat([waves.repeat_interleave(side, 0), waves.repeat(side, 1)], 1)


class ClipStage(Stage):
    """`clip` trains both kinds of tower; `vision` then the image tower alone, to words that stay as they are."""

    def __init__(self, name: str = "clip", folder: Path | None = None):
        self.name, self.module = name, Towers()
        if name == "vision":
            self.module.load_state_dict(torch.load(folder / "clip.pt", weights_only=True)["averaged"])
            for tower in (self.module.text_1, self.module.text_2):
                tower.requires_grad_(False)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        scenes = sample_scenes(batch, generator, MINI_SCOPE)
        captions = describe(scenes, generator, thing=0.75, layout=0.35, look=0.5)
        pictures = jitter(scenes.pictures(PICTURE, generator), generator)
        seen_by = self.module.vision((pictures - MEAN) / STD, output_hidden_states=True)
        image = seen_by.image_embeds
        outlined = F.binary_cross_entropy_with_logits(
            self.module.shapes(seen_by.hidden_states[SHAPES_AFTER][:, 1:]), patch_shapes(scenes)
        )
        ids = tokens(captions.words)
        texts = [tower(ids).text_embeds for tower in (self.module.text_2, self.module.text_1)]
        matches = captions.matches()
        pairing = sum(self.pairing(image if i == 0 else image.detach(), text, matches, i) for i, text in enumerate(texts))
        seen, right = self.reading(image, captions.facts, torch.ones_like(captions.named))
        said = sum(self.reading(text, captions.facts, captions.named)[0] for text in texts)
        measured = F.mse_loss(self.module.measures(image), measures(scenes))
        # Raw embeddings keep a length near that of a unit-variance vector: they are added and subtracted.
        length = sum((embeds.pow(2).mean(-1) - 1).pow(2).mean() for embeds in (image, *texts))
        total = pairing + 3 * seen + 3 * said + 5 * measured + 20 * outlined + 0.02 * length
        parts = dict(pairing=pairing, measured=measured, outlined=outlined, **{f"see_{name}": value for name, value in right.items()})
        return total, {name: value.detach() for name, value in parts.items()}

    def pairing(self, image: Tensor, text: Tensor, matches: Tensor, tower: int) -> Tensor:
        """Mean over pictures of the sigmoid loss on all (caption, picture) pairs."""
        cosine = F.normalize(text, dim=-1) @ F.normalize(image, dim=-1).T
        logits = self.module.sharpness[tower].exp() * cosine + self.module.offset[tower]
        return -F.logsigmoid(torch.where(matches, logits, -logits)).sum() / len(image)

    def reading(self, embeds: Tensor, facts: Tensor, named: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of every fact; what a caption leaves open has all answers equally likely."""
        losses, right = [], {}
        for place, (name, head) in enumerate(self.module.facts.items()):
            logits = head(embeds)
            spread = torch.full_like(logits, 1 / logits.shape[1])
            wanted = torch.where(named[:, place, None], F.one_hot(facts[:, place], logits.shape[1]).float(), spread)
            losses.append(F.cross_entropy(logits, wanted))
            right[name] = (logits.argmax(-1) == facts[:, place]).float().mean()
        return torch.stack(losses).sum(), right


def patch_shapes(scenes: Scenes) -> Tensor:
    """How far each patch's points lie inside silhouette and lines, 0..1: [picture, patch, 2 · CELLS²].

    A shape's colours are accidental; told so patch by patch, a small tower sees things within minutes.
    """
    side = PICTURE // VISION["patch_size"]
    inside = torch.stack(distances(fields()[scenes.thing], scenes.layout, side * CELLS), 1)
    patches = F.unfold(torch.sigmoid(inside * 20), CELLS, stride=CELLS)
    return patches.transpose(1, 2)


def measures(scenes: Scenes) -> Tensor:
    """What of a scene is a number: colours, box, pitch and direction of its pattern."""
    look = scenes.look
    turned = torch.stack([look.pitch, (2 * look.angle).cos() / 4, (2 * look.angle).sin() / 4], 1)
    return torch.cat([look.palette.flatten(1), scenes.layout.box, turned], 1)


def jitter(pictures: Tensor, generator: Generator) -> Tensor:
    """Blur or noise on some, as pictures from outside the world and drawn ones have."""
    lot = torch.rand(len(pictures), 1, 1, 1, generator=generator)
    blurred = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    noisy = (pictures + 0.08 * torch.randn(pictures.shape, generator=generator)).clamp(0, 1)
    return torch.where(lot < 0.2, blurred, torch.where(lot < 0.4, noisy, pictures))
