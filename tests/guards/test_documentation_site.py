"""Pages render with the Markdown extensions of mkdocs.yml, and footnotes that are not rendered fail the build."""

import importlib.util
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from markdown import Markdown
from mkdocs.config import load_config
from mkdocs.exceptions import PluginError

from .documentation import PAGES, ROOT


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """The module docs/hooks.py."""
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def config() -> Any:
    return load_config(str(ROOT / "mkdocs.yml"))


def test_every_footnote_of_a_page_is_rendered_by_the_sites_extensions(hooks, config):
    pages = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    pages = {name: text for name, text in pages.items() if "[^" in text}
    assert "compared.md" in pages
    markdown = Markdown(extensions=config.markdown_extensions, extension_configs=config.mdx_configs)
    plain = {name: hooks.find_plain_footnotes(markdown.reset().convert(text)) for name, text in pages.items()}
    assert plain == {name: [] for name in pages}


def test_a_footnote_that_is_not_rendered_fails_the_build(hooks, config):
    page: Any = SimpleNamespace(file=SimpleNamespace(src_uri="compared.md"))
    for text in ("A `[^1]` in code.", "A footnote.[^1]\n\n[^1]: Its text."):
        html = Markdown(extensions=["footnotes"]).convert(text)
        assert hooks.on_page_content(html, page=page, config=config, files=None) == html
    html = Markdown().convert("A footnote.[^10]\n\nAnother.[^2]")
    with pytest.raises(PluginError, match=r"compared\.md .*: \[\^10\], \[\^2\]\."):
        hooks.on_page_content(html, page=page, config=config, files=None)
