"""The optimiser of the UNet's matrices."""

import torch
from torch import nn

from training.mini.muon import ADAMW_SCALE, Muon, orthogonalise
from training.mini.nested_unet import NestedUNet
from training.mini.unet import make_unet_optimisers


def test_all_singular_values_become_about_one():
    torch.manual_seed(0)
    matrices = torch.randn(3, 24, 40) * torch.logspace(0, -2, 24)[:, None]
    for x in (matrices, matrices.mT):
        values = torch.linalg.svdvals(orthogonalise(x))
        assert values.min() > 0.5
        assert values.max() < 1.4
        # The singular vectors are those of the matrix.
        u, _, vt = torch.linalg.svd(x, full_matrices=False)
        assert (u.mT @ orthogonalise(x) @ vt.mT - torch.eye(24)).abs().max() < 0.5


def test_an_update_is_as_large_as_one_of_adamw():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(16, 4, 3, 3))
    before = weight.detach().clone()
    weight.grad = torch.randn_like(weight)
    Muon([weight], lr=0.1, weight_decay=0.0).step()
    size = (weight - before).pow(2).mean().sqrt() / 0.1
    assert 0.7 * ADAMW_SCALE < size < 1.3 * ADAMW_SCALE


def test_weights_decay_and_those_without_a_gradient_stay():
    moved, still = (nn.Parameter(torch.ones(4, 4)) for _ in range(2))
    moved.grad = torch.zeros_like(moved)
    Muon([moved, still], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(moved, torch.full((4, 4), 0.95))
    assert still.equal(torch.ones(4, 4))


def test_a_map_is_learned():
    torch.manual_seed(0)
    target, weight = torch.randn(8, 12), nn.Parameter(torch.zeros(8, 12))
    optimiser = Muon([weight], lr=0.1, weight_decay=0.0)
    losses: list[float] = []
    for _ in range(200):
        loss = (weight - target).pow(2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_each_weight_of_the_unet_has_one_optimiser():
    nested = NestedUNet()
    muon, adamw = make_unet_optimisers(nested, 1e-3)
    held = [weight for each in (muon, adamw) for group in each.param_groups for weight in group["params"]]
    assert len(held) == len({*held}) == len([*nested.parameters()])
    matrices = [weight for group in muon.param_groups for weight in group["params"]]
    assert all(weight.dim() > 1 for weight in matrices)
    assert sum(weight.numel() for weight in matrices) > 0.9 * sum(weight.numel() for weight in held)
