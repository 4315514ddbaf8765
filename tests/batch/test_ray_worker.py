"""The values that are sent to a worker of a Ray cluster and back suffice for identical images."""

import pickle
import socket
import sys

import pytest

from instantstyle.batch import create_backend
from instantstyle.batch.backends import local
from instantstyle.batch.backends.ray_pool import ClusterNode, count_workers
from instantstyle.batch.backends.ray_worker import PackedRecipe, Worker
from instantstyle.errors import JobError, MissingExtra
from instantstyle.generation.generate import generate
from instantstyle.recipe import Recipe

from ..guards.test_import_weight import loaded_by

SHORT = {"num_inference_steps": 2, "height": 16, "width": 16}


@pytest.fixture
def worker(styled, monkeypatch) -> Worker:
    """A worker with the small random model for every recipe."""
    monkeypatch.setattr(local, "load_for", lambda *_, **__: styled)
    return Worker("cpu")


@pytest.fixture
def recipe(reference, tmp_path) -> Recipe:
    """A recipe with every field that names files except `image`."""
    for name in ("ink", "plan", "neon", "mask"):
        reference.rotate(len(name) * 40).convert("RGB").save(tmp_path / f"{name}.png")
    fields = {
        "references": [{"name": str(tmp_path / "ink.png")}],
        "layout_references": [{"name": str(tmp_path / "plan.png"), "weight": 1.0}],
        "negative_references": [{"name": str(tmp_path / "neon.png")}],
        "mask": {"name": str(tmp_path / "mask.png")},
    }
    return Recipe.model_validate({"prompt": "a rocket", "seed": 3, "content": ("a cat",), **fields, **SHORT})


def send(value):
    """Serialize and deserialize a value, as sending it to another process does."""
    return pickle.loads(pickle.dumps(value))


def test_a_worker_without_the_files_generates_what_another_has_encoded(worker, recipe, styled, tmp_path):
    [(expected, expected_recipe)] = list(generate(styled, recipe))
    encoded = send(worker.encode(send(PackedRecipe.from_recipe(recipe)), "float32"))
    for path in tmp_path.glob("*.png"):
        path.unlink()
    hook = styled.image_encoder.model.register_forward_hook(_fail_if_called)
    [(image, completed)] = send(Worker("cpu").generate(encoded, [recipe]))
    hook.remove()
    assert image.tobytes() == expected.tobytes()
    assert completed == expected_recipe


def test_a_bound_style_is_sent_with_its_keys_and_values(worker, recipe, styled, tmp_path):
    path = styled.bind(styled.style(recipe.references[0].name)).save(tmp_path / "ink.style.safetensors")
    bound = Recipe.model_validate({"prompt": "a crown", "seed": 1, "references": [{"name": str(path)}], **SHORT})
    [(expected, _)] = list(generate(styled, bound))
    encoded = send(worker.encode(send(PackedRecipe.from_recipe(bound)), "float32"))
    path.unlink()
    assert encoded.style.bindings
    [(image, _)] = worker.generate(encoded, [bound])
    assert image.tobytes() == expected.tobytes()


def test_the_chosen_dtype_does_not_reload_the_model(worker, recipe, styled, monkeypatch):
    loads = []
    monkeypatch.setattr(local, "load_for", lambda *_, **__: loads.append(1) or styled)
    packed = PackedRecipe.from_recipe(recipe)
    worker.generate(worker.encode(packed, worker.dtype(packed)), [recipe])
    assert loads == [1]


def test_a_worker_does_not_span_two_nodes():
    nodes: list[ClusterNode] = [
        {"Alive": True, "Resources": {"CPU": 3.0}},
        {"Alive": True, "Resources": {"CPU": 5.0, "GPU": 2.0}},
        {"Alive": False, "Resources": {"CPU": 8.0}},
    ]
    counts = [count_workers(nodes, *needs) for needs in (("CPU", 2), ("CPU", 4), ("GPU", 1))]
    assert counts == [3, 1, 2]


def test_without_ray_the_install_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'instantstyle\[ray\]'"):
        create_backend("ray")


def test_an_address_where_nothing_answers_is_refused_quickly():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # without listening
        address = "{}:{}".format(*bound.getsockname())
        with pytest.raises(JobError, match=f"Nothing answers at {address} .*leave --address out"):
            create_backend("ray", address=address)


def test_the_local_backend_does_not_import_ray():
    assert "ray" not in loaded_by("from instantstyle.batch import create_backend; create_backend('local', 'cpu')")


@pytest.mark.parametrize("words", [("--address", "auto"), ("--cpus", 2)])
def test_options_of_the_ray_backend_are_refused_without_it(run, tmp_path, words):
    done = run("batch", "--prompts", "a rocket", *words)
    assert done.code == 2
    assert "is for a Ray cluster; add --backend ray" in done.err


def _fail_if_called(*_):
    raise AssertionError("the reference was encoded again")
