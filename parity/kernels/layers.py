"""Writes layers.json: the operators of crates/kernels but attention, outputs and gradients, from PyTorch.

Inputs are sines, so that they need not be stored; they are rounded to single precision as the
tested code sees them, and everything else is in double precision:

    value[k] = 2 * sin(1 + 0.7 * index + 0.37 * k)

`index` numbers the inputs in the order of the arguments, and 9 is what turns the output into a loss.
Images are [batch, height, width, channels] outside and [batch, channels, height, width] inside.

Run with PyTorch: python layers.py > layers.json
"""

import json
import math

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def sines(index, shape):
    k = torch.arange(math.prod(shape))
    return (2 * torch.sin(1 + 0.7 * index + 0.37 * k)).float().double().reshape(shape)


def golden(operator, sizes, shapes, function):
    inputs = [sines(i, shape).requires_grad_() for i, shape in enumerate(shapes)]
    output = function(*inputs)
    (output * sines(9, output.shape)).sum().backward()
    results = [output] + [x.grad for x in inputs]
    return {
        "operator": operator,
        "sizes": sizes,
        "results": [[float(f"{x:.9g}") for x in result.detach().flatten().tolist()] for result in results],
    }


def norm(batch, tokens, width):
    shapes = [(batch, tokens, width), (batch, 1, width), (batch, 1, width)]
    function = lambda x, shift, scale: F.layer_norm(x, (width,)) * (1 + scale) + shift
    return golden("norm", [batch, tokens, width], shapes, function)


def linear(rows, n_inputs, n_outputs):
    shapes = [(rows, n_inputs), (n_inputs, n_outputs), (n_outputs,)]
    return golden("linear", [rows, n_inputs, n_outputs], shapes, lambda x, w, b: F.linear(x, w.T, b))


def mlp(name, activation):
    def of(rows, n_inputs, n_hidden, n_outputs):
        shapes = [(rows, n_inputs), (n_inputs, n_hidden), (n_hidden,), (n_hidden, n_outputs), (n_outputs,)]
        function = lambda x, v, a, w, b: F.linear(activation(F.linear(x, v.T, a)), w.T, b)
        return golden(name, [rows, n_inputs, n_hidden, n_outputs], shapes, function)

    return of


def gate(batch, tokens, width):
    shapes = [(batch, tokens, width), (batch, tokens, width), (batch, 1, width)]
    return golden("gate", [batch, tokens, width], shapes, lambda x, y, g: x + g * y)


def group_norm(batch, tokens, channels, groups):
    def function(x, gain, shift):
        return F.silu(F.group_norm(x.transpose(1, 2), groups, gain, shift)).transpose(1, 2)

    shapes = [(batch, tokens, channels), (channels,), (channels,)]
    return golden("group_norm", [batch, tokens, channels, groups], shapes, function)


def conv(batch, height, width, n_inputs, n_outputs, biases):
    def function(x, w, b):
        kernel = w.reshape(3, 3, n_inputs, n_outputs).permute(3, 2, 0, 1)
        y = F.conv2d(x.permute(0, 3, 1, 2), kernel, padding=1)
        return y.permute(0, 2, 3, 1) + b[:, None, None]

    shapes = [(batch, height, width, n_inputs), (9 * n_inputs, n_outputs), (biases, n_outputs)]
    return golden("conv", [batch, height, width, n_inputs, n_outputs, biases], shapes, function)


def image(name, change):
    def of(batch, height, width, channels):
        function = lambda x: change(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return golden(name, [batch, height, width, channels], [(batch, height, width, channels)], function)

    return of


silu = mlp("silu", F.silu)
gelu = mlp("gelu", F.gelu)
gelu_tanh = mlp("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"))
halved = image("halved", lambda x: F.avg_pool2d(x, 2))
doubled = image("doubled", lambda x: F.interpolate(x, scale_factor=2, mode="nearest"))
cases = [norm(1, 1, 2), norm(2, 3, 5), norm(3, 2, 16), norm(2, 4, 37)]
cases += [linear(1, 1, 1), linear(5, 3, 4), linear(3, 17, 16), linear(2, 5, 35)]
for activation in [silu, gelu, gelu_tanh]:
    cases += [activation(1, 1, 1, 1), activation(4, 3, 5, 2), activation(3, 2, 17, 3)]
cases += [gate(1, 1, 1), gate(2, 3, 5), gate(3, 2, 17)]
cases += [group_norm(1, 2, 1, 1), group_norm(2, 5, 6, 3), group_norm(2, 3, 34, 2), group_norm(1, 4, 16, 16)]
cases += [conv(1, 1, 1, 1, 1, 1), conv(2, 3, 5, 2, 3, 2), conv(1, 4, 2, 3, 17, 1), conv(3, 2, 3, 1, 2, 1)]
cases += [halved(1, 2, 2, 1), halved(2, 4, 6, 3), doubled(1, 1, 1, 1), doubled(2, 3, 2, 5)]
print(json.dumps(cases, indent=None, separators=(",", ":")))
