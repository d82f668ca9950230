//! Sinusoidal features of the diffusion step.

/// Features of one step: `cos(t w_k)` then `sin(t w_k)`, `w_k = 10000^(-k / half)` (Vaswani 2017).
///
/// - `t`: step in `0..=T`
/// - returns `n_features` values; `n_features` is even
pub fn timestep_features(t: usize, n_features: usize) -> Vec<f32> {
    let half = n_features / 2;
    let angle = |k: usize| t as f64 * (-(10_000f64.ln()) * k as f64 / half as f64).exp();
    (0..half)
        .map(|k| angle(k).cos() as f32)
        .chain((0..half).map(|k| angle(k).sin() as f32))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_cosines_then_sines_of_falling_frequency() {
        let features = timestep_features(3, 4);
        let expected = [3f64.cos(), 0.03f64.cos(), 3f64.sin(), 0.03f64.sin()];
        for (found, expected) in features.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6);
        }
    }
}
