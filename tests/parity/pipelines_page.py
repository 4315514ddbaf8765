"""Render docs/pipelines.md from the table of row layouts, the installed diffusers and the cases that are compared.

python -m tests.parity.pipelines_page
"""

import inspect
from pathlib import Path

from instantstyle.core.row_layout import REFUSED, ROW_LAYOUTS, VIEWED

from .pipeline_cases import CASES, Case, list_adapter_classes

PAGE = Path("docs/pipelines.md")
TEMPLATE = Path(__file__).with_name("pipelines.md")

ROUTES = {
    "image": "equal, by `ip_adapter_image`",
    "embeds": "equal, by `ip_adapter_image_embeds`",
    "rows": "equal, by the adapter's layers",
}
"""By `Case.route`: what is compared."""

SEVERAL = {"images": "pictures", "prompts": "prompts", "edits": "edits"}


def describe_layout(name: str) -> str:
    """Describe the parts of a batch of a class by the first line of its function in `ROW_LAYOUTS`."""
    return (inspect.getdoc(ROW_LAYOUTS[name]) or "").splitlines()[0].removesuffix(".")


def describe_cells(case: Case) -> str:
    """List what is compared: `1, 2 guided`."""
    cells = [f"{images}{' guided' if guided else ''}" for images, guided in sorted(case.cells)]
    return f"{SEVERAL[case.several]}: {', '.join(cells)}"


def render_row(name: str) -> str:
    """Render the row of a class."""
    if name in REFUSED:
        return f"| `{name}` | – | – | refused: {REFUSED[name]} |"
    if name not in CASES:
        return f"| `{name}` | **not known** | – | refused: its batches are not known |"
    case = CASES[name]
    state = "; ".join(filter(None, [ROUTES[case.route], describe_cells(case), case.note]))
    return f"| `{name}` | {describe_layout(name)} | {'no' if name in VIEWED else 'yes'} | {state} |"


def render_page() -> str:
    """Render the page; a class of the installed diffusers that is in no table is a row of it too."""
    adapted = list_adapter_classes()
    others = sorted({*CASES} - adapted)
    return TEMPLATE.read_text().format(
        count=len(adapted),
        compared=len(adapted & {*CASES}),
        refused=len(adapted - {*CASES}),
        rows="\n".join(map(render_row, sorted(adapted))),
        others="\n".join(map(render_row, others)),
    )


if __name__ == "__main__":
    PAGE.write_text(render_page())
    print(PAGE)
