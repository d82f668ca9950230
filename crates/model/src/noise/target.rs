//! What the network predicts, and how the clean data and the noise follow from it.

use serde::{Deserialize, Serialize};

/// The quantity that the network is trained to predict from `x_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise `eps` (Ho 2020, eq. 14; DepMicroDiff paper).
    Noise,
    /// The clean data `x_0`.
    X0,
    /// `v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x_0` (Salimans & Ho 2022).
    V,
}

/// Weights `a`, `b` such that a quantity is `a * x_t + b * prediction`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// Weight of the noisy data.
    pub noisy: f64,
    /// Weight of the network's output.
    pub prediction: f64,
}

/// Largest `1 / sqrt(alpha_bar)` used when noise is predicted: at the last step of the cosine
/// schedule it would be 2e4, and any error of the network would drown the estimate.
const MAX_INVERSE_SIGNAL: f64 = 100.0;

impl Prediction {
    /// The training target as `a * x_0 + b * eps`.
    pub fn target(self, alpha_bar: f64) -> (f64, f64) {
        match self {
            Prediction::Noise => (0.0, 1.0),
            Prediction::X0 => (1.0, 0.0),
            Prediction::V => (-(1.0 - alpha_bar).sqrt(), alpha_bar.sqrt()),
        }
    }

    /// How the clean data follow from `x_t` and the prediction.
    pub fn clean(self, alpha_bar: f64) -> Mix {
        let (signal, noise) = (alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt());
        match self {
            Prediction::Noise => {
                let inverse = (1.0 / signal).min(MAX_INVERSE_SIGNAL);
                Mix {
                    noisy: inverse,
                    prediction: -noise * inverse,
                }
            }
            Prediction::X0 => Mix {
                noisy: 0.0,
                prediction: 1.0,
            },
            Prediction::V => Mix {
                noisy: signal,
                prediction: -noise,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prediction_gives_back_the_clean_data_from_its_own_target() {
        let (x_0, eps) = (0.7, -1.3);
        for prediction in [Prediction::Noise, Prediction::X0, Prediction::V] {
            for alpha_bar in [0.999, 0.5, 0.01] {
                let x_t = f64::sqrt(alpha_bar) * x_0 + f64::sqrt(1.0 - alpha_bar) * eps;
                let (a, b) = prediction.target(alpha_bar);
                let mix = prediction.clean(alpha_bar);
                let clean = mix.noisy * x_t + mix.prediction * (a * x_0 + b * eps);
                assert!((clean - x_0).abs() < 1e-12);
            }
        }
    }
}
