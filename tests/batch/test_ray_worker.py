"""What travels to a worker of a cluster and back: with it the pictures are those of one machine alone."""

import pickle
import socket
import sys

import pytest

from instantstyle.batch import backend_named
from instantstyle.batch.backends import local
from instantstyle.batch.backends.ray_pool import room
from instantstyle.batch.backends.ray_worker import PackedRecipe, Worker
from instantstyle.errors import JobError, MissingExtra
from instantstyle.generation import generate as drawing
from instantstyle.recipe import Recipe

from ..guards.test_import_weight import loaded_by

SHORT = {"num_inference_steps": 2, "height": 16, "width": 16}


@pytest.fixture
def worker(styled, monkeypatch) -> Worker:
    """With the small random model, whatever a recipe names."""
    monkeypatch.setattr(local, "load_for", lambda *_, **__: styled)
    return Worker("cpu")


@pytest.fixture
def recipe(reference, tmp_path) -> Recipe:
    """With every kind of file that a recipe names, but a photo."""
    for name in ("ink", "plan", "neon", "mask"):
        reference.rotate(len(name) * 40).convert("RGB").save(tmp_path / f"{name}.png")
    fields = {
        "references": [{"name": str(tmp_path / "ink.png")}],
        "layout_references": [{"name": str(tmp_path / "plan.png"), "weight": 1.0}],
        "negative_references": [{"name": str(tmp_path / "neon.png")}],
        "mask": {"name": str(tmp_path / "mask.png")},
    }
    return Recipe.model_validate({"prompt": "a rocket", "seed": 3, "content": ("a cat",), **fields, **SHORT})


def sent(thing):
    return pickle.loads(pickle.dumps(thing))


def test_a_worker_without_the_files_draws_what_another_has_looked_at(worker, recipe, styled, tmp_path):
    [(expected, made)] = list(drawing.generate(styled, recipe))
    look = sent(worker.look(sent(PackedRecipe.packed(recipe)), "float32"))
    for path in tmp_path.glob("*.png"):
        path.unlink()
    never = styled.image_encoder.model.register_forward_hook(_never)
    [(picture, told)] = sent(Worker("cpu").draw(look, [recipe]))
    never.remove()
    assert picture.tobytes() == expected.tobytes()
    assert told == made


def test_a_bound_style_travels_with_its_keys_and_values(worker, recipe, styled, tmp_path):
    path = styled.bind(styled.style(recipe.references[0].name)).save(tmp_path / "ink.style.safetensors")
    bound = Recipe.model_validate(
        {"prompt": "a crown", "seed": 1, "references": [{"name": str(path)}], **SHORT}
    )
    [(expected, _)] = list(drawing.generate(styled, bound))
    look = sent(worker.look(sent(PackedRecipe.packed(bound)), "float32"))
    path.unlink()
    assert look.style.bindings
    [(picture, _)] = worker.draw(look, [bound])
    assert picture.tobytes() == expected.tobytes()


def test_the_numbers_that_a_worker_chose_load_nothing_anew(worker, recipe, styled, monkeypatch):
    loads = []
    monkeypatch.setattr(local, "load_for", lambda *_, **__: loads.append(1) or styled)
    parcel = PackedRecipe.packed(recipe)
    worker.draw(worker.look(parcel, worker.dtype(parcel)), [recipe])
    assert loads == [1]


def test_workers_do_not_stretch_over_two_nodes():
    nodes = [
        {"Alive": True, "Resources": {"CPU": 3.0}},
        {"Alive": True, "Resources": {"CPU": 5.0, "GPU": 2.0}},
        {"Alive": False, "Resources": {"CPU": 8.0}},
    ]
    assert (room(nodes, "CPU", 2), room(nodes, "CPU", 4), room(nodes, "GPU", 1)) == (3, 1, 2)


def test_without_ray_the_way_to_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'instantstyle\[ray\]'"):
        backend_named("ray")


def test_an_address_where_nothing_answers_is_refused_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listening
        address = "{}:{}".format(*taken.getsockname())
        with pytest.raises(JobError, match=f"Nothing answers at {address} .*leave --address out"):
            backend_named("ray", address=address)


def test_batches_on_this_machine_load_no_ray():
    assert "ray" not in loaded_by(
        "from instantstyle.batch import backend_named; backend_named('local', 'cpu')"
    )


@pytest.mark.parametrize("words", [("--address", "auto"), ("--cpus", 2)])
def test_settings_of_a_cluster_are_refused_without_one(run, tmp_path, words):
    done = run("batch", "--prompts", "a rocket", *words)
    assert done.code == 2
    assert "is for a Ray cluster; add --backend ray" in done.err


def _never(*_):
    raise AssertionError("the reference was seen again")
