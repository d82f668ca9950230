//! Time of the fused attention against the same equation in Burn's operators, forward and backward.
//!
//! Run it alone on the machine, with the allocator set as in the program:
//! `RAYON_NUM_THREADS=2 MIMALLOC_PURGE_DELAY=-1 cargo run --release -p suffuse-kernels --example attention_speed`

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use std::time::Instant;
use suffuse_kernels::{Blocked, masked_attention};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 16;
const N_HEADS: usize = 4;
const N_QUERIES: usize = 106;
const D_HEAD: usize = 16;
const N_REPEATS: usize = 41;

/// Joined heads, as a linear layer gives them.
fn tokens(n: usize, device: &Device) -> Tensor<3> {
    let width = N_HEADS * D_HEAD;
    let data: Vec<f32> = (0..BATCH * n * width)
        .map(|k| (0.37 * k as f32).sin())
        .collect();
    Tensor::from_data(TensorData::new(data, [BATCH, n, width]), device).require_grad()
}

fn heads(x: &Tensor<3>) -> Tensor<4> {
    let [batch, n, width] = x.dims();
    x.clone()
        .reshape([batch, n, N_HEADS, width / N_HEADS])
        .swap_dims(1, 2)
}

fn plain(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    blocked: Tensor<4, Bool>,
) -> Tensor<4> {
    let scores = query
        .mul_scalar(1.0 / (D_HEAD as f64).sqrt())
        .matmul(key.swap_dims(2, 3));
    softmax(scores.mask_fill(blocked, -1e9), 3).matmul(value)
}

/// Milliseconds of a forward pass and of both passes.
fn time(
    inputs: [&Tensor<3>; 3],
    attend: impl Fn(Tensor<4>, Tensor<4>, Tensor<4>) -> Tensor<4>,
) -> [f64; 2] {
    let start = Instant::now();
    let mixed = attend(heads(inputs[0]), heads(inputs[1]), heads(inputs[2]));
    let joined = mixed
        .swap_dims(1, 2)
        .reshape([BATCH, N_QUERIES, N_HEADS * D_HEAD]);
    let forward = start.elapsed().as_secs_f64() * 1e3;
    let gradients = joined.sum().backward();
    for input in inputs {
        assert!(input.grad(&gradients).is_some());
    }
    [forward, start.elapsed().as_secs_f64() * 1e3]
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[expect(clippy::disallowed_macros, reason = "an example prints its results")]
fn main() {
    let device = Device::flex().autodiff();
    println!("keys  blocked  forward: plain ms  fused ms  ratio  both: plain ms  fused ms  ratio");
    for (n_keys, share) in [(60, 0), (106, 0), (106, 1), (220, 0), (220, 1)] {
        let n_pairs = N_QUERIES * n_keys;
        // Half of the pairs are blocked, those above the diagonal.
        let pairs: Vec<bool> = (0..n_pairs)
            .map(|i| share * (i % n_keys) * N_QUERIES > (i / n_keys) * n_keys)
            .collect();
        let mask = TensorData::new(pairs.clone(), [1, 1, N_QUERIES, n_keys]);
        let mask = Tensor::<4, Bool>::from_data(mask, &Device::flex());
        let mask = mask.expand([BATCH, N_HEADS, N_QUERIES, n_keys]);
        let blocked = Blocked::new(&pairs, N_QUERIES, n_keys);
        let (query, key, value) = (
            tokens(N_QUERIES, &device),
            tokens(n_keys, &device),
            tokens(n_keys, &device),
        );
        let inputs = [&query, &key, &value];
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..N_REPEATS {
            let a = time(inputs, |q, k, v| plain(q, k, v, mask.clone()));
            let b = time(inputs, |q, k, v| masked_attention(q, k, v, &blocked, None));
            for (times, t) in times.iter_mut().zip([a[0], b[0], a[1], b[1]]) {
                times.push(t);
            }
        }
        let [a, b, c, d] = times.map(median);
        println!(
            "{n_keys:4} {:7} %  {a:17.2} {b:9.2} {:6.1}  {c:14.2} {d:9.2} {:6.1}",
            50 * share,
            a / b,
            c / d
        );
    }
}
