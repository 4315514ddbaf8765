"""HTML is rendered from templates of the package, and every value in it is escaped."""

import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import pytest
from jinja2 import ChoiceLoader, DictLoader, UndefinedError
from markupsafe import Markup
from PIL import Image

import instantstyle
from instantstyle.utils import html

PACKAGE = Path(instantstyle.__file__).parent


@pytest.fixture
def environment(monkeypatch):
    """The environment of the package, with templates that only the test has."""
    page = f'{{% extends "{html.BASE}" %}}{{% block title %}}{{{{ name }}}}{{% endblock %}}'
    shipped = html._ENVIRONMENT.loader
    assert shipped
    overlay = html._ENVIRONMENT.overlay(loader=ChoiceLoader([DictLoader({"page": page}), shipped]))
    monkeypatch.setattr(html, "_ENVIRONMENT", overlay)


@pytest.mark.usefixtures("environment")
def test_text_is_escaped_and_markup_is_not():
    assert "<title>&lt;b&gt; &amp; &#34;c&#34;</title>" in html.render("page", name='<b> & "c"')
    assert "<title><b></title>" in html.render("page", name=Markup("<b>"))


@pytest.mark.usefixtures("environment")
def test_a_variable_that_is_missing_raises():
    with pytest.raises(UndefinedError, match="'name' is undefined"):
        html.render("page")


def test_every_template_compiles():
    templates = [str(path.relative_to(PACKAGE).as_posix()) for path in PACKAGE.rglob("*.jinja")]
    assert html.BASE in templates
    for template in templates:
        html._ENVIRONMENT.get_template(template)


def test_an_image_becomes_a_jpeg_in_a_url():
    url = html.jpeg_data_url(Image.new("RGB", (8, 4), "red"))
    match = re.fullmatch(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", url)
    assert match
    with Image.open(BytesIO(b64decode(match[1]))) as image:
        assert (image.format, image.size) == ("JPEG", (8, 4))
