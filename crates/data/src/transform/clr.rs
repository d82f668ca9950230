//! Centred log-ratios, with a pseudocount on all entries or on the non-zeros alone.
//!
//! `Scale` is the mean of the logarithms that a sample is centred by: its log geometric mean.

use super::Scale;

/// Mean of `ln(x + pseudocount)` over the measured entries, 0 if there are none.
pub fn mean_ln(sample: &[f64], pseudocount: f64) -> Scale {
    mean(
        sample
            .iter()
            .filter(|x| !x.is_nan())
            .map(|x| (x + pseudocount).ln()),
    )
}

/// Mean of `ln x` over the entries above zero, 0 if there are none.
pub fn mean_ln_of_nonzeros(sample: &[f64]) -> Scale {
    mean(sample.iter().filter(|x| **x > 0.0).map(|x| x.ln()))
}

/// `ln x - mean`; `-inf` for 0, which [`inverse`] makes 0 again. Networks need a presence mask
/// beside it.
pub fn forward(x: f64, mean: Scale) -> f64 {
    x.ln() - mean.0
}

/// `exp(y + mean)`.
pub fn inverse(y: f64, mean: Scale) -> f64 {
    (y + mean.0).exp()
}

fn mean(logs: impl Iterator<Item = f64>) -> Scale {
    let (sum, n) = logs.fold((0.0, 0usize), |(sum, n), ln| (sum + ln, n + 1));
    Scale(if n == 0 { 0.0 } else { sum / n as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::Transform;

    fn transformed(transform: Transform, sample: &[f64]) -> Vec<f64> {
        let scale = transform.scale(sample);
        sample
            .iter()
            .map(|x| transform.forward(*x, scale))
            .collect()
    }

    // skbio.stats.composition.clr(np.array([1, 4, 0, 10]) + 0.5), scikit-bio 0.7.4.
    #[test]
    fn the_clr_with_a_pseudocount_equals_scikit_bio() {
        let y = transformed(Transform::Clr { pseudocount: 0.5 }, &[1.0, 4.0, 0.0, 10.0]);
        for (y, expected) in y.iter().zip(CLR) {
            assert!((y - expected).abs() < 1e-12, "{y} against {expected}");
        }
    }

    // skbio.stats.composition.rclr([1, 4, 0, 10]), scikit-bio 0.7.4; it prints nan for the zero.
    #[test]
    fn the_robust_clr_equals_scikit_bio_on_non_zeros() {
        let y = transformed(Transform::RobustClr, &[1.0, 4.0, 0.0, 10.0]);
        for (y, expected) in [y[0], y[1], y[3]].iter().zip(RCLR) {
            assert!((y - expected).abs() < 1e-12, "{y} against {expected}");
        }
        assert_eq!(y[2], f64::NEG_INFINITY);
        assert_eq!(inverse(y[2], Scale(1.0)), 0.0);
    }

    const CLR: [f64; 4] = [
        -0.48647753726382836,
        0.6121347514042814,
        -1.585089825931938,
        1.4594326117914849,
    ];
    const RCLR: [f64; 3] = [-1.2296264847046456, 0.15666787641524493, 1.0729586082894003];
}
