"""Malformed requests: each is answered with an error message, or served."""

import pytest

from .conftest import error_message

GENERATIONS, EDITS, STYLES = "/v1/images/generations", "/v1/images/edits", "/v1/styles"
SHORT = '"num_inference_steps": 1, "size": "16x16"'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{" * 100_000,
        b"[" * 1_000_000,
        b'{"prompt": "a", "seed": 1e999}',
        b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}",
        b'{"prompt": "a", "scale": NaN}',
        b'{"prompt": "a", "scale": -Infinity}',
        b'{"prompt": "a", "size": "\\u0661x16"}',
        b'{"prompt": "a", "size": "99999x99999"}',
        b'{"prompt": "a", "blocks": []}',
        b'{"prompt": "a", "blocks": {}}',
        b'{"prompt": "a", "style": "\\ud800"}',
        b'{"prompt": "a", "style": "a\\u0000b"}',
        b'{"prompt": "a", "style_image": "\\ud800"}',
        b'{"prompt": "a", "\\ud800": 1}',
        b'{"prompt": "\\ud800", %s}' % SHORT.encode(),
        b'{"prompt": "a", "n": true, "seed": 9223372036854775808}',
    ],
)
def test_a_malformed_body_is_refused(client, body):
    response = client.post(GENERATIONS, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 404)
    assert error_message(response)


@pytest.mark.parametrize("prompt", ["", "\\ud83d\\ude00", "a\\nSteps: 1, Seed: 2", "\\u202e"])
def test_any_unicode_prompt_is_accepted(client, prompt):
    body = f'{{"prompt": "{prompt}", {SHORT}}}'.encode()
    response = client.post(GENERATIONS, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 200


@pytest.mark.parametrize("path", [EDITS, STYLES])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="image"; fil'),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n\xff\r\n--x--\r\n',
        ),
        ("application/x-www-form-urlencoded", b"prompt=%ff&image=a"),
        ("application/json", b'{"prompt": "a"}'),
        ("", b"anything"),
    ],
)
def test_a_malformed_form_is_refused(client, path, content_type, body):
    response = client.post(path, content=body, headers={"Content-Type": content_type} if content_type else {})
    assert response.status_code == 400
    assert error_message(response)


def test_too_many_images_are_refused(client, ink):
    files = [("image", ("a.png", ink))] * 40
    response = client.post(EDITS, data={"prompt": "a"}, files=files)
    assert response.status_code == 400


def test_unknown_paths_and_wrong_methods_are_answered_in_the_same_shape(client):
    assert client.get("/v1/nowhere").json()["error"]["type"] == "invalid_request_error"
    assert client.get(GENERATIONS).status_code == 405
