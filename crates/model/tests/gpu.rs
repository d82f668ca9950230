//! A GPU against the CPU, on the first adapter of this machine; a software renderer will do.
//!
//! Runs in builds with a GPU feature: `cargo test --release --workspace --features suffuse/wgpu`.
//! Without an adapter these tests fail, unless `SUFFUSE_NO_GPU` says that none is expected.
#![cfg(any(
    feature = "cuda",
    feature = "metal",
    feature = "vulkan",
    feature = "wgpu"
))]

use burn::tensor::{Int, Tensor, TensorData};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::AtomicBool;
use suffuse_data::simulate::{SimulateOptions, simulate};
use suffuse_kernels::{Blocked, NO_BIAS, masked_attention};
use suffuse_model::device::{Device, DeviceChoice, gpu_name};
use suffuse_model::nn::timestep::timestep_features;
use suffuse_model::parameters::{Absent, Builder, Parameters, values};
use suffuse_model::systems::depmicrodiff::ar_steps::ArSteps;
use suffuse_model::systems::depmicrodiff::dat::{
    Dat, Known, N_FLAGS, N_GUESS, N_SUMMARY, Noisy, StreamMasks,
};
use suffuse_model::systems::depmicrodiff::mask::{DependencyMask, Dependent, attention_mask};
use suffuse_model::systems::depmicrodiff::{
    Cohort, Config, Fill, FitOptions, ImputeOptions, Totals, fit,
};

/// Largest difference, relative to the largest number of the same array.
const TOLERANCE: f32 = 1e-4;
/// An array of smaller numbers counts as this large: the gradient of a key's bias is zero but for
/// rounding.
const LEAST: f32 = 0.1;
const BATCH: usize = 3;
const N_TAXA: usize = 5;

/// Results by name.
type Numbers = BTreeMap<String, Vec<f32>>;

/// Writes to stderr itself, since the test harness would hold back what a passing test prints.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").expect("stderr takes text");
}

fn gpu() -> Option<Device> {
    match DeviceChoice::Gpu(0).find() {
        Ok(device) => Some(device),
        Err(problem) if std::env::var_os("SUFFUSE_NO_GPU").is_some() => {
            say(&format!("NOT TESTED, as SUFFUSE_NO_GPU asks: {problem}"));
            None
        }
        Err(problem) => panic!("{problem}; set SUFFUSE_NO_GPU=1 where no adapter is expected"),
    }
}

fn on_gpu_as_on_cpu(numbers: impl Fn(&Device) -> Numbers) {
    let Some(gpu) = gpu() else { return };
    let (found, expected) = (numbers(&gpu), numbers(&Device::flex()));
    assert_eq!(found.len(), expected.len());
    let mut worst = (0.0f32, String::new());
    for (name, expected) in expected {
        let found = &found[&name];
        assert_eq!(found.len(), expected.len(), "{name}");
        let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            let difference = (found - expected).abs() / largest.max(LEAST);
            if difference > worst.0 {
                worst = (difference, name.clone());
            }
            assert!(
                difference <= TOLERANCE,
                "{name}: {found} on the GPU, {expected} on the CPU"
            );
        }
    }
    let (difference, name) = worst;
    let gpu = gpu_name(&gpu).expect("it is not the CPU");
    say(&format!(
        "{gpu}: largest difference {difference:.1e} ({name})"
    ));
}

fn tensor<const D: usize>(index: usize, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = sines(index, shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn sines(index: usize, n: usize) -> Vec<f32> {
    (0..n)
        .map(|k| (1.0 + 0.7 * index as f32 + 0.37 * k as f32).sin())
        .collect()
}

#[test]
fn masked_attention_and_its_gradients_are_those_of_the_cpu() {
    let (n_queries, n_keys) = (19, 23);
    let pairs: Vec<bool> = (0..n_queries * n_keys)
        .map(|pair| pair % n_keys > pair / n_keys + 2 || pair / n_keys == 4) // query 4 sees no key
        .collect();
    let biases: Vec<u32> = (0..n_queries * n_keys)
        .map(|pair| {
            if pair % 3 == 0 {
                NO_BIAS
            } else {
                pair as u32 % 2
            }
        })
        .collect();
    let blocked = Blocked::with_biases(pairs.into(), biases.into(), [n_queries, n_keys]);
    on_gpu_as_on_cpu(|device| {
        let device = &device.clone().autodiff();
        let query = tensor(0, [2, 2, n_queries, 4], device).require_grad();
        let key = tensor(1, [2, 2, n_keys, 4], device).require_grad();
        let value = tensor(2, [2, 2, n_keys, 4], device).require_grad();
        let bias = tensor(3, [2, 2], device).require_grad();
        let output = masked_attention(
            query.clone(),
            key.clone(),
            value.clone(),
            &blocked,
            Some(bias.clone()),
        );
        let loss = (output.clone() * tensor(4, [2, 2, n_queries, 4], device)).sum();
        let gradients = loss.backward();
        let of = |tensor: &Tensor<4>| values(tensor.grad(&gradients).unwrap());
        Numbers::from([
            ("output".into(), values(output)),
            ("query".into(), of(&query)),
            ("key".into(), of(&key)),
            ("value".into(), of(&value)),
            ("bias".into(), values(bias.grad(&gradients).unwrap())),
        ])
    });
}

#[test]
fn the_denoiser_and_its_gradients_are_those_of_the_cpu() {
    let mut config = Config::tiny();
    config.dat.dependency_mask = DependencyMask::Bias;
    let mut pairs = vec![false; N_TAXA * N_TAXA];
    for (i, j) in [(0, 1), (1, 0), (2, 4), (4, 3)] {
        pairs[i * N_TAXA + j] = true;
    }
    let dependent = Dependent::new(N_TAXA, pairs);
    let make = |b: &mut Builder| Dat::new(b, &config.dat, &config.vae, &dependent, 3);
    let mut parameters = Parameters::initial(&Parameters::default(), 0, make).unwrap();
    for (index, parameter) in parameters.by_path.values_mut().enumerate() {
        parameter.values = sines(index, parameter.values.len());
        parameter.values.iter_mut().for_each(|x| *x *= 0.2);
    }
    let order = [3, 0, 4, 1, 2];
    let steps = ArSteps::of_sizes(&[2, 1, 2]);
    let mask = attention_mask(
        &steps,
        Dat::n_condition_tokens(&config.dat),
        &dependent,
        &order,
        config.dat.dependency_mask,
    );
    let masks = StreamMasks::new(&mask, 0..N_TAXA);
    let order = order.map(|taxon| taxon as i64);
    let shape = [BATCH, N_TAXA, config.vae.d_latent];
    on_gpu_as_on_cpu(|device| {
        let device = &device.clone().autodiff();
        let mut builder = Builder::new(&parameters, Absent::Refuse, device);
        let dat = make(&mut builder);
        let bound = builder.finish().unwrap();
        let known = Known {
            observed: tensor(50, shape, device),
            flags: tensor(51, [BATCH, N_TAXA, N_FLAGS], device),
            is_filled: Tensor::ones([BATCH, N_TAXA, 1], device),
            guess: tensor(56, [BATCH, N_TAXA, N_GUESS], device),
            summary: tensor(52, [BATCH, N_SUMMARY], device),
            metadata: Some((
                tensor(53, [BATCH, 3], device),
                Tensor::zeros([BATCH, 1], device),
            )),
        };
        let order = Tensor::<1, Int>::from_data(order, device);
        let visible = tensor::<3>(54, shape, device).slice([0..BATCH, 0..3]);
        let context = dat.context(&known, visible, &order, &masks);
        let time: Vec<f32> = [10, 500, 900, 1, 2, 3, 700, 20, 1000]
            .iter()
            .flat_map(|t| timestep_features(*t, 64))
            .collect();
        let output = dat.denoise(
            Noisy {
                values: tensor(55, shape, device),
                time: Tensor::from_data(TensorData::new(time, [BATCH, 3, 64]), device),
                step_sizes: vec![2, 1, 2],
                tokens: 0..N_TAXA,
            },
            &order,
            &context,
            &masks,
            None,
        );
        let loss = (output.clone() * output.clone()).mean();
        let mut numbers = bound.gradients(&loss.backward());
        numbers.insert("output".into(), values(output));
        numbers
    });
}

#[test]
fn a_fit_and_its_draws_are_those_of_the_cpu() {
    let mut config = Config::tiny();
    (config.vae.training.n_steps, config.dat.training.n_steps) = (4, 4);
    let options = SimulateOptions {
        n_samples: 24,
        n_taxa: 10,
        ..SimulateOptions::default()
    };
    let table = simulate(&options).unwrap().table;
    let hidden: Vec<(u32, u32)> = (0..table.n_samples())
        .filter_map(|sample| Some((sample as u32, *table.row(sample).0.first()?)))
        .collect();
    let cohort = Cohort {
        table: &table,
        hidden: &hidden,
        totals: Totals::OfWhatIsLeft,
        conditions: None,
        groups: None,
        times: None,
    };
    on_gpu_as_on_cpu(|device| {
        let mut options = FitOptions {
            seed: 4,
            pretrain: &[],
            device: device.clone(),
            checkpoint: None,
            save_every_s: 0.0,
            progress: &mut |_| (),
            interrupted: &AtomicBool::new(false),
        };
        let model = fit(&config, &cohort, &mut options).unwrap();
        let mut options = ImputeOptions {
            fill: Fill::MissingAndZeros,
            presence_threshold: 0.5,
            structural_zeros: &[],
            n_draws: 2,
            n_sets: 0,
            partner: None,
            sampler: "ddim:5".parse().unwrap(),
            seed: 9,
            device: device.clone(),
            batch_size: 16,
            progress: &mut |_| (),
            interrupted: &AtomicBool::new(false),
        };
        let imputed = model.impute(&cohort, &mut options).unwrap();
        let (vae, dat) = model.validation_losses();
        let draws = imputed.hidden_draws.iter().flatten();
        Numbers::from([
            ("losses".into(), vec![vae as f32, dat as f32]),
            ("draws".into(), draws.map(|y| *y as f32).collect()),
        ])
    });
}
