//! What `--dry-run` says: what would be done, how long it takes, how much memory it needs.
//!
//! Time and memory are measured on a few steps of the real thing, not guessed.

use super::Context;
use crate::talk::duration;
use std::collections::BTreeMap;
use std::time::Instant;
use suffuse::{Result, Watch};
use suffuse_data::select::take_samples;
use suffuse_model::device::Device;
use suffuse_model::systems::depmicrodiff::{
    Cohort, Conditions, Config, Fill, FitOptions, ImputeOptions, Model, SAVE_EVERY_S, Totals, fit,
};
use suffuse_model::train::Progress;

/// Steps of each stage that are run to measure it.
const N_STEPS: usize = 6;

/// Samples that are filled to measure it.
const N_SAMPLES: usize = 32;

/// Fits for a few steps, fills a few samples, and reports the time of all and the memory in use.
pub(super) fn measure(
    config: &Config,
    cohort: &Cohort,
    seed: u64,
    fill: Fill,
    device: &Device,
    context: &mut Context,
) -> Result<Vec<String>> {
    let mut short = *config;
    short.vae.training.n_steps = config.vae.training.n_steps.min(N_STEPS);
    short.dat.training.n_steps = config.dat.training.n_steps.min(N_STEPS);
    short.dat.n_pretraining_steps = 0;
    let mut seconds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let start = Instant::now();
    let (fitting, filling) = context.watched(|watch: &mut Watch| {
        let mut progress = |step: &Progress| {
            seconds
                .entry(step.stage.clone())
                .or_default()
                .push(step.seconds)
        };
        let mut options = FitOptions {
            seed,
            pretrain: &[],
            device: device.clone(),
            checkpoint: None,
            save_every_s: SAVE_EVERY_S,
            progress: &mut progress,
            interrupted: watch.interrupted,
        };
        let model = fit(&short, cohort, &mut options)?;
        let elapsed = start.elapsed().as_secs_f64();
        let per_sample = measure_filling(&model, config, cohort, seed, fill, device, watch)?;
        Ok((elapsed, per_sample * cohort.table.n_samples() as f64))
    })?;
    // What comes before the first step: the dependencies between taxa.
    let steps: f64 = seconds.values().filter_map(|clock| clock.last()).sum();
    let preparation = (fitting - steps).max(0.0);
    let n_steps = config.vae.training.n_steps + config.dat.training.n_steps;
    let time: f64 = [
        ("vae", config.vae.training.n_steps),
        ("denoiser", config.dat.training.n_steps),
    ]
    .into_iter()
    .map(|(stage, n)| per_step(seconds.get(stage).map_or(&[], Vec::as_slice)) * n as f64)
    .sum();
    let mut lines = vec![
        format!(
            "fitting            at most {n_steps} steps, about {} without early stopping (measured on {N_STEPS} steps of each stage)",
            duration(time + preparation)
        ),
        format!(
            "filling            at most about {} (measured on up to {N_SAMPLES} samples)",
            duration(filling)
        ),
    ];
    if let Some(memory) = peak_memory_mib() {
        lines.push(format!("memory             about {memory} MiB"));
    }
    Ok(lines)
}

/// Seconds that filling takes per sample if every zero turns out to be false.
fn measure_filling(
    model: &Model,
    config: &Config,
    cohort: &Cohort,
    seed: u64,
    fill: Fill,
    device: &Device,
    watch: &mut Watch,
) -> Result<f64> {
    let with_content: Vec<usize> = (0..cohort.table.n_samples())
        .filter(|sample| cohort.table.row(*sample).1.iter().any(|x| *x > 0.0))
        .take(N_SAMPLES)
        .collect();
    let table = take_samples(cohort.table, &with_content)?;
    let conditions = cohort.conditions.as_ref().map(|all| Conditions {
        values: with_content
            .iter()
            .flat_map(|sample| all.values[sample * all.dim..(sample + 1) * all.dim].to_vec())
            .collect(),
        missing: with_content
            .iter()
            .map(|sample| all.missing[*sample])
            .collect(),
        ..all.clone()
    });
    let part = Cohort {
        table: &table,
        hidden: &[],
        totals: Totals::OfWhatIsLeft,
        conditions,
        groups: None,
        times: None,
    };
    let mut options = ImputeOptions {
        fill,
        presence_threshold: 0.0,
        structural_zeros: &[],
        n_draws: config.sampling.n_draws,
        n_sets: 0,
        partner: None,
        sampler: config.sampling.sampler,
        seed,
        device: device.clone(),
        batch_size: N_SAMPLES,
        progress: &mut |_| {},
        interrupted: watch.interrupted,
    };
    let start = Instant::now();
    model.impute(&part, &mut options)?;
    Ok(start.elapsed().as_secs_f64() / with_content.len().max(1) as f64)
}

/// Seconds per step from the clock after each step: the median, since the last step of a stage
/// validates, too, which is rare in a whole fit.
fn per_step(clock: &[f64]) -> f64 {
    let mut spans: Vec<f64> = clock.windows(2).map(|pair| pair[1] - pair[0]).collect();
    spans.sort_by(f64::total_cmp);
    match spans.get(spans.len() / 2) {
        Some(median) => *median,
        None => clock.first().copied().unwrap_or(0.0),
    }
}

/// Largest resident memory of this process so far, where the operating system tells (Linux).
fn peak_memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_step_of_a_stage_do_not_count() {
        assert_eq!(per_step(&[5.0, 6.0, 7.0, 8.0, 30.0]), 1.0);
        assert_eq!(per_step(&[2.0]), 2.0);
        assert_eq!(per_step(&[]), 0.0);
    }
}
