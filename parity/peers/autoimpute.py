"""AutoImpute (Talwar et al. 2018): an overcomplete autoencoder fitted to observed entries.

One hidden layer wider than the table, sigmoid, linear output:
`min sum over observed (R - D s(E R))^2 + lambda / 2 (|E|^2 + |D|^2)`, the whole table in each step.
"""

import torch
from torch import nn

from part import set_aside, taxon_means
from training import Samples, fill_rows, masked_mean, set_seed, train

N_HIDDEN = 512
LAMBDA = 1.0
LEARNING_RATE = 1e-3


class AutoImpute(nn.Module):
    """`[n_samples, 3 n_taxa] -> [n_samples, n_hidden] -> [n_samples, n_taxa]`."""

    def __init__(self, means):
        super().__init__()
        self.encoder = nn.Linear(3 * len(means), N_HIDDEN)
        self.decoder = nn.Linear(N_HIDDEN, len(means))
        with torch.no_grad():
            self.decoder.bias.copy_(torch.tensor(means))

    def forward(self, rows):
        return self.decoder(torch.sigmoid(self.encoder(rows.channels())))


def fit(part, seed, budget, hide=0.0):
    """Fits on `part` and returns the function that fills another; `hide` 0 is the paper's training."""
    set_seed(seed)
    fit_part, check = set_aside(part, seed)
    network, samples = AutoImpute(taxon_means(fit_part)), Samples(fit_part)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    n_observed = float(fit_part.observed.sum())

    def epoch():
        rows = samples.rows(torch.arange(samples.n), hide)
        error = masked_mean((network(rows) - rows.target) ** 2, rows.scored)
        size = network.encoder.weight.pow(2).sum() + network.decoder.weight.pow(2).sum()
        optimizer.zero_grad()
        (error + LAMBDA / 2 * size / n_observed).backward()
        optimizer.step()
        yield

    train(network, epoch, lambda: check.rmse(fill_rows(network, check.part)), budget)
    return lambda test: fill_rows(network, test)
