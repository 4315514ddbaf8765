"""Limits of one request and of the whole service."""

from dataclasses import dataclass

from .errors import ApiError
from .schemas import ImageRequest


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
        steps: Calls of the network for an image; schedulers of second order make two a step.
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

    def check(self, request: ImageRequest) -> None:
        """Check the amounts of a request for images.

        Raises:
            ApiError: Names everything that exceeds a limit.
        """
        width, height = request.dimensions or (0, 0)
        text = request.prompt, request.negative_prompt, request.first_prompt or "", *request.content
        beside = "twins" if request.hold_layout else "the first image beside each" if request.shared else ""
        together = 2 if beside else 1
        counted = f", with {beside}," if beside else ""
        amounts = {
            f"n{counted}": (together * request.n, self.images),
            "calls of the network in num_inference_steps": (_count_calls(request), self.steps),
            f"pixels of size{counted}": (together * width * height, self.image_pixels),
            "characters of text": (sum(map(len, text)), self.text_length),
        }
        exceeded = [
            f"{name} is {amount}, at most {limit}" for name, (amount, limit) in amounts.items() if amount > limit
        ]
        if exceeded:
            raise ApiError(
                f"This request asks for more than this service allows: {'; '.join(exceeded)}.",
                code="too_much",
            )


def _count_calls(request: ImageRequest) -> int:
    """Count the calls of the network for the steps that a request asks for."""
    if request.num_inference_steps is None:
        return 0
    # The steps of an inversion come before those of the image.
    evaluations = 1 + (getattr(request, "inversion", None) or 0)
    if request.scheduler is None:
        return request.num_inference_steps * evaluations
    from ..models.schedulers import get_scheduler_config

    return request.num_inference_steps * evaluations * get_scheduler_config(request.scheduler).calls_per_step
