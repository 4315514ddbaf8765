"""Count the files and functions of the package that one styled call, and one `generate` command, run through.

    python -m benchmarks.call_path

Prints one line of JSON for each: distinct files, distinct functions, and returns to a file left before.
docs/architecture.md quotes the figures. Module bodies, lambdas and comprehensions are not counted.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import instantstyle
from instantstyle.cli import main

PACKAGE = Path(instantstyle.__file__).parent


@contextmanager
def record_calls() -> Iterator[list[CodeType]]:
    """Record, in order, the code objects of the package's functions called in the `with` block."""
    calls: list[CodeType] = []

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(PACKAGE)) and not code.co_name.startswith("<"):
            calls.append(code)

    sys.setprofile(profile)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def summarize_calls(calls: list[CodeType]) -> dict[str, int]:
    """Count distinct files and functions, and visits to a file after another file was visited in between."""
    firsts = list(dict.fromkeys(calls))
    path = [code.co_filename for code in firsts]
    visits = [name for number, name in enumerate(path) if number == 0 or path[number - 1] != name]
    return {
        "files": len(set(path)),
        "functions": len(firsts),
        "returns": len(visits) - len(set(visits)),
    }


def list_calls(calls: list[CodeType]) -> list[str]:
    """Return `file: function` in order of the first call."""
    return [f"{Path(code.co_filename).relative_to(PACKAGE)}: {code.co_qualname}" for code in dict.fromkeys(calls)]


def record_styled_call() -> list[CodeType]:
    """Record one call with a style that was made before and is bound to no model."""
    styled = instantstyle.load("mini")
    image = styled("a cat", seed=1).images[0]
    style = styled.style(image, content="a cat")
    with record_calls() as calls:
        styled("a rocket", style=style, seed=7, num_inference_steps=2)
    return calls


def record_generate_command() -> list[CodeType]:
    """Record `instantstyle generate` with a reference image and content."""
    with tempfile.TemporaryDirectory() as folder:
        reference, output = Path(folder, "ink.png"), Path(folder, "rocket.png")
        instantstyle.load("mini")("a cat", seed=1).images[0].save(reference)
        arguments = ["generate", "a rocket", "--style", str(reference), "--content", "a cat"]
        sys.argv = ["instantstyle", *arguments, "--steps", "2", "--seed", "7", "-o", str(output)]
        status: object = None
        with record_calls() as calls:
            try:
                main()
            except SystemExit as exit_request:
                status = exit_request.code
    if status:
        raise SystemExit(f"generate exited with {status}")
    return calls


MEASURED: dict[str, Callable[[], list[CodeType]]] = {
    "styled call": record_styled_call,
    "generate": record_generate_command,
}

if __name__ == "__main__":
    for name, measure in MEASURED.items():
        calls = measure()
        print(json.dumps({"measured": name, **summarize_calls(calls)}))
        if "--list" in sys.argv[1:]:
            print("\n".join(list_calls(calls)))
