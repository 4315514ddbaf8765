"""The pages of the documentation work offline; HEAD, streams' headers, and base64 as it is written elsewhere."""

import base64
import re

import pytest

from instantstyle.errors import ImageError
from instantstyle.server import Keys, Limits
from instantstyle.server.errors import ApiError
from instantstyle.server.request_files import RequestFiles

from .conftest import SHORT
from .test_auth import ADA

GENERATIONS = "/v1/images/generations"


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_documentation_loads_everything_from_the_service(serve, page):
    client = serve(keys=Keys([ADA]))
    text = client.get(page).text
    urls = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)["']""", text)
    assert "/openapi.json" in text
    assert any(url.endswith(".js") for url in urls)
    assert [url for url in urls if url.startswith(("http", "//"))] == []
    assert {client.get(url).status_code for url in urls if url.startswith("/")} == {200}


def test_the_root_leads_to_the_documentation(client):
    response = client.get("/", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (307, "/docs")


def test_head_is_answered_like_get_without_the_body(client):
    for path in ("/healthz", "/readyz", "/docs", "/v1/models"):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]
    assert client.head(GENERATIONS).status_code == 405


def test_a_stream_is_not_held_back_by_proxies(client):
    response = client.post(GENERATIONS, json={"prompt": "a", "stream": True, **SHORT})
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"


def test_a_refused_image_has_its_own_status_also_in_a_stream(client):
    fields = {"style_image": base64.b64encode(b"no image").decode(), "stream": True}
    assert client.post(GENERATIONS, json={"prompt": "a", **fields, **SHORT}).status_code == 400


def test_base64_is_read_with_line_breaks_and_in_any_data_url(ink):
    plain = base64.b64encode(ink).decode()
    lines = base64.encodebytes(ink).decode()
    texts = [
        plain,
        lines,
        lines.replace("\n", "\r\n"),
        *(f"data:{head};base64,{plain}" for head in ("image/png", "image/png;name=a.png;charset=utf-8", "")),
        f"DATA:image/svg+xml;BASE64,{lines}",
        "data:image/png;base64," + plain.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    ]
    files = RequestFiles(Limits())
    assert {files.add_base64(text).sha256 for text in texts} == {files.add_image(ink, "a").sha256}
    for text in ("data:text/html;base64,AAAA", "https://example.org/a.png", "data:image/png,AAAA", "AA*A"):
        with pytest.raises(ImageError, match="not base64"):
            files.add_base64(text)
    files.delete()


def test_an_error_keeps_its_status_when_a_path_is_replaced(ink):
    files = RequestFiles(Limits())
    path = files.add_image(ink, "ink.png").name
    error = files.public_error(ApiError(f"{path} is gone.", status=404, code="gone", headers={"A": "b"}))
    assert isinstance(error, ApiError)
    assert (str(error), error.status, error.code, error.headers) == ("ink.png is gone.", 404, "gone", {"A": "b"})
    files.delete()
