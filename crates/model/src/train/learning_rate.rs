//! The learning rate: linear warm-up, then a cosine decay to a tenth.

use std::f64::consts::PI;

/// Share of the highest rate that is left at the end.
const FLOOR: f64 = 0.1;

/// The rate at step `step` in `1..=n_steps`.
pub fn learning_rate(highest: f64, step: usize, n_warmup: usize, n_steps: usize) -> f64 {
    if step <= n_warmup {
        return highest * step as f64 / n_warmup as f64;
    }
    let done = (step - n_warmup) as f64 / (n_steps.saturating_sub(n_warmup)).max(1) as f64;
    highest * (FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + (PI * done.min(1.0)).cos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_linearly_then_falls_to_a_tenth() {
        assert_eq!(learning_rate(1.0, 5, 10, 100), 0.5);
        assert_eq!(learning_rate(1.0, 10, 10, 100), 1.0);
        assert!((learning_rate(1.0, 55, 10, 100) - 0.55).abs() < 1e-12);
        assert!((learning_rate(1.0, 100, 10, 100) - 0.1).abs() < 1e-12);
    }
}
