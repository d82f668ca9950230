//! The hard sparsity loss: binary gates that are drawn, and what their zeros miss.
//!
//! ```text
//! gate = 1 where logit + logistic noise > 0, else 0      P(gate = 1) = sigmoid(logit)
//! backward: as if the gate were sigmoid(logit + noise)    (straight-through, Bengio 2013)
//! loss = mean over samples (mean gate - mean presence)^2 + mean over taxa (mean gate - mean presence)^2
//! ```
//!
//! The noise is logistic, the difference of two Gumbel variables (Maddison 2017). A single Gumbel variable would
//! switch a gate of log-odds 0 on with probability .632. A drawn sample uses the same gate.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Log-odds of a uniform draw: logistic noise.
pub(super) fn logistic_noise(rng: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
    (0..n)
        .map(|_| {
            let u: f64 = rng.random_range(f64::EPSILON..1.0 - f64::EPSILON);
            (u / (1.0 - u)).ln() as f32
        })
        .collect()
}

/// Gates of 0 and 1 whose gradient is that of a sigmoid.
///
/// - `presence_logit`, `noise`: `[batch, n_taxa]`
/// - returns `[batch, n_taxa]`
pub(super) fn gates(presence_logit: Tensor<2>, noise: Tensor<2>) -> Tensor<2> {
    let open = presence_logit + noise;
    let soft = sigmoid(open.clone());
    let hard = open.greater_elem(0.0).float();
    soft.clone() + (hard - soft).detach()
}

/// How far the zeros of drawn gates are from those of the samples, per sample and per taxon.
///
/// - `gates`, `presence`: `[batch, n_taxa]`
/// - returns `[1]`
pub(super) fn hard_sparsity_loss(gates: Tensor<2>, presence: Tensor<2>) -> Tensor<1> {
    let missed = gates - presence;
    let of_samples = missed.clone().mean_dim(1);
    let of_taxa = missed.mean_dim(0);
    (of_samples.clone() * of_samples).mean() + (of_taxa.clone() * of_taxa).mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::{tensor, values};
    use crate::rng::{Stage, generator};
    use burn::tensor::Device;

    #[test]
    fn a_gate_is_open_with_the_probability_of_its_log_odds() {
        let n = 40_000;
        let device = Device::flex();
        for logit in [-1.5_f32, 0.0, 2.0] {
            let noise = logistic_noise(&mut generator(3, Stage::TrainingStep, "gate", 0), n);
            let drawn = gates(
                tensor(vec![logit; n], [1, n], &device),
                tensor(noise, [1, n], &device),
            );
            let share = values(drawn).iter().map(|g| f64::from(*g)).sum::<f64>() / n as f64;
            let expected = 1.0 / (1.0 + (-f64::from(logit)).exp());
            // standard error .0025 at most
            assert!(
                (share - expected).abs() < 0.01,
                "{logit}: {share}, {expected}"
            );
        }
    }

    #[test]
    fn gates_are_hard_forward_and_soft_backward() {
        let device = Device::flex().autodiff();
        let logit = tensor::<2>(vec![-2.0, 0.5, 1.0], [1, 3], &device).require_grad();
        let noise = tensor::<2>(vec![0.3, -1.0, 0.2], [1, 3], &device);
        let drawn = gates(logit.clone(), noise);
        assert_eq!(values(drawn.clone()), [0.0, 0.0, 1.0]);
        let gradient = values(logit.grad(&drawn.sum().backward()).expect("it is a leaf"));
        // s (1 - s) with s = sigmoid of -1.7, -0.5, 1.2
        for (found, x) in gradient.iter().zip([-1.7_f64, -0.5, 1.2]) {
            let s = 1.0 / (1.0 + (-x).exp());
            assert!((f64::from(*found) - s * (1.0 - s)).abs() < 1e-6);
        }
    }

    #[test]
    fn the_loss_is_that_of_the_means_of_rows_and_columns() {
        let device = Device::flex();
        let gates = tensor(vec![1.0, 1.0, 0.0, 1.0, 0.0, 0.0], [2, 3], &device);
        let presence = tensor(vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0], [2, 3], &device);
        // rows differ by 1/3 and -1/3, columns by 0, 0, 0: they miss each other
        let loss = values(hard_sparsity_loss(gates, presence))[0];
        assert!((f64::from(loss) - 1.0 / 9.0).abs() < 1e-6, "{loss}");
    }
}
