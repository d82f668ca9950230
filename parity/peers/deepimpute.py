"""DeepImpute (Arisdakessian et al. 2019): sub-networks that predict a block of taxa from others.

Each block of target taxa is predicted from the taxa outside of it that correlate best with its
members (the 5 best of each): dense layer, ReLU, dropout 0.2, dense layer, softplus. The loss is the
squared error weighted by the true value, so zeros have no weight. All sub-networks train together.
"""

import numpy as np
import torch
from torch import nn

from part import set_aside, taxon_means
from training import Samples, fill_rows, masked_mean, set_seed, train

N_BLOCKS = 4
N_PREDICTORS = 5
N_HIDDEN = 256
DROPOUT = 0.2
BATCH = 64
LEARNING_RATE = 5e-4


def blocks(part, rng):
    """Random blocks of target taxa, each with the taxa that predict it."""
    values = np.nan_to_num(part.values)
    spread = values.std(axis=0)
    centred = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    correlation = np.abs(centred.T @ centred) / len(values)
    found = []
    for targets in np.array_split(rng.permutation(values.shape[1]), N_BLOCKS):
        outside = np.setdiff1d(np.arange(values.shape[1]), targets)
        order = np.argsort(-correlation[np.ix_(targets, outside)], axis=1)
        found.append((np.sort(targets), np.unique(outside[order[:, :N_PREDICTORS]])))
    return found


class DeepImpute(nn.Module):
    """Value, presence and "hidden" of the predictors of each block to the values of its targets."""

    def __init__(self, means, found):
        super().__init__()
        self.found, self.n_taxa = found, len(means)
        self.nets = nn.ModuleList()
        for targets, inputs in found:
            out = nn.Linear(N_HIDDEN, len(targets))
            with torch.no_grad():  # softplus(bias) is the mean of the taxon
                out.bias.copy_(torch.tensor(np.log(np.expm1(np.maximum(means[targets], 1e-3)))))
            net = [nn.Linear(3 * len(inputs), N_HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT), out, nn.Softplus()]
            self.nets.append(nn.Sequential(*net))

    def forward(self, rows):
        said = torch.zeros_like(rows.values)
        hidden = rows.present - rows.observed
        for net, (targets, inputs) in zip(self.nets, self.found):
            seen = [channel[:, inputs] for channel in (rows.values, rows.present, hidden)]
            said[:, targets] = net(torch.cat(seen, dim=1))
        return said


def fit(part, seed, budget):
    """Fits on `part` and returns the function that fills another."""
    set_seed(seed)
    fit_part, check = set_aside(part, seed)
    found = blocks(fit_part, np.random.default_rng(seed))
    network, samples = DeepImpute(taxon_means(fit_part), found), Samples(fit_part)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)

    def epoch():
        for at in samples.batches(BATCH):
            rows = samples.rows(at)
            weight = rows.target * rows.scored
            optimizer.zero_grad()
            masked_mean((network(rows) - rows.target) ** 2, weight).backward()
            optimizer.step()
            yield

    train(network, epoch, lambda: check.rmse(fill_rows(network, check.part)), budget)
    return lambda test: fill_rows(network, test)
