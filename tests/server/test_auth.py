"""Safe by default: who is served, what is opened, and how much is read."""

import base64

import pytest
from PIL import Image

from instantstyle import JobError
from instantstyle.server import Keys, check_exposure, read_keys
from instantstyle.server.auth import VARIABLE

from .conftest import SHORT, message, png

ADA, BOB = "ada-0123456789abcdef", "bob-0123456789abcdef"
GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
ASKED = {"prompt": "a rocket", **SHORT}


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_on_this_machine_no_key_is_needed(host):
    check_exposure(host, Keys())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_beyond_this_machine_a_key_is_needed(host):
    with pytest.raises(JobError, match="it has no API key; give --api-keys"):
        check_exposure(host, Keys())
    check_exposure(host, Keys([ADA]))


def test_keys_come_from_a_file_and_from_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{ADA}  # Ada\n\n")
    monkeypatch.setenv(VARIABLE, f"{BOB}, {ADA}")
    keys = read_keys(file)
    assert len(keys) == 2
    assert keys.owner(ADA) != keys.owner(BOB)
    assert keys.owner("eve-0123456789abcdef") is None


@pytest.mark.parametrize("text", ["", "# none\n", "short\n", f"{ADA} and more\n"])
def test_a_file_of_keys_that_cannot_serve_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.delenv(VARIABLE, raising=False)
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(JobError, match="API key") as refusal:
        read_keys(file)
    assert not text.split() or text.split()[0] not in str(refusal.value)


def test_keys_are_nowhere_to_be_read():
    keys = Keys([ADA])
    assert ADA not in f"{keys!r} {vars(keys)} {keys.owner(ADA)}"


@pytest.mark.parametrize(
    "headers", [{}, bearing(BOB), {"Authorization": ADA}, {"Authorization": f"Basic {ADA}"}]
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/styles", "/metrics"])
def test_without_its_key_nobody_is_answered(serve, path, headers):
    response = serve(keys=Keys([ADA])).get(path, headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


def test_what_a_stranger_sends_is_not_read(serve):
    def body():
        raise AssertionError("it was read")
        yield b""

    response = serve(keys=Keys([ADA])).post(GENERATIONS, content=body())
    assert response.status_code == 401


def test_any_of_several_keys_opens(serve):
    client = serve(keys=Keys([ADA, BOB]))
    assert all(client.get("/v1/models", headers=bearing(key)).status_code == 200 for key in (ADA, BOB))


def test_health_is_told_to_everyone(serve):
    client = serve(keys=Keys([ADA]))
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}]
)
def test_a_page_of_another_site_cannot_draw_through_the_browser(client, headers):
    response = client.post(GENERATIONS, json=ASKED, headers=headers)
    assert response.status_code == 403
    assert "only programs of this machine" in message(response)


@pytest.mark.parametrize(
    "blocks", ["probe.json", "style+/etc/x.json", ["probe.json:layout"], {"./p.json": 1.0}]
)
def test_no_file_is_opened_that_blocks_name(client, blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Were it opened, its content would be what is complained about.
    (tmp_path / "probe.json").write_text("{}")
    response = client.post(GENERATIONS, json={**ASKED, "blocks": blocks})
    assert response.status_code == 400
    assert "opened for nobody's request" in message(response)


def test_no_file_is_opened_that_a_style_names(client, ink, tmp_path):
    path = tmp_path / "ink.png"
    path.write_bytes(ink)
    for named in (str(path), path.as_uri(), "../ink.png", "https://example.org/ink.style.safetensors"):
        response = client.post(GENERATIONS, json={**ASKED, "style": named})
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "no_such_style"


@pytest.mark.parametrize(
    ("bounds", "fields", "told"),
    [
        ({"pictures": 2}, {"n": 3}, "n is 3, at most 2"),
        ({"steps": 1}, {}, "num_inference_steps is 2, at most 1"),
        ({"pixels": 255}, {}, "pixels of size is 256, at most 255"),
        (
            {"words": 10},
            {"prompt": "a rocket", "negative_prompt": "cat"},
            "characters of text is 11, at most 10",
        ),
    ],
)
def test_more_than_the_bounds_allow_is_refused(serve, bounds, fields, told):
    response = serve(bounds=bounds).post(GENERATIONS, json={**ASKED, **fields})
    assert response.status_code == 400
    assert told in message(response)


@pytest.mark.parametrize("announced", [True, False])
def test_a_request_that_is_too_large_is_not_read(serve, announced):
    client = serve(bounds={"body": 1000})
    body = b'{"prompt": "' + b"a" * 2000 + b'"}'
    content = body if announced else iter([body[:500], body[500:]])
    response = client.post(GENERATIONS, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert "larger than the 1000 bytes" in message(response)


def test_a_form_that_is_too_large_is_not_read(serve, ink):
    response = serve(bounds={"body": 1000}).post(EDITS, data={"prompt": "a"}, files={"image": ink})
    assert response.status_code == 413


def test_a_picture_of_too_many_pixels_is_not_decoded(serve):
    wide = png(Image.new("1", (2000, 2000)))
    asked = {**ASKED, "style_image": base64.b64encode(wide).decode()}
    response = serve(bounds={"upload": 10**6}).post(GENERATIONS, json=asked)
    assert response.status_code == 400
    assert message(response).startswith("style_image has 2000×2000 pixels, more than the 1000000")


def test_a_damaged_picture_is_refused_without_a_word_of_our_paths(client, ink):
    files = {"image": ("../../ink.png", ink[: len(ink) // 2])}
    response = client.post(EDITS, data=ASKED, files=files)
    assert response.status_code == 400
    assert message(response).startswith("ink.png is damaged or cut short")


def test_a_refusal_does_not_repeat_all_that_was_sent(client):
    response = client.post(GENERATIONS, json={**ASKED, "size": "x" * 10_000})
    assert len(message(response)) <= 600
