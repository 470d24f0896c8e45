"""Dropout between layers from a generator of the run's own: torch's is shared by all threads of the process."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnn_sweep.models import RecurrentNetwork, recur

_BITS = 16
"""Of randomness for each number: the probability is kept to 8e-6."""


class Layers:
    """The recurrent layers of a network one by one, with its own parameters, and dropout between them.

    ``nn.RNN`` drops by torch's global generator, so that runs trained side by side would change each other's masks.

    Args:
        model: on its device; two layers at least.
        keep: probability in (0, 1) of keeping an output.
        generator: on the model's device.
    """

    def __init__(self, model: RecurrentNetwork, keep: float, generator: torch.Generator) -> None:
        self._keep, self._generator = keep, generator
        self._layers = [_layer(model, number) for number in range(model.spec.layers)]

    def __call__(self, x: Tensor, lengths: Tensor | None = None, *, drop: bool) -> Tensor:
        """Outputs [N, T, D H] of the last layer, for ``x`` [N, T, I]; every call that drops draws masks of its own."""
        for number, layer in enumerate(self._layers):
            if number and drop:
                mask = torch.empty_like(x)
                draw_mask(mask, self._keep, self._generator)
                x = x * mask
            x = recur(layer, x, lengths)
        return x


def _layer(model: RecurrentNetwork, number: int) -> nn.RNN | nn.GRU | nn.LSTM:
    """Layer ``number`` as a module of its own that shares the parameters of ``model``."""
    whole, spec = model.rnn, model.spec
    nonlinearity = {"nonlinearity": whole.nonlinearity} if isinstance(whole, nn.RNN) else {}
    layer = type(whole)(
        spec.directions * spec.hidden_dim if number else spec.input_dim,
        spec.hidden_dim,
        batch_first=True,
        bidirectional=spec.bidirectional,
        **nonlinearity,
    )
    for name, _ in list(layer.named_parameters()):
        setattr(layer, name, getattr(whole, name.replace("_l0", f"_l{number}")))
    layer.flatten_parameters()  # where cuDNN wants a layer's weights in one piece of memory
    return layer


def draw_mask(mask: Tensor, keep: float, generator: torch.Generator) -> None:
    """Set each number of ``mask``, any float type, to 1/``keep`` with probability ``keep``, else to 0.

    From whole random words: ``bernoulli_`` draws number by number, which costs more than a small step.

    Args:
        mask: any shape.
        keep: in (0, 1).
        generator: on the mask's device; what is drawn depends on its state and the number of numbers alone.
    """
    count, per_word = mask.numel(), 64 // _BITS
    words = torch.empty(-(-count // per_word), dtype=torch.int64, device=mask.device)
    words.random_(-(2**63), None, generator=generator)
    below = min(max(round(keep * 2**_BITS), 1), 2**_BITS - 1) - 2 ** (_BITS - 1)
    kept = words.view(torch.int16)[:count].view(mask.shape) < below
    mask.copy_(kept).mul_(1 / keep)
