"""How much one request may ask for, and the service may hold."""

from collections.abc import Iterator
from dataclasses import dataclass

from .errors import ApiError
from .schemas import Drawn


@dataclass(frozen=True)
class Limits:
    """Each is refused with its name where it is overstepped."""

    body: int = 32_000_000
    """Bytes of a request."""
    upload: int = 32_000_000
    """Pixels of a picture that is sent: 96 MB as RGB."""
    pixels: int = 1536 * 1536
    """Of a picture that is drawn."""
    pictures: int = 10
    """A request; OpenAI's own bound on `n`."""
    steps: int = 100
    """Of a picture."""
    words: int = 4000
    """Characters of prompt, negative prompt and content together."""
    connections: int = 256
    """Open at once: of each a request may lie in memory."""
    waiting: int = 64
    """Requests in line; one more is answered 429."""
    seconds: float = 300.0
    """From joining the line to the last picture."""
    styles: int = 1000
    """Kept for one key."""

    def check(self, asked: Drawn) -> None:
        """`Refusal` that names everything a request has too much of."""
        if told := "; ".join(self._overstepped(asked)):
            raise ApiError(f"This asks for more than is served here: {told}.", code="too_much")

    def _overstepped(self, asked: Drawn) -> Iterator[str]:
        width, height = asked.sides or (0, 0)
        words = asked.prompt, asked.negative_prompt, *asked.content
        found = {
            "n": (asked.n, self.pictures),
            "num_inference_steps": (asked.num_inference_steps or 0, self.steps),
            "pixels of size": (width * height, self.pixels),
            "characters of text": (sum(map(len, words)), self.words),
        }
        for name, (given, bound) in found.items():
            if given > bound:
                yield f"{name} is {given}, at most {bound}"
