"""OpenAI's official client against the bundled model on a real port."""

from collections.abc import Iterator

import openai
import pytest

from instantstyle.generation.model_parts import ModelParts
from instantstyle.generation.worker import ModelWorker
from instantstyle.server import Keys, Limits, Settings
from instantstyle.server.service import Service

from .conftest import decode, running
from .test_auth import ADA

SHORT = {"num_inference_steps": 2, "seed": 7}


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[openai.OpenAI]:
    folder = tmp_path_factory.mktemp("served")
    settings = Settings(keys=Keys([ADA]), folder=folder, limits=Limits(images=2))
    service = Service([ModelWorker.load(ModelParts("mini"), device="cpu")], settings)
    with (
        running(service) as (_, url, _),
        openai.OpenAI(base_url=f"{url}/v1", api_key=ADA, max_retries=0, timeout=120) as client,
    ):
        yield client


def size(entry) -> tuple[int, int]:
    return decode({"b64_json": entry.b64_json}).size


def test_generate_returns_images_of_the_requested_size(client):
    answer = client.images.generate(prompt="a rocket", model="mini", n=2, size="64x32", extra_body=SHORT)
    assert [size(entry) for entry in answer.data] == [(64, 32)] * 2
    assert [entry.recipe["seed"] for entry in answer.data] == [7, 8]


def test_generate_accepts_the_fields_of_openai(client):
    answer = client.images.generate(
        prompt="a rocket",
        response_format="b64_json",
        output_format="webp",
        output_compression=80,
        user="ada",
        moderation="low",
    )
    assert answer.output_format == "webp"
    assert decode({"b64_json": answer.data[0].b64_json}).format == "WEBP"


def test_edit_sends_a_reference(client, ink):
    answer = client.images.edit(
        image=("ink.png", ink), prompt="a rocket", extra_body={**SHORT, "content": "a cat", "scale": 0.8}
    )
    recipe = answer.data[0].recipe
    assert [reference["name"] for reference in recipe["references"]] == ["ink.png"]
    assert (recipe["content"], recipe["scale"]) == (["a cat"], 0.8)


def test_edit_sends_weights_of_blocks_and_intervals(client, ink):
    extra = {"blocks": {"style": 1, "layout": 0.3}, "colour_transfer": 0.5, "colour_transfer_interval": [0, 1]}
    answer = client.images.edit(image=("ink.png", ink), prompt="a rocket", extra_body={**SHORT, **extra})
    recipe = answer.data[0].recipe
    assert {name: recipe[name] for name in extra} == extra


def test_edit_restyles_one_image_in_the_style_of_another(client, ink):
    images = [("ink.png", ink), ("photo.png", ink)]
    answer = client.images.edit(image=images, prompt="a rocket", extra_body={**SHORT, "mode": "restyle"})
    assert answer.data[0].recipe["image"]["name"] == "photo.png"


def test_generate_and_edit_stream_events(client, ink, default_size):
    events = client.images.generate(prompt="a rocket", stream=True, partial_images=1, extra_body=SHORT)
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    edited = client.images.edit(image=ink, prompt="a rocket", stream=True, extra_body=SHORT)
    assert [size(event) for event in edited] == [default_size]


def test_models_lists_and_retrieves_the_model(client):
    assert [model.id for model in client.models.list()] == ["mini"]
    assert client.models.retrieve("mini").id == "mini"
    with pytest.raises(openai.NotFoundError, match="There is no model 'dall-e-3' here; there is mini"):
        client.models.retrieve("dall-e-3")


def test_an_error_reaches_the_client_with_its_message_and_code(client):
    with pytest.raises(openai.BadRequestError, match="n is 3, at most 2") as error:
        client.images.generate(prompt="a rocket", n=3)
    assert error.value.code == "too_much"


def test_a_wrong_key_is_an_authentication_error(client):
    with pytest.raises(openai.AuthenticationError, match="needs an API key"):
        client.with_options(api_key="another-0123456789").images.generate(prompt="a rocket")
