"""Writes attention.json: masked attention with a bias, its output and gradients, from PyTorch.

Inputs are sines, so that they need not be stored; they are rounded to single precision as the
tested code sees them, and everything else is in double precision:

    value[k] = 2 * sin(1 + 0.7 * index + 0.37 * k)

`index` is 0 for queries, 1 keys, 2 values, 3 bias, 4 the weights that turn the output into a loss.

Run with PyTorch: python attention.py > attention.json
"""

import json
import math

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def sines(index, shape):
    k = torch.arange(math.prod(shape))
    return (2 * torch.sin(1 + 0.7 * index + 0.37 * k)).float().double().reshape(shape)


def golden(sizes, blocked, has_bias):
    batch, n_heads, n_queries, n_keys, d_head = sizes.values()
    query = sines(0, (batch, n_heads, n_queries, d_head)).requires_grad_()
    key = sines(1, (batch, n_heads, n_keys, d_head)).requires_grad_()
    value = sines(2, (batch, n_heads, n_keys, d_head)).requires_grad_()
    bias = sines(3, (n_heads, n_queries, n_keys)).requires_grad_()
    mask = torch.zeros(n_queries, n_keys).masked_fill(blocked, -math.inf)
    added = mask + bias if has_bias else mask.expand(n_heads, n_queries, n_keys)
    output = F.scaled_dot_product_attention(query, key, value, attn_mask=added.expand(batch, -1, -1, -1))
    (output * sines(4, output.shape)).sum().backward()
    results = [output, query.grad, key.grad, value.grad] + ([bias.grad] if has_bias else [])
    return {
        "sizes": sizes,
        "has_bias": has_bias,
        "blocked": blocked.int().flatten().tolist(),
        "results": [[float(f"{x:.9g}") for x in result.detach().flatten().tolist()] for result in results],
    }


def sizes(*numbers):
    return dict(zip(["batch", "n_heads", "n_queries", "n_keys", "d_head"], numbers))


def grid(n_queries, n_keys):
    return torch.arange(n_queries)[:, None], torch.arange(n_keys)[None, :]


q, k = grid(3, 5)
causal_q, causal_k = grid(18, 18)
cases = [
    golden(sizes(1, 1, 3, 5, 4), (q + k < 0), False),
    golden(sizes(2, 2, 3, 5, 4), ((3 * q + k) % 4 == 1), True),
    golden(sizes(1, 2, 18, 18, 3), causal_k > causal_q, True),
]
print("[")
print(",\n".join(json.dumps(case) for case in cases))
print("]")
