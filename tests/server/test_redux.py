"""The service with FLUX.1 and references by Redux."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from instantstyle import StyleError, load
from instantstyle.core.redux_model import ReduxModel
from instantstyle.generation.generate import generate
from instantstyle.generation.weights import read_weights
from instantstyle.generation.worker import ModelWorker
from instantstyle.models.redux_files import open_redux
from instantstyle.recipe import REDUX_FIELDS, Recipe
from instantstyle.recipe_types import Reference
from instantstyle.server import Settings
from instantstyle.server.app import create_app
from instantstyle.server.service import Service

from ..parity.flux import save_redux
from .conftest import decode, error_message

URL = "/v1/images/generations"
SMALL = {"size": "64x48", "num_inference_steps": 2, "seed": 1, "prompt": "a"}

pytestmark = pytest.mark.filterwarnings("ignore:The model was trained on images of")


@pytest.fixture
def settings(flux, redux, tmp_path) -> Settings:
    return Settings(
        model=str(flux),
        redux_model=read_weights("redux_model", str(redux)),
        redux_image_encoder=str(redux / "image_encoder"),
        folder=tmp_path / "served",
    )


@pytest.fixture
def serve(flux) -> Iterator[Callable[[Settings], TestClient]]:
    started: list[TestClient] = []

    def start(settings: Settings) -> TestClient:
        service = Service([ModelWorker(load(flux, device="cpu", plain=True))], settings)
        started.append(TestClient(create_app(service), base_url="http://localhost"))
        return started[-1].__enter__()

    yield start
    for client in started:
        client.__exit__(None, None, None)


def test_an_image_is_the_reference_and_its_recipe_names_no_folder(serve, settings, flux, ink, tmp_path):
    client, encoded = serve(settings), base64.b64encode(ink).decode()
    fields = {"redux_scale": 0.5, "redux_blocks": ["single_transformer_blocks.*"], "redux_curve": [1, 0.5]}
    response = client.post(URL, json={**SMALL, "redux_image": encoded, **fields})
    assert response.status_code == 200, response.text
    [answer] = response.json()["data"]
    recipe = Recipe.model_validate(answer["recipe"])
    assert str(flux.parent) not in json.dumps(answer["recipe"])
    assert settings.redux_model is not None
    assert recipe.redux_model == settings.redux_model.model_copy(update={"name": Path(settings.redux_model.name).name})
    assert ([file.name for file in recipe.redux_references], recipe.redux_image_encoder) == (
        ["redux_image"],
        "image_encoder",
    )
    # The same image as by the recipe with the files of this machine.
    path = tmp_path / "ink.png"
    path.write_bytes(ink)
    files = {
        "model": settings.model,
        "redux_model": settings.redux_model,
        "redux_image_encoder": settings.redux_image_encoder,
        "redux_references": [Reference(name=str(path), sha256=recipe.redux_references[0].sha256)],
    }
    [(image, _)] = generate(load(flux, device="cpu", plain=True), recipe.replace(**files))
    assert image.tobytes() == decode(answer).tobytes()
    plain = client.post(URL, json=SMALL).json()["data"][0]
    assert decode(plain).tobytes() != image.tobytes()
    assert not {*REDUX_FIELDS[:2]} & {*plain["recipe"]}
    assert not plain["recipe"]["redux_references"]


def test_a_photo_can_be_restyled_by_it_alone(serve, settings, ink):
    data = {**SMALL, "mode": "restyle", "redux_image": base64.b64encode(ink).decode(), "redux_curve": ["1", "0.5"]}
    del data["size"]
    response = serve(settings).post(
        "/v1/images/edits", data={**data, "redux_scale": "0.5"}, files={"image": ("photo.png", ink)}
    )
    assert response.status_code == 200, response.text
    recipe = response.json()["data"][0]["recipe"]
    assert (recipe["redux_scale"], recipe["redux_curve"], recipe["references"]) == (0.5, [1, 0.5], [])


def test_what_is_out_of_bounds_or_cannot_act_is_refused(serve, settings, ink):
    client, encoded = serve(settings), base64.b64encode(ink).decode()
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"redux_scale": 11}, "redux_scale is 11"),
        ({"redux_scale": -0.1}, "redux_scale is -0.1"),
        ({"redux_curve": [11]}, "redux_curve"),
        ({"redux_curve": [1] * 1025}, "redux_curve"),
        ({"redux_blocks": "probe.json"}, "redux_blocks cannot name"),
        ({"redux_blocks": "transformer_blocks.9"}, "no block transformer_blocks.9"),
        ({"redux_image": "/etc/passwd"}, "redux_image is not base64"),
        ({"redux_model": "a/b"}, "redux_model"),
    )
    for fields, message in wrong:
        response = client.post(URL, json={**SMALL, "redux_image": encoded, **fields})
        assert response.status_code == 400, (fields, response.text)
        assert message in error_message(response), fields
    message = error_message(client.post(URL, json={**SMALL, "redux_scale": 0.5}))
    assert message.startswith("redux_scale can only act on a reference of FLUX.1 Redux, and there is none")


def test_a_service_without_it_refuses_its_fields(serve, settings, ink, flux):
    client = serve(Settings(model=str(flux), folder=settings.folder))
    response = client.post(URL, json={**SMALL, "redux_image": base64.b64encode(ink).decode()})
    assert error_message(response) == (
        "redux_image can only act with FLUX.1 Redux, and this service has none; leave it out."
    )


def test_the_fields_and_their_bounds_are_in_the_schema(serve, settings):
    schemas = serve(settings).get("/openapi.json").json()
    for path in (URL, "/v1/images/edits"):
        [content] = schemas["paths"][path]["post"]["requestBody"]["content"].values()
        schema = content["schema"]
        properties = schema.get("properties") or schemas["components"]["schemas"][schema["$ref"].split("/")[-1]]
        found = properties.get("properties", properties)
        assert {"redux_image", "redux_blocks", "redux_scale", "redux_curve"} <= {*found}
        assert (found["redux_scale"]["minimum"], found["redux_scale"]["maximum"]) == (0, 10)


def test_it_is_checked_and_opened_before_the_first_request(settings, ink, tmp_path, monkeypatch):
    opened: list[str] = []

    def open_and_note(weights: Reference, encoder: str | None, device: str) -> ReduxModel:
        opened.append(device)
        return open_redux(weights, encoder, device)

    monkeypatch.setattr("instantstyle.server.service.open_redux", open_and_note)
    # The folder has no adapter.
    service = Service.load(replace(settings, devices=("cpu",)))
    assert opened == ["cpu"]
    encoded = base64.b64encode(ink).decode()
    with TestClient(create_app(service), base_url="http://localhost") as client:
        assert client.post(URL, json={**SMALL, "redux_image": encoded}).status_code == 200
        response = client.post(URL, json={**SMALL, "style_image": encoded, "blocks": "all"})
        assert response.status_code == 400
        assert "adapter" in error_message(response)
    with pytest.raises(StyleError, match=r"acts in FLUX\.1, and mini is another model"):
        Service.load(Settings(redux_model=settings.redux_model, folder=tmp_path))


def test_clients_see_hub_ids_and_no_folders(settings):
    fields = replace(settings, vae=Reference(name="owner/vae")).public_model
    assert fields["vae"] == Reference(name="owner/vae")
    assert fields["redux_model"].name == Path(settings.redux_model.name).name


def test_it_stays_open_until_its_weights_change(settings, tmp_path, redux):
    first = open_redux(settings.redux_model, settings.redux_image_encoder, "cpu")
    assert open_redux(settings.redux_model, settings.redux_image_encoder, "cpu") is first
    copied = save_redux(tmp_path / "copied")
    other = read_weights("redux_model", str(copied))
    second = open_redux(other, str(copied / "image_encoder"), "cpu")
    assert second is not first
    assert open_redux(settings.redux_model, settings.redux_image_encoder, "cpu") is not first
