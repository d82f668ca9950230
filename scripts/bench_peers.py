"""Training steps of suffuse and of the same models in PyTorch, in turns, on this machine.

    just bench-peers                  builds, sets up a Python environment, runs this
    python scripts/bench_peers.py --rounds 20 --taxa 106

One run does, round after round, a few steps of the one and a few of the other, with two threads
each, and prints medians, their ratio, achieved GFLOP/s beside those of a large matrix product, and
peak memory. Only ratios within a run mean something. The PyTorch networks are those of
parity/depmicrodiff/golden.py, which the tests compare with ours number by number; here they have
the sizes of the preset `small`, single precision, and are written with torch.nn modules in one
sequence, as one would write them by hand. Our steps hold all that a step of a fit does (making the
batch, the mask, clipping, AdamW, the average); those of PyTorch start from a batch that is there.
"""

import argparse
import math
import statistics
import subprocess
import time
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

D_LATENT, N_FLAGS, N_PROFILE, PROFILE_WIDTH = 3, 4, 4, 256
WIDTH, DEPTH, N_HEADS, MLP_RATIO = 64, 2, 4, 2
ROOT = Path(__file__).resolve().parent.parent


def mlp(n_inputs, n_hidden, n_outputs):
    return nn.Sequential(nn.Linear(n_inputs, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_outputs))


def modulate(x, shift, scale):
    return F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH)
        self.mlp = mlp(WIDTH, MLP_RATIO * WIDTH, WIDTH)
        self.modulation = nn.Linear(WIDTH, 6 * WIDTH)

    def forward(self, x, vector, mask):
        batch, tokens, _ = x.shape
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(vector).chunk(6, 2)
        qkv = self.qkv(modulate(x, shift, scale)).reshape(batch, tokens, 3, N_HEADS, -1)
        mixed = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4), attn_mask=mask)
        x = x + gate * self.output(mixed.transpose(1, 2).flatten(2))
        return x + mlp_gate * self.mlp(modulate(x, mlp_shift, mlp_scale))


class Dat(nn.Module):
    """The denoiser: condition, clean tokens of earlier steps, noisy tokens, in one sequence."""

    def __init__(self, n_taxa):
        super().__init__()
        self.n_taxa = n_taxa
        self.taxon = nn.Parameter(torch.randn(n_taxa, WIDTH) * 0.5)
        self.no_metadata = nn.Parameter(torch.zeros(WIDTH))
        self.profile = mlp(n_taxa * (D_LATENT + N_FLAGS) + 1, PROFILE_WIDTH, N_PROFILE * WIDTH)
        self.condition = mlp((N_PROFILE + 1) * WIDTH, WIDTH, WIDTH)
        self.time = mlp(64, WIDTH, WIDTH)
        self.clean = nn.Linear(D_LATENT + 1, WIDTH)
        self.noisy = nn.Linear(2 * D_LATENT + 1 + N_FLAGS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.biases = nn.ParameterList(nn.Parameter(torch.full((N_HEADS, n_taxa, n_taxa), 2.0)) for _ in range(DEPTH))
        self.last_modulation = nn.Linear(WIDTH, 2 * WIDTH)
        self.last = nn.Linear(WIDTH, D_LATENT)

    def forward(self, b, order, sizes, dependent):
        batch = b["observed"].shape[0]
        c, s, v = N_PROFILE + 1, self.n_taxa, self.n_taxa - sizes[-1]
        profile = self.profile(torch.cat([b["observed"].flatten(1), b["flags"].flatten(1), b["share"]], 1))
        null = self.no_metadata.expand(batch, WIDTH)
        vector = F.silu(self.condition(torch.cat([profile, null], 1)))[:, None]
        step = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        time = self.time(b["time"][:, : len(sizes)])[:, step]
        taxa = self.taxon[order]
        filled = torch.ones(batch, s, 1)
        noisy = torch.cat([b["noisy"], filled, b["observed"][:, order], b["flags"][:, order]], 2)
        x = torch.cat(
            [
                profile.reshape(batch, N_PROFILE, WIDTH),
                null[:, None],
                self.clean(torch.cat([b["clean"], filled], 2)[:, :v]) + taxa[:v],
                self.noisy(noisy) + taxa + time,
            ],
            1,
        )
        allowed = torch.zeros(c + v + s, c + v + s, dtype=torch.bool)
        allowed[:, :c] = True
        allowed[c : c + v, c : c + v] = step[:v, None] >= step[None, :v]
        allowed[c + v :, c : c + v] = step[:, None] > step[None, :v]
        allowed[c + v :, c + v :] = step[:, None] == step[None, :]
        blocked = torch.zeros(allowed.shape).masked_fill(~allowed, -math.inf)
        favoured = dependent[order][:, order]
        for block, biases in zip(self.blocks, self.biases):
            pairs = biases[:, order][:, :, order] * favoured
            mask = blocked.repeat(N_HEADS, 1, 1)
            mask[:, c : c + v, c : c + v] += pairs[:, :v, :v]
            mask[:, c + v :, c : c + v] += pairs[:, :, :v]
            mask[:, c + v :, c + v :] += pairs
            x = block(x, vector, mask[None])
        shift, scale = self.last_modulation(vector).chunk(2, 2)
        return self.last(modulate(x[:, -s:], shift, scale))


class Vae(nn.Module):
    def __init__(self, n_taxa):
        super().__init__()
        self.taxon = nn.Parameter(torch.randn(n_taxa, 16))
        self.encoder = mlp(2 + 16, 32, 2 * D_LATENT)
        self.decoder = mlp(D_LATENT + 16, 32, 2)

    def loss(self, entries, noise):
        taxa = self.taxon.expand(entries.shape[0], -1, -1)
        mean, log_variance = self.encoder(torch.cat([entries, taxa], 2)).chunk(2, 2)
        latent = mean + torch.exp(0.5 * log_variance) * noise
        decoded = self.decoder(torch.cat([latent, taxa], 2))
        cross_entropy = F.binary_cross_entropy_with_logits(decoded[..., 0], entries[..., 0], reduction="none")
        squared = entries[..., 0] * (decoded[..., 1] - entries[..., 1]) ** 2
        kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(2)
        return (cross_entropy + squared + 1e-3 * kl).mean()


class Training:
    """AdamW with clipping and a moving average, each in one call over all weights."""

    def __init__(self, model):
        self.model = model
        self.parameters = list(model.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=3e-3, weight_decay=0.01)
        self.average = [p.detach().clone() for p in self.parameters]

    def step(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 0.005)


def ar_sizes(n_taxa, decay, generator):
    """Sizes of random autoregressive steps (Algorithm 1)."""
    weights = torch.tensor([decay**i for i in range(n_taxa)])
    n_steps = 1 + torch.multinomial(weights, 1, generator=generator).item()
    cuts = 1 + torch.randperm(n_taxa - 1, generator=generator)[: n_steps - 1]
    cuts = [0, *sorted(cuts.tolist()), n_taxa]
    return [b - a for a, b in zip(cuts, cuts[1:])]


def peer_dat(n_taxa, batch):
    model = Dat(n_taxa)
    training = Training(model)
    generator = torch.Generator().manual_seed(0)
    tensor = lambda *shape: torch.randn(*shape, generator=generator)
    flags = F.one_hot(torch.randint(0, N_FLAGS, (batch, n_taxa), generator=generator), N_FLAGS).float()
    b = {"observed": tensor(batch, n_taxa, D_LATENT), "flags": flags, "share": tensor(batch, 1)}
    b |= {"clean": tensor(batch, n_taxa, D_LATENT), "noisy": tensor(batch, n_taxa, D_LATENT)}
    b["time"] = tensor(batch, n_taxa, 64)
    dependent = (torch.rand(n_taxa, n_taxa, generator=generator) < 0.3).float()
    target = tensor(batch, n_taxa, D_LATENT)
    weight = flags[..., 2:].sum(2, keepdim=True) / (batch * n_taxa)

    def step():
        order = torch.randperm(n_taxa, generator=generator)
        predicted = model(b, order, ar_sizes(n_taxa, 0.75, generator), dependent)
        training.step((weight * (predicted - target) ** 2).sum())

    return step


def peer_vae(n_taxa, batch):
    model = Vae(n_taxa)
    training = Training(model)
    entries = torch.rand(batch, n_taxa, 2).round()
    return lambda: training.step(model.loss(entries, torch.randn(batch, n_taxa, D_LATENT)))


class Ours:
    """The program that does our steps on request."""

    def __init__(self, samples, taxa, stage):
        binary = ROOT / "target/release/examples/step_times"
        command = [str(binary), str(samples), str(taxa), stage]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline().split()[0])

    def end(self):
        peak = peak_mib(self.process.pid)
        self.process.stdin.close()
        self.process.wait()
        return peak


def peak_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return math.nan


def product_rate():
    """GFLOP/s of a large matrix product, best of five."""
    n = 3000
    a, b = torch.randn(n, n), torch.randn(n, n)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * n**3 / min(times) / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=8, help="steps of each side in a round")
    parser.add_argument("--taxa", type=int, nargs="+", default=[106, 250])
    parser.add_argument("--samples", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, large product {product_rate():.0f} GFLOP/s")
    print("model      taxa  batch   ours ms   torch ms   ratio   quartiles of ratio   ours MiB  torch MiB")
    for taxa in arguments.taxa:
        dat_batch = max(1, min(32, 8192 // taxa))
        for stage, batch, make in [("denoiser", dat_batch, peer_dat), ("vae", 64, peer_vae)]:
            ours, peer = Ours(arguments.samples, taxa, stage), make(taxa, batch)
            for _ in range(3):
                ours.step()
                peer()
            pairs = []
            for _ in range(arguments.rounds):
                own = sum(ours.step() for _ in range(arguments.steps)) / arguments.steps
                start = time.perf_counter()
                for _ in range(arguments.steps):
                    peer()
                pairs.append((own, (time.perf_counter() - start) / arguments.steps))
            ratios = sorted(own / other for own, other in pairs)
            quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            own, other = (1e3 * statistics.median(side) for side in zip(*pairs))
            print(
                f"{stage:9} {taxa:5} {batch:6} {own:9.1f} {other:10.1f} {statistics.median(ratios):7.2f}"
                f"   {quartiles[0]:8.2f} - {quartiles[2]:.2f} {ours.end():14.0f} {peak_mib('self'):10.0f}",
                flush=True,
            )


main()
