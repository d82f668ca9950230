//! AdamW and the exponential moving average of the weights, in one pass over the parameters.

use crate::parameters::Parameters;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Settings of AdamW (Loshchilov & Hutter 2019) and of the average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay; matrices only, not biases.
    pub weight_decay: f64,
    /// Largest norm of the whole gradient; it is scaled down to this.
    pub clip_norm: f64,
    /// Decay of the average; it warms up as `(1 + step) / (10 + step)`.
    pub ema_decay: f64,
}

/// Moments and average of every weight, keyed by path.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerState {
    /// Steps taken.
    pub n_steps: u64,
    /// First moments.
    pub first: Parameters,
    /// Second moments.
    pub second: Parameters,
    /// Moving average of the weights.
    pub ema: Parameters,
}

impl OptimizerState {
    /// The state before the first step.
    pub fn new(parameters: &Parameters) -> Self {
        OptimizerState {
            n_steps: 0,
            first: parameters.zeros_like(),
            second: parameters.zeros_like(),
            ema: parameters.clone(),
        }
    }
}

impl AdamW {
    /// Changes the weights by one step and returns the norm of the gradient before clipping.
    ///
    /// Every path of `parameters` must be in `gradients`. A norm that is not finite changes nothing.
    pub fn step(
        &self,
        parameters: &mut Parameters,
        gradients: &BTreeMap<String, Vec<f32>>,
        state: &mut OptimizerState,
        learning_rate: f64,
    ) -> f64 {
        let square = |g: &f32| f64::from(*g) * f64::from(*g);
        let norm = gradients
            .values()
            .map(|g| g.iter().map(square).sum::<f64>())
            .sum::<f64>()
            .sqrt();
        if !norm.is_finite() {
            return norm;
        }
        let scale = if norm > self.clip_norm {
            self.clip_norm / norm
        } else {
            1.0
        } as f32;
        state.n_steps += 1;
        let t = state.n_steps as i32;
        let correction_1 = 1.0 - self.beta_1.powi(t);
        let correction_2 = 1.0 - self.beta_2.powi(t);
        let rate = (learning_rate / correction_1) as f32;
        let (beta_1, beta_2) = (self.beta_1 as f32, self.beta_2 as f32);
        let root_correction = (1.0 / correction_2.sqrt()) as f32;
        let epsilon = self.epsilon as f32;
        let n = state.n_steps as f64;
        let keep = self.ema_decay.min((1.0 + n) / (10.0 + n)) as f32;
        let state = (state.first.by_path.values_mut())
            .zip(state.second.by_path.values_mut())
            .zip(state.ema.by_path.values_mut());
        // All four have the same paths, in the same order.
        let all: Vec<_> = parameters.by_path.iter_mut().zip(state).collect();
        all.into_par_iter()
            .for_each(|((path, parameter), ((first, second), ema))| {
                let gradient = &gradients[path];
                let decay = if parameter.shape.len() > 1 {
                    learning_rate * self.weight_decay
                } else {
                    0.0
                } as f32;
                let moments = first.values.iter_mut().zip(&mut second.values);
                let weights = parameter.values.iter_mut().zip(gradient);
                for (((w, g), (m, v)), e) in weights.zip(moments).zip(&mut ema.values) {
                    let g = g * scale;
                    *m = beta_1 * *m + (1.0 - beta_1) * g;
                    *v = beta_2 * *v + (1.0 - beta_2) * g * g;
                    *w -= decay * *w + rate * *m / (v.sqrt() * root_correction + epsilon);
                    *e = keep * *e + (1.0 - keep) * *w;
                }
            });
        norm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Parameter;

    #[test]
    fn three_steps_equal_those_of_pytorch() {
        // torch.optim.AdamW(lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01): parity/train/adamw.py
        let expected = [
            [0.899, -1.898],
            [0.817_796_9, -1.844_999_4],
            [0.795_907_8, -1.829_730_4],
        ];
        let adamw = AdamW {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            clip_norm: f64::INFINITY,
            ema_decay: 0.5,
        };
        let parameter = Parameter {
            shape: vec![1, 2],
            values: vec![1.0, -2.0],
        };
        let mut parameters = Parameters {
            by_path: [("w".to_string(), parameter)].into(),
        };
        let mut state = OptimizerState::new(&parameters);
        for (gradient, expected) in [[0.5, -1.0], [0.1, 0.2], [-0.3, 0.4]]
            .into_iter()
            .zip(expected)
        {
            let gradients = [("w".to_string(), gradient.to_vec())].into();
            adamw.step(&mut parameters, &gradients, &mut state, 0.1);
            for (w, expected) in parameters.by_path["w"].values.iter().zip(expected) {
                assert!((w - expected).abs() < 2e-6, "{w} {expected}");
            }
        }
        // keep = min(.5, (1 + n) / (10 + n)) = 2/11, 3/12, 4/13
        let mut average = 1.0;
        for (n, row) in expected.iter().enumerate() {
            let keep = (2.0 + n as f32) / (11.0 + n as f32);
            average = keep * average + (1.0 - keep) * row[0];
        }
        assert!((state.ema.by_path["w"].values[0] - average).abs() < 5e-6);
    }

    #[test]
    fn a_long_gradient_is_scaled_to_the_clip_norm_and_a_broken_one_changes_nothing() {
        let adamw = AdamW {
            beta_1: 0.0,
            beta_2: 0.0,
            epsilon: 1.0,
            weight_decay: 0.0,
            clip_norm: 1.0,
            ema_decay: 0.9,
        };
        let parameter = Parameter {
            shape: vec![2],
            values: vec![0.0, 0.0],
        };
        let mut parameters = Parameters {
            by_path: [("w".to_string(), parameter)].into(),
        };
        let mut state = OptimizerState::new(&parameters);
        let before = parameters.clone();
        let norm = adamw.step(
            &mut parameters,
            &[("w".to_string(), vec![f32::NAN, 1.0])].into(),
            &mut state,
            1.0,
        );
        assert!(norm.is_nan() && parameters == before && state.n_steps == 0);
        let norm = adamw.step(
            &mut parameters,
            &[("w".to_string(), vec![3.0, 4.0])].into(),
            &mut state,
            1.0,
        );
        assert!((norm - 5.0).abs() < 1e-6);
        // clipped gradient (.6, .8): w = -g / (|g| + 1)
        let expected = [-0.6 / 1.6, -0.8 / 1.8];
        for (w, expected) in parameters.by_path["w"].values.iter().zip(expected) {
            assert!((w - expected).abs() < 1e-6);
        }
    }
}
