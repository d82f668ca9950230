//! The normal distribution in one and two dimensions.

use statrs::function::erf::{erfc, erfc_inv};
use std::f64::consts::{FRAC_1_SQRT_2, PI, SQRT_2};

/// Density.
pub fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// `P(X < x)`.
pub fn cdf(x: f64) -> f64 {
    0.5 * erfc(-x * FRAC_1_SQRT_2)
}

/// The `x` with `P(X < x) = p`; infinite at 0 and 1.
pub fn quantile(p: f64) -> f64 {
    -SQRT_2 * erfc_inv(2.0 * p)
}

/// Density of two standard normals of correlation `rho`, `|rho| < 1`.
pub fn pair_density(x: f64, y: f64, rho: f64) -> f64 {
    let rest = 1.0 - rho * rho;
    (-(x * x - 2.0 * rho * x * y + y * y) / (2.0 * rest)).exp() / (2.0 * PI * rest.sqrt())
}

/// `P(X < x, Y < y)` of two standard normals of correlation `rho` (Drezner and Wesolowsky 1990, as changed
/// by Genz 2004, Stat. Comput. 14:251), to about 1e-11, the digits
/// of the error function that it is made of.
///
/// - `x`, `y`: finite or infinite
/// - `rho`: in `[-1, 1]`
pub fn pair_cdf(x: f64, y: f64, rho: f64) -> f64 {
    if x == f64::NEG_INFINITY || y == f64::NEG_INFINITY {
        return 0.0;
    }
    if x == f64::INFINITY {
        return cdf(y);
    }
    if y == f64::INFINITY {
        return cdf(x);
    }
    let p = if rho.abs() < 0.925 {
        moderate(x, y, rho)
    } else {
        strong(-x, -y, rho)
    };
    p.clamp(0.0, 1.0)
}

/// Integral over the angle `asin(rho)`.
fn moderate(x: f64, y: f64, rho: f64) -> f64 {
    let (product, half_square) = (x * y, (x * x + y * y) / 2.0);
    let half_angle = rho.asin() / 2.0;
    let nodes: &[(f64, f64)] = match rho.abs() {
        r if r < 0.3 => &NODES_6,
        r if r < 0.75 => &NODES_12,
        _ => &NODES_20,
    };
    let mut sum = 0.0;
    for (node, weight) in nodes {
        for at in [1.0 - node, 1.0 + node] {
            let sine = (half_angle * at).sin();
            sum += weight * ((sine * product - half_square) / (1.0 - sine * sine)).exp();
        }
    }
    sum * half_angle / (2.0 * PI) + cdf(x) * cdf(y)
}

/// `P(X > h, Y > k)` by an expansion around `|rho| = 1`.
fn strong(h: f64, k: f64, rho: f64) -> f64 {
    let k = if rho < 0.0 { -k } else { k };
    let product = h * k;
    let mut sum = 0.0;
    let rest = (1.0 - rho) * (1.0 + rho);
    if rest > 0.0 {
        let mut width = rest.sqrt();
        let gap_square = (h - k) * (h - k);
        let c = (4.0 - product) / 8.0;
        let d = (12.0 - product) / 16.0;
        let exponent = -(gap_square / rest + product) / 2.0;
        if exponent > -100.0 {
            let series = 1.0 - c * (gap_square - rest) * (1.0 - d * gap_square / 5.0) / 3.0
                + c * d * rest * rest / 5.0;
            sum = width * exponent.exp() * series;
        }
        if product > -100.0 {
            let gap = gap_square.sqrt();
            let tail = (2.0 * PI).sqrt() * cdf(-gap / width);
            sum -= (-product / 2.0).exp()
                * tail
                * gap
                * (1.0 - c * gap_square * (1.0 - d * gap_square / 5.0) / 3.0);
        }
        width /= 2.0;
        for (node, weight) in &NODES_20 {
            for at in [1.0 - node, 1.0 + node] {
                let square = (width * at).powi(2);
                let root = (1.0 - square).sqrt();
                let exponent = -(gap_square / square + product) / 2.0;
                if exponent > -100.0 {
                    let series = 1.0 + c * square * (1.0 + d * square);
                    let exact = (-product * square / (2.0 * (1.0 + root).powi(2))).exp() / root;
                    sum += width * weight * exponent.exp() * (exact - series);
                }
            }
        }
        sum = -sum / (2.0 * PI);
    }
    if rho > 0.0 {
        sum + cdf(-h.max(k))
    } else if k > h {
        cdf(k) - cdf(h) - sum
    } else {
        -sum
    }
}

/// Gauss-Legendre nodes above 0 and their weights.
const NODES_6: [(f64, f64); 3] = [
    (0.238_619_186_083_196_9, 0.467_913_934_572_691_04),
    (0.661_209_386_466_264_5, 0.360_761_573_048_138_7),
    (0.932_469_514_203_152, 0.171_324_492_379_170_27),
];
const NODES_12: [(f64, f64); 6] = [
    (0.125_233_408_511_468_9, 0.249_147_045_813_402_7),
    (0.367_831_498_998_180_2, 0.233_492_536_538_354_6),
    (0.587_317_954_286_617_5, 0.203_167_426_723_065_73),
    (0.769_902_674_194_304_7, 0.160_078_328_543_346_42),
    (0.904_117_256_370_474_8, 0.106_939_325_995_319_07),
    (0.981_560_634_246_719_2, 0.047_175_336_386_511_41),
];
const NODES_20: [(f64, f64); 10] = [
    (0.076_526_521_133_497_34, 0.152_753_387_130_726_28),
    (0.227_785_851_141_645_1, 0.149_172_986_472_604_24),
    (0.373_706_088_715_419_55, 0.142_096_109_318_382_4),
    (0.510_867_001_950_827_1, 0.131_688_638_449_176_9),
    (0.636_053_680_726_515, 0.118_194_531_961_518_6),
    (0.746_331_906_460_150_8, 0.101_930_119_817_240_7),
    (0.839_116_971_822_218_8, 0.083_276_741_576_704_71),
    (0.912_234_428_251_326, 0.062_672_048_334_109_08),
    (0.963_971_927_277_913_8, 0.040_601_429_800_386_446),
    (0.993_128_599_185_095, 0.017_614_007_139_150_893),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, number};

    #[test]
    fn probabilities_of_pairs_are_those_of_mpmath_and_scipy() {
        let golden = load("generate");
        for case in golden["pairs"].as_array().unwrap() {
            let [x, y, rho] = ["x", "y", "rho"].map(|key| number(&case[key]));
            let found = pair_cdf(x, y, rho);
            let what = format!("{x} {y} {rho}");
            assert!(
                (found - number(&case["mpmath"])).abs() < 1e-10,
                "{what}: {found}"
            );
            assert!(
                (found - number(&case["scipy"])).abs() < 1e-6,
                "{what}: {found}"
            );
        }
    }

    #[test]
    fn a_quadrant_has_the_closed_form_of_sheppard() {
        for rho in [-1.0_f64, -0.97, -0.4, 0.0, 0.2, 0.8, 0.93, 0.999_999, 1.0] {
            let exact = 0.25 + rho.asin() / (2.0 * PI);
            assert_close(pair_cdf(0.0, 0.0, rho), exact, 1e-10, "quadrant");
        }
    }

    #[test]
    fn infinite_and_extreme_arguments_have_their_limits() {
        let inf = f64::INFINITY;
        assert_eq!(pair_cdf(-inf, 1.0, 0.3), 0.0);
        assert_eq!(pair_cdf(inf, 1.0, 0.3), cdf(1.0));
        assert_eq!(pair_cdf(inf, inf, -1.0), 1.0);
        assert_close(pair_cdf(0.3, 1.0, 1.0), cdf(0.3), 1e-10, "the smaller");
        assert_close(pair_cdf(-0.3, -1.0, -1.0), 0.0, 1e-10, "apart");
        assert_close(pair_cdf(40.0, -0.5, 0.96), cdf(-0.5), 1e-10, "far out");
        assert!(pair_cdf(40.0, -40.0, -0.9).abs() < 1e-300);
    }

    #[test]
    fn the_density_is_the_slope_of_the_probability_in_the_correlation() {
        // Plackett 1954.
        let step = 1e-5;
        for (x, y, rho) in [(0.3, -1.2, 0.4), (-2.0, -1.0, -0.6), (0.0, 0.0, 0.95)] {
            let slope = (pair_cdf(x, y, rho + step) - pair_cdf(x, y, rho - step)) / (2.0 * step);
            assert_close(slope, pair_density(x, y, rho), 1e-7, "slope");
        }
    }

    #[test]
    fn quantiles_invert_probabilities() {
        for p in [1e-12, 1e-4, 0.3, 0.5, 0.999] {
            assert!((cdf(quantile(p)) / p - 1.0).abs() < 1e-8, "{p}");
        }
        assert_eq!(quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(quantile(1.0), f64::INFINITY);
    }
}
