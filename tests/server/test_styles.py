"""Stored styles: used by id or name, and separate for each key."""

import numpy as np
import pytest

from instantstyle.core.style_library import SUFFIX
from instantstyle.server import Keys

from .conftest import SHORT, decode, error_message
from .test_auth import ADA, BOB, bearer

STYLES, GENERATIONS = "/v1/styles", "/v1/images/generations"


def add(client, ink: bytes, headers=None, **fields):
    return client.post(STYLES, data=fields, files={"image": ("ink.png", ink)}, headers=headers)


def generate(client, **fields) -> np.ndarray:
    body = {"prompt": "a rocket", "seed": 7, "scale": 2, **SHORT, **fields}
    return np.asarray(decode(client.post(GENERATIONS, json=body).json()["data"][0]))


def test_a_stored_style_is_used_by_id_and_by_name(client, ink):
    response = add(client, ink, name="ink", content=["a cat", "a mat"])
    assert response.status_code == 201
    stored = response.json()
    assert (stored["name"], stored["content"]) == ("ink", ["a cat", "a mat"])
    assert np.array_equal(generate(client, style=stored["id"]), generate(client, style="ink"))
    assert not np.array_equal(generate(client, style="ink"), generate(client))


def test_a_stored_style_equals_its_reference_image(client, ink):
    style = add(client, ink).json()["id"]
    files, fields = {"image": ink}, {"prompt": "a rocket", "seed": "7", "scale": "2", **SHORT}
    [entry] = client.post("/v1/images/edits", data=fields, files=files).json()["data"]
    assert np.array_equal(np.asarray(decode(entry)), generate(client, style=style))


def test_a_style_without_a_name_has_the_file_name_of_its_image(client, ink):
    assert add(client, ink).json()["name"] == "ink.png"


def test_styles_are_listed_described_and_deleted(client, ink):
    first, second = (add(client, ink, name=name).json() for name in ("one", "two"))
    assert {style["id"] for style in client.get(STYLES).json()["data"]} == {first["id"], second["id"]}
    assert client.get(f"{STYLES}/{first['id']}").json() == first
    assert client.delete(f"{STYLES}/{first['id']}").json()["deleted"] is True
    assert client.get(STYLES).json()["data"] == [second]
    assert client.get(f"{STYLES}/{first['id']}").status_code == 404


def test_another_key_can_neither_list_nor_use_a_style(serve, ink):
    client = serve(keys=Keys([ADA, BOB]))
    style = add(client, ink, bearer(ADA), name="ink").json()["id"]
    for name in (style, "ink"):
        body = {"prompt": "a rocket", "style": name, **SHORT}
        assert client.post(GENERATIONS, json=body, headers=bearer(ADA)).status_code == 200
        assert client.post(GENERATIONS, json=body, headers=bearer(BOB)).status_code == 404
    assert client.get(STYLES, headers=bearer(BOB)).json()["data"] == []
    assert client.get(f"{STYLES}/{style}", headers=bearer(BOB)).status_code == 404
    assert client.delete(f"{STYLES}/{style}", headers=bearer(BOB)).status_code == 404
    assert client.get(f"{STYLES}/{style}", headers=bearer(ADA)).status_code == 200


def test_styles_persist_over_a_restart(serve, ink):
    style = add(serve(), ink).json()
    assert serve().get(STYLES).json()["data"] == [style]


@pytest.mark.parametrize("permitted", [True, False])
def test_the_library_is_used_only_if_permitted(serve, styled, reference, library, permitted):
    library.mkdir(exist_ok=True)
    styled.style(reference).save(library / f"neon{SUFFIX}", force=True)
    response = serve(library=permitted).post(GENERATIONS, json={"prompt": "a", "style": "neon", **SHORT})
    assert response.status_code == (200 if permitted else 404)


def test_the_number_of_stored_styles_is_limited(serve, ink):
    client = serve(limits={"styles": 1})
    assert add(client, ink).status_code == 201
    response = add(client, ink)
    assert response.status_code == 400
    assert "delete one first" in error_message(response)


def test_a_style_needs_an_image(client):
    response = client.post(STYLES, data={"name": "ink"})
    assert response.status_code == 400
    assert "image is missing" in error_message(response)


@pytest.mark.parametrize("style_id", ["..", "style-0", "style-" + "0" * 24, "%2e%2e%2fetc"])
def test_an_id_never_becomes_a_path(client, style_id):
    assert client.get(f"{STYLES}/{style_id}").status_code == 404
