"""A reference is sent once and used by id; each key has its own."""

import numpy as np
import pytest

from instantstyle.core.style_library import SUFFIX
from instantstyle.server import Keys

from .conftest import SHORT, message, picture
from .test_auth import ADA, BOB, bearing

STYLES, GENERATIONS = "/v1/styles", "/v1/images/generations"


def add(client, ink: bytes, headers=None, **fields):
    return client.post(STYLES, data=fields, files={"image": ("ink.png", ink)}, headers=headers)


def drawn(client, **fields) -> np.ndarray:
    asked = {"prompt": "a rocket", "seed": 7, "scale": 2, **SHORT, **fields}
    return np.asarray(picture(client.post(GENERATIONS, json=asked).json()["data"][0]))


def test_a_style_is_kept_and_used_by_id_and_by_name(client, ink):
    answer = add(client, ink, name="ink", content=["a cat", "a mat"])
    assert answer.status_code == 201
    told = answer.json()
    assert (told["name"], told["content"]) == ("ink", ["a cat", "a mat"])
    assert np.array_equal(drawn(client, style=told["id"]), drawn(client, style="ink"))
    assert not np.array_equal(drawn(client, style="ink"), drawn(client))


def test_a_kept_style_acts_as_its_picture_does(client, ink):
    style = add(client, ink).json()["id"]
    files, fields = {"image": ink}, {"prompt": "a rocket", "seed": "7", "scale": "2", **SHORT}
    [told] = client.post("/v1/images/edits", data=fields, files=files).json()["data"]
    assert np.array_equal(picture(told), drawn(client, style=style))


def test_without_a_name_it_is_called_as_its_picture(client, ink):
    assert add(client, ink).json()["name"] == "ink.png"


def test_styles_are_listed_told_and_forgotten(client, ink):
    first, second = (add(client, ink, name=name).json() for name in ("one", "two"))
    assert {style["id"] for style in client.get(STYLES).json()["data"]} == {first["id"], second["id"]}
    assert client.get(f"{STYLES}/{first['id']}").json() == first
    assert client.delete(f"{STYLES}/{first['id']}").json()["deleted"] is True
    assert client.get(STYLES).json()["data"] == [second]
    assert client.get(f"{STYLES}/{first['id']}").status_code == 404


def test_what_one_key_keeps_is_unknown_to_another(serve, ink):
    client = serve(keys=Keys([ADA, BOB]))
    style = add(client, ink, bearing(ADA), name="ink").json()["id"]
    for called in (style, "ink"):
        asked = {"prompt": "a rocket", "style": called, **SHORT}
        assert client.post(GENERATIONS, json=asked, headers=bearing(ADA)).status_code == 200
        assert client.post(GENERATIONS, json=asked, headers=bearing(BOB)).status_code == 404
    assert client.get(STYLES, headers=bearing(BOB)).json()["data"] == []
    assert client.get(f"{STYLES}/{style}", headers=bearing(BOB)).status_code == 404
    assert client.delete(f"{STYLES}/{style}", headers=bearing(BOB)).status_code == 404
    assert client.get(f"{STYLES}/{style}", headers=bearing(ADA)).status_code == 200


def test_styles_outlive_the_service(serve, ink):
    style = add(serve(), ink).json()
    assert serve().get(STYLES).json()["data"] == [style]


@pytest.mark.parametrize("permitted", [True, False])
def test_the_library_is_named_only_where_that_is_permitted(serve, styled, reference, library, permitted):
    library.mkdir(exist_ok=True)
    styled.style(reference).save(library / f"neon{SUFFIX}", force=True)
    response = serve(library=permitted).post(GENERATIONS, json={"prompt": "a", "style": "neon", **SHORT})
    assert response.status_code == (200 if permitted else 404)


def test_no_more_styles_are_kept_than_there_may_be(serve, ink):
    client = serve(bounds={"styles": 1})
    assert add(client, ink).status_code == 201
    response = add(client, ink)
    assert response.status_code == 400
    assert "delete one first" in message(response)


def test_a_style_needs_a_picture(client):
    response = client.post(STYLES, data={"name": "ink"})
    assert response.status_code == 400
    assert "image is missing" in message(response)


@pytest.mark.parametrize("called", ["..", "style-0", "style-" + "0" * 24, "%2e%2e%2fetc"])
def test_an_id_is_never_a_path(client, called):
    assert client.get(f"{STYLES}/{called}").status_code == 404
