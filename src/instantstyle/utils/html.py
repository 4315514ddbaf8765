"""HTML pages and fragments: one jinja2 environment, with every inserted value escaped."""

import base64
from io import BytesIO
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from PIL import Image

BASE = "utils/templates/base.html.jinja"
"""Template that every complete page extends: blocks `title`, `css` and `body`."""

JPEG_QUALITY = 82

_ENVIRONMENT = Environment(
    loader=PackageLoader("instantstyle", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: object) -> str:
    """Render a template of this package.

    Args:
        template: Path of the template below the package, for example `batch/templates/report.html.jinja`.
        **values: Variables of the template. Text is escaped; `markupsafe.Markup` is inserted unchanged.

    Returns:
        The HTML. A page that extends `BASE` needs no other file.

    Raises:
        jinja2.UndefinedError: The template uses a variable that is not in `values`.
    """
    return _ENVIRONMENT.get_template(template).render(values)


def jpeg_data_url(image: "Image.Image") -> str:
    """Encode an RGB image as a `data:` URL, so that a page needs no other file to show it."""
    file = BytesIO()
    image.save(file, format="JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
