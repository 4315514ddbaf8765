"""Safe defaults: authentication, which files are opened, and limits of a request."""

import base64
from time import monotonic

import pytest
from PIL import Image

from instantstyle import JobError
from instantstyle.generation import sources
from instantstyle.server import Keys, check_exposure, read_keys
from instantstyle.server.auth import KEYS_VARIABLE

from ..imaging.jpeg_files import repeat_last_scan, save_jpeg
from .conftest import SHORT, error_message, png

ADA, BOB = "ada-0123456789abcdef", "bob-0123456789abcdef"
GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
BODY = {"prompt": "a rocket", **SHORT}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_a_loopback_address_needs_no_key(host):
    check_exposure(host, Keys())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_another_address_needs_a_key(host):
    with pytest.raises(JobError, match="it has no API key; give --api-keys"):
        check_exposure(host, Keys())
    check_exposure(host, Keys([ADA]))


def test_keys_are_read_from_a_file_and_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "keys"
    file.write_text(f"# comment\n{ADA}  # Ada\n\n")
    monkeypatch.setenv(KEYS_VARIABLE, f"{BOB}, {ADA}")
    keys = read_keys(file)
    assert len(keys) == 2
    assert keys.owner(ADA) != keys.owner(BOB)
    assert keys.owner("eve-0123456789abcdef") is None


@pytest.mark.parametrize("text", ["", "# none\n", "short\n", f"{ADA} and more\n"])
def test_a_file_with_invalid_keys_is_refused_without_quoting_them(tmp_path, monkeypatch, text):
    monkeypatch.delenv(KEYS_VARIABLE, raising=False)
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(JobError, match="API key") as error:
        read_keys(file)
    assert not text.split() or text.split()[0] not in str(error.value)


def test_keys_cannot_be_read_from_the_object():
    keys = Keys([ADA])
    assert ADA not in f"{keys!r} {vars(keys)} {keys.owner(ADA)}"


@pytest.mark.parametrize("headers", [{}, bearer(BOB), {"Authorization": ADA}, {"Authorization": f"Basic {ADA}"}])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/styles", "/metrics"])
def test_a_request_without_a_known_key_is_answered_401(serve, path, headers):
    response = serve(keys=Keys([ADA])).get(path, headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


def test_the_body_of_an_unidentified_request_is_not_read(serve):
    def body():
        raise AssertionError("the body was read")
        yield b""

    response = serve(keys=Keys([ADA])).post(GENERATIONS, content=body())
    assert response.status_code == 401


def test_each_of_several_keys_is_accepted(serve):
    client = serve(keys=Keys([ADA, BOB]))
    assert all(client.get("/v1/models", headers=bearer(key)).status_code == 200 for key in (ADA, BOB))


def test_health_needs_no_key(serve):
    client = serve(keys=Keys([ADA]))
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}])
def test_a_page_of_another_site_cannot_use_the_service_through_the_browser(client, headers):
    response = client.post(GENERATIONS, json=BODY, headers=headers)
    assert response.status_code == 403
    assert "only programs of this machine" in error_message(response)


@pytest.mark.parametrize("blocks", ["probe.json", "style+/etc/x.json", ["probe.json:layout"], {"./p.json": 1.0}])
def test_a_file_named_in_blocks_is_not_opened(client, blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # If it were opened, the error would be about its content.
    (tmp_path / "probe.json").write_text("{}")
    response = client.post(GENERATIONS, json={**BODY, "blocks": blocks})
    assert response.status_code == 400
    assert "opens no file that a request names" in error_message(response)


def test_a_file_named_as_a_style_is_not_opened(client, ink, tmp_path):
    path = tmp_path / "ink.png"
    path.write_bytes(ink)
    for name in (str(path), path.as_uri(), "../ink.png", "https://example.org/ink.style.safetensors"):
        response = client.post(GENERATIONS, json={**BODY, "style": name})
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "no_such_style"


@pytest.mark.parametrize(
    ("limits", "fields", "expected"),
    [
        ({"images": 2}, {"n": 3}, "n is 3, at most 2"),
        ({"steps": 1}, {}, "num_inference_steps is 2, at most 1"),
        ({"image_pixels": 255}, {}, "pixels of size is 256, at most 255"),
        (
            {"text_length": 10},
            {"prompt": "a rocket", "negative_prompt": "cat"},
            "characters of text is 11, at most 10",
        ),
    ],
)
def test_a_request_over_the_limits_is_refused(serve, limits, fields, expected):
    response = serve(limits=limits).post(GENERATIONS, json={**BODY, **fields})
    assert response.status_code == 400
    assert expected in error_message(response)


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_the_limit_is_not_read(serve, announced):
    client = serve(limits={"body_bytes": 1000})
    body = b'{"prompt": "' + b"a" * 2000 + b'"}'
    content = body if announced else iter([body[:500], body[500:]])
    response = client.post(GENERATIONS, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert "larger than the limit of 1000 bytes" in error_message(response)


def test_a_form_over_the_limit_is_not_read(serve, ink):
    response = serve(limits={"body_bytes": 1000}).post(EDITS, data={"prompt": "a"}, files={"image": ink})
    assert response.status_code == 413


def test_an_image_with_too_many_pixels_is_not_decoded(serve):
    wide = png(Image.new("1", (2000, 2000)))
    body = {**BODY, "style_image": base64.b64encode(wide).decode()}
    response = serve(limits={"upload_pixels": 10**6}).post(GENERATIONS, json=body)
    assert response.status_code == 400
    assert error_message(response).startswith("style_image has 2000×2000 pixels, more than the limit of 1000000")


@pytest.mark.parametrize(
    ("path", "fields"),
    [(EDITS, {}), (EDITS, {"stream": "true"}), (EDITS, {"mode": "restyle", "strength": "1"}), ("/v1/styles", None)],
)
def test_the_images_of_a_request_have_at_most_so_many_pixels_together(serve, monkeypatch, path, fields):
    client = serve(limits={"upload_pixels": 50_000, "request_pixels": 100_000})
    decoded = []
    open_reference = sources.open_reference
    monkeypatch.setattr(sources, "open_reference", lambda *_: decoded.append(1) or open_reference(*_))

    def post(*sizes):
        files = [("image", (f"{number}.png", png(Image.new("1", size)))) for number, size in enumerate(sizes)]
        data = {"name": "ink"} if fields is None else {"prompt": "a", "num_inference_steps": 1, **fields}
        return client.post(path, data=data, files=files)

    response = post((200, 250), (100, 250), (100, 251))
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_much"
    message = error_message(response)
    assert message.startswith("The images of this request have 100100 pixels together, more than the limit of 100000")
    assert decoded == []
    assert post((200, 250), (100, 250), (100, 250)).status_code in (200, 201)
    assert len(decoded) == 3


def test_a_jpeg_of_very_many_scans_is_refused(client):
    bomb = repeat_last_scan(save_jpeg((3000, 3000), progressive=True), 10_000)
    begin = monotonic()
    response = client.post(EDITS, data=BODY, files={"image": ("bomb.jpg", bomb)})
    # Decoding takes 1 ms for each scan and megapixel: 90 s.
    assert monotonic() - begin < 10
    assert response.status_code == 400
    assert error_message(response).startswith("bomb.jpg is a JPEG of more than 100 scans")


def test_a_damaged_image_is_refused_without_a_path_of_the_server(client, ink):
    files = {"image": ("../../ink.png", ink[: len(ink) // 2])}
    response = client.post(EDITS, data=BODY, files=files)
    assert response.status_code == 400
    assert error_message(response).startswith("ink.png is damaged or cut short")


def test_an_error_does_not_repeat_a_long_value(client):
    response = client.post(GENERATIONS, json={**BODY, "size": "x" * 10_000})
    assert len(error_message(response)) <= 600
