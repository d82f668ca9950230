"""DeepMicroGen (Choi et al. 2023): a recurrent generator against a recurrent discriminator.

The visits of a subject are a sequence. Each visit goes through convolutions over the taxa and a dense
layer; a bidirectional GRU runs over the visits; a dense layer gives the values. The discriminator is
built alike and says of every present entry whether it was measured. Without times every sample is a
sequence of one visit: the recurrence then has nothing to carry, and the network is a plain GAN.
"""

import numpy as np
import torch
from torch import nn

from part import set_aside, taxon_means
from training import Rows, Samples, masked_mean, set_seed, train

N_FILTERS = 8
KERNEL = 5
N_DENSE = 64
N_GRU = 32
BATCH = 32
HIDE = 0.6
NOISE = 0.01
ADVERSARIAL = 0.05
LEARNING_RATE = 1e-3


def sequences(part):
    """Indices of the visits of each subject by time, padded with -1: `[n_subjects, n_visits]`."""
    if part.times is None:
        return torch.arange(len(part.counts))[:, None]
    visits = []
    for group in np.unique(part.groups):
        of_group = np.nonzero(part.groups == group)[0]
        visits.append(of_group[np.argsort(part.times[of_group], kind="stable")])
    padded = np.full((len(visits), max(map(len, visits))), -1)
    for row, visit in zip(padded, visits):
        row[: len(visit)] = visit
    return torch.tensor(padded)


class Recurrent(nn.Module):
    """`[n_subjects, n_visits, n_channels, n_taxa] -> [n_subjects, n_visits, n_taxa]`."""

    def __init__(self, n_channels, n_taxa):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(n_channels, N_FILTERS, KERNEL, padding="same"),
            nn.ReLU(),
            nn.Conv1d(N_FILTERS, N_FILTERS, KERNEL, padding="same"),
            nn.ReLU(),
        )
        self.dense = nn.Linear((N_FILTERS + n_channels) * n_taxa, N_DENSE)
        self.gru = nn.GRU(N_DENSE, N_GRU, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * N_GRU + N_DENSE, n_taxa)

    def forward(self, x):
        subjects, visits = x.shape[:2]
        flat = x.flatten(0, 1)  # [subjects * visits, channels, taxa]
        features = torch.cat([self.conv(flat), flat], dim=1).flatten(1)
        dense = torch.relu(self.dense(features)).view(subjects, visits, -1)
        return self.out(torch.cat([self.gru(dense)[0], dense], dim=-1))


class Gan(nn.Module):
    """Generator and discriminator; values are deviations from taxon means."""

    def __init__(self, means):
        super().__init__()
        self.register_buffer("means", torch.tensor(means, dtype=torch.float32))
        self.generator, self.discriminator = Recurrent(3, len(means)), Recurrent(2, len(means))

    def generate(self, rows, noise):
        """Values for all entries, `noise` of the shape of the table standing in for hidden ones."""
        hidden = rows.present - rows.observed
        deviation = (rows.values - self.means) * rows.observed + noise * hidden
        seen = torch.stack([deviation, rows.present, hidden], dim=-2)
        return self.means + self.generator(seen)

    def judge(self, rows, said):
        """Logit of "measured" of each entry of the samples completed by `said`."""
        completed = torch.where(rows.observed > 0, rows.values, said) - self.means
        return self.discriminator(torch.stack([completed * rows.present, rows.present], dim=-2))


def subjects(samples, visits, hide=0.0):
    """`Rows` of `[n_subjects, n_visits, n_taxa]`; padding is empty and not scored."""
    rows, real = samples.rows(visits.clamp(min=0), hide), (visits >= 0)[..., None]
    return Rows(*(field * real for field in vars(rows).values()))


def fill(network, part):
    """Fills the samples of `part`, with noise 0; values are floored at 0."""
    visits, samples = sequences(part), Samples(part)
    filled = torch.zeros(part.counts.shape)
    network.eval()
    with torch.no_grad():
        said = network.generate(subjects(samples, visits), 0.0)
    filled[visits[visits >= 0]] = said[visits >= 0]
    return filled.clamp(min=0).numpy().astype(float)


def fit(part, seed, budget):
    """Fits on `part` and returns the function that fills another."""
    set_seed(seed)
    fit_part, check = set_aside(part, seed)
    network, samples = Gan(taxon_means(fit_part)), Samples(fit_part)
    visits = sequences(fit_part)
    for_generator = torch.optim.Adam(network.generator.parameters(), lr=LEARNING_RATE)
    for_discriminator = torch.optim.Adam(network.discriminator.parameters(), lr=LEARNING_RATE)
    entropy = nn.functional.binary_cross_entropy_with_logits

    def epoch():
        for at in torch.randperm(len(visits)).split(BATCH):
            rows = subjects(samples, visits[at], HIDE)
            said = network.generate(rows, NOISE * torch.randn(rows.values.shape))
            judged = network.judge(rows, said.detach())
            loss = masked_mean(entropy(judged, rows.observed, reduction="none"), rows.present)
            for_discriminator.zero_grad()
            loss.backward()
            for_discriminator.step()
            fooled = entropy(network.judge(rows, said), torch.ones_like(said), reduction="none")
            adversarial = masked_mean(fooled, rows.present - rows.observed)
            error = masked_mean((said - rows.target) ** 2, rows.scored)
            for_generator.zero_grad()
            (error + ADVERSARIAL * adversarial).backward()
            for_generator.step()
            yield

    train(network, epoch, lambda: check.rmse(fill(network, check.part)), budget)
    return lambda test: fill(network, test)
