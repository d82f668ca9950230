"""An axial transformer in the manner of CpG Transformer (De Waele et al. 2022).

An entry of the matrix is a token: its state (absent, known, hidden), its value and its taxon. Each
layer attends along a sample, then along a taxon, then a perceptron. A share of the known entries is
hidden in every step and the loss is on those alone. Training takes 64 samples at a time; 32 samples to
fill are read beside 32 of those learned from, always the same.
"""

import torch
from torch import nn

from part import set_aside, taxon_means
from training import Samples, masked_mean, set_seed, train

D_MODEL = 32
N_HEADS = 4
N_LAYERS = 2
BATCH = 32
HIDE = 0.6
LEARNING_RATE = 1e-3
DROPOUT = 0.1


class Attention(nn.Module):
    """Multi-head attention over the last axis but one of `[a, b, d_model]`."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(D_MODEL)
        self.qkv, self.out = nn.Linear(D_MODEL, 3 * D_MODEL), nn.Linear(D_MODEL, D_MODEL)

    def forward(self, x):
        a, b, _ = x.shape
        qkv = self.qkv(self.norm(x)).view(a, b, 3, N_HEADS, -1).permute(2, 0, 3, 1, 4)  # [3, a, heads, b, d]
        seen = nn.functional.scaled_dot_product_attention(*qkv)  # [a, heads, b, d]
        return self.out(seen.transpose(1, 2).reshape(a, b, D_MODEL))


class Layer(nn.Module):
    """Attention over taxa, attention over samples, perceptron, each with a residual."""

    def __init__(self):
        super().__init__()
        self.over_taxa, self.over_samples = Attention(), Attention()
        wide = 4 * D_MODEL
        self.mlp = nn.Sequential(
            nn.LayerNorm(D_MODEL), nn.Linear(D_MODEL, wide), nn.GELU(), nn.Linear(wide, D_MODEL)
        )
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, x):
        x = x + self.drop(self.over_taxa(x))
        x = x + self.drop(self.over_samples(x.transpose(0, 1)).transpose(0, 1))
        return x + self.drop(self.mlp(x))


class CpgTransformer(nn.Module):
    """`Rows` of `[n_samples, n_taxa]` to values of the same shape."""

    def __init__(self, means):
        super().__init__()
        self.register_buffer("means", torch.tensor(means, dtype=torch.float32))
        self.taxon = nn.Parameter(0.1 * torch.randn(len(means), D_MODEL))
        self.state = nn.Parameter(0.1 * torch.randn(3, D_MODEL))
        self.value = nn.Linear(1, D_MODEL)
        self.layers = nn.ModuleList(Layer() for _ in range(N_LAYERS))
        self.norm, self.head = nn.LayerNorm(D_MODEL), nn.Linear(D_MODEL, 1)

    def forward(self, rows):
        state = (2 * rows.present - rows.observed).long()  # 0 absent, 1 known, 2 hidden
        deviation = ((rows.values - self.means) * rows.observed)[..., None]
        x = self.taxon + self.state[state] + self.value(deviation) * rows.observed[..., None]
        for layer in self.layers:
            x = layer(x)
        return self.means + self.head(self.norm(x)).squeeze(-1)  # [n_samples, n_taxa]


def join(above, below):
    """Two `Rows` on top of each other."""
    return type(above)(*(torch.cat(pair) for pair in zip(vars(above).values(), vars(below).values())))


def fill(network, part, context):
    """Fills the samples of `part` in batches beside `context`; values are floored at 0."""
    samples, filled = Samples(part), []
    network.eval()
    with torch.no_grad():
        for at in torch.arange(samples.n).split(BATCH):
            said = network(join(samples.rows(at), context))
            filled.append(said[: len(at)])
    return torch.cat(filled).clamp(min=0).numpy().astype(float)


def fit(part, seed, budget):
    """Fits on `part` and returns the function that fills another."""
    set_seed(seed)
    fit_part, check = set_aside(part, seed)
    network, samples = CpgTransformer(taxon_means(fit_part)), Samples(fit_part)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    with_content = torch.nonzero(samples.observed.sum(dim=1) > 0).squeeze(1)
    context = samples.rows(with_content[torch.randperm(len(with_content))[:BATCH]])

    def epoch():
        for at in samples.batches(2 * BATCH):
            rows = samples.rows(at, HIDE)
            hidden_now = rows.scored * (1 - rows.observed)
            error = masked_mean((network(rows) - rows.target) ** 2, hidden_now)
            optimizer.zero_grad()
            error.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            yield

    train(network, epoch, lambda: check.rmse(fill(network, check.part, context)), budget)
    return lambda test: fill(network, test, context)
