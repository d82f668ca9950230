"""DCA (Eraslan et al. 2019): an autoencoder whose loss is a zero-inflated negative binomial.

Input `ln(1 + counts / size factor)`, standardised per taxon; hidden layers 64, 32, 64 with batch
normalisation; three heads: mean (exponential), dispersion (softplus), zero inflation (sigmoid).
RMSprop, gradients clipped at 5. The size factor is the depth over the median depth.
"""

import numpy as np
import torch
from torch import nn

from counts import depths, expected_log, whole_counts
from part import set_aside
from training import set_seed, train

WIDTHS = [64, 32, 64]
BATCH = 32
LEARNING_RATE = 1e-3
CLIP = 5.0


class Dca(nn.Module):
    """`[batch, 3 n_taxa]` to mean per size factor, dispersion and logit of zero inflation."""

    def __init__(self, n_taxa):
        super().__init__()
        layers, width = [], 3 * n_taxa
        for after in WIDTHS:
            layers += [nn.Linear(width, after), nn.BatchNorm1d(after), nn.ReLU()]
            width = after
        self.body = nn.Sequential(*layers)
        self.heads = nn.ModuleList(nn.Linear(width, n_taxa) for _ in range(3))

    def forward(self, x):
        mean, dispersion, zero = (head(self.body(x)) for head in self.heads)
        return mean.clamp(-10, 20).exp(), nn.functional.softplus(dispersion).clamp(1e-4, 1e4), zero


def zinb_loss(x, mean, dispersion, zero):
    """Negative log-likelihood of counts `x`, entry by entry."""
    softplus = nn.functional.softplus
    log_share = (dispersion / (dispersion + mean)).log()
    at_zero = -softplus(zero) + torch.logaddexp(zero, dispersion * log_share)
    log_nb = torch.lgamma(x + dispersion) - torch.lgamma(dispersion) - torch.lgamma(x + 1)
    log_nb = log_nb + dispersion * log_share + x * (mean / (dispersion + mean)).clamp(min=1e-30).log()
    return -torch.where(x > 0, log_nb - softplus(zero), at_zero)


class Encoded:
    """A part as DCA sees it; the median depth and the moments are those of the part fitted on."""

    def __init__(self, part, like=None):
        self.counts, self.totals = whole_counts(part), part.totals
        depth = depths(part)
        self.median = like.median if like else np.median(depth)
        self.factor = depth / self.median
        logs = np.log1p(self.counts / self.factor[:, None])
        self.moments = like.moments if like else (logs.mean(axis=0), logs.std(axis=0) + 1e-3)
        self.logs, self.present, self.hidden = logs, part.present, part.hidden

    def tensors(self):
        """Input, counts, size factors and which entries are known."""
        scaled = (self.logs - self.moments[0]) / self.moments[1]
        seen = np.concatenate([np.where(self.hidden, 0.0, scaled), self.present, self.hidden], axis=1)
        arrays = (seen, self.counts, self.factor[:, None], ~self.hidden)
        return [torch.tensor(np.asarray(array), dtype=torch.float32) for array in arrays]


def fill(network, part, like, seed):
    """The expected `ln(1 + percent)` of hidden entries, given that they are present."""
    encoded = Encoded(part, like)
    network.eval()
    with torch.no_grad():
        seen, _, factor, _ = encoded.tensors()
        mean, dispersion, _ = network(seen)
        mean = (mean * factor).numpy().astype(float)
    return expected_log(mean, dispersion.numpy().astype(float), part, seed)


def fit(part, seed, budget, hide=0.0):
    """Fits on `part` and returns the function that fills another; `hide` 0 is the paper's training."""
    set_seed(seed)
    rng = np.random.default_rng(seed)
    fit_part, check = set_aside(part, seed)
    like = Encoded(fit_part)
    network = Dca(part.counts.shape[1])
    optimizer = torch.optim.RMSprop(network.parameters(), lr=LEARNING_RATE)
    _, counts, _, known = like.tensors()

    def epoch():
        share = hide * rng.random((len(fit_part.counts), 1))
        mask = fit_part.observed & (rng.random(fit_part.counts.shape) < share)
        seen, _, factor, _ = Encoded(fit_part.hide(mask), like).tensors()
        for at in torch.randperm(len(seen)).split(BATCH):
            if len(at) == 1:
                continue  # batch normalisation needs two
            mean, dispersion, zero = network(seen[at])
            loss = zinb_loss(counts[at], mean * factor[at], dispersion, zero)
            optimizer.zero_grad()
            (loss * known[at]).sum().div(known[at].sum().clamp(min=1)).backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            yield

    train(network, epoch, lambda: check.rmse(fill(network, check.part, like, seed)), budget)
    return lambda test: fill(network, test, like, seed)
