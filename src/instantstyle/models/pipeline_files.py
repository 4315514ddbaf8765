"""The files of a pipeline in diffusers' layout that `load` opens, by the classes in model_index.json."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ..errors import JobError
from ..loaders.pretrained_files import (
    Library,
    choose_variant,
    component_variant,
    default_weights,
    find_weights,
    is_inside,
    list_names,
    list_shards,
    list_weights,
)
from ..utils.hub import fetch_file, list_hub_files
from ..utils.text_file import parse_json, read_text_file

PIPELINE_INDEX = "model_index.json"
"""File that names the components of a pipeline."""

IMAGE_ENCODER = "image_encoder"
"""Component that does not stay in memory: the adapter's image encoder is loaded apart from the pipeline."""

_DISPENSABLE = ("text_encoder_3", "tokenizer_3")
"""Components without which their pipeline generates: the T5 of SD3.5, which diffusers' page leaves out to save memory
(huggingface.co/docs/diffusers/api/pipelines/stable_diffusion/stable_diffusion_3)."""

Kind = Literal[
    "diffusers",
    "transformers",
    "tokenizer",
    "fast tokenizer",
    "T5 tokenizer",
    "SentencePiece",
    "feature extractor",
    "scheduler",
]
"""What loads a component: `tokenizer` is one of CLIP, `fast tokenizer` one in the format of the tokenizers package,
and `SentencePiece` one of ChatGLM."""

_CONFIGS: Mapping[Kind, str] = {"scheduler": "scheduler_config.json", "feature extractor": "preprocessor_config.json"}
"""Config files other than config.json."""

_TOKENIZER_FILES: Mapping[Kind, Sequence[str]] = {
    "tokenizer": ("vocab.json", "merges.txt", "tokenizer_config.json"),
    # As transformers has written every tokenizer since version 5, and many before.
    "fast tokenizer": ("tokenizer.json", "tokenizer_config.json"),
    "T5 tokenizer": ("spiece.model", "tokenizer_config.json"),
    "SentencePiece": ("tokenizer.model", "tokenizer_config.json"),
}
"""Files of tokenizers."""

_KIND_BY_NAME: Mapping[str, Kind] = {
    "scheduler": "scheduler",
    "feature_extractor": "feature extractor",
    "transformer": "diffusers",
    "unet": "diffusers",
    "vae": "diffusers",
}
"""Kinds of components that are named by the registry, where no class is known. Others are of transformers."""


@dataclass(frozen=True)
class Component:
    """A component of a pipeline.

    Attributes:
        name: Its folder.
        kind: What loads it.
    """

    name: str
    kind: Kind

    @property
    def library(self) -> Library | None:
        """The library that opens its weights; None if it has none."""
        return self.kind if self.kind in ("diffusers", "transformers") else None

    def list_small_files(self, names: Collection[str] = ()) -> list[str]:
        """List the names of its files without weights.

        Args:
            names: Names of the files that are there, which decide between two forms of a tokenizer.
        """
        if self.kind in _TOKENIZER_FILES:
            # ChatGLM's own class reads the former only.
            is_fast = "tokenizer.json" in names and self.kind != "SentencePiece"
            return [*_TOKENIZER_FILES["fast tokenizer" if is_fast else self.kind]]
        return [_CONFIGS.get(self.kind, "config.json")]

    def list_files(self, folder: Path, variant: str | None) -> list[str]:
        """List the names of all files that are opened.

        Args:
            folder: Its folder.
            variant: The variant with which the pipeline is loaded.

        Returns:
            The names; for what is absent, the names that should be there.
        """
        names = list_names(folder)
        small = self.list_small_files(names)
        if self.library is None:
            return small
        variant = component_variant(names, variant)
        first = find_weights(self.library, names, variant) or default_weights(self.library, variant)
        return [*small, *list_weights(folder, first)]


def name_component(name: str, kinds: Mapping[str, Kind] | None = None) -> Component:
    """Describe a component by its name alone, as in the registry.

    Args:
        name: Its name.
        kinds: Kinds by name that differ from those of most pipelines.
    """
    kind = "tokenizer" if name.startswith("tokenizer") else _KIND_BY_NAME.get(name, "transformers")
    return Component(name, (kinds or {}).get(name, kind))


def read_index(folder: Path) -> dict[str, Any]:
    """Read model_index.json; empty if it is missing or cannot be read."""
    try:
        index = parse_json(read_text_file(folder / PIPELINE_INDEX, "the index of a pipeline"))
    except (JobError, ValueError):
        return {}
    return cast("dict[str, Any]", index) if isinstance(index, dict) else {}


def list_outside_names(folder: Path, variant: str | None = None) -> list[tuple[str, str]]:
    """List the names in the indexes of a pipeline that are absolute or have `..`, and so are of no file in its folder.

    Args:
        folder: Folder of the pipeline.
        variant: The variant with which it is loaded.

    Returns:
        Path in the folder of the index, and the name, of each.
    """
    index = read_index(folder)
    found = [
        (PIPELINE_INDEX, name) for name, entry in index.items() if isinstance(entry, list) and not is_inside(name)
    ]
    for component in list_components(index):
        for file in component.list_files(folder / component.name, variant):
            shards = list_shards(folder / component.name, file) if ".index." in file else []
            found += [(f"{component.name}/{file}", name) for name in shards if not is_inside(name)]
    return found


def list_left_out(folder: Path) -> dict[str, None]:
    """List the components that a pipeline was saved without, as arguments of `from_pretrained`.

    diffusers (0.42) loads such a folder only where each of them is named as None.
    """
    index = read_index(folder)
    return {name: None for name in _DISPENSABLE if index.get(name) == [None, None]}


def list_components(index: Mapping[str, Any]) -> Iterator[Component]:
    """Yield the components that loading a pipeline opens.

    Args:
        index: Contents of its model_index.json. Without components, the UNet is one nevertheless. Names outside the
            folder are left out.
    """
    entries = {
        name: entry
        for name, entry in index.items()
        if is_inside(name)
        and isinstance(entry, list)
        and len(entry) == 2
        and all(isinstance(part, str) for part in entry)
    }
    for name, (library, class_name) in (entries or {"unet": ("diffusers", "UNet2DConditionModel")}).items():
        yield Component(name, _kind_of_class(library, class_name))


def list_pipeline_files(folder: Path, variant: str | None = None, held: Collection[str] = ()) -> list[tuple[str, str]]:
    """List the files that loading a pipeline opens.

    Args:
        folder: Folder of the pipeline.
        variant: The variant with which it is loaded.
        held: Components whose weights are elsewhere; only their other files are listed.

    Returns:
        Component and path in the folder of each file; for what is absent, the files that should be there.
    """
    return [
        ("pipeline", PIPELINE_INDEX),
        *(
            (component.name, f"{component.name}/{file}")
            for component in list_components(read_index(folder))
            for file in (
                component.list_small_files(list_names(folder / component.name))
                if component.name in held
                else component.list_files(folder / component.name, variant)
            )
        ),
    ]


def find_pipeline_variant(folder: Path) -> str | None:
    """Find the variant with which a folder can be loaded; None for files without a variant.

    Args:
        folder: Folder of the pipeline.
    """
    return choose_pipeline_variant(
        read_index(folder),
        {path.name: list_names(path) for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else {},
    )


def choose_pipeline_variant(index: Mapping[str, Any], names: Mapping[str, Collection[str]]) -> str | None:
    """Choose the variant with which a pipeline can be loaded; None for files without a variant.

    Args:
        index: Contents of its model_index.json.
        names: Names of the files by component.
    """
    return choose_variant(
        {
            component.name: (component.library, names.get(component.name, ()))
            for component in list_components(index)
            if component.library is not None
        }
    )


def find_hub_variant(repo: str, revision: str | None) -> str | None:
    """Find the variant with which a repository on the hub can be loaded; None for files without a variant.

    Args:
        repo: Hub id.
        revision: Branch, tag or commit; None for the main branch.

    Raises:
        ModelError: The repository has no model_index.json, or it is not available.
    """
    index = read_index(fetch_file(repo, PIPELINE_INDEX, revision).parent)
    names: dict[str, list[str]] = {}
    for file in list_hub_files(repo, revision):
        folder, _, name = file.rpartition("/")
        names.setdefault(folder, []).append(name)
    return choose_pipeline_variant(index, names)


def _kind_of_class(library: str, class_name: str) -> Kind:
    if class_name == "ChatGLMTokenizer":
        return "SentencePiece"
    if class_name.startswith("T5Tokenizer"):
        return "T5 tokenizer"
    if "Tokenizer" in class_name:
        return "tokenizer"
    if class_name.endswith(("FeatureExtractor", "ImageProcessor", "ImageProcessorFast", "ImageProcessorPil")):
        return "feature extractor"
    if library == "diffusers":
        return "scheduler" if "Scheduler" in class_name else "diffusers"
    return "transformers"
