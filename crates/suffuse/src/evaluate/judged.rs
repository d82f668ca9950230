//! What a sample with judged zeros adds to the scores of presence and of the completed table.

use super::outcome::nan_as_null;
use serde::{Deserialize, Serialize};
use suffuse_stats::bootstrap::Placed;

/// Sums over the judged entries of a sample: hidden non-zeros and true zeros; a short array in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 10]", into = "[f64; 10]")]
pub struct JudgedSums {
    /// Group of the sample; its position where there are no groups.
    pub group: usize,
    /// Hidden non-zeros.
    pub n_positive: f64,
    /// True zeros.
    pub n_negative: f64,
    /// Sum of the placements of the non-zeros: how large a share of the trial's zeros scores lower.
    pub positive: f64,
    /// Sum of the placements of the zeros: how large a share of the trial's non-zeros scores higher.
    pub negative: f64,
    /// Sum of squared errors of the completed table, in `ln(1 + percent)`, 0 where nothing was filled.
    pub squared_error: f64,
    /// 1 if the sample was compared with its full depth, else 0.
    pub n_compared: f64,
    /// Bray-Curtis dissimilarity of the thin sample to its full depth.
    pub thin: f64,
    /// The same of the completed sample.
    pub completed: f64,
    /// 1 if the completed sample is closer than the thin one.
    pub n_closer: f64,
}

/// Samples of thin counts against their full depth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepthFigures {
    /// Mean Bray-Curtis dissimilarity of the thin composition to that of the full depth.
    #[serde(with = "nan_as_null")]
    pub bray_curtis_thin: f64,
    /// Mean Bray-Curtis dissimilarity of the completed composition.
    #[serde(with = "nan_as_null")]
    pub bray_curtis_completed: f64,
    /// Share of the samples that came closer.
    #[serde(with = "nan_as_null")]
    pub share_closer: f64,
    /// Samples.
    pub n_samples: usize,
}

impl JudgedSums {
    /// The sums of both.
    pub fn and(&self, other: &JudgedSums) -> JudgedSums {
        let (a, b) = (<[f64; 10]>::from(*self), <[f64; 10]>::from(*other));
        let mut sum: [f64; 10] = std::array::from_fn(|k| a[k] + b[k]);
        sum[0] = a[0];
        JudgedSums::from(sum)
    }

    /// The part in the area under the receiver operating characteristic.
    pub fn placed(&self) -> Placed {
        Placed {
            n_positive: self.n_positive,
            n_negative: self.n_negative,
            positive: self.positive,
            negative: self.negative,
        }
    }

    /// Root mean squared error of the completed table over the judged entries.
    pub fn rmse(&self) -> f64 {
        (self.squared_error / (self.n_positive + self.n_negative)).sqrt()
    }

    /// The comparison with the full depth, if there was one.
    pub fn depth(&self) -> Option<DepthFigures> {
        (self.n_compared > 0.0).then(|| DepthFigures {
            bray_curtis_thin: self.thin / self.n_compared,
            bray_curtis_completed: self.completed / self.n_compared,
            share_closer: self.n_closer / self.n_compared,
            n_samples: self.n_compared as usize,
        })
    }
}

impl From<[f64; 10]> for JudgedSums {
    fn from(a: [f64; 10]) -> Self {
        let [
            group,
            n_positive,
            n_negative,
            positive,
            negative,
            squared_error,
            ..,
        ] = a;
        let [.., n_compared, thin, completed, n_closer] = a;
        JudgedSums {
            group: group as usize,
            n_positive,
            n_negative,
            positive,
            negative,
            squared_error,
            n_compared,
            thin,
            completed,
            n_closer,
        }
    }
}

impl From<JudgedSums> for [f64; 10] {
    fn from(s: JudgedSums) -> Self {
        [
            s.group as f64,
            s.n_positive,
            s.n_negative,
            s.positive,
            s.negative,
            s.squared_error,
            s.n_compared,
            s.thin,
            s.completed,
            s.n_closer,
        ]
    }
}

/// `sum |p - q| / 2` of two samples as shares of their totals; `None` where one is empty.
pub fn bray_curtis(a: &[f64], b: &[f64]) -> Option<f64> {
    let measured = |values: &[f64]| values.iter().filter(|v| !v.is_nan()).sum::<f64>();
    let (total_a, total_b) = (measured(a), measured(b));
    if !(total_a > 0.0 && total_b > 0.0) {
        return None;
    }
    let differences = a
        .iter()
        .zip(b)
        .map(|(a, b)| (a / total_a - b / total_b).abs());
    Some(differences.filter(|d| !d.is_nan()).sum::<f64>() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dissimilarity_is_that_of_scipy_on_shares() {
        // scipy.spatial.distance.braycurtis([.2, .3, .5], [.5, 0, .5])
        let found = bray_curtis(&[2.0, 3.0, 5.0], &[1.0, 0.0, 1.0]).unwrap();
        assert!((found - 0.3).abs() < 1e-15);
        assert_eq!(bray_curtis(&[0.0, 0.0], &[1.0, 0.0]), None);
    }

    #[test]
    fn sums_survive_their_file_and_add_up() {
        let one = JudgedSums {
            group: 7,
            n_positive: 2.0,
            n_negative: 6.0,
            positive: 1.5,
            negative: 4.5,
            squared_error: 2.0,
            n_compared: 1.0,
            thin: 0.3,
            completed: 0.2,
            n_closer: 1.0,
        };
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(text, "[7.0,2.0,6.0,1.5,4.5,2.0,1.0,0.3,0.2,1.0]");
        assert_eq!(serde_json::from_str::<JudgedSums>(&text).unwrap(), one);
        let two = one.and(&one);
        assert_eq!((two.group, two.rmse()), (7, 0.5));
        let depth = two.depth().unwrap();
        assert_eq!((depth.n_samples, depth.share_closer), (2, 1.0));
        assert!((depth.bray_curtis_completed - 0.2).abs() < 1e-15);
        assert_eq!(JudgedSums::default().depth(), None);
    }
}
