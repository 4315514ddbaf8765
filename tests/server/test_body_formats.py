"""Bodies of another type, encoding or form than the API's: each is refused with what to send instead."""

import json

import pytest
from python_multipart.exceptions import MultipartParseError
from starlette.formparsers import MultiPartParser

from instantstyle.server.schemas import JSON_FIELDS, EditRequest

from .conftest import SHORT, error_message

GENERATIONS, EDITS, STYLES = "/v1/images/generations", "/v1/images/edits", "/v1/styles"
JSON = {"Content-Type": "application/json"}


def post_json(client, text: str):
    return client.post(GENERATIONS, content=text.encode(), headers=JSON)


def form(*parts: bytes) -> bytes:
    return b"".join(b"--x\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--x--\r\n"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "text/json", ""])
def test_a_body_of_another_type_names_the_type_of_json(client, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    response = client.post(GENERATIONS, content=b'{"prompt": "a"}', headers=headers)
    assert response.status_code == 400
    assert f"Content-Type is '{content_type}'" in error_message(response)
    assert "application/json" in error_message(response)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/problem+json"])
def test_parameters_and_suffixes_of_the_type_of_json_are_accepted(client, content_type):
    body = json.dumps({"prompt": "a", **SHORT}).encode()
    assert client.post(GENERATIONS, content=body, headers={"Content-Type": content_type}).status_code == 200


def test_a_name_twice_in_a_json_body_is_refused(client):
    response = post_json(client, '{"prompt": "a", "seed": 1, "seed": 2}')
    assert (response.status_code, error_message(response)) == (
        400,
        "The body cannot be read as JSON: it has 'seed' twice; keep one of them.",
    )
    nested = post_json(client, '{"prompt": "a", "blocks": {"style": 1, "style": 0}}')
    assert "'style' twice" in error_message(nested)


@pytest.mark.parametrize("field", ["seed", "n", "scale", "num_inference_steps", "partial_images", "guidance_scale"])
def test_a_boolean_is_no_number(client, field):
    response = post_json(client, json.dumps({"prompt": "a", **SHORT, field: True}))
    assert response.status_code == 400
    assert f"{field} is True, which is a boolean" in error_message(response)


def test_stream_is_a_boolean(client):
    assert post_json(client, json.dumps({"prompt": "a", **SHORT, "stream": False})).status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[1]", "The body is [1]; send a JSON object"),
        (b"{", "The body cannot be read as JSON: it is not JSON"),
        (b'{"prompt": "\xff"}', "byte 12 is not UTF-8"),
    ],
)
def test_what_is_no_json_object_is_named(client, body, message):
    assert message in error_message(client.post(GENERATIONS, content=body, headers=JSON))


@pytest.mark.parametrize("path", [EDITS, STYLES])
def test_a_form_field_that_is_not_utf8_is_refused(client, path, ink):
    image = b'name="image"; filename="ink.png"\r\n\r\n' + ink
    body = form(image, b'name="content"\r\n\r\n\xff\xfe')
    for charset in ("", "; charset=latin-1", "; charset=utf-16"):
        response = client.post(
            path, content=body, headers={"Content-Type": f"multipart/form-data; boundary=x{charset}"}
        )
        assert (response.status_code, error_message(response)) == (
            400,
            "'content' is not text in UTF-8; encode it so.",
        )
    named = form(image, b'name="\xff"\r\n\r\na')
    response = client.post(path, content=named, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert error_message(response) == "The name of a field is not text in UTF-8; encode it so."


def test_form_fields_and_names_of_files_are_utf8(client, ink):
    image = 'name="image"; filename="tinte-ö.png"\r\n\r\n'.encode() + ink
    fields = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in {"prompt": "a bär", **SHORT}.items()]
    response = client.post(
        EDITS, content=form(image, *fields), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    recipe = response.json()["data"][0]["recipe"]
    assert (recipe["prompt"], recipe["references"][0]["name"]) == ("a bär", "tinte-ö.png")


def test_a_form_has_mappings_as_clients_write_them(client, ink):
    def post(**fields):
        return client.post(EDITS, files=[("image", ("ink.png", ink))], data={"prompt": "a", **SHORT, **fields})

    [entry] = post(**{"blocks[style]": "0.5", "blocks[all]": "0.25"}).json()["data"]
    assert entry["recipe"]["blocks"] == {"style": 0.5, "all": 0.25}
    refused = {
        "'blocks[style]' is there twice, or beside 'blocks'": {"blocks[style]": ["0.5", "1"]},
        "'blocks[all]' is there twice, or beside 'blocks'": {"blocks": "style", "blocks[all]": "1"},
        "'blocks[style]' is there twice, or beside": {"blocks[style]": "1", "blocks[]": "style"},
        "scale is": {"scale[x]": "0.5"},
        "there is no field blocks[a][b]": {"blocks[a][b]": "1"},
        "blocks cannot name 'probe.json' here": {"blocks[probe.json]": "1"},
    }
    for message, fields in refused.items():
        response = post(**fields)
        assert (response.status_code, message in error_message(response)) == (400, True), error_message(response)


def test_a_form_has_lists_and_mappings_as_json_texts_too(client, ink):
    def post(**fields):
        return client.post(EDITS, files=[("image", ("ink.png", ink))], data={"prompt": "a", **SHORT, **fields})

    accepted = {
        '{"style": 0.5, "all": 0.25}': {"style": 0.5, "all": 0.25},
        ' ["style", "layout"]': ["style", "layout"],
        '"all"': "all",
    }
    for text, blocks in accepted.items():
        [entry] = post(blocks=text).json()["data"]
        assert entry["recipe"]["blocks"] == blocks
    fields = {"colour_transfer": "0.5", "colour_transfer_interval": "[0.0, 0.5]"}
    [entry] = post(**fields).json()["data"]
    assert entry["recipe"]["colour_transfer_interval"] == [0.0, 0.5]
    # Words may begin in any way.
    [entry] = post(content='["a cat"]').json()["data"]
    assert entry["recipe"]["content"] == ['["a cat"]']
    refused = {
        "blocks cannot be read as JSON: it is not JSON": {"blocks": '{"style": 1'},
        "blocks cannot be read as JSON: ": {"blocks": '{"style": 1, "style": 2}'},
        "blocks cannot name 'probe.json' here": {"blocks": '{"probe.json": 1}'},
        "blocks.style is": {"blocks": '{"style": "x"}'},
        "is a boolean": {"blocks": '{"style": true}'},
        "blocks is empty": {"blocks": "{}"},
        "'blocks[style]' is there twice, or beside 'blocks'": {"blocks": '{"all": 1}', "blocks[style]": "1"},
    }
    for message, fields in refused.items():
        response = post(**fields)
        assert (response.status_code, message in error_message(response)) == (400, True), error_message(response)


def test_json_texts_are_read_in_all_fields_of_lists_and_mappings_but_content():
    """Annotations of such fields name a container; those that `ApiRequest` has for itself are none."""
    containers = {
        name
        for name, field in EditRequest.model_fields.items()
        if any(word in str(field.annotation) for word in ("tuple", "dict", "list"))
    }
    assert containers == {*JSON_FIELDS, "content"}


@pytest.mark.parametrize("path", [EDITS, STYLES])
@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("multipart/form-data", b"a", "Missing boundary in multipart"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--", "Content-Disposition"),
        ("multipart/form-data; boundary=x", b"no form", "Invalid multipart data"),
    ],
)
def test_a_damaged_form_says_what_to_do(client, path, content_type, body, message):
    response = client.post(path, content=body, headers={"Content-Type": content_type})
    assert response.status_code == 400
    assert message in error_message(response)
    assert "let an HTTP library write it" in error_message(response)


def test_a_damaged_form_is_refused_where_starlette_passes_on_the_error_of_its_parser(client, monkeypatch):
    async def fail(parser: MultiPartParser) -> None:
        raise MultipartParseError("Expected boundary character 45, got 110 at index 2")

    monkeypatch.setattr(MultiPartParser, "parse", fail)
    response = client.post(EDITS, content=b"a", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert response.status_code == 400
    assert "(Invalid multipart data); let an HTTP library write it" in error_message(response)


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "application/json", "text/plain"])
def test_a_form_of_another_type_names_the_type(client, content_type):
    response = client.post(EDITS, content=b"prompt=a", headers={"Content-Type": content_type})
    assert response.status_code == 400
    assert f"Content-Type '{content_type}'" in error_message(response)
    assert "multipart/form-data" in error_message(response)


def test_the_name_of_an_unknown_model_is_cut(client):
    name = "m" * 5000
    for response in (
        post_json(client, json.dumps({"prompt": "a", "model": name})),
        client.get(f"/v1/models/{name}"),
    ):
        assert response.status_code == 404
        assert len(error_message(response)) < 200


@pytest.mark.parametrize("field", ["scale", "start", "content_scale"])
def test_a_field_without_effect_is_refused(client, field):
    response = post_json(client, json.dumps({"prompt": "a", **SHORT, field: 0.5}))
    assert response.status_code == 400
    assert f"{field} can only act on the style of a reference" in error_message(response)


def test_seeds_that_would_pass_the_largest_are_refused(client):
    response = post_json(client, json.dumps({"prompt": "a", **SHORT, "n": 3, "seed": 2**63 - 2}))
    assert (response.status_code, "each of 3 images" in error_message(response)) == (400, True)
