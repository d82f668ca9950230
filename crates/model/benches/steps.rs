//! A training step and a call of each network that `peers` measures, without PyTorch.
//!
//! `just bench steps` runs it with the allocator set as in the program; nothing else should run.

#[path = "../examples/peers/networks.rs"]
mod networks;

use burn::tensor::Device;
use criterion::{Criterion, criterion_group, criterion_main};
use networks::{Bench, Bound, N_SHARDS, Network};
use rayon::prelude::*;
use std::hint::black_box;
use suffuse_model::parameters::{Absent, Builder, Parameters};
use suffuse_model::train::fit::Objective;
use suffuse_model::train::{AdamW, OptimizerState};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ADAMW: AdamW = AdamW {
    beta_1: 0.9,
    beta_2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.01,
    clip_norm: 1.0,
    ema_decay: 0.995,
};

fn steps(criterion: &mut Criterion) {
    for name in [
        "denoiser-106",
        "denoiser-250",
        "vae-106",
        "transformer",
        "unet",
    ] {
        let bench = Bench::new(name).expect("a network of this name");
        let make = |p: &mut Builder| drop(bench.bind(p));
        let weights = Parameters::initial(&Parameters::default(), 0, make).expect("drawn anew");
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        let mut state = (weights.clone(), OptimizerState::new(&weights));
        group.bench_function("step", |b| b.iter(|| step(&bench, &mut state)));
        let mut builder = Builder::new(&weights, Absent::Refuse, &Device::flex());
        let bound = bench.bind(&mut builder);
        let call = |shard| black_box(bench.run(&bound, &Device::flex(), shard));
        group.bench_function("call", |b| {
            b.iter(|| {
                (0..N_SHARDS)
                    .into_par_iter()
                    .for_each(|shard| drop(call(shard)))
            });
        });
        if let (Network::Denoiser(denoiser), Bound::Denoiser(dat)) = (&bench.network, &bound) {
            let sample = |shard| black_box(denoiser.sample(&bench, dat, bench.rows(shard)));
            group.bench_function("sample", |b| {
                b.iter(|| {
                    (0..N_SHARDS)
                        .into_par_iter()
                        .for_each(|shard| drop(sample(shard)))
                });
            });
        }
        group.finish();
    }
}

/// Forward, backward, AdamW and the average, as [`suffuse_model::train::Stages::run`] does them.
fn step(bench: &Bench, (weights, state): &mut (Parameters, OptimizerState)) {
    let device = Device::flex().autodiff();
    let shards: Vec<_> = (0..N_SHARDS)
        .into_par_iter()
        .map(|shard| {
            let mut builder = Builder::new(weights, Absent::Refuse, &device);
            let part = bench.loss(&mut builder, 0, shard);
            let bound = builder.finish().expect("all weights are there");
            bound.gradients(&(part.loss * part.share).backward())
        })
        .collect();
    let mut shards = shards.into_iter();
    let mut sum = shards.next().expect("a shard");
    for shard in shards {
        for (path, gradient) in shard {
            let sum = sum.get_mut(&path).expect("all shards have all paths");
            sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
        }
    }
    ADAMW.step(weights, &sum, state, 1e-3);
}

criterion_group!(benches, steps);
criterion_main!(benches);
