"""Writes golden.json: the VAE's and the denoiser's outputs, losses and gradients from PyTorch.

The networks are written anew here with torch.nn functions. Both sides fill each weight and input
with the same sines, so that no weights have to be stored:

    value[k] = amplitude * sin(1 + 0.7 * index + 0.37 * k)

`index` is the position of the parameter's path in sorted order, or the number given to an input.

Run with PyTorch: python golden.py > golden.json
"""

import json
import math

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)

N_TAXA, D_LATENT, D_TAXON, VAE_WIDTH = 5, 2, 3, 8
WIDTH, N_HEADS, MLP_RATIO, N_PROFILE, PROFILE_WIDTH, D_METADATA, N_FLAGS = 8, 2, 2, 2, 6, 3, 4
N_GUESS, N_SUMMARY = 2, 2
BATCH, AR_SIZES = 3, [2, 1, 2]
ORDER = [3, 0, 4, 1, 2]
DEPENDENT = [(0, 1), (1, 0), (2, 4), (4, 3)]  # (i, j): taxon i depends on taxon j
TIMESTEPS = [[10, 10, 500, 900, 900], [1, 1, 2, 3, 3], [700, 700, 20, 1000, 1000]]


def sines(index, shape, amplitude):
    n = math.prod(shape)
    k = torch.arange(n)
    return (amplitude * torch.sin(1 + 0.7 * index + 0.37 * k)).float().double().reshape(shape)


def parameters(shapes):
    made = {}
    for index, path in enumerate(sorted(shapes)):
        made[path] = sines(index, shapes[path], 0.4).requires_grad_()
    return made


def linear_shapes(shapes, path, n_inputs, n_outputs):
    shapes[f"{path}.weight"] = (n_inputs, n_outputs)
    shapes[f"{path}.bias"] = (n_outputs,)


def mlp_shapes(shapes, path, n_inputs, n_hidden, n_outputs):
    linear_shapes(shapes, f"{path}.inner", n_inputs, n_hidden)
    linear_shapes(shapes, f"{path}.outer", n_hidden, n_outputs)


def linear(p, path, x):
    return F.linear(x, p[f"{path}.weight"].T, p[f"{path}.bias"])


def mlp(p, path, x):
    return linear(p, f"{path}.outer", F.silu(linear(p, f"{path}.inner", x)))


def report(output, loss, p):
    loss.backward()
    gradients = {}
    for path, value in p.items():
        gradient = value.grad if value.grad is not None else torch.zeros_like(value)
        gradients[path] = [gradient.norm().item(), gradient.sum().item(), gradient.flatten()[0].item()]
    return {"output": output.detach().flatten().tolist(), "loss": loss.item(), "gradients": gradients}


def vae():
    shapes = {"taxon": (N_TAXA, D_TAXON)}
    mlp_shapes(shapes, "encoder", 2 + D_TAXON, VAE_WIDTH, 2 * D_LATENT)
    mlp_shapes(shapes, "decoder", D_LATENT + D_TAXON, VAE_WIDTH, 2)
    p = parameters(shapes)
    presence = torch.tensor([[1.0, 0, 1, 1, 0], [0, 0, 1, 0, 1], [1, 1, 1, 1, 1]])
    abundance = sines(40, (BATCH, N_TAXA), 1.5) * presence
    is_known = torch.tensor([[1.0, 1, 1, 0, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1]])
    noise = sines(41, (BATCH, N_TAXA, D_LATENT), 1.0)
    taxa = p["taxon"].expand(BATCH, N_TAXA, D_TAXON)
    entries = torch.stack([presence, abundance], 2)
    mean, log_variance = mlp(p, "encoder", torch.cat([entries, taxa], 2)).chunk(2, 2)
    latent = mean + torch.exp(0.5 * log_variance) * noise
    decoded = mlp(p, "decoder", torch.cat([latent, taxa], 2))
    cross_entropy = F.binary_cross_entropy_with_logits(decoded[..., 0], presence, reduction="none")
    squared = presence * (decoded[..., 1] - abundance) ** 2
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(2)
    loss = ((cross_entropy + squared + 0.1 * kl) * is_known).sum() / is_known.sum()
    return report(decoded, loss, p)


def modulate(x, shift, scale):
    return F.layer_norm(x, x.shape[-1:], eps=1e-5) * (1 + scale) + shift


def mask(dependent):
    """Algorithm 2 in matrix form: True where attention is allowed."""
    step = torch.repeat_interleave(torch.arange(len(AR_SIZES)), torch.tensor(AR_SIZES))
    c, s = N_PROFILE + 1, N_TAXA
    v = s - AR_SIZES[-1]
    allowed = torch.zeros(c + v + s, c + v + s, dtype=torch.bool)
    allowed[:, :c] = True
    allowed[c : c + v, c : c + v] = step[:v, None] >= step[None, :v]
    allowed[c + v :, c : c + v] = step[:, None] > step[None, :v]
    allowed[c + v :, c + v :] = step[:, None] == step[None, :]
    favoured = torch.zeros_like(allowed)
    for a, i in enumerate(ORDER):
        for b, j in enumerate(ORDER):
            if (i, j) in dependent:
                favoured[c + v + a, c + v + b] = True
                if b < v:
                    favoured[c + v + a, c + b] = True
                    if a < v:
                        favoured[c + a, c + b] = True
    return allowed, favoured & allowed


def dat():
    shapes = {"taxon": (N_TAXA, WIDTH), "no_metadata": (WIDTH,), "dependency_bias0": (N_HEADS, len(DEPENDENT))}
    mlp_shapes(shapes, "profile", N_TAXA * (D_LATENT + N_FLAGS) + N_SUMMARY, PROFILE_WIDTH, N_PROFILE * WIDTH)
    mlp_shapes(shapes, "condition", (N_PROFILE + 1) * WIDTH, WIDTH, WIDTH)
    mlp_shapes(shapes, "time", 64, WIDTH, WIDTH)
    linear_shapes(shapes, "metadata", D_METADATA, WIDTH)
    linear_shapes(shapes, "clean", D_LATENT + 1 + N_FLAGS + N_GUESS, WIDTH)
    linear_shapes(shapes, "noisy", 2 * D_LATENT + 1 + N_FLAGS + N_GUESS, WIDTH)
    for part in ["query", "key", "value", "output"]:
        linear_shapes(shapes, f"block0.attention.{part}", WIDTH, WIDTH)
    mlp_shapes(shapes, "block0.mlp", WIDTH, MLP_RATIO * WIDTH, WIDTH)
    linear_shapes(shapes, "block0.modulation", WIDTH, 6 * WIDTH)
    linear_shapes(shapes, "last_modulation", WIDTH, 2 * WIDTH)
    linear_shapes(shapes, "last", WIDTH, D_LATENT)
    p = parameters(shapes)
    observed = sines(50, (BATCH, N_TAXA, D_LATENT), 1.0)
    flags = F.one_hot(torch.arange(BATCH * N_TAXA).reshape(BATCH, N_TAXA) % N_FLAGS, N_FLAGS).double()
    is_filled = torch.ones(BATCH, N_TAXA, 1)
    is_filled[0, 3, 0] = is_filled[2, 1, 0] = 0
    summary = torch.tensor([[0.2, -1.0], [0.5, 0.3], [1.0, 0.0]])
    guess = sines(55, (BATCH, N_TAXA, N_GUESS), 1.0)
    metadata = sines(51, (BATCH, D_METADATA), 1.0)
    is_missing = torch.tensor([[0.0], [1.0], [0.0]])
    clean = sines(52, (BATCH, N_TAXA, D_LATENT), 1.0)  # in token order
    noisy = sines(53, (BATCH, N_TAXA, D_LATENT), 1.0)  # in token order
    target = sines(54, (BATCH, N_TAXA, D_LATENT), 1.0)

    profile = mlp(p, "profile", torch.cat([observed.flatten(1), flags.flatten(1), summary], 1))
    null = p["no_metadata"].expand(BATCH, WIDTH)
    metadata = linear(p, "metadata", metadata) * (1 - is_missing) + null * is_missing
    vector = F.silu(mlp(p, "condition", torch.cat([profile, metadata], 1)))[:, None]

    angles = torch.tensor(TIMESTEPS)[..., None] * torch.exp(-math.log(10000) * torch.arange(32) / 32)
    time = mlp(p, "time", torch.cat([angles.cos(), angles.sin()], 2).float().double())
    v = N_TAXA - AR_SIZES[-1]
    taxa = p["taxon"][ORDER]
    filled = is_filled[:, ORDER]
    told = torch.cat([flags, guess], 2)[:, ORDER]
    x = torch.cat(
        [
            profile.reshape(BATCH, N_PROFILE, WIDTH),
            metadata[:, None],
            linear(p, "clean", torch.cat([clean, filled, told], 2)[:, :v]) + taxa[:v],
            linear(p, "noisy", torch.cat([noisy, filled, observed[:, ORDER], told], 2)) + taxa + time,
        ],
        1,
    )
    allowed, favoured = mask(DEPENDENT)
    c = N_PROFILE + 1
    rows, columns = torch.tensor(DEPENDENT).T  # sorted, as the pairs are numbered
    pairs = torch.zeros(N_HEADS, N_TAXA, N_TAXA).index_put(
        (torch.arange(N_HEADS)[:, None], rows[None], columns[None]), p["dependency_bias0"]
    )[:, ORDER][:, :, ORDER]
    bias = torch.zeros(N_HEADS, c + v + N_TAXA, c + v + N_TAXA)
    bias[:, c : c + v, c : c + v] = pairs[:, :v, :v]
    bias[:, c + v :, c : c + v] = pairs[:, :, :v]
    bias[:, c + v :, c + v :] = pairs
    bias = bias * favoured
    bias = bias.masked_fill(~allowed, float("-inf"))[None]
    shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = linear(p, "block0.modulation", vector).chunk(6, 2)
    h = modulate(x, shift, scale)
    heads = lambda y: y.reshape(BATCH, -1, N_HEADS, WIDTH // N_HEADS).transpose(1, 2)
    q, k, w = (heads(linear(p, f"block0.attention.{part}", h)) for part in ["query", "key", "value"])
    mixed = F.scaled_dot_product_attention(q, k, w, attn_mask=bias.expand(BATCH, -1, -1, -1))
    x = x + gate * linear(p, "block0.attention.output", mixed.transpose(1, 2).flatten(2))
    x = x + mlp_gate * mlp(p, "block0.mlp", modulate(x, mlp_shift, mlp_scale))
    shift, scale = linear(p, "last_modulation", vector).chunk(2, 2)
    output = linear(p, "last", modulate(x[:, -N_TAXA:], shift, scale))
    return report(output, ((output - target) ** 2).mean(), p)


print(json.dumps({"torch": torch.__version__, "vae": vae(), "dat": dat()}, indent=1))
