"""Pictures as OpenAI's API answers them, and the very ones that the command draws."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from instantstyle.generation.generate import generate
from instantstyle.generation.worker import Painter
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.recipe import Recipe, Reference

from .conftest import SHORT, message, picture, png

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"


def generate(client, **fields):
    return client.post(GENERATIONS, json={"prompt": "a rocket", "seed": 7, **SHORT, **fields})


def edit(client, *pictures: bytes, **fields):
    files = [("image[]", (f"picture {number}.png", data)) for number, data in enumerate(pictures)]
    return client.post(
        EDITS, data={"prompt": "a rocket", "seed": 7, "num_inference_steps": 2, **fields}, files=files
    )


def events(response) -> list[tuple[str, dict]]:
    parted = [event.split("\n") for event in response.text.split("\n\n") if event]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in parted]


def test_a_picture_is_the_very_one_that_the_command_draws(client, styled):
    [told] = generate(client).json()["data"]
    recipe = Recipe(prompt="a rocket", seed=7, num_inference_steps=2, height=16, width=16)
    [(image, _)] = generate(styled, recipe)
    assert np.array_equal(picture(told), image)


def test_an_answer_says_what_it_holds(client):
    answer = generate(client, n=2).json()
    assert answer["size"] == "16x16"
    assert answer["output_format"] == "png"
    assert [one["recipe"]["seed"] for one in answer["data"]] == [7, 8]


def test_each_picture_has_its_own_seed_where_none_is_given(client):
    seeds = {generate(client, seed=None).json()["data"][0]["recipe"]["seed"] for _ in range(2)}
    assert len(seeds) == 2


@pytest.mark.parametrize("wanted", ["png", "jpeg", "webp"])
def test_a_picture_comes_in_the_format_asked_for(client, wanted):
    answer = generate(client, output_format=wanted, output_compression=50).json()
    assert picture(answer["data"][0]).format == wanted.upper()


def test_a_png_carries_its_recipe_in_the_askers_words(client, ink, tmp_path):
    [told] = edit(client, ink).json()["data"]
    path = tmp_path / "drawn.png"
    path.write_bytes(base64.b64decode(told["b64_json"]))
    recipe = read_recipe(path)
    assert recipe == Recipe.model_validate(told["recipe"])
    assert [reference.name for reference in recipe.references] == ["picture 0.png"]
    assert recipe.references[0].sha256


def test_a_recipe_tells_nothing_of_where_the_model_lies(serve):
    parts = {"model": "/srv/models/ours", "adapter": "/srv/ours.safetensors", "image_encoder": "/srv/tower"}
    [told] = generate(serve(**parts)).json()["data"]
    assert {part: told["recipe"][part] for part in parts} == {
        "model": "ours",
        "adapter": "ours.safetensors",
        "image_encoder": "tower",
    }


def test_a_picture_that_is_sent_is_the_style_reference(client, styled, ink, tmp_path):
    path = tmp_path / "ink.png"
    path.write_bytes(ink)
    [told] = edit(client, ink, size="16x16", content="a cat", scale="0.5").json()["data"]
    recipe = Recipe(
        prompt="a rocket",
        seed=7,
        references=(Reference(name=str(path)),),
        content=("a cat",),
        scale=0.5,
        num_inference_steps=2,
        height=16,
        width=16,
    )
    [(image, _)] = generate(styled, recipe)
    assert np.array_equal(picture(told), image)


def test_a_reference_may_come_in_the_words_themselves(client, ink):
    bare, named = (f"{front}{base64.b64encode(ink).decode()}" for front in ("", "data:image/png;base64,"))
    styled = [generate(client, style_image=text, scale=2).json()["data"][0] for text in (bare, named)]
    [plain] = generate(client).json()["data"]
    assert np.array_equal(*map(picture, styled))
    assert not np.array_equal(picture(styled[0]), picture(plain))


def test_restyling_draws_the_second_picture_in_the_style_of_the_first(client, ink):
    wide = Image.new("RGB", (64, 32), "red")
    answer = edit(client, ink, png(wide), mode="restyle", strength=1.0)
    [told] = answer.json()["data"]
    assert told["recipe"]["image"]["name"] == "picture 1.png"
    image = picture(told)
    assert image.width > image.height


def test_a_stream_shows_unfinished_pictures_and_then_the_finished_one(client):
    told = events(generate(client, stream=True, partial_images=2, num_inference_steps=6))
    assert [name for name, _ in told] == [
        *["image_generation.partial_image"] * 2,
        "image_generation.completed",
    ]
    assert [one["partial_image_index"] for _, one in told[:2]] == [0, 1]
    shown = [np.asarray(picture(one)) for _, one in told]
    assert len({image.tobytes() for image in shown}) == 3


def test_looking_at_a_picture_does_not_change_it(client):
    *_, (_, completed) = events(generate(client, stream=True, partial_images=1))
    [told] = generate(client).json()["data"]
    assert np.array_equal(picture(completed), picture(told))


def test_an_edit_streams_events_of_its_own(client, ink):
    [(name, _)] = events(edit(client, ink, stream="true", size="16x16"))
    assert name == "image_edit.completed"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"n": 0}, "n is 0, should be greater than or equal to 1"),
        ({"promt": "a cat"}, "there is no field promt (perhaps prompt)"),
        ({"size": "17x16"}, "width is 17, should be a multiple of 8"),
        ({"scale": 11}, "scale is 11, should be less than or equal to 10"),
        ({"response_format": "url"}, "response_format is 'url', should be 'b64_json'"),
        ({"content": "a cat"}, "content names what a reference shows, and there is none"),
        ({"style_image": "https://example.org/ink.png"}, "style_image is not base64"),
        (
            {"style_image": base64.b64encode(b"no picture").decode()},
            "style_image is not a picture we can read",
        ),
    ],
)
def test_a_refusal_says_what_is_wrong(client, fields, told):
    response = generate(client, **fields)
    assert response.status_code == 400
    assert told in message(response)


@pytest.mark.parametrize(
    ("pictures", "fields", "told"),
    [
        (0, {}, "image is missing"),
        (1, {"mode": "restyle"}, "mode restyle needs a style"),
        (2, {"mode": "restyle", "size": "16x16"}, "size is the picture's own in mode restyle"),
        (1, {"strength": 0.5}, 'add mode="restyle"'),
        (1, {"blocks": "stile"}, "SDXL has no block stile"),
        (1, {"image": "https://example.org/ink.png"}, "addresses and paths are not followed here"),
    ],
)
def test_an_edit_that_is_not_meant_so_is_refused(client, ink, pictures, fields, told):
    response = edit(client, *[ink] * pictures, **fields)
    assert response.status_code == 400
    assert told in message(response)


def test_a_mask_is_refused_by_name(client, ink):
    files = {"image": ("ink.png", ink), "mask": ("mask.png", ink)}
    response = client.post(EDITS, data={"prompt": "a rocket"}, files=files)
    assert "There is no mask here" in message(response)


def test_another_model_than_the_one_served_is_not_found(client):
    response = generate(client, model="dall-e-3")
    assert response.status_code == 404
    assert message(response) == "There is no model 'dall-e-3' here; there is small."


def test_a_mistake_of_ours_is_told_as_one_and_without_details(serve):
    class Broken(Painter):
        def draw(self, *_):
            raise RuntimeError("secret")

    client, told = serve(Broken, faults=True), "The service failed at this request; its log says why."
    response = generate(client)
    assert response.status_code == 500
    assert message(response) == told
    [(name, content)] = events(generate(client, stream=True))
    assert (name, content["error"]["message"]) == ("error", told)
