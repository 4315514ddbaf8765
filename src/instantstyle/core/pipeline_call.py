"""The running call of a pipeline that a call of its UNet belongs to: its step, its rows and its crop.

diffusers' pipelines hold these in local variables of `__call__`, under the same names in all classes that can be
styled: `i` and `timesteps` of the denoising loop, `crops_coords` and `original_image` of inpainting. They are read
from the stack, as no attribute tells whether a pipeline is running, which of several pipelines on one UNet runs,
or the step: a scheduler may have a timestep twice, and a call may skip its first and its last steps.
`tests/core/test_pipeline_call.py` holds diffusers to these names.
"""

import dis
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from types import CodeType, FrameType
from typing import Any

from PIL import Image

from ..errors import ModelError
from .protocols import NETWORKS
from .row_layout import ROW_LAYOUTS, VIEWED, RowLayout, find_known_class, unknown_pipeline_error


@dataclass(frozen=True)
class ImageRegion:
    """The part of an image that is generated, in pixels of the whole image."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    """Width of the whole image."""
    height: int
    """Height of the whole image."""


@dataclass(frozen=True)
class PipelineCall:
    """A running method of a diffusers pipeline."""

    pipe: Any
    known_class: str | None
    """Name of diffusers' class whose `__call__` is running; None for any other method."""
    method: str
    variables: Mapping[str, Any]
    """Local variables of the method."""

    def row_layout(self, declared: RowLayout | None, arguments: Mapping[str, Any]) -> RowLayout:
        """Return the parts of the batch.

        Args:
            declared: The caller's layout for pipelines that are not known.
            arguments: Keyword arguments of the network's call.

        Raises:
            ModelError: The pipeline is not known, and no layout is declared; or its rows have no one meaning.
        """
        if self.known_class is not None:
            return ROW_LAYOUTS[self.known_class](self.pipe, self.variables, arguments)
        if declared is None:
            name = type(self.pipe).__name__
            raise unknown_pipeline_error(name if self.method == "__call__" else f"{name}.{self.method}")
        return declared

    @property
    def progress(self) -> float | None:
        """Share of the steps of this call before the current one; None where the method has no such loop."""
        step, timesteps = self.variables.get("i"), self.variables.get("timesteps")
        if not isinstance(step, int) or timesteps is None:
            return None
        return step / len(timesteps)

    @property
    def num_steps(self) -> int | None:
        """Number of steps that this call draws; None where the method has no such loop."""
        return None if self.progress is None else len(self.variables["timesteps"])

    @property
    def region(self) -> ImageRegion | None:
        """The region of `padding_mask_crop`; None where the whole image is generated."""
        crop = self.variables.get("crops_coords")
        image = self.variables.get("original_image")
        if crop is None or image is None:
            return None
        if not isinstance(image, Image.Image):
            raise ModelError("padding_mask_crop with a mask of a style needs one PIL image to inpaint.")
        left, top, right, bottom = crop
        return ImageRegion(left, top, right, bottom, image.width, image.height)

    @property
    def runs_callback(self) -> bool:
        """Whether code may run between two steps that changes the network."""
        callbacks = (self.variables.get(name) for name in ("callback_on_step_end", "callback"))
        return self.known_class is None or any(each is not None and not only_reads(each) for each in callbacks)

    @property
    def has_views(self) -> bool:
        """Whether the batch holds parts of an image."""
        return self.known_class in VIEWED


def find_pipeline_call(unet: object) -> PipelineCall | None:
    """Find the innermost running method of a diffusers pipeline that has this UNet.

    Args:
        unet: The network, compiled or not.

    Returns:
        The call, or None in a caller's own loop. A callback of a known pipeline that calls the UNet is one too.
    """
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    network = unwrap_compiled(unet)
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        if code.co_argcount and code.co_varnames[0] == "self":
            variables = frame.f_locals
            pipe = variables.get("self")
            if isinstance(pipe, DiffusionPipeline) and (component := _find_component(pipe, network)):
                owners = [cls for cls in type(pipe).__mro__ if _code_of(cls, code.co_name) is code]
                known = find_known_class(owners) if code.co_name == "__call__" else None
                if known is not None and not _is_calling(frame, component):
                    return None
                return PipelineCall(pipe, known, code.co_name, variables)
        frame = frame.f_back
    return None


def _find_component(pipe: object, network: object) -> str | None:
    """Return the name of the component of a pipeline that a network is; None if it has another one."""
    return next((name for name in NETWORKS if unwrap_compiled(getattr(pipe, name, None)) is network), None)


def _is_calling(frame: FrameType, component: str) -> bool:
    """Whether the expression that a frame evaluates now is a call of `self.unet`, say, and not of a callback."""
    line, _, column, _ = next(islice(frame.f_code.co_positions(), frame.f_lasti // 2, None))
    return (line, column) in _call_places(frame.f_code, component)


@cache
def _call_places(code: CodeType, component: str) -> frozenset[tuple[int | None, int | None]]:
    """Return line and column at which expressions that begin with `self.unet`, say, begin."""
    found = (each.positions for each in dis.get_instructions(code) if each.argval == component and each.positions)
    return frozenset((each.lineno, each.col_offset) for each in found)


def unwrap_compiled(network: Any) -> Any:
    """Return the network inside of `torch.compile(network)`, or the network itself."""
    return getattr(network, "_orig_mod", network)


def _code_of(cls: type, method: str) -> object:
    function = vars(cls).get(method)
    return getattr(inspect.unwrap(function), "__code__", None) if function is not None else None


READ_ONLY = "only_reads"
"""Attribute of callbacks that change nothing of the pipeline, such as those that report progress."""


def only_reads(callback: object) -> bool:
    """Whether a callback declares that it changes nothing."""
    return getattr(callback, READ_ONLY, False) is True
