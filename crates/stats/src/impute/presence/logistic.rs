//! Scores made into probabilities.

/// `1 / (1 + exp(-(intercept + slope * score)))` (Platt 1999).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Curve {
    pub(super) intercept: f64,
    pub(super) slope: f64,
}

/// Where nothing could be fitted: a score of one half is undecided.
impl Default for Curve {
    fn default() -> Self {
        Curve {
            intercept: -2.0,
            slope: 4.0,
        }
    }
}

const MAX_STEPS: usize = 50;
const ENOUGH: f64 = 1e-10;
/// Of the squared slope in standard deviations of the score: keeps it finite where classes are apart.
const PENALTY: f64 = 1e-3;

impl Curve {
    /// The curve of the greatest likelihood, by Newton's method; the default one without both classes or
    /// without a spread of the scores.
    pub(super) fn fit(scores: &[f64], is_present: &[bool]) -> Curve {
        let n = scores.len() as f64;
        let n_present = is_present.iter().filter(|p| **p).count() as f64;
        let mean = scores.iter().sum::<f64>() / n;
        let variance = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n;
        let sd = variance.sqrt();
        if !(n_present > 0.0 && n_present < n && sd > 0.0 && sd.is_finite()) {
            return Curve::default();
        }
        let (mut a, mut b) = ((n_present / (n - n_present)).ln(), 0.0);
        for _ in 0..MAX_STEPS {
            let mut gradient = [0.0, -PENALTY * b];
            let mut hessian = [1e-12, 0.0, PENALTY];
            for (score, present) in scores.iter().zip(is_present) {
                let x = (score - mean) / sd;
                let p = logistic(a + b * x);
                let (rest, weight) = (f64::from(u8::from(*present)) - p, p * (1.0 - p));
                gradient[0] += rest;
                gradient[1] += rest * x;
                hessian[0] += weight;
                hessian[1] += weight * x;
                hessian[2] += weight * x * x;
            }
            let [h0, h1, h2] = hessian;
            let determinant = h0 * h2 - h1 * h1;
            let step = [
                (h2 * gradient[0] - h1 * gradient[1]) / determinant,
                (h0 * gradient[1] - h1 * gradient[0]) / determinant,
            ];
            // A longer one leaves the region in which the quadratic is a good likeness.
            let length = step[0].hypot(step[1]);
            let shrink = f64::min(1.0, 2.0 / length);
            if !length.is_finite() {
                return Curve::default();
            }
            a += shrink * step[0];
            b += shrink * step[1];
            if length < ENOUGH {
                break;
            }
        }
        Curve {
            intercept: a - b * mean / sd,
            slope: b / sd,
        }
    }

    pub(super) fn at(self, score: f64) -> f64 {
        logistic(self.intercept + self.slope * score)
    }
}

/// `1 / (1 + exp(-x))`
pub(super) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Mean logarithmic loss; no probability counts as closer to 0 or 1 than `doubt`.
pub(super) fn log_loss(probabilities: &[f64], is_present: &[bool], doubt: f64) -> f64 {
    let loss = |(p, present): (&f64, &bool)| {
        let p = p.clamp(doubt, 1.0 - doubt);
        -(if *present { p } else { 1.0 - p }).ln()
    };
    let sum: f64 = probabilities.iter().zip(is_present).map(loss).sum();
    sum / probabilities.len().max(1) as f64
}
