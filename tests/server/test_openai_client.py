"""The official client, unchanged, against the bundled model behind a real port."""

from collections.abc import Iterator

import openai
import pytest

from instantstyle.generation.worker import Painter
from instantstyle.server import Keys, Limits, Settings
from instantstyle.server.service import Service

from .conftest import picture, running
from .test_auth import ADA

SHORT = {"num_inference_steps": 2, "seed": 7}


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[openai.OpenAI]:
    folder = tmp_path_factory.mktemp("served")
    settings = Settings(keys=Keys([ADA]), folder=folder, bounds=Limits(pictures=2))
    service = Service([Painter.loaded("mini", None, None, "cpu")], settings)
    with (
        running(service) as (_, url, _),
        openai.OpenAI(base_url=f"{url}/v1", api_key=ADA, max_retries=0, timeout=120) as client,
    ):
        yield client


def shown(entry) -> tuple[int, int]:
    return picture({"b64_json": entry.b64_json}).size


def test_it_draws(client):
    answer = client.images.generate(prompt="a rocket", model="mini", n=2, size="64x32", extra_body=SHORT)
    assert [shown(entry) for entry in answer.data] == [(64, 32)] * 2
    assert [entry.recipe["seed"] for entry in answer.data] == [7, 8]


def test_its_own_words_suffice(client):
    answer = client.images.generate(
        prompt="a rocket", response_format="b64_json", output_format="webp", output_compression=80, user="ada"
    )
    assert answer.output_format == "webp"
    assert picture({"b64_json": answer.data[0].b64_json}).format == "WEBP"


def test_it_sends_a_reference(client, ink):
    answer = client.images.edit(
        image=("ink.png", ink), prompt="a rocket", extra_body={**SHORT, "content": "a cat", "scale": 0.8}
    )
    recipe = answer.data[0].recipe
    assert [reference["name"] for reference in recipe["references"]] == ["ink.png"]
    assert (recipe["content"], recipe["scale"]) == (["a cat"], 0.8)


def test_it_restyles_one_picture_in_the_style_of_another(client, ink):
    pictures = [("ink.png", ink), ("photo.png", ink)]
    answer = client.images.edit(image=pictures, prompt="a rocket", extra_body={**SHORT, "mode": "restyle"})
    assert answer.data[0].recipe["image"]["name"] == "photo.png"


def test_it_reads_a_stream(client, ink, drawn_size):
    made = client.images.generate(prompt="a rocket", stream=True, partial_images=1, extra_body=SHORT)
    assert [event.type for event in made] == ["image_generation.partial_image", "image_generation.completed"]
    edited = client.images.edit(image=ink, prompt="a rocket", stream=True, extra_body=SHORT)
    assert [shown(event) for event in edited] == [drawn_size]


def test_it_lists_the_model(client):
    assert [model.id for model in client.models.list()] == ["mini"]
    assert client.models.retrieve("mini").id == "mini"
    with pytest.raises(openai.NotFoundError, match="There is no model 'dall-e-3' here; there is mini"):
        client.models.retrieve("dall-e-3")


def test_it_raises_the_sentence_of_a_refusal(client):
    with pytest.raises(openai.BadRequestError, match="n is 3, at most 2") as refusal:
        client.images.generate(prompt="a rocket", n=3)
    assert refusal.value.code == "too_much"


def test_it_knows_a_wrong_key(client):
    with pytest.raises(openai.AuthenticationError, match="needs an API key"):
        client.with_options(api_key="another-0123456789").images.generate(prompt="a rocket")
