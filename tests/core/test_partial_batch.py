"""A UNet runs on a part of the rows of a batch, and gives a row for each of them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from instantstyle.core.partial_batch import KeptRows, PartialBatch


class Recorder:
    """A network that doubles its latents and keeps the texts that it was given."""

    def __init__(self) -> None:
        self.texts: list[Tensor] = []

    def __call__(self, sample: Tensor, timestep: int, encoder_hidden_states: Tensor) -> tuple[Tensor]:
        assert len(encoder_hidden_states) == len(sample) * (sample.shape[2] if sample.ndim == 5 else 1)
        self.texts.append(encoder_hidden_states)
        return (2 * sample,)


@pytest.mark.parametrize("shape", [(4, 1, 2, 2), (4, 1, 3, 2, 2)], ids=["images", "videos"])
def test_rows_that_are_left_out_get_the_result_of_another(shape: tuple[int, ...]):
    sample, frames = torch.randn(shape), shape[2] if len(shape) == 5 else 1
    text, network = torch.randn(4 * frames, 5, 8), Recorder()
    for kept, stand_ins in (([2, 3], [0, 1, 0, 1]), ([0, 3], [0, 0, 1, 1])):
        [output] = PartialBatch().run(network, (sample, 1), {"encoder_hidden_states": text}, KeptRows(kept, stand_ins))
        assert output.equal(2 * sample[kept][stand_ins])
        assert network.texts[-1].equal(text.unflatten(0, (4, frames))[kept].flatten(0, 1))


def test_the_same_text_and_rows_give_the_same_tensor_and_others_do_not():
    """The text's keys and values are kept for the tensor that a network was given."""
    network, batch, sample = Recorder(), PartialBatch(), torch.randn(4, 1, 2, 2)
    text, halves = torch.randn(4, 5, 8), [KeptRows([2, 3], [0, 1, 0, 1]), KeptRows([0, 1], [0, 1, 0, 1])]
    calls: list[tuple[Any, KeptRows]] = [(text, halves[0])] * 3 + [(text, halves[1]), (text.clone(), halves[1])]
    for words, rows in calls:
        batch.run(network, (sample, 1), {"encoder_hidden_states": words}, rows)
    assert network.texts[0] is network.texts[1] is network.texts[2]
    assert network.texts[3].equal(text[:2])
    assert network.texts[4] is not network.texts[3]
