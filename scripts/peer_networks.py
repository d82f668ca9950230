"""The networks of crates/model in PyTorch, as one would write them by hand, for bench_peers.py.

Each takes its weights and its batch from a file of the program `peers`, so that both sides start from
the same numbers and must find the same losses.
"""

import json
import math
import struct

import torch
import torch.nn as nn
import torch.nn.functional as F

N_TIMESTEPS, N_SAMPLING_STEPS = 1000, 20


def load(path):
    """Weights and batch of a safetensors file, by name."""
    with open(path, "rb") as file:
        (n,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(n)), bytearray(file.read())
    groups = {"weights": {}, "batch": {}}
    for name, entry in header.items():
        if "/" in name:
            group, name = name.split("/", 1)
            start, end = entry["data_offsets"]
            numbers = torch.frombuffer(data[start:end], dtype=torch.float32).clone()
            groups[group][name] = numbers.reshape(entry["shape"])
    return groups["weights"], groups["batch"]


def linear(weights, name):
    """A linear layer with the weights of `name`; ours are stored as [inputs, outputs]."""
    weight = weights[f"{name}.weight"]
    layer = nn.Linear(*weight.shape)
    layer.weight.data, layer.bias.data = weight.T.contiguous(), weights[f"{name}.bias"]
    return layer


def mlp(weights, name, activation):
    return nn.Sequential(linear(weights, f"{name}.inner"), activation, linear(weights, f"{name}.outer"))


def modulate(x, shift, scale):
    return F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift


class Block(nn.Module):
    def __init__(self, weights, name, n_heads, activation):
        super().__init__()
        self.n_heads = n_heads
        parts = [linear(weights, f"{name}.attention.{part}") for part in ("query", "key", "value")]
        width = parts[0].in_features
        self.qkv = nn.Linear(width, 3 * width)
        self.qkv.weight.data = torch.cat([part.weight.data for part in parts])
        self.qkv.bias.data = torch.cat([part.bias.data for part in parts])
        self.output = linear(weights, f"{name}.attention.output")
        self.mlp = mlp(weights, f"{name}.mlp", activation)
        self.modulation = linear(weights, f"{name}.modulation")

    def forward(self, x, vector, mask):
        batch, tokens, _ = x.shape
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(vector).chunk(6, 2)
        qkv = self.qkv(modulate(x, shift, scale)).reshape(batch, tokens, 3, self.n_heads, -1)
        mixed = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4), attn_mask=mask)
        x = x + gate * self.output(mixed.transpose(1, 2).flatten(2))
        return x + mlp_gate * self.mlp(modulate(x, mlp_shift, mlp_scale))


def blocks(weights, n_heads, activation):
    depth = 1 + max(int(name.split(".")[0][5:]) for name in weights if name.startswith("block"))
    return nn.ModuleList(Block(weights, f"block{i}", n_heads, activation) for i in range(depth))


class Transformer(nn.Module):
    def __init__(self, weights, batch):
        super().__init__()
        self.blocks = blocks(weights, 8, nn.GELU(approximate="tanh"))
        self.last_modulation = linear(weights, "last_modulation")
        self.last = linear(weights, "last")
        self.x, self.condition, self.target = batch["x"], batch["condition"], batch["target"]
        self.mask = batch["all_mask"] == 0

    def forward(self):
        x = self.x
        for block in self.blocks:
            x = block(x, self.condition, self.mask)
        return self.last(modulate(x, *self.last_modulation(self.condition).chunk(2, 2)))

    def loss(self):
        return F.mse_loss(self(), self.target)


class Denoiser(nn.Module):
    """Condition, clean tokens of earlier steps and noisy tokens, in one sequence."""

    SIZES = [1 / 4, 1 / 4]

    def __init__(self, weights, batch):
        super().__init__()
        self.b = batch
        self.taxon = nn.Parameter(weights["taxon"])
        self.no_metadata = nn.Parameter(weights["no_metadata"])
        self.profile = mlp(weights, "profile", nn.SiLU())
        self.condition = mlp(weights, "condition", nn.SiLU())
        self.time = mlp(weights, "time", nn.SiLU())
        self.clean = linear(weights, "clean")
        self.noisy = linear(weights, "noisy")
        self.blocks = blocks(weights, 4, nn.SiLU())
        self.biases = nn.ParameterList(
            nn.Parameter(weights[f"dependency_bias{i}"]) for i in range(len(self.blocks))
        )
        self.last_modulation = linear(weights, "last_modulation")
        self.last = linear(weights, "last")
        n_taxa, width = self.taxon.shape
        self.order = torch.arange(n_taxa).flip(0)
        sizes = [n_taxa // 4, n_taxa // 4, n_taxa - n_taxa // 4 * 2]
        self.n_visible = n_taxa - sizes[-1]
        self.step = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes))
        self.blocked = torch.zeros(batch["all_mask"].shape).masked_fill(batch["all_mask"] == 1, -math.inf)
        # Numbers of the biases, with one more bias of zero for the pairs that have none.
        numbers = batch["all_bias_of_pair"].long()
        self.number = torch.where(numbers < 0, self.biases[0].shape[1], numbers)

    def forward(self, values=None, time=None):
        b, v = self.b, self.n_visible
        values = b["noisy"] if values is None else values
        time = b["time"] if time is None else time
        batch, n_taxa, _ = values.shape
        profile = self.profile(torch.cat([b["observed"].flatten(1), b["flags"].flatten(1), b["summary"]], 1))
        null = self.no_metadata.expand(batch, -1)
        vector = F.silu(self.condition(torch.cat([profile, null], 1)))[:, None]
        time = self.time(time)[:, self.step]
        taxa = self.taxon[self.order]
        filled = torch.ones(batch, n_taxa, 1)
        told = torch.cat([b["flags"], b["guess"]], 2)[:, self.order]
        noisy = torch.cat([values, filled, b["observed"][:, self.order], told], 2)
        x = torch.cat(
            [
                profile.reshape(batch, -1, null.shape[1]),
                null[:, None],
                self.clean(torch.cat([b["clean"], filled, told], 2)[:, :v]) + taxa[:v],
                self.noisy(noisy) + taxa + time,
            ],
            1,
        )
        for block, biases in zip(self.blocks, self.biases):
            pairs = F.pad(biases, (0, 1))[:, self.number]
            x = block(x, vector, (self.blocked + pairs)[None])
        x = modulate(x[:, -n_taxa:], *self.last_modulation(vector).chunk(2, 2))
        return self.last(x)

    def loss(self):
        return F.mse_loss(self(), self.b["target"])

    def sample(self):
        """DDIM from the noise of the batch; every step runs the whole network."""

        def alpha_bar(t):
            f = lambda t: math.cos((t / N_TIMESTEPS + 0.008) / 1.008 * math.pi / 2) ** 2
            product = 1.0
            for i in range(1, t + 1):
                product *= 1 - min(1 - f(i) / f(i - 1), 0.999)
            return product

        half = torch.exp(-math.log(10000) * torch.arange(32) / 32)
        x = self.b["noisy"]
        for i in reversed(range(N_SAMPLING_STEPS)):
            t, s = N_TIMESTEPS * (i + 1) // N_SAMPLING_STEPS, N_TIMESTEPS * i // N_SAMPLING_STEPS
            angles = t * half
            time = torch.cat([angles.cos(), angles.sin()]).expand(1, 3, -1)
            estimate = self(x, time)
            now, after = alpha_bar(t), alpha_bar(s)
            noisy = math.sqrt((1 - after) / (1 - now))
            x = noisy * x + (math.sqrt(after) - noisy * math.sqrt(now)) * estimate
        return x


class Vae(nn.Module):
    def __init__(self, weights, batch):
        super().__init__()
        self.taxon = nn.Parameter(weights["taxon"])
        self.encoder = mlp(weights, "encoder", nn.SiLU())
        self.decoder = mlp(weights, "decoder", nn.SiLU())
        self.entries, self.noise = batch["entries"], batch["noise"]

    def loss(self):
        entries, taxa = self.entries, self.taxon.expand(len(self.entries), -1, -1)
        mean, log_variance = self.encoder(torch.cat([entries, taxa], 2)).chunk(2, 2)
        latent = mean + torch.exp(0.5 * log_variance) * self.noise
        decoded = self.decoder(torch.cat([latent, taxa], 2))
        presence, abundance = entries.unbind(2)
        cross_entropy = F.binary_cross_entropy_with_logits(decoded[..., 0], presence, reduction="none")
        squared = presence * (decoded[..., 1] - abundance) ** 2
        kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(2)
        return (cross_entropy + squared + KL_WEIGHT * kl).mean()

    forward = loss


KL_WEIGHT = 1e-3


class ResidualBlock(nn.Module):
    def __init__(self, weights, name):
        super().__init__()
        self.first_norm = group_norm(weights, f"{name}.first_norm")
        self.first = conv(weights, f"{name}.first")
        self.condition = linear(weights, f"{name}.condition")
        self.second_norm = group_norm(weights, f"{name}.second_norm")
        self.second = conv(weights, f"{name}.second")
        self.excitation = mlp(weights, f"{name}.excitation", nn.SiLU())
        self.straight = nn.Identity()
        if f"{name}.straight.weight" in weights:
            weight = weights[f"{name}.straight.weight"]
            self.straight = nn.Conv2d(*weight.shape, 1)
            self.straight.weight.data = weight.T[:, :, None, None].contiguous()
            self.straight.bias.data = weights[f"{name}.straight.bias"]

    def forward(self, x, condition):
        h = self.first(F.silu(self.first_norm(x))) + self.condition(condition)[:, :, None, None]
        h = self.second(F.silu(self.second_norm(h)))
        gate = torch.sigmoid(self.excitation(h.mean((2, 3))))
        return self.straight(x) + h * gate[:, :, None, None]


def group_norm(weights, name):
    layer = nn.GroupNorm(8, len(weights[f"{name}.gain"]))
    layer.weight.data, layer.bias.data = weights[f"{name}.gain"], weights[f"{name}.shift"]
    return layer


def conv(weights, name):
    weight = weights[f"{name}.weight"]
    n_inputs, n_outputs = weight.shape[0] // 9, weight.shape[1]
    has_bias = f"{name}.bias" in weights
    layer = nn.Conv2d(n_inputs, n_outputs, 3, padding=1, bias=has_bias)
    layer.weight.data = weight.reshape(3, 3, n_inputs, n_outputs).permute(3, 2, 0, 1).contiguous()
    if has_bias:
        layer.bias.data = weights[f"{name}.bias"]
    return layer


class UNet(nn.Module):
    def __init__(self, weights, batch):
        super().__init__()
        self.embed = mlp(weights, "condition", nn.SiLU())
        self.first, self.last = conv(weights, "first"), conv(weights, "last")
        self.down = nn.ModuleList(ResidualBlock(weights, f"down{i}") for i in range(3))
        self.middle = ResidualBlock(weights, "middle")
        self.up = nn.ModuleList(ResidualBlock(weights, f"up{i}") for i in range(3))
        self.last_norm = group_norm(weights, "last_norm")
        channels_first = lambda x: x.permute(0, 3, 1, 2).contiguous()
        self.x, self.target = channels_first(batch["x"]), channels_first(batch["target"])
        self.condition = batch["condition"]

    def forward(self):
        condition, x, passed = self.embed(self.condition), self.first(self.x), []
        for i, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if i else x, condition)
            passed.append(x)
        x = self.middle(x, condition)
        for i, block in reversed(list(enumerate(self.up))):
            if i < 2:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = block(torch.cat([x, passed[i]], 1), condition)
        return self.last(F.silu(self.last_norm(x)))

    def loss(self):
        return F.mse_loss(self(), self.target)


NETWORKS = {"denoiser": Denoiser, "vae": Vae, "transformer": Transformer, "unet": UNet}
