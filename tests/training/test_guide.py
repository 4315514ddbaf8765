"""The guide reads attributes, where images are flat too, and its textures are those inside the object."""

import torch

from instantstyle.metrics.classifier import normalize_local_contrast
from training.mini.guide import MIN_VARIANCE, GuideClassifier, classification_loss, mean_and_deviation

from ..helpers import seeded_generator


def test_the_gradient_is_finite_where_an_image_is_flat():
    images = torch.full((1, 3, 128, 128), 0.25, requires_grad=True)
    logits, inside = GuideClassifier()(images)
    (sum(each.sum() for each in logits.values()) + inside.sum()).backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()


def test_contrast_is_equalised_locally():
    wave = torch.sin(torch.arange(64.0))[None, None, None].expand(1, 3, 64, 64)
    faint, strong = (normalize_local_contrast(0.5 + amount * wave, MIN_VARIANCE) for amount in (0.1, 0.4))
    assert 0.5 < (faint.std() / strong.std()).item() < 1
    assert normalize_local_contrast(torch.full((1, 3, 64, 64), 0.7), MIN_VARIANCE).abs().max() < 1e-3


def test_textures_are_those_inside_the_object():
    inside = torch.zeros(1, 1, 16, 16)
    inside[..., :8] = 1
    features = torch.randn(1, 5, 32, 32, generator=seeded_generator(0))
    object_half = features[..., :16]
    mean, deviation = mean_and_deviation(features, inside)
    assert torch.allclose(mean, object_half.mean((2, 3)), atol=1e-5)
    expected = (object_half - object_half.mean((2, 3), keepdim=True)).abs().mean((2, 3))
    assert torch.allclose(deviation, expected, atol=1e-5)


def test_only_what_is_stated_counts():
    logits = {"fill": torch.tensor([[4.0, 0.0], [0.0, 4.0]]), "ground": torch.zeros(2, 3)}
    labels = {"fill": torch.tensor([0, 0]), "ground": torch.tensor([2, 1])}
    stated = {"fill": torch.tensor([True, False]), "ground": torch.tensor([False, False])}
    loss = classification_loss(logits, labels, stated, {"fill": 2.0})
    assert torch.allclose(loss, 2 * torch.log1p(torch.tensor(-4.0).exp()))
