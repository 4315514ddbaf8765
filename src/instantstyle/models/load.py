"""From a registry name, a folder, a hub id or one file to a ready `InstantStyle`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ..core.clip_encoders import ImageEncoder
from ..core.pipeline import InstantStyle
from ..errors import ModelError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..utils.hub import fetch, is_offline
from .clip_sources import TEXT_SOURCES, SeparateTextEncoder, image_tower_for, no_image_tower
from .default_dtype import default_dtype
from .registry import Card
from .required_files import Item, absence, config_card, config_files, inventory, missing
from .resolve import resolved, without_adapter


def load(
    model: str | Path,
    *,
    adapter: Any = None,
    image_encoder: Any = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
    keep_encoder: bool = True,
    plain: bool = False,
) -> InstantStyle:
    """A ready `InstantStyle`.

    `model`: a name from `CARDS`, a folder in diffusers' layout, a hub id, or a single-file checkpoint.
    `adapter`: a file, or a registered model's name for that one's adapter; by default the card's, or what
    lies in the folder (`ip-adapter*.safetensors`). `image_encoder`: a folder or file; by default the one
    beside the model, or the one that the adapter needs. `dtype` defaults to float16 on a GPU and to float32
    on a CPU, or bfloat16 where a short measurement shows that to be faster. `keep_encoder=False` frees the
    image encoder after each look. `plain` loads neither adapter nor image encoder, which then need not be
    here: bound styles draw, and no others.
    """
    if plain:
        return _plain(resolved(str(model))[0], dtype, device)
    card, adapter = resolved(str(model), adapter)
    _refuse_incomplete(card, adapter, image_encoder)
    dtype = dtype or default_dtype(device, exact=card.bundled)
    file = IPAdapterCheckpoint.open(_adapter_of(card) if adapter is None else adapter)
    with quietly():
        encoder = ImageEncoder.open(image_encoder or _encoder_of(card, file), dtype)
        encoder.check_fits(file.kind, file.embedding_dim)
        pipe = pipeline_of(card, dtype)
    if device is not None:
        pipe.to(device)
        encoder.model.to(device)
    styled = InstantStyle(
        pipe,
        adapter=file,
        image_encoder=encoder,
        architecture=card.architecture,
        defaults=card.defaults,
        keep_encoder=keep_encoder,
    )
    _add_text_tower(styled, file)
    return styled


def check_model(
    model: str | Path, *, adapter: Any = None, image_encoder: Any = None, plain: bool = False
) -> None:
    """`ModelError` for what `load` would refuse before it loads anything."""
    card, adapter = resolved(str(model), adapter)
    if plain:
        card = without_adapter(card)
        _refuse_missing(card, inventory(card))
    else:
        _refuse_incomplete(card, adapter, image_encoder)


def _plain(card: Card, dtype: torch.dtype | None, device: str | torch.device | None) -> InstantStyle:
    card = without_adapter(card)
    _refuse_missing(card, inventory(card))
    with quietly():
        pipe = pipeline_of(card, dtype or default_dtype(device, exact=card.bundled))
    if device is not None:
        pipe.to(device)
    return InstantStyle(pipe, architecture=card.architecture, defaults=card.defaults)


def _refuse_incomplete(card: Card, adapter: Any, image_encoder: Any) -> None:
    """Before anything is loaded: all that is lacking and cannot be fetched, at once."""
    if adapter is None and card.adapter is None:
        raise ModelError(
            f"{card.name} says nothing of an IP-Adapter; pass adapter=, a file or the name of a model whose "
            'adapter is for the same base, such as "sdxl" or "sd15".'
        )
    _refuse_missing(card, inventory(card, adapter, image_encoder))


def _refuse_missing(card: Card, items: Sequence[Item]) -> None:
    items = missing(items)
    lost = [item for item in items if not item.on_hub]
    if lost or (items and is_offline()):
        raise absence(card, lost or items)


def _adapter_of(card: Card) -> Path:
    if card.adapter_repo is None:
        return Path(card.pipeline) / str(card.adapter)
    return fetch(card.adapter_repo, str(card.adapter), card.revision)


def _encoder_of(card: Card, file: IPAdapterCheckpoint) -> Path:
    """The model's own, or the one that the adapter's tensors ask for: never by a file's name."""
    if card.image_encoder is not None:
        return Path(card.pipeline) / card.image_encoder
    tower = image_tower_for(file.kind, file.embedding_dim)
    if tower is None:
        raise no_image_tower(file.kind, file.embedding_dim)
    return tower.fetched()[0].parent


def _add_text_tower(styled: InstantStyle, file: IPAdapterCheckpoint) -> None:
    """Where the pipeline has none that fits and we know one: its files are fetched when they are needed."""
    tower = TEXT_SOURCES.get(file.embedding_dim)
    if styled.text_encoder is None and file.kind == "base" and tower is not None:
        device = styled.image_encoder.model.device
        styled.text_encoder = SeparateTextEncoder(tower, file.embedding_dim, device)


def pipeline_of(card: Card, dtype: torch.dtype) -> Any:
    """The diffusers pipeline of the card, with its scheduler."""
    with _no_word_of_torchvision():
        diffusers_class("StableDiffusionXLPipeline")  # imported to be imported quietly
    try:
        pipe = _from_file(card, dtype) if Path(card.pipeline).is_file() else _from_folder(card, dtype)
    except (OSError, ValueError) as fault:
        raise ModelError(f"{card.pipeline} cannot be loaded: {str(fault).splitlines()[0]}") from None
    return _rescheduled(unmarked(pipe), card)


def unmarked(pipe: Any) -> Any:
    """Without the invisible watermark, which depends on what else is installed."""
    if hasattr(pipe, "watermark"):
        pipe.watermark = None
    return pipe


def _from_folder(card: Card, dtype: torch.dtype) -> Any:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline
    from diffusers.utils.import_utils import is_accelerate_available

    replaced = {"unet": _unet(card, dtype)} if card.unet else {}
    return DiffusionPipeline.from_pretrained(
        card.pipeline,
        dtype=dtype,
        variant=card.variant,
        revision=card.pipeline_revision,
        local_files_only=Path(card.pipeline).is_dir() or is_offline(),
        low_cpu_mem_usage=is_accelerate_available(),
        **replaced,
    )


def _from_file(card: Card, dtype: torch.dtype) -> Any:
    """A single file holds weights only: settings and tokenizers are lent by its family's registered model."""
    lender = config_card(card)
    index, *_ = [fetch(lender.pipeline, file, lender.pipeline_revision) for file in config_files(lender)]
    kinds = {"sdxl": "StableDiffusionXLPipeline", "sd15": "StableDiffusionPipeline"}
    return diffusers_class(kinds[lender.name]).from_single_file(
        card.pipeline, config=str(index.parent), torch_dtype=dtype, local_files_only=True
    )


def _unet(card: Card, dtype: torch.dtype) -> Any:
    """The network that replaces the pipeline's own: the same shape, other weights."""
    from safetensors.torch import load_file

    assert card.unet is not None
    config = fetch(card.pipeline, "unet/config.json", card.pipeline_revision)
    network = diffusers_class("UNet2DConditionModel")
    unet = network.from_config(network.load_config(config)).to(dtype)
    unet.load_state_dict(load_file(fetch(card.unet.repo, card.unet.file, card.unet.revision)))
    return unet.eval()


def diffusers_class(name: str) -> Any:
    """By name: diffusers exports its classes lazily, which type checkers do not see."""
    return getattr(import_module("diffusers"), name)


def _rescheduled(pipe: Any, card: Card) -> Any:
    if card.scheduler is not None:
        scheduler = diffusers_class(card.scheduler.name)
        pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **card.scheduler.changes)
    return pipe


@contextmanager
def _no_word_of_torchvision() -> Iterator[None]:
    """Importing diffusers' pipelines makes transformers miss torchvision, which neither they nor we use."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


@contextmanager
def quietly() -> Iterator[None]:
    """No progress bars: loading is short; the bars that people want to see are those of drawing."""
    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    shown = [library for library in (ours, theirs) if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()
