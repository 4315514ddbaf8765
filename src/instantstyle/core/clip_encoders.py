"""The two halves of a CLIP: an image tower, and the text tower that shares its space."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import CheckpointError, ImageError, StyleError, suggest_nearest
from ..imaging.loading import fit
from ..loaders.state_dict import open_state_dict
from ..recipe import CROPS
from ..utils.weight_fingerprint import fingerprint_weights

# github.com/openai/CLIP, clip/clip.py; OpenCLIP's ViT-H and ViT-bigG were trained with the same.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

IMAGE_TOWERS = {
    (1024, 768): "CLIP ViT-L/14",
    (1280, 1024): "OpenCLIP ViT-H/14",
    (1664, 1280): "OpenCLIP ViT-bigG/14",
}
"""By (hidden width, projection width): ViT-H's hidden states are as wide as ViT-bigG's projection."""

_TOWER_SETTINGS: Mapping[tuple[int, int], dict[str, Any]] = {
    # The files' own config.json: openai/clip-vit-large-patch14, h94/IP-Adapter (two image encoders).
    (1024, 768): {"num_attention_heads": 16, "hidden_act": "quick_gelu"},
    (1280, 1024): {"num_attention_heads": 16, "hidden_act": "gelu"},
    (1664, 1280): {"num_attention_heads": 16, "hidden_act": "gelu"},
}
"""What no tensor's shape shows, for a tower's file that comes without its config.json."""

TEXT_TOWERS = {
    768: "openai/clip-vit-large-patch14",
    1024: "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    1280: "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
}
"""Where to get the text tower that shares an image tower's space, by the width of their projection."""


class ImageEncoder:
    """A `CLIPVisionModelWithProjection`, with its own preprocessing."""

    def __init__(self, model: Any, reopen: Callable[[], Any] | None = None) -> None:
        """`reopen` makes the model anew after it was freed."""
        widths = (
            getattr(getattr(model, "config", None), "projection_dim", None),
            getattr(model, "visual_projection", None),
        )
        if None in widths:
            raise CheckpointError(
                f"The image encoder is a {type(model).__name__}; expected a CLIPVisionModelWithProjection "
                "or a folder that holds one."
            )
        self._model, self._reopen = model, reopen
        self.config = model.config
        self._place: tuple[Any, ...] = ()

    @property
    def model(self) -> Any:
        """The tower; opened again where it was freed."""
        if self._model is None:
            if self._reopen is None:
                raise StyleError(
                    "The image encoder was freed after its first look (keep_encoder=False), and as it was "
                    "given as a model it cannot be opened again; give its folder, or keep it."
                )
            self._model = self._reopen().to(*self._place)
        return self._model

    @property
    def is_free(self) -> bool:
        """Whether its weights have been let go."""
        return self._model is None

    def free(self) -> None:
        """Let go of the weights; what was given as a model stays wherever else it is held."""
        if self._model is not None:
            self._place = self._model.device, self._model.dtype
        self._model = None

    @classmethod
    def open(cls, source: Any, dtype: torch.dtype = torch.float32) -> "ImageEncoder":
        """`source`: an image encoder, a model, a folder in transformers' layout or a lone weights file."""
        if isinstance(source, cls):
            return source
        if not isinstance(source, str | Path):
            return cls(source)
        path = Path(source)
        read = partial(_model_of if path.is_file() else _model_in, path, dtype)
        return cls(read(), reopen=read)

    @property
    def projection_dim(self) -> int:
        return self.config.projection_dim

    @property
    def hidden_size(self) -> int:
        return self.config.hidden_size

    @property
    def image_size(self) -> int:
        """Side of the square picture that it takes, in pixels."""
        return self.config.image_size

    @property
    def name(self) -> str:
        return f"CLIP-{self.projection_dim}"

    @cached_property
    def fingerprint(self) -> str:
        """Tells this tower from others of its shape, in any dtype; asked once, it outlives the weights."""
        return fingerprint_weights(self.model.visual_projection.state_dict())

    def check_fits(self, kind: str, embedding_dim: int) -> None:
        """Refuse unless the tower suits an adapter of this kind, made for features of this width.

        The kind decides which of its two widths counts, lest a hidden state pass for a projection.
        """
        given = self.projection_dim if kind == "base" else self.hidden_size
        if given != embedding_dim:
            what = "image embeddings" if kind == "base" else "patch features"
            raise CheckpointError(
                f"The adapter ({kind}) needs {what} {embedding_dim} wide{_tower_with(kind, embedding_dim)}; "
                f"the image encoder{self._known_as()} gives {given}. "
                "Use the encoder that the adapter was trained with."
            )

    @torch.no_grad()
    def embed(self, images: Sequence[Image.Image], crop: str = "center") -> Float[Tensor, "images dim"]:
        """Raw projected embeddings, not normalised, in float32 on the CPU."""
        return self.model(self.pixels(images, crop)).image_embeds.float().cpu()

    @torch.no_grad()
    def features(
        self, images: Sequence[Image.Image], crop: str = "center"
    ) -> Float[Tensor, "images patches dim"]:
        """Hidden states before the last layer: what Plus and full adapters read, in diffusers too."""
        return self._hidden(self.pixels(images, crop))

    @torch.no_grad()
    def blank_features(self) -> Float[Tensor, "patches dim"]:
        """Those of an all-zero input: mid-grey after preprocessing, not a black picture. As trained."""
        size = self.image_size
        return self._hidden(torch.zeros(1, 3, size, size, device=self.model.device, dtype=self.model.dtype))[
            0
        ]

    def pixels(
        self, images: Sequence[Image.Image], crop: Any = "center"
    ) -> Float[Tensor, "images 3 size size"]:
        """What the tower sees; with `center` the same as transformers' `CLIPImageProcessor`."""
        if crop not in CROPS:
            raise ImageError(
                f"crop cannot be {crop!r}; it is one of {', '.join(CROPS)}.{suggest_nearest(crop, [*CROPS])}"
            )
        fitted = [np.asarray(fit(image, self.image_size, crop), dtype=np.float32) for image in images]
        pixels = torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2) / 255
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        return ((pixels - mean) / std).to(self.model.device, self.model.dtype)

    def _hidden(self, pixels: Tensor) -> Float[Tensor, "images patches dim"]:
        return self.model(pixels, output_hidden_states=True).hidden_states[-2].float().cpu()

    def _known_as(self) -> str:
        name = IMAGE_TOWERS.get((self.hidden_size, self.projection_dim))
        return f" ({name})" if name else ""


class TextEncoder:
    """A `CLIPTextModelWithProjection` and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        if getattr(model, "text_projection", None) is None:
            raise StyleError(
                f"The text encoder is a {type(model).__name__}, which projects into no shared space; "
                "give a CLIPTextModelWithProjection and its tokenizer."
            )
        self.model = model
        self.tokenizer = tokenizer

    @property
    def projection_dim(self) -> int:
        return self.model.config.projection_dim

    @torch.no_grad()
    def embed(self, phrases: Sequence[str]) -> Float[Tensor, "phrases dim"]:
        """Raw projected `text_embeds`, not normalised, in float32 on the CPU."""
        tokens = self.tokenizer(
            list(phrases),
            padding="max_length",
            max_length=self.model.config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        )
        return self.model(tokens.input_ids.to(self.model.device)).text_embeds.float().cpu()


def find_text_encoder(pipe: Any, embedding_dim: int) -> TextEncoder | None:
    """The pipeline's own second text tower, if it projects into a space of this width."""
    model, tokenizer = getattr(pipe, "text_encoder_2", None), getattr(pipe, "tokenizer_2", None)
    if tokenizer is None or getattr(model, "text_projection", None) is None:
        return None
    encoder = TextEncoder(model, tokenizer)
    return encoder if encoder.projection_dim == embedding_dim else None


def missing_text_encoder_error(embedding_dim: int) -> StyleError:
    """Removal was asked for, and nothing here can read the words: says what to get."""
    known = TEXT_TOWERS.get(embedding_dim)
    where = f"; for this width that is {known}" if known else ""
    return StyleError(
        f"Removing content needs the text tower that shares the image encoder's space, {embedding_dim} wide, "
        f"and the pipeline has none. Pass text_encoder=(CLIPTextModelWithProjection, tokenizer){where}."
    )


def _model_in(folder: Path, dtype: torch.dtype) -> Any:
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    if not (folder / "config.json").is_file():
        raise CheckpointError(f"There is no image encoder in {folder}: it has no config.json.")
    try:
        return CLIPVisionModelWithProjection.from_pretrained(
            folder, local_files_only=True, dtype=dtype
        ).eval()
    except (OSError, ValueError, RuntimeError) as fault:
        raise CheckpointError(f"The image encoder in {folder} cannot be read: {fault}") from None


def _model_of(file: Path, dtype: torch.dtype) -> Any:
    """A tower from its tensors alone, as other programs keep them: its sizes are read from their shapes."""
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    tensors = open_state_dict(file)
    config = CLIPVisionConfig(**_vision_settings(tensors.shapes, file))
    weights = {name: tensors.read(name) for name in tensors.shapes if name.startswith(_VISION_PARTS)}
    model: Any = CLIPVisionModelWithProjection(config)
    try:
        missing = model.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError as fault:
        raise CheckpointError(f"The image encoder in {file} cannot be read: {fault}") from None
    lacking = [name for name in missing if not name.endswith("position_ids")]
    if lacking:
        raise CheckpointError(f"The image encoder in {file} lacks {', '.join(lacking)}; fetch it again.")
    return model.to(dtype).eval()


_VISION_PARTS = ("vision_model.", "visual_projection.")


def _vision_settings(shapes: Mapping[str, tuple[int, ...]], file: Path) -> dict[str, Any]:
    patches = shapes.get("vision_model.embeddings.patch_embedding.weight", ())
    projection = shapes.get("visual_projection.weight", ())
    places = shapes.get("vision_model.embeddings.position_embedding.weight", ())
    inner = shapes.get("vision_model.encoder.layers.0.mlp.fc1.weight", ())
    widths = (patches[0], projection[0]) if len(patches) == 4 and len(projection) == 2 else (0, 0)
    if widths not in _TOWER_SETTINGS or len(places) != 2 or len(inner) != 2:
        known = ", ".join(IMAGE_TOWERS.values())
        raise CheckpointError(
            f"{file} is none of the CLIP image encoders that we know by their tensors ({known}); "
            "give a folder with its config.json."
        )
    layers = {name.split(".")[3] for name in shapes if name.startswith("vision_model.encoder.layers.")}
    return {
        "hidden_size": widths[0],
        "projection_dim": widths[1],
        "intermediate_size": inner[0],
        "num_hidden_layers": len(layers),
        "patch_size": patches[-1],
        "image_size": patches[-1] * isqrt(places[0] - 1),
        **_TOWER_SETTINGS[widths],
    }


def _tower_with(kind: str, width: int) -> str:
    place = 1 if kind == "base" else 0
    names: Mapping[int, str] = {widths[place]: name for widths, name in IMAGE_TOWERS.items()}
    return f" ({names[width]})" if width in names else ""
