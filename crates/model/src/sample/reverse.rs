//! One step of the reverse process as weights of the data at hand: DDPM, DDIM, DPM-Solver++.

/// `x_s = noisy * x_t + clean * x_0 + noise * eps`, for a step from `t` down to `s < t`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Weight of the noisy data `x_t`.
    pub noisy: f64,
    /// Weight of the estimate of the clean data `x_0`.
    pub clean: f64,
    /// Standard deviation of fresh noise.
    pub noise: f64,
}

/// The step from `alpha_bar` at `t` to `alpha_bar_next` at `s < t`.
///
/// - ancestral (Ho 2020, eq. 6-7, for a stride of any length):
///   `mean = sqrt(ab_s) b / (1 - ab_t) x_0 + sqrt(a) (1 - ab_s) / (1 - ab_t) x_t`,
///   `variance = (1 - ab_s) / (1 - ab_t) b`, with `a = ab_t / ab_s`, `b = 1 - a`;
/// - otherwise DDIM with eta = 0 (Song 2021, eq. 12):
///   `x_s = sqrt(ab_s) x_0 + sqrt(1 - ab_s) (x_t - sqrt(ab_t) x_0) / sqrt(1 - ab_t)`.
pub fn step(is_ancestral: bool, alpha_bar: f64, alpha_bar_next: f64) -> Step {
    if is_ancestral {
        let a = alpha_bar / alpha_bar_next;
        let b = 1.0 - a;
        Step {
            noisy: a.sqrt() * (1.0 - alpha_bar_next) / (1.0 - alpha_bar),
            clean: alpha_bar_next.sqrt() * b / (1.0 - alpha_bar),
            noise: ((1.0 - alpha_bar_next) / (1.0 - alpha_bar) * b).sqrt(),
        }
    } else {
        let noisy = ((1.0 - alpha_bar_next) / (1.0 - alpha_bar)).sqrt();
        Step {
            noisy,
            clean: alpha_bar_next.sqrt() - noisy * alpha_bar.sqrt(),
            noise: 0.0,
        }
    }
}

/// Weights of the newest estimate of the clean data and of the one before, for a step of second order
/// (DPM-Solver++(2M); Lu 2022b, algorithm 2):
/// `D = (1 + 1 / 2r) x_0(t) - 1 / 2r x_0(t')`, `r = (l_t - l_t') / (l_s - l_t)`, `l = ln(sqrt(ab) / sqrt(1 - ab))`.
///
/// [`step`] of DDIM then goes from `t` to `s` with `D` as the clean data. The last step, to `ab = 1`, is
/// of first order.
///
/// - `alpha_bars`: at the step before, `t'`, here, `t`, and at the next, `s`
pub fn second_order([before, here, next]: [f64; 3]) -> [f64; 2] {
    let l = |alpha_bar: f64| 0.5 * (alpha_bar / (1.0 - alpha_bar)).ln();
    let extra = 0.5 * (l(next) - l(here)) / (l(here) - l(before));
    if extra.is_finite() {
        [1.0 + extra, -extra]
    } else {
        [1.0, 0.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::schedule::CosineSchedule;
    use crate::rng::{Stage, generator, standard_normal};
    use crate::sample::sampler::timesteps;

    /// Runs the whole reverse process with the exact denoiser of N(mean, sd^2):
    /// `E[x_0 | x_t] = mean + sqrt(ab) sd^2 / (ab sd^2 + 1 - ab) (x_t - sqrt(ab) mean)`.
    fn sample_gaussian(
        is_ancestral: bool,
        n_steps: usize,
        mean: f64,
        sd: f64,
        n: usize,
    ) -> (f64, f64) {
        let schedule = CosineSchedule::new(1000);
        let steps = timesteps(n_steps, 1000);
        let mut rng = generator(7, Stage::Sampling, "gaussian", 0);
        let mut x: Vec<f64> = standard_normal(&mut rng, n)
            .iter()
            .map(|z| f64::from(*z))
            .collect();
        for (i, &t) in steps.iter().enumerate() {
            let ab = schedule.alpha_bar(t);
            let step = step(
                is_ancestral,
                ab,
                schedule.alpha_bar(steps.get(i + 1).copied().unwrap_or(0)),
            );
            let noise = standard_normal(&mut rng, n);
            for (x, z) in x.iter_mut().zip(noise) {
                let gain = ab.sqrt() * sd * sd / (ab * sd * sd + 1.0 - ab);
                let clean = mean + gain * (*x - ab.sqrt() * mean);
                *x = step.noisy * *x + step.clean * clean + step.noise * f64::from(z);
            }
        }
        let m = x.iter().sum::<f64>() / n as f64;
        let v = x.iter().map(|x| (x - m).powi(2)).sum::<f64>() / (n - 1) as f64;
        (m, v.sqrt())
    }

    #[test]
    fn a_sampler_with_the_exact_gaussian_denoiser_returns_its_mean_and_variance() {
        let (mean, sd, n) = (1.5, 0.5, 20_000);
        for (is_ancestral, n_steps, slack) in [
            (true, 1000, 0.01),
            (false, 1000, 0.01),
            (false, 50, 0.02),
            (true, 250, 0.02),
        ] {
            let (m, s) = sample_gaussian(is_ancestral, n_steps, mean, sd, n);
            // standard error of the mean .0035, of the sd .0025
            assert!(
                (m - mean).abs() < 0.012,
                "{is_ancestral} {n_steps}: mean {m}"
            );
            assert!((s - sd).abs() < slack, "{is_ancestral} {n_steps}: sd {s}");
        }
    }

    /// Where the deterministic samplers lead from `x`, with the exact denoiser of N(mean, sd^2).
    fn end(is_second_order: bool, n_steps: usize, mut x: f64, mean: f64, sd: f64) -> f64 {
        // Steps of equal length in log-SNR, from -4 to 4: there the order of a solver shows.
        let alpha_bar = |i: usize| 1.0 / (1.0 + (8.0 - 16.0 * i as f64 / n_steps as f64).exp());
        let mut last: Option<f64> = None;
        for i in 0..n_steps {
            let ab = alpha_bar(i);
            let estimate =
                mean + ab.sqrt() * sd * sd / (ab * sd * sd + 1.0 - ab) * (x - ab.sqrt() * mean);
            let clean = match last {
                Some(last) if is_second_order => {
                    let [now, before] = second_order([alpha_bar(i - 1), ab, alpha_bar(i + 1)]);
                    now * estimate + before * last
                }
                _ => estimate,
            };
            let step = step(false, ab, alpha_bar(i + 1));
            x = step.noisy * x + step.clean * clean;
            last = Some(estimate);
        }
        x
    }

    #[test]
    fn errors_fall_with_the_order_of_the_solver() {
        // The exact flow keeps (x - sqrt(ab) mean) / sqrt(ab sd^2 + 1 - ab).
        let (x, mean, sd) = (0.7, 1.5, 0.5);
        let [first, last] = [8.0_f64, -8.0].map(|l| 1.0 / (1.0 + l.exp()));
        let spread = |ab: f64| (ab * sd * sd + 1.0 - ab).sqrt();
        let exact = last.sqrt() * mean + (x - first.sqrt() * mean) / spread(first) * spread(last);
        let error = |order, n| (end(order, n, x, mean, sd) - exact).abs();
        for n in [40, 80] {
            let ratio = error(false, n) / error(false, 2 * n);
            assert!(
                (1.8..2.2).contains(&ratio),
                "first order, {n} steps: {ratio}"
            );
            let ratio = error(true, n) / error(true, 2 * n);
            assert!(
                (3.4..4.6).contains(&ratio),
                "second order, {n} steps: {ratio}"
            );
        }
        assert_eq!(second_order([0.1, 0.5, 1.0]), [1.0, 0.0]);
    }

    #[test]
    fn the_posterior_of_one_step_is_that_of_jointly_gaussian_variables() {
        // x_s and x_t given x_0: Var(x_s) = 1 - ab_s, Cov = sqrt(a) (1 - ab_s), Var(x_t) = 1 - ab_t.
        let (ab_t, ab_s) = (0.4, 0.7);
        let a: f64 = ab_t / ab_s;
        let regression = a.sqrt() * (1.0 - ab_s) / (1.0 - ab_t);
        let variance = (1.0 - ab_s) - regression * a.sqrt() * (1.0 - ab_s);
        let step = step(true, ab_t, ab_s);
        assert!((step.noisy - regression).abs() < 1e-12);
        assert!((step.clean - (ab_s.sqrt() - regression * ab_t.sqrt())).abs() < 1e-12);
        assert!((step.noise.powi(2) - variance).abs() < 1e-12);
    }
}
