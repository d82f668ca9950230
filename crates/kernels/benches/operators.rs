//! Each fused operator, forward and backward, beside the same equation in Burn's operators.
//!
//! `just bench operators` runs it with the allocator set as in the program; nothing else should run.

use burn::tensor::activation::{gelu_approximate, silu, softmax};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use suffuse_kernels::{
    Activation, Blocked, conv3x3, gated_residual, group_norm_silu, linear, masked_attention, mlp,
    modulated_layer_norm,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn sines<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|k| (0.37 * k as f32).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff()).require_grad()
}

/// Times a forward and a backward pass of both ways.
fn both<const D: usize>(
    criterion: &mut Criterion,
    name: &str,
    fused: impl Fn() -> Tensor<D>,
    burn: impl Fn() -> Tensor<D>,
) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20);
    let mut time = |way: &str, f: &dyn Fn() -> Tensor<D>| {
        group.bench_with_input(BenchmarkId::from_parameter(way), &(), |bench, ()| {
            bench.iter(|| black_box(f().sum().backward()));
        });
    };
    time("fused", &fused);
    time("burn", &burn);
    group.finish();
}

fn attention(criterion: &mut Criterion) {
    let (batch, n_heads, n, d) = (16, 4, 212, 16);
    let pairs: Vec<bool> = (0..n * n).map(|pair| pair % n > pair / n).collect();
    let mask = TensorData::new(pairs.clone(), [1, 1, n, n]);
    let mask = Tensor::<4, Bool>::from_data(mask, &Device::flex()).expand([batch, n_heads, n, n]);
    let blocked = Blocked::new(&pairs, n, n);
    let x = sines([batch, n_heads, n, d]);
    both(
        criterion,
        "attention, half of the pairs blocked",
        || masked_attention(x.clone(), x.clone(), x.clone(), &blocked, None),
        || {
            let scores = x.clone().mul_scalar(0.25).matmul(x.clone().swap_dims(2, 3));
            softmax(scores.mask_fill(mask.clone(), -1e9), 3).matmul(x.clone())
        },
    );
}

fn rows(criterion: &mut Criterion) {
    let (batch, n, width) = (32, 107, 128);
    let x = sines([batch, n, width]);
    let (y, gate) = (sines([batch, n, width]), sines([batch, 1, width]));
    both(
        criterion,
        "layer norm with modulation",
        || modulated_layer_norm(x.clone(), gate.clone(), gate.clone()),
        || {
            let centred = x.clone() - x.clone().mean_dim(2);
            let variance = (centred.clone() * centred.clone()).mean_dim(2);
            centred / (variance + 1e-5).sqrt() * (gate.clone() + 1.0) + gate.clone()
        },
    );
    both(
        criterion,
        "gated residual",
        || gated_residual(x.clone(), y.clone(), gate.clone()),
        || x.clone() + gate.clone() * y.clone(),
    );
    let x = sines([batch * n, width]);
    let (v, a) = (sines([width, 4 * width]), sines([4 * width]));
    let (w, b) = (sines([4 * width, width]), sines([width]));
    both(
        criterion,
        "affine map",
        || linear(x.clone(), v.clone(), a.clone()),
        || x.clone().matmul(v.clone()) + a.clone().unsqueeze(),
    );
    both(
        criterion,
        "perceptron with GELU",
        || {
            let (inner, outer) = ((v.clone(), a.clone()), (w.clone(), b.clone()));
            mlp(x.clone(), inner, outer, Activation::GeluTanh)
        },
        || {
            let hidden = gelu_approximate(x.clone().matmul(v.clone()) + a.clone().unsqueeze());
            hidden.matmul(w.clone()) + b.clone().unsqueeze()
        },
    );
}

fn images(criterion: &mut Criterion) {
    let (batch, side, channels) = (2, 64, 64);
    let x = sines([batch, side, side, channels]);
    let (weight, bias) = (sines([9 * channels, channels]), sines([1, channels]));
    let channels_first = sines([batch, channels, side, side]);
    let kernel = sines([channels, channels, 3, 3]);
    both(
        criterion,
        "convolution 3 x 3",
        || conv3x3(x.clone(), weight.clone(), bias.clone()),
        || {
            let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
            conv2d(channels_first.clone(), kernel.clone(), None, options)
        },
    );
    let tokens = sines([batch, side * side, channels]);
    let gain = sines([channels]);
    both(
        criterion,
        "group norm with SiLU",
        || group_norm_silu(tokens.clone(), gain.clone(), gain.clone(), 8),
        || {
            let grouped = tokens
                .clone()
                .reshape([batch, side * side, 8, channels / 8]);
            let mean = |x: Tensor<4>| x.mean_dim(1).mean_dim(3);
            let centred = grouped.clone() - mean(grouped);
            let variance = mean(centred.clone() * centred.clone());
            let normal = (centred / (variance + 1e-5).sqrt()).reshape(tokens.dims());
            silu(normal * gain.clone().unsqueeze() + gain.clone().unsqueeze())
        },
    );
}

criterion_group!(operators, attention, rows, images);
criterion_main!(operators);
