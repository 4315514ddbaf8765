"""`doctor`, `generate --plan` and `load` look at the same files: those that are opened, and no others."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import instantstyle
from instantstyle.errors import CheckpointError, InstantStyleError, ModelError
from instantstyle.models.conflicts import find_conflicts
from instantstyle.models.load import validate_model
from instantstyle.models.load_plan import plan
from instantstyle.models.pipeline_files import find_hub_variant
from instantstyle.models.required_files import list_damaged, list_missing, list_required_files
from instantstyle.models.resolve import resolve_card
from instantstyle.unet.architectures import SD15

from ..conftest import base_projection, make_image_encoder, make_pipe, make_unet
from ..loaders.test_ip_adapter_checkpoint import flat

COMPONENTS = ("unet", "vae", "text_encoder", "text_encoder_2", "image_encoder")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tokenizer_folder, state) -> Path:
    path = tmp_path_factory.mktemp("whole") / "model"
    make_pipe(tokenizer_folder).save_pretrained(path)
    make_image_encoder().save_pretrained(path / "image_encoder")
    save_file(flat(state), path / "ip-adapter_small.safetensors")
    return path


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / "model")


def weights_of(folder: Path, component: str) -> Path:
    [path] = (folder / component).glob("*.safetensors")
    return path


def doctor_accepts(folder: Path, **parts: Any) -> bool:
    card, adapter = resolve_card(str(folder), parts.get("adapter"))
    files = list_required_files(card, adapter, parts.get("image_encoder"))
    conflicts = find_conflicts(card, adapter, parts.get("image_encoder"), files)
    return not (list_missing(files) or list_damaged(files) or list(conflicts))


def plan_accepts(folder: Path, **parts: Any) -> bool:
    try:
        return not list_missing(plan(folder, **parts).files)
    except InstantStyleError:
        return False


def load_accepts(folder: Path, **parts: Any) -> bool:
    try:
        instantstyle.load(folder, **parts)
    except InstantStyleError:
        return False
    return True


def verdicts(folder: Path, **parts: Any) -> tuple[bool, bool, bool]:
    return doctor_accepts(folder, **parts), plan_accepts(folder, **parts), load_accepts(folder, **parts)


def test_all_three_accept_a_complete_folder(whole):
    assert verdicts(whole) == (True, True, True)


@pytest.mark.slow
def test_all_three_refuse_a_folder_that_lacks_any_file(whole, tmp_path):
    wrong = {}
    for lost in sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file()):
        folder = shutil.copytree(whole, tmp_path / "lost", dirs_exist_ok=True)
        (folder / lost).unlink()
        if any(seen := verdicts(folder)):
            wrong[str(lost)] = seen
    assert wrong == {}


@pytest.mark.slow
def test_doctor_and_load_refuse_a_folder_with_any_file_cut_short(whole, tmp_path):
    wrong = {}
    for lost in sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file()):
        folder = shutil.copytree(whole, tmp_path / "cut", dirs_exist_ok=True)
        content = (folder / lost).read_bytes()
        (folder / lost).write_bytes(content[: len(content) // 2])
        if any(seen := (doctor_accepts(folder), load_accepts(folder))):
            wrong[str(lost)] = seen
        (folder / lost).write_bytes(content)
    assert wrong == {}


def test_a_folder_with_only_a_variant_is_loaded_with_it(copy, whole):
    for component in COMPONENTS:
        path = weights_of(copy, component)
        save_file({name: t.half() for name, t in load_file(path).items()}, path.with_suffix(".fp16.safetensors"))
        path.unlink()
    assert verdicts(copy) == (True, True, True)
    files = {file.file for file in list_required_files(resolve_card(str(copy))[0])}
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in files
    assert "image_encoder/model.fp16.safetensors" in files
    unet: Any = instantstyle.load(copy, dtype=torch.float32).pipe.unet
    expected = load_file(weights_of(whole, "unet"))["conv_in.weight"].half().float()
    assert unet.conv_in.weight.equal(expected)


def test_a_component_without_the_variant_is_loaded_beside_components_with_it(copy):
    path = weights_of(copy, "unet")
    path.rename(path.with_suffix(".fp16.safetensors"))
    assert verdicts(copy) == (True, True, True)


def test_a_folder_whose_variants_do_not_complete_each_other_is_refused(copy):
    for component, variant in (("unet", "fp16"), ("vae", "bf16")):
        path = weights_of(copy, component)
        path.rename(path.with_suffix(f".{variant}.safetensors"))
    assert verdicts(copy) == (False, False, False)


def test_copies_in_other_formats_and_precisions_are_neither_counted_nor_opened(copy):
    before = plan(copy)
    for component in COMPONENTS:
        path = weights_of(copy, component)
        shutil.copy(path, path.with_suffix(".fp16.safetensors"))
        torch.save(
            load_file(path), path.with_name(f"pytorch_{path.stem}.bin".replace("pytorch_diffusion_", "diffusion_"))
        )
        for name in ("openvino_model.bin", "openvino_model.xml", "model.onnx", "flax_model.msgpack", "tf_model.h5"):
            (path.parent / name).write_bytes(b"other" * 1000)
    after = plan(copy)
    assert after.num_bytes == before.num_bytes
    assert [(file.file, file.num_bytes) for file in after.files] == [
        (file.file, file.num_bytes) for file in before.files
    ]
    assert verdicts(copy) == (True, True, True)


def test_weights_as_pickles_are_found_where_there_are_no_others(copy):
    for component in COMPONENTS:
        path = weights_of(copy, component)
        stem = "diffusion_pytorch_model" if component in ("unet", "vae") else "pytorch_model"
        torch.save(load_file(path), path.with_name(f"{stem}.bin"))
        path.unlink()
    assert verdicts(copy) == (True, True, True)
    assert plan(copy).num_bytes > 0


def test_weights_in_several_files_are_all_required(copy):
    path = weights_of(copy, "text_encoder")
    tensors = load_file(path)
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, path.with_name(file), metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, part in parts.items() for name in part}}
    before = plan(copy).num_bytes
    path.with_name("model.safetensors.index.json").write_text(json.dumps(index))
    path.unlink()
    assert verdicts(copy) == (True, True, True)
    assert plan(copy).num_bytes == before
    path.with_name("model-00002-of-00002.safetensors").unlink()
    assert verdicts(copy) == (False, False, False)


def test_a_folder_without_an_adapter_is_refused(copy):
    (copy / "ip-adapter_small.safetensors").unlink()
    assert verdicts(copy) == (False, False, False)


@pytest.fixture
def sd15_adapter(tmp_path) -> Path:
    """An adapter with the names and shapes of SD1.5's, of which only the shapes are read."""
    shapes = {
        f"ip_adapter.{2 * n + 1}.to_{x}_ip.weight": (width, 768)
        for n, width in enumerate(SD15.layers.values())
        for x in "kv"
    }
    tensors = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    tensors |= {f"image_proj.{name}": t for name, t in base_projection(dim=1024, cross_dim=768).items()}
    path = tmp_path / "sd15.bin"
    torch.save(tensors, path)
    return path


def test_an_adapter_of_another_network_is_refused_before_anything_is_loaded(copy, sd15_adapter, monkeypatch):
    monkeypatch.setattr("diffusers.pipelines.pipeline_utils.DiffusionPipeline.from_pretrained", None)
    assert verdicts(copy, adapter=str(sd15_adapter)) == (False, False, False)
    for refuse in (plan, instantstyle.load):
        with pytest.raises(CheckpointError, match=r"trained for cross dim 768 \(Stable Diffusion 1.5\)"):
            refuse(copy, adapter=str(sd15_adapter))


def test_an_adapter_file_of_another_network_is_refused_for_a_registered_model(hub, sd15_adapter):
    with pytest.raises(CheckpointError, match=r"cross dim 768 .* the network has 2048 \(SDXL\)"):
        plan("sdxl", adapter=str(sd15_adapter))


def test_the_registered_adapter_of_another_network_is_refused_by_its_name(hub):
    for refuse in (plan, instantstyle.load, validate_model):
        with pytest.raises(ModelError, match=r"adapter of sd15 was trained for Stable Diffusion 1\.5 .* such as sdxl"):
            refuse("sdxl", adapter="sd15")


def test_the_registered_adapter_of_another_network_is_refused_for_a_folder(hub, copy):
    unet = make_unet(cross_attention_dim=768)
    unet.save_config(copy / "unet")
    with pytest.raises(CheckpointError, match=r"trained for SDXL \(cross dim 2048\); the network is"):
        plan(copy, adapter="sdxl")


@pytest.mark.parametrize("widths", [(16, 32), (24, 16)])
def test_an_image_encoder_of_other_widths_is_refused(copy, tmp_path, widths):
    make_image_encoder(*widths).save_pretrained(tmp_path / "other")
    assert verdicts(copy, image_encoder=str(tmp_path / "other")) == (False, False, False)
    with pytest.raises(CheckpointError, match="width 24"):
        plan(copy, image_encoder=str(tmp_path / "other"))


def test_another_kind_of_image_encoder_is_refused(copy):
    config = copy / "image_encoder" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "model_type": "dinov2"}))
    assert verdicts(copy) == (False, False, False)


def test_an_adapter_without_a_known_image_encoder_is_refused(copy):
    shutil.rmtree(copy / "image_encoder")
    assert verdicts(copy) == (False, False, False)


def test_a_pipeline_without_a_unet_is_refused_by_the_name_of_its_class(copy):
    index = json.loads((copy / "model_index.json").read_text())
    del index["unet"]
    (copy / "model_index.json").write_text(json.dumps({**index, "_class_name": "FluxPipeline"}))
    assert verdicts(copy) == (False, False, False)
    with pytest.raises(ModelError, match="contains a FluxPipeline without a UNet"):
        plan(copy)


def test_the_image_encoder_is_loaded_and_counted_once(copy):
    index = json.loads((copy / "model_index.json").read_text())
    index["image_encoder"] = ["transformers", "CLIPVisionModelWithProjection"]
    before = plan(copy).num_bytes
    (copy / "model_index.json").write_text(json.dumps(index))
    assert plan(copy).num_bytes == before
    pipe: Any = instantstyle.load(copy).pipe
    assert pipe.image_encoder is None


def test_averaged_weights_of_training_are_not_counted(hub, tmp_path):
    from instantstyle.models.single_file import FAMILIES

    key = FAMILIES["sdxl"].keys[0]
    sizes = []
    for name, tensors in {"a": {}, "b": {"model_ema.diffusion_modelx": torch.zeros(1000)}}.items():
        save_file({key: torch.zeros(10), **tensors}, tmp_path / f"{name}.safetensors")
        planned = plan(tmp_path / f"{name}.safetensors", adapter="sdxl", dtype=torch.float32)
        sizes.append(planned.weights[0].num_bytes)
    assert sizes == [40, 40]


@pytest.fixture
def branch(snapshot, hub) -> Path:
    """The folder of a repository's main branch in the cache."""
    commit = "a" * 40
    folder = snapshot("owner/fine", commit)
    refs = hub / "models--owner--fine" / "refs"
    refs.mkdir()
    (refs / "main").write_text(commit)
    return folder


def test_a_hub_id_whose_cache_has_only_a_variant_is_loaded_offline(whole, branch, tmp_path):
    adapter, encoder = shutil.copy(whole / "ip-adapter_small.safetensors", tmp_path), whole / "image_encoder"
    shutil.copytree(whole, branch, dirs_exist_ok=True, ignore=shutil.ignore_patterns("ip-adapter*", "image_encoder"))
    for component in ("unet", "vae", "text_encoder", "text_encoder_2"):
        path = weights_of(branch, component)
        path.rename(path.with_suffix(".fp16.safetensors"))
    parts: dict[str, Any] = {"adapter": str(adapter), "image_encoder": str(encoder)}
    assert plan("owner/fine", **parts).num_bytes == plan(whole).num_bytes
    pipe: Any = instantstyle.load("owner/fine", **parts).pipe
    assert pipe.unet.conv_in.weight.equal(load_file(weights_of(whole, "unet"))["conv_in.weight"])
    weights_of(branch, "vae").unlink()
    with pytest.raises(ModelError, match=r"vae/diffusion_pytorch_model\S*\.safetensors of owner/fine not found"):
        instantstyle.load("owner/fine", **parts)


def test_the_variant_of_a_repository_is_chosen_by_its_files_on_the_hub(branch, monkeypatch):
    index = {"unet": ["diffusers", "UNet2DConditionModel"], "text_encoder": ["transformers", "CLIPTextModel"]}
    (branch / "model_index.json").write_text(json.dumps(index))
    unet, text = "unet/diffusion_pytorch_model", "text_encoder/model"
    found = {}
    for name, files in {
        "both": (f"{unet}.safetensors", f"{unet}.fp16.safetensors", f"{text}.safetensors", f"{text}.fp16.safetensors"),
        "only fp16": (f"{unet}.fp16.safetensors", f"{text}.fp16.safetensors"),
        "only bf16": (f"{unet}.bf16.safetensors", f"{text}.bf16.safetensors"),
        "pickles": (f"{unet}.bin", "text_encoder/pytorch_model.bin"),
        "silent hub": (),
    }.items():
        monkeypatch.setattr(
            "instantstyle.models.pipeline_files.list_hub_files", lambda repo, revision, files=files: files
        )
        found[name] = find_hub_variant("owner/fine", None)
    assert found == {"both": None, "only fp16": "fp16", "only bf16": "bf16", "pickles": None, "silent hub": None}
