"""Limits of one request and of the whole service."""

from collections.abc import Iterator
from dataclasses import dataclass

from .errors import ApiError
from .model_defaults import ModelDefaults
from .schemas import EditRequest, ImageRequest

_BESIDE = {"hold_layout": "twins", "shared": "the first image beside each"}
"""What is generated beside each image, by the field that asks for it."""


@dataclass(frozen=True)
class Limits:
    """Limits of one request and of the whole service.

    Attributes:
        body_bytes: Bytes of a request.
        upload_pixels: Pixels of an uploaded image; the default is 96 MB as RGB.
        request_pixels: Pixels of all images of a request together, which are decoded at the same time; the default is
            two of the largest, such as a reference and an image to restyle.
        image_pixels: Pixels of a generated image, or of two that are generated together: where the layout is held or
            attention is shared, there is another beside each.
        images: Images of a request, those beside them included; the default is OpenAI's limit of `n`.
        steps: Calls of the network for an image, see `ModelDefaults.count_calls`: schedulers of second order and true
            guidance of a transformer make two a step, PNDM has one more, an inversion adds its own, and so does a
            ControlNet.
        text_length: Characters of prompt, negative prompt and content together.
        connections: Connections open at once. Beyond that, the one that waits longest for its client is closed.
        head_seconds: Time for the head of a request, from the connection or from the last answer.
        body_seconds: Time for the body of a request; after that it is answered 408.
        read_seconds: Time in which a client must read what was sent; after that its connection is closed.
        queue: Requests that wait for a worker; one more is answered 429.
        seconds: Time from the arrival of a request to the last image.
        grace_seconds: Time from the stop signal to the end of the service.
        styles: Styles stored for one key.
    """

    body_bytes: int = 32_000_000
    upload_pixels: int = 32_000_000
    request_pixels: int = 64_000_000
    image_pixels: int = 1536 * 1536
    images: int = 10
    steps: int = 100
    text_length: int = 4000
    connections: int = 256
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    read_seconds: float = 30.0
    queue: int = 64
    seconds: float = 300.0
    grace_seconds: float = 30.0
    styles: int = 1000

    def check(self, request: ImageRequest, model: ModelDefaults) -> None:
        """Check the amounts of a request for images, before its files are read.

        Args:
            request: The request.
            model: What acts for the fields that the request leaves out.

        Raises:
            ApiError: Names everything that exceeds a limit.
        """
        beside = _find_beside(request)
        together, counted = (2, f", with {_BESIDE[beside]},") if beside else (1, "")
        steps, size = "num_inference_steps", "size"
        open_fields: list[str] = []
        calls, pixels = model.count_calls(request), together * _count_pixels(request, model)
        if request.num_inference_steps is None:
            steps += f" (by default {model.steps})"
            open_fields += ["num_inference_steps"] if calls > self.steps else []
        if request.dimensions is None:
            size += f" (by default {model.width}x{model.height})"
            open_fields += ["size"] if pixels > self.image_pixels else []
        text = request.prompt, request.negative_prompt, request.first_prompt or "", *request.content
        amounts = {
            "n": (f"n{counted}", together * request.n, self.images),
            "num_inference_steps": (f"calls of the network in {steps}", calls, self.steps),
            "size": (f"pixels of {size}{counted}", pixels, self.image_pixels),
            "prompt": ("characters of text", sum(map(len, text)), self.text_length),
        }
        exceeded = {
            param: f"{name} is {amount}, at most {limit}"
            for param, (name, amount, limit) in amounts.items()
            if amount > limit
        }
        if exceeded:
            advice = f" Send a smaller {' and '.join(open_fields)}." if open_fields else ""
            raise ApiError(
                f"This request asks for more than this service allows: {'; '.join(exceeded.values())}.{advice}",
                code="too_much",
                param=next(iter(exceeded)),
            )

    def check_restyled(self, request: ImageRequest, size: tuple[int, int], side: int) -> None:
        """Check the pixels of a restyled image, whose size is that of an upload in the model's number of pixels.

        Args:
            request: The request.
            size: Width and height in px at which the image will be drawn.
            side: Side in px of the square with the model's number of pixels.

        Raises:
            ApiError: They exceed the limit.
        """
        beside = _find_beside(request)
        together = 2 if beside else 1
        pixels = together * size[0] * size[1]
        if pixels <= self.image_pixels:
            return
        if together * side**2 <= self.image_pixels:
            advice = "crop it to a shape nearer to a square"
        elif beside and size[0] * size[1] <= self.image_pixels:
            advice = f"leave {beside} out"
        else:
            advice = "this service can restyle none with this model"
        counted = f", with {_BESIDE[beside]}," if beside else ""
        raise ApiError(
            f"The image would be restyled at {size[0]}x{size[1]}, whose pixels{counted} are {pixels}, at most "
            f"{self.image_pixels}; {advice}.",
            code="too_much",
        )

    def describe_refused(self, model: ModelDefaults) -> Iterator[str]:
        """Say which requests are refused because the model's own defaults exceed a limit.

        Args:
            model: The defaults.

        Yields:
            A line for each limit.
        """
        if (calls := model.count_calls()) > self.steps:
            yield (
                f"Requests without num_inference_steps will be refused: the model's {model.steps} steps are {calls} "
                f"calls of the network, and at most {self.steps} are allowed (--max-steps)."
            )
        if (pixels := model.width * model.height) > self.image_pixels:
            yield (
                f"Requests without size will be refused: the model's {model.width}x{model.height} has {pixels} "
                f"pixels, and at most {self.image_pixels} are allowed (--max-pixels)."
            )


def _find_beside(request: ImageRequest) -> str | None:
    """Return the field that asks for another image beside each; None without one."""
    return "hold_layout" if request.hold_layout else "shared" if request.shared else None


def _count_pixels(request: ImageRequest, model: ModelDefaults) -> int:
    """Count the pixels of an image; 0 for one that is restyled, whose size is known when the upload is read."""
    if isinstance(request, EditRequest) and request.mode == "restyle":
        return 0
    width, height = request.dimensions or (model.width, model.height)
    return width * height
