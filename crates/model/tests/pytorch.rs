//! The autoencoder and the denoiser against PyTorch: outputs, losses and every gradient.
//!
//! The numbers come from `parity/depmicrodiff/golden.py`. Both sides fill weights and inputs with
//! `amplitude * sin(1 + 0.7 * index + 0.37 * k)`.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::Deserialize;
use std::collections::BTreeMap;
use suffuse_model::nn::timestep::timestep_features;
use suffuse_model::parameters::{Absent, Bound, Builder, Parameters, values};
use suffuse_model::systems::depmicrodiff::Config;
use suffuse_model::systems::depmicrodiff::ar_steps::ArSteps;
use suffuse_model::systems::depmicrodiff::dat::{
    Beside, Dat, Known, N_FLAGS, N_GUESS, N_SUMMARY, Noisy, StreamMasks,
};
use suffuse_model::systems::depmicrodiff::mask::{DependencyMask, Dependent, attention_mask};
use suffuse_model::systems::depmicrodiff::vae::Vae;

const GOLDEN: &str = include_str!("../../../parity/depmicrodiff/golden.json");
const BATCH: usize = 3;
const N_TAXA: usize = 5;
const N_DIMENSIONS: usize = 2;

#[derive(Deserialize)]
struct Golden {
    vae: Reference,
    dat: Reference,
}

#[derive(Deserialize)]
struct Reference {
    output: Vec<f64>,
    loss: f64,
    /// Path: norm, sum and first element of the gradient.
    gradients: BTreeMap<String, [f64; 3]>,
}

fn golden() -> Golden {
    serde_json::from_str(GOLDEN).expect("golden.json has the fields above")
}

fn sines(index: usize, n: usize, amplitude: f64) -> Vec<f32> {
    (0..n)
        .map(|k| (amplitude * (1.0 + 0.7 * index as f64 + 0.37 * k as f64).sin()) as f32)
        .collect()
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff())
}

fn filled(make: &dyn Fn(&mut Builder)) -> Parameters {
    let mut parameters =
        Parameters::initial(&Parameters::default(), 0, |b| make(b)).expect("drawn anew");
    for (index, parameter) in parameters.by_path.values_mut().enumerate() {
        parameter.values = sines(index, parameter.values.len(), 0.4);
    }
    parameters
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 2e-5 * expected.abs().max(0.1)
}

fn compare(reference: &Reference, output: Vec<f32>, loss: Tensor<1>, bound: &Bound) {
    assert_eq!(output.len(), reference.output.len());
    for (found, expected) in output.iter().zip(&reference.output) {
        assert!(
            close(f64::from(*found), *expected),
            "output {found}, PyTorch {expected}"
        );
    }
    let found = f64::from(loss.clone().into_scalar::<f32>());
    assert!(
        close(found, reference.loss),
        "loss {found}, PyTorch {}",
        reference.loss
    );
    let gradients = bound.gradients(&loss.backward());
    assert_eq!(gradients.len(), reference.gradients.len());
    for (path, gradient) in gradients {
        let [norm, sum, first] = reference.gradients[&path];
        let found_norm = gradient
            .iter()
            .map(|g| f64::from(*g).powi(2))
            .sum::<f64>()
            .sqrt();
        let found_sum: f64 = gradient.iter().map(|g| f64::from(*g)).sum();
        assert!(
            close(found_norm, norm),
            "{path}: norm {found_norm}, PyTorch {norm}"
        );
        assert!(
            close(found_sum, sum),
            "{path}: sum {found_sum}, PyTorch {sum}"
        );
        assert!(
            close(f64::from(gradient[0]), first),
            "{path}: first {}, PyTorch {first}",
            gradient[0]
        );
    }
}

#[test]
fn the_autoencoder_has_the_outputs_and_gradients_of_pytorch() {
    let mut config = Config::tiny().vae;
    (config.d_latent, config.d_taxon, config.width) = (2, 3, 8);
    let parameters = filled(&|p| drop(Vae::new(p, &config, N_TAXA)));
    let mut builder = Builder::new(&parameters, Absent::Refuse, &Device::flex().autodiff());
    let vae = Vae::new(&mut builder, &config, N_TAXA);
    let bound = builder.finish().expect("all weights are there");
    let presence = [
        1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0,
    ];
    let entries = presence
        .iter()
        .zip(sines(40, 15, 1.5))
        .flat_map(|(p, a)| [*p, a * p])
        .collect();
    let entries = tensor::<3>(entries, [BATCH, N_TAXA, 2]);
    let is_known = [
        1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0,
    ];
    let noise = tensor::<3>(sines(41, 30, 1.0), [BATCH, N_TAXA, N_DIMENSIONS]);
    let (mean, log_variance) = vae.encode(entries.clone());
    let decoded = vae.decode(mean + log_variance.mul_scalar(0.5).exp() * noise.clone());
    let logits = values(decoded.presence_logit);
    let output = logits
        .into_iter()
        .zip(values(decoded.abundance))
        .flat_map(|(l, a)| [l, a])
        .collect();
    let loss = vae.loss(
        entries,
        tensor(is_known.to_vec(), [BATCH, N_TAXA]),
        noise,
        0.1,
    );
    compare(&golden().vae, output, loss, &bound);
}

/// Metadata of three numbers, no times.
const BESIDE: Beside = Beside {
    d_metadata: 3,
    n_neighbours: 0,
};

#[test]
fn the_denoiser_has_the_outputs_and_gradients_of_pytorch() {
    let mut config = Config::tiny();
    config.vae.d_latent = N_DIMENSIONS;
    let dat = &mut config.dat;
    (dat.width, dat.depth, dat.n_heads, dat.mlp_ratio) = (8, 1, 2, 2);
    (dat.n_profile_tokens, dat.profile_width, dat.dependency_mask) = (2, 6, DependencyMask::Bias);
    let mut pairs = vec![false; 25];
    for (i, j) in [(0, 1), (1, 0), (2, 4), (4, 3)] {
        pairs[i * 5 + j] = true;
    }
    let dependent = Dependent::new(5, pairs);
    let parameters = filled(&|p| drop(Dat::new(p, &config.dat, &config.vae, &dependent, BESIDE)));
    let device = Device::flex().autodiff();
    let mut builder = Builder::new(&parameters, Absent::Refuse, &device);
    let order = [3, 0, 4, 1, 2];
    let steps = ArSteps::of_sizes(&[2, 1, 2]);
    let dat = Dat::new(&mut builder, &config.dat, &config.vae, &dependent, BESIDE);
    let bound = builder.finish().expect("all weights are there");
    let mode = config.dat.dependency_mask;
    let mask = attention_mask(
        &steps,
        Dat::n_condition_tokens(&config.dat, BESIDE),
        &dependent,
        &order,
        mode,
    );
    let masks = StreamMasks::new(&mask, 0..N_TAXA);

    let shape = [BATCH, N_TAXA, N_DIMENSIONS];
    let flags = (0..15)
        .flat_map(|at| (0..N_FLAGS).map(move |k| if at % N_FLAGS == k { 1.0 } else { 0.0 }))
        .collect();
    let mut is_filled = vec![1.0; BATCH * N_TAXA];
    (is_filled[3], is_filled[2 * N_TAXA + 1]) = (0.0, 0.0);
    let known = Known {
        observed: tensor(sines(50, 30, 1.0), shape),
        flags: tensor(flags, [BATCH, N_TAXA, N_FLAGS]),
        is_filled: tensor(is_filled, [BATCH, N_TAXA, 1]),
        guess: tensor(sines(55, 30, 1.0), [BATCH, N_TAXA, N_GUESS]),
        summary: tensor(vec![0.2, -1.0, 0.5, 0.3, 1.0, 0.0], [BATCH, N_SUMMARY]),
        metadata: Some((
            tensor(sines(51, 9, 1.0), [BATCH, 3]),
            tensor(vec![0.0, 1.0, 0.0], [BATCH, 1]),
        )),
        neighbours: None,
    };
    let clean = tensor::<3>(sines(52, 30, 1.0), shape).slice([0..BATCH, 0..3, 0..N_DIMENSIONS]);
    let order = Tensor::<1, Int>::from_data(
        TensorData::new(order.map(|taxon| taxon as i64).to_vec(), [5]),
        &device,
    );
    let context = dat.context(&known, clean, &order, &masks);
    let timesteps = [10, 500, 900, 1, 2, 3, 700, 20, 1000]; // [batch, steps]
    let time = timesteps
        .iter()
        .flat_map(|t| timestep_features(*t, 64))
        .collect();
    let time = tensor(time, [BATCH, 3, 64]);
    let output = dat.denoise(
        Noisy {
            values: tensor(sines(53, 30, 1.0), shape),
            time,
            step_sizes: vec![2, 1, 2],
            tokens: 0..N_TAXA,
        },
        &order,
        &context,
        &masks,
        None,
    );
    let error = output.clone() - tensor(sines(54, 30, 1.0), shape);
    let loss = (error.clone() * error).mean();
    compare(&golden().dat, values(output), loss, &bound);
}
