"""Writes rows.json: modulated layer norm and SiLU after a bias, outputs and gradients, from PyTorch.

Inputs are sines, so that they need not be stored; they are rounded to single precision as the
tested code sees them, and everything else is in double precision:

    value[k] = 2 * sin(1 + 0.7 * index + 0.37 * k)

`index` numbers the inputs in the order of the arguments, and 9 is what turns the output into a loss.

Run with PyTorch: python rows.py > rows.json
"""

import json
import math

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def sines(index, shape):
    k = torch.arange(math.prod(shape))
    return (2 * torch.sin(1 + 0.7 * index + 0.37 * k)).float().double().reshape(shape)


def golden(operator, shapes, function):
    inputs = [sines(i, shape).requires_grad_() for i, shape in enumerate(shapes)]
    output = function(*inputs)
    (output * sines(9, output.shape)).sum().backward()
    results = [output] + [x.grad for x in inputs]
    return {
        "operator": operator,
        "shape": list(shapes[0]),
        "results": [[float(f"{x:.9g}") for x in result.detach().flatten().tolist()] for result in results],
    }


def norm(batch, tokens, width):
    shapes = [(batch, tokens, width), (batch, 1, width), (batch, 1, width)]
    return golden("norm", shapes, lambda x, shift, scale: F.layer_norm(x, (width,)) * (1 + scale) + shift)


def silu(rows, width):
    return golden("silu", [(rows, width), (width,)], lambda x, bias: F.silu(x + bias))


cases = [norm(1, 1, 2), norm(2, 3, 5), norm(3, 2, 16), norm(2, 4, 37), silu(1, 1), silu(5, 3), silu(3, 16), silu(4, 35)]
print(json.dumps(cases, indent=None, separators=(",", ":")))
