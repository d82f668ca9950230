//! Does training steps, calls and samplings of a network on request, for `scripts/bench_peers.py`.
//!
//! ```text
//! peers NETWORK FILE     NETWORK: denoiser-TAXA, vae-TAXA, transformer or unet
//! ```
//!
//! Weights and the batch are written to FILE first, so that another program can start from the same
//! numbers. Then each line of the standard input asks for something, and one line answers it with the
//! seconds that it took and a number to compare:
//!
//! ```text
//! step   a training step, as a fit does it, and its loss
//! call   the network's output without gradients from the first weights, and its mean square
//! sample the denoiser's samples from the first weights by 20 DDIM steps, and their mean square
//! ```

mod networks;

use burn::tensor::{Device, Tensor};
use networks::{Bench, Bound, N_SHARDS, Network};
use rayon::prelude::*;
use std::cell::RefCell;
use std::io::{Lines, StdinLock, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use suffuse_model::checkpoint;
use suffuse_model::parameters::{Absent, Builder, Parameters};
use suffuse_model::rng::{Stage, generator, standard_normal};
use suffuse_model::train::{Progress, Stages, TrainConfig};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Answers requests that need no training until a step is asked for; false when the input ends.
fn serve(bench: &Bench, bound: &Bound, lines: &mut Lines<StdinLock>) -> bool {
    for line in lines {
        let began = Instant::now();
        let number = match line.as_deref() {
            Ok("step") => return true,
            Ok("call") => in_parts(bench, |shard| {
                bench.run(bound, &Device::flex(), shard)[0].clone()
            }),
            Ok("sample") => match (&bench.network, bound) {
                (Network::Denoiser(denoiser), Bound::Denoiser(dat)) => in_parts(bench, |shard| {
                    let x = denoiser.sample(bench, dat, bench.rows(shard));
                    (x.clone() * x).mean()
                }),
                _ => return false,
            },
            _ => return false,
        };
        answer(began.elapsed().as_secs_f64(), number);
    }
    false
}

/// The mean over all samples, computed in parts at once, as imputation samples its tiles.
fn in_parts(bench: &Bench, mean: impl Fn(usize) -> Tensor<1> + Sync) -> f64 {
    let means: Vec<f64> = (0..N_SHARDS)
        .into_par_iter()
        .map(|shard| {
            let share = bench.rows(shard).len() as f64 / bench.n_samples as f64;
            share * f64::from(mean(shard).into_scalar::<f32>())
        })
        .collect();
    means.iter().sum()
}

fn answer(seconds: f64, number: f64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{seconds} {number}")
        .and_then(|()| out.flush())
        .expect("someone reads the answers");
}

#[expect(clippy::disallowed_macros, reason = "an example says how it is called")]
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let bench = arguments.get(1).and_then(|name| Bench::new(name));
    let (Some(bench), Some(path)) = (bench, arguments.get(2)) else {
        eprintln!("peers NETWORK FILE, NETWORK: denoiser-TAXA, vae-TAXA, transformer or unet");
        std::process::exit(2);
    };
    let make = |p: &mut Builder| drop(bench.bind(p));
    let mut weights = Parameters::initial(&Parameters::default(), 0, make).expect("drawn anew");
    // Layers that begin at zero would hide what lies before them.
    for (path, parameter) in &mut weights.by_path {
        if parameter.values.iter().all(|x| *x == 0.0) {
            let drawn = standard_normal(
                &mut generator(2, Stage::InitialWeights, path, 0),
                parameter.values.len(),
            );
            parameter.values = drawn.iter().map(|x| 0.05 * x).collect();
        }
    }
    let groups = [("weights", &weights), ("batch", &bench.batch)];
    checkpoint::save(Path::new(path), &groups, &Default::default()).expect("a file to write");
    let interrupted = AtomicBool::new(false);
    let lines = RefCell::new(std::io::stdin().lines());
    answer(0.0, weights.n_weights() as f64);
    let mut builder = Builder::new(&weights, Absent::Refuse, &Device::flex());
    let bound = bench.bind(&mut builder);
    if !serve(&bench, &bound, &mut lines.borrow_mut()) {
        return;
    }
    let mut began = Instant::now();
    let mut progress = |done: &Progress| {
        answer(began.elapsed().as_secs_f64(), done.loss);
        let mut builder = Builder::new(&weights, Absent::Refuse, &Device::flex());
        let bound = bench.bind(&mut builder);
        if !serve(&bench, &bound, &mut lines.borrow_mut()) {
            interrupted.store(true, Ordering::Relaxed);
        }
        began = Instant::now();
    };
    let mut stages = Stages {
        device: Device::flex(),
        folder: None,
        fingerprint: String::new(),
        save_every_s: f64::INFINITY,
        progress: &mut progress,
        interrupted: &interrupted,
        log: String::new(),
    };
    let config = TrainConfig {
        n_steps: 1_000_000,
        batch_size: bench.n_samples,
        learning_rate: 1e-3,
        n_warmup: 0,
        weight_decay: 0.01,
        clip_norm: 1.0,
        ema_decay: 0.995,
        validate_every: 1_000_000,
        patience: 1,
    };
    // Ends with an interruption when the input ends.
    let _ = stages.run("peers", &config, weights.clone(), &bench);
}
