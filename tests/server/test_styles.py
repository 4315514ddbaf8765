"""Stored styles: used by id or name, and separate for each key."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from instantstyle.core.style_library import SUFFIX
from instantstyle.server import Keys
from instantstyle.server.errors import ApiError
from instantstyle.server.style_store import StyleStore

from ..cli.conftest import model as model
from .conftest import SHORT, decode, error_message
from .test_auth import ADA, BOB, bearer

STYLES, GENERATIONS = "/v1/styles", "/v1/images/generations"


def add(client, ink: bytes, headers=None, **fields):
    return client.post(STYLES, data=fields, files={"image": ("ink.png", ink)}, headers=headers)


def generate(client, **fields) -> np.ndarray:
    body = {"prompt": "a rocket", "seed": 7, **SHORT, **fields}
    return np.asarray(decode(client.post(GENERATIONS, json=body).json()["data"][0]))


def test_a_stored_style_is_used_by_id_and_by_name(client, ink):
    response = add(client, ink, name="ink", content=["a cat", "a mat"])
    assert response.status_code == 201
    stored = response.json()
    assert (stored["name"], stored["content"]) == ("ink", ["a cat", "a mat"])
    by_name = generate(client, style="ink", scale=2)
    assert np.array_equal(generate(client, style=stored["id"], scale=2), by_name)
    assert not np.array_equal(by_name, generate(client))


def test_a_stored_style_equals_its_reference_image(client, ink):
    style = add(client, ink).json()["id"]
    files, fields = {"image": ink}, {"prompt": "a rocket", "seed": "7", "scale": "2", **SHORT}
    [entry] = client.post("/v1/images/edits", data=fields, files=files).json()["data"]
    assert np.array_equal(np.asarray(decode(entry)), generate(client, style=style, scale=2))


def test_a_style_without_a_name_has_the_file_name_of_its_image(client, ink):
    assert add(client, ink).json()["name"] == "ink.png"


def test_styles_are_listed_described_and_deleted(client, ink):
    first, second = (add(client, ink, name=name).json() for name in ("one", "two"))
    assert {style["id"] for style in client.get(STYLES).json()["data"]} == {first["id"], second["id"]}
    assert client.get(f"{STYLES}/{first['id']}").json() == first
    assert client.delete(f"{STYLES}/{first['id']}").json()["deleted"] is True
    assert client.get(STYLES).json()["data"] == [second]
    assert client.get(f"{STYLES}/{first['id']}").status_code == 404


def test_a_style_is_described_and_deleted_by_a_name_that_is_its_own(client, ink):
    one, two, other = (add(client, ink, name=name).json()["id"] for name in ("ink", "ink", "néon"))
    for request in (client.get, client.delete):
        response = request(f"{STYLES}/ink")
        assert (response.status_code, f"{one}, {two}" in error_message(response)) == (409, True)
    assert client.get(f"{STYLES}/ne\u0301on").json()["id"] == other
    assert client.delete(f"{STYLES}/néon").json() == {"id": other, "object": "style", "deleted": True}
    client.delete(f"{STYLES}/{two}")
    assert client.delete(f"{STYLES}/ink").json()["id"] == one
    assert client.delete(f"{STYLES}/ink").status_code == 404


def test_a_style_of_the_library_is_not_deleted(serve, styled, reference, library):
    library.mkdir(exist_ok=True)
    path = styled.style(reference).save(library / f"neon{SUFFIX}", force=True)
    assert (serve(library=True).delete(f"{STYLES}/neon").status_code, path.is_file()) == (404, True)


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


def test_a_style_of_another_encoder_is_refused_before_it_is_queued(
    serve, styled, reference, library, model, monkeypatch
):
    """The service's model is found by its folder."""
    library.mkdir(exist_ok=True)
    other = replace(styled.style(reference), encoder_fingerprint="0" * 16)
    other.save(library / f"neon{SUFFIX}", force=True)
    monkeypatch.delattr("instantstyle.generation.worker.prepare")
    client = serve(library=True, model=str(model))
    response = client.post(GENERATIONS, json={"prompt": "a", "style": "neon", **SHORT})
    assert response.status_code == 400
    assert "was made with another image encoder" in error_message(response)


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


@pytest.mark.parametrize("data", [b"", b"damaged", None])
def test_a_damaged_file_breaks_neither_the_list_nor_other_styles_nor_its_deletion(client, ink, settings, data):
    bad, good = (add(client, ink, name="ink").json()["id"] for _ in range(2))
    [path] = settings.folder.rglob(f"{bad}{SUFFIX}")
    path.write_bytes(path.read_bytes()[:-1] if data is None else data)
    assert [style["id"] for style in client.get(STYLES).json()["data"]] == [good]
    assert generate(client, style="ink").shape == (16, 16, 3)
    responses = [
        client.get(f"{STYLES}/{bad}"),
        client.post(GENERATIONS, json={"prompt": "a", "style": bad, **SHORT}),
        client.delete(f"{STYLES}/{bad}"),
        client.delete(f"{STYLES}/{bad}"),
    ]
    assert [response.status_code for response in responses] == [404, 400, 200, 404]
    assert [str(settings.folder) in response.text for response in responses] == [False] * 4
    assert "/tmp" not in "".join(response.text for response in responses)


def test_a_style_that_vanishes_while_it_is_listed_is_left_out(client, ink, settings, monkeypatch):
    gone, kept = (add(client, ink, name="ink").json()["id"] for _ in range(2))
    paths = StyleStore._paths
    monkeypatch.setattr(
        StyleStore, "_paths", lambda self, owner: [*paths(self, owner), settings.folder / f"{gone}{SUFFIX}"]
    )
    client.delete(f"{STYLES}/{gone}")
    assert [style["id"] for style in client.get(STYLES).json()["data"]] == [kept]
    assert generate(client, style="ink").shape == (16, 16, 3)


def test_of_equal_names_the_newest_is_used_even_within_one_tick_of_the_clock(styled, reference, tmp_path, monkeypatch):
    monkeypatch.setattr("instantstyle.server.style_store.time_ns", lambda: 10**18)
    store, style = StyleStore(tmp_path), styled.style(reference)
    added = [store.add("ada", replace(style, name="ink", notes=str(number))) for number in range(6)]
    assert [stored.id for stored in store.list_styles("ada")] == [stored.id for stored in added]
    assert store.read("ada", "ink") == added[-1].path.read_bytes()


def test_the_limit_of_styles_holds_for_requests_at_the_same_time(styled, reference, tmp_path):
    store, style = StyleStore(tmp_path, limit=3), styled.style(reference)

    def attempt(_) -> str | None:
        try:
            store.add("ada", style)
        except ApiError as error:
            return error.code
        return "stored"

    with ThreadPoolExecutor(8) as pool:
        codes = Counter(pool.map(attempt, range(16)))
    assert codes == {"stored": 3, "too_many_styles": 13}
    assert len(store.list_styles("ada")) == 3


def test_a_style_that_cannot_be_stored_tells_no_path(styled, reference, tmp_path):
    (tmp_path / "ada").write_bytes(b"")
    with pytest.raises(ApiError) as error:
        StyleStore(tmp_path).add("ada", styled.style(reference))
    assert error.value.status == 500
    assert str(tmp_path) not in str(error.value)


def test_names_are_those_of_the_library(client, ink):
    assert add(client, ink, name="cafe\u0301").json()["name"] == "caf\u00e9"
    assert add(client, ink, name="नमस्ते").json()["name"] == "नमस्ते"
    assert generate(client, style="cafe\u0301").shape == (16, 16, 3)
    response = add(client, ink, name="a/b")
    assert response.status_code == 400
    assert "cannot be called 'a/b'" in error_message(response)
