//! What `--dry-run` says: what would be done, how long it takes, how much memory it needs.
//!
//! Time and memory are measured on a few steps of the real thing, not guessed.

use super::Context;
use crate::talk::duration;
use std::collections::BTreeMap;
use suffuse::{Result, Watch};
use suffuse_model::systems::depmicrodiff::{Cohort, Config, FitOptions, SAVE_EVERY_S, fit};
use suffuse_model::train::Progress;

/// Steps of each stage that are run to measure it.
const N_STEPS: usize = 6;

/// Fits for a few steps and reports the time of all of them and the memory in use.
pub(super) fn measure_fit(
    config: &Config,
    cohort: &Cohort,
    seed: u64,
    context: &mut Context,
) -> Result<Vec<String>> {
    let mut short = *config;
    short.vae.training.n_steps = config.vae.training.n_steps.min(N_STEPS);
    short.dat.training.n_steps = config.dat.training.n_steps.min(N_STEPS);
    short.dat.n_pretraining_steps = 0;
    let mut seconds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    context.watched(|watch: &mut Watch| {
        let mut progress = |step: &Progress| {
            seconds
                .entry(step.stage.clone())
                .or_default()
                .push(step.seconds)
        };
        let mut options = FitOptions {
            seed,
            pretrain: &[],
            checkpoint: None,
            save_every_s: SAVE_EVERY_S,
            progress: &mut progress,
            interrupted: watch.interrupted,
        };
        Ok(fit(&short, cohort, &mut options)?)
    })?;
    let n_steps = config.vae.training.n_steps + config.dat.training.n_steps;
    let time: f64 = [
        ("vae", config.vae.training.n_steps),
        ("denoiser", config.dat.training.n_steps),
    ]
    .into_iter()
    .map(|(stage, n)| per_step(seconds.get(stage).map_or(&[], Vec::as_slice)) * n as f64)
    .sum();
    let mut lines = vec![format!(
        "fitting            at most {n_steps} steps, about {} without early stopping (measured on {N_STEPS} steps of each stage)",
        duration(time)
    )];
    if let Some(memory) = peak_memory_mib() {
        lines.push(format!("memory             about {memory} MiB for fitting"));
    }
    Ok(lines)
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
