"""Requests that no client sends by mistake: each is refused in words, or served."""

import pytest

from .conftest import message

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
def test_a_body_that_makes_no_sense_is_refused(client, body):
    response = client.post(GENERATIONS, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 404)
    assert message(response)


@pytest.mark.parametrize("prompt", ["\\u0000", "", "\\ud83d\\ude00", "a\\nSteps: 1, Seed: 2", "\\u202e"])
def test_any_words_can_be_drawn_and_told(client, prompt):
    body = f'{{"prompt": "{prompt}", {SHORT}}}'.encode()
    response = client.post(GENERATIONS, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 200


@pytest.mark.parametrize("path", [EDITS, STYLES])
@pytest.mark.parametrize(
    ("kind", "body"),
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
def test_a_form_that_is_none_is_refused(client, path, kind, body):
    response = client.post(path, content=body, headers={"Content-Type": kind} if kind else {})
    assert response.status_code == 400
    assert message(response)


def test_more_pictures_than_are_read_are_refused(client, ink):
    files = [("image", ("a.png", ink))] * 40
    response = client.post(EDITS, data={"prompt": "a"}, files=files)
    assert response.status_code == 400


def test_what_is_not_there_and_what_cannot_be_asked_so_are_told_in_one_shape(client):
    assert client.get("/v1/nowhere").json()["error"]["type"] == "invalid_request_error"
    assert client.get(GENERATIONS).status_code == 405
