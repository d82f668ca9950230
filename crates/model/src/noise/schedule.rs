//! The cosine variance schedule, computed in f64.

use std::f64::consts::FRAC_PI_2;

/// Offset that keeps the first steps from adding too little noise (Nichol & Dhariwal 2021, eq. 17).
const OFFSET: f64 = 0.008;
/// Largest beta, against a singularity at the last step (same paper, section 3.2).
const MAX_BETA: f64 = 0.999;

/// The table of `alpha_bar` for `T` steps.
///
/// Step `t` runs from 1 to `T`; `alpha_bar(0) = 1` is the clean data.
#[derive(Debug, Clone, PartialEq)]
pub struct CosineSchedule {
    alpha_bar: Vec<f64>,
}

impl CosineSchedule {
    /// `alpha_bar(t) = f(t) / f(0)`, `f(t) = cos^2((t/T + s) / (1 + s) * pi/2)`, with
    /// `beta(t) = 1 - alpha_bar(t) / alpha_bar(t-1)` clipped at 0.999 (Nichol & Dhariwal 2021).
    pub fn new(n_steps: usize) -> Self {
        let f = |t: usize| {
            (((t as f64 / n_steps as f64) + OFFSET) / (1.0 + OFFSET) * FRAC_PI_2)
                .cos()
                .powi(2)
        };
        let mut alpha_bar = vec![1.0];
        for t in 1..=n_steps {
            let beta = (1.0 - f(t) / f(t - 1)).min(MAX_BETA);
            alpha_bar.push(alpha_bar[t - 1] * (1.0 - beta));
        }
        CosineSchedule { alpha_bar }
    }

    /// Number of steps `T`.
    pub fn n_steps(&self) -> usize {
        self.alpha_bar.len() - 1
    }

    /// Share of the signal's variance left at step `t` in `0..=T`.
    pub fn alpha_bar(&self, t: usize) -> f64 {
        self.alpha_bar[t]
    }

    /// Variance added at step `t` in `1..=T` (DepMicroDiff paper, eq. 3).
    pub fn beta(&self, t: usize) -> f64 {
        1.0 - self.alpha_bar[t] / self.alpha_bar[t - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_schedule_destroys_the_signal_smoothly() {
        let schedule = CosineSchedule::new(1000);
        assert_eq!(schedule.alpha_bar(0), 1.0);
        for t in 1..=1000 {
            assert!(schedule.beta(t) > 0.0 && schedule.beta(t) <= MAX_BETA + 1e-12);
            assert!(schedule.alpha_bar(t) < schedule.alpha_bar(t - 1));
            assert!(t < 2 || schedule.beta(t) > schedule.beta(t - 1) || t > 998);
        }
        assert!(schedule.alpha_bar(1000) < 1e-4);
    }

    #[test]
    fn cosine_table_equals_the_values_of_the_reference_formula() {
        // betas_for_alpha_bar(1000, cos(..)) of the code published with Nichol & Dhariwal 2021,
        // evaluated in CPython: see parity/noise/cosine.py.
        let schedule = CosineSchedule::new(1000);
        for (t, alpha_bar, beta) in [
            (1, 0.999958715775178, 4.128422482196914e-05),
            (2, 0.9999125759273678, 4.614175273665033e-05),
            (500, 0.4938435904406382, 0.0031458862304780677),
            (999, 2.4287669070348544e-06, 0.7499993929011166),
            (1000, 2.4287669070348567e-09, 0.999),
        ] {
            assert!(
                (schedule.alpha_bar(t) - alpha_bar).abs() <= 1e-12 * alpha_bar.max(1e-3),
                "{t}"
            );
            assert!(
                (schedule.beta(t) - beta).abs() < 1e-10,
                "{t}: {}",
                schedule.beta(t)
            );
        }
    }
}
