"""What the networks share: seeds, samples as tensors, hiding within a batch, early stopping."""

import copy
import random
import sys
from dataclasses import dataclass

import numpy as np
import torch

from part import LEFT


@dataclass(frozen=True)
class Budget:
    """How long a peer may train. `patience` counts checks without a new best."""

    max_steps: int = 4000
    check_every: int = 25
    patience: int = 12


SMOKE = Budget(max_steps=4, check_every=2, patience=2)


def set_seed(seed):
    """Seeds every generator that a peer may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@dataclass
class Rows:
    """Samples as tensors `[..., n_samples, n_taxa]` of 32-bit floats; masks are 0 or 1.

    `values` are `ln(1 + percent)` with 0 where absent or hidden, `observed` says where they are
    known, `target` has them with nothing more hidden, and `scored` is where `target` is known.
    """

    values: torch.Tensor
    present: torch.Tensor
    observed: torch.Tensor
    target: torch.Tensor
    scored: torch.Tensor

    def channels(self):
        """Value, presence and "present, but hidden", side by side on the last axis."""
        return torch.cat([self.values, self.present, self.present - self.observed], dim=-1)


class Samples:
    """A `Part` as tensors, from which batches are drawn."""

    def __init__(self, part):
        as_tensor = lambda array: torch.tensor(np.asarray(array), dtype=torch.float32)
        self.counts, self.totals = as_tensor(part.counts), as_tensor(part.totals)
        self.present, self.observed = as_tensor(part.present), as_tensor(part.observed)
        self.is_left = part.totals_are == LEFT
        self.n = len(part.counts)

    def rows(self, at, hide=0.0):
        """The samples `at`, each with a random share of up to `hide` of its observed entries hidden.

        Totals follow as they do in the test. Samples of which nothing is left are not scored.
        """
        counts, totals = self.counts[at], self.totals[at][..., None]
        present, observed = self.present[at], self.observed[at]
        left, scored = observed, observed
        if hide > 0:
            share = hide * torch.rand(totals.shape)
            left = observed * (torch.rand(counts.shape) >= share)
        if self.is_left:
            totals = (counts * left).sum(dim=-1, keepdim=True)
            scored = observed * (totals > 0)
        scale = torch.where(totals > 0, 100 / totals.clamp(min=1e-30), torch.zeros_like(totals))
        target = torch.log1p(counts * scale)
        return Rows(target * left, present, left, target, scored)

    def batches(self, size):
        """Indices of the samples in batches of about `size`, in random order."""
        return torch.randperm(self.n).split(size)


def masked_mean(errors, mask):
    """Mean over the entries where `mask` is 1; 0 without any."""
    return (errors * mask).sum() / mask.sum().clamp(min=1)


def fill_rows(network, part):
    """What `network` says of a part: a function of `Rows` to values, as an array floored at 0."""
    network.eval()
    with torch.no_grad():
        said = network(Samples(part).rows(torch.arange(len(part.counts))))
    return said.clamp(min=0).numpy().astype(float)


def train(network, epoch, rmse, budget):
    """Calls `epoch`, which yields after each step, until the RMSE of the check stops falling.

    The network is left with the weights of its best check.
    """
    best, best_state, n_worse, step = float("inf"), copy.deepcopy(network.state_dict()), 0, 0
    while step < budget.max_steps and n_worse < budget.patience:
        network.train()
        for _ in epoch():
            step += 1
            if step % budget.check_every == 0:
                found = rmse()
                network.train()
                if found < best:
                    best, best_state, n_worse = found, copy.deepcopy(network.state_dict()), 0
                else:
                    n_worse += 1
            if step >= budget.max_steps or n_worse >= budget.patience:
                break
    if n_worse < budget.patience:
        print(f"{type(network).__name__}: stopped by --max-steps, not by the check", file=sys.stderr)
    network.load_state_dict(best_state)
    network.eval()
