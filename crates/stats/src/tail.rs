//! Upper tail probabilities of the F and chi-squared distributions on the log scale, so that the
//! strongest of 250,000 pairs still have an order where `p` itself is 0 in f64.
//!
//! Continued fractions by Lentz's method, as in Press et al., Numerical Recipes, 3rd ed.,
//! sections 6.2 and 6.4.

use statrs::function::beta::ln_beta;
use statrs::function::gamma::ln_gamma;

/// Terms of a continued fraction or series before it counts as converged; both need fewer than
/// about `10 * sqrt(max(a, b))`.
const MAX_TERMS: usize = 100_000;
/// Keeps Lentz's denominators away from 0.
const TINY: f64 = 1e-300;

/// `ln P(F > f)` for `F` with `numerator` and `denominator` degrees of freedom.
///
/// - `f`: 0 or more, infinity gives minus infinity
/// - degrees of freedom: positive
///
/// ```
/// // scipy.stats.f.sf(4.9646027437307145, 1, 10) = 0.05
/// let p = suffuse_stats::tail::ln_f_tail(4.964_602_743_730_714_5, 1.0, 10.0).exp();
/// assert!((p - 0.05).abs() < 1e-12);
/// ```
pub fn ln_f_tail(f: f64, numerator: f64, denominator: f64) -> f64 {
    if f.is_infinite() {
        return f64::NEG_INFINITY;
    }
    // P(F > f) = I_x(d2/2, d1/2) with x = d2 / (d2 + d1 f).
    let total = denominator + numerator * f;
    let parts = Split {
        x: denominator / total,
        complement: numerator * f / total,
    };
    ln_beta_regularised(denominator / 2.0, numerator / 2.0, parts)
}

/// `ln P(X > x)` for `X` chi-squared with `df` degrees of freedom, `x >= 0`.
///
/// ```
/// // scipy.stats.chi2.sf(3.841458820694124, 1) = 0.05
/// let p = suffuse_stats::tail::ln_chi_squared_tail(3.841_458_820_694_124, 1.0).exp();
/// assert!((p - 0.05).abs() < 1e-12);
/// ```
pub fn ln_chi_squared_tail(x: f64, df: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let (a, x) = (df / 2.0, x / 2.0);
    let ln_front = a * x.ln() - x - ln_gamma(a);
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..MAX_TERMS {
            term *= x / (a + n as f64);
            sum += term;
            if term < sum * f64::EPSILON {
                break;
            }
        }
        return (-(ln_front.exp() * sum)).ln_1p();
    }
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut h = d;
    for n in 1..MAX_TERMS {
        let n = n as f64;
        b += 2.0;
        let step = lentz_step(&mut c, &mut d, -n * (n - a), b);
        h *= step;
        if (step - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    ln_front + h.ln()
}

/// `-log10 p` from `ln p`, never `-0`.
pub(crate) fn neg_log10(ln_p: f64) -> f64 {
    (-ln_p / std::f64::consts::LN_10).max(0.0)
}

/// A number in 0..=1 and its complement, each computed without cancellation.
#[derive(Clone, Copy)]
struct Split {
    x: f64,
    complement: f64,
}

/// `ln I_x(a, b)`, the regularised incomplete beta function.
fn ln_beta_regularised(a: f64, b: f64, Split { x, complement }: Split) -> f64 {
    let ln_x = if complement < 0.5 {
        (-complement).ln_1p()
    } else {
        x.ln()
    };
    let ln_complement = if x < 0.5 {
        (-x).ln_1p()
    } else {
        complement.ln()
    };
    let ln_front = a * ln_x + b * ln_complement - ln_beta(a, b);
    if x < (a + 1.0) / (a + b + 2.0) {
        ln_front + (beta_fraction(a, b, x) / a).ln()
    } else {
        (-(ln_front.exp() * beta_fraction(b, a, complement) / b)).ln_1p()
    }
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let away = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..MAX_TERMS {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        h *= lentz_step(&mut c, &mut d, even, 1.0);
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let step = lentz_step(&mut c, &mut d, odd, 1.0);
        h *= step;
        if (step - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    h
}

/// One level of a continued fraction with numerator `a` and denominator `b`: the factor on the result.
fn lentz_step(c: &mut f64, d: &mut f64, a: f64, b: f64) -> f64 {
    let away = |v: f64| if v.abs() < TINY { TINY } else { v };
    *d = 1.0 / away(b + a * *d);
    *c = away(b + a / *c);
    *c * *d
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, number};

    #[test]
    fn tails_agree_with_mpmath_far_below_the_smallest_f64() {
        let golden = load("tail");
        for case in golden["f"].as_array().unwrap() {
            let [f, d1, d2] = ["f", "d1", "d2"].map(|key| number(&case[key]));
            assert_close(
                ln_f_tail(f, d1, d2),
                number(&case["ln_p"]),
                1e-10,
                &format!("F {f} {d1} {d2}"),
            );
        }
        for case in golden["chi2"].as_array().unwrap() {
            let [x, df] = ["x", "df"].map(|key| number(&case[key]));
            assert_close(
                ln_chi_squared_tail(x, df),
                number(&case["ln_p"]),
                1e-10,
                &format!("chi2 {x} {df}"),
            );
        }
    }

    #[test]
    fn the_ends_of_the_range_are_exact() {
        assert_eq!(ln_f_tail(0.0, 1.0, 10.0), 0.0);
        assert_eq!(ln_f_tail(f64::INFINITY, 1.0, 10.0), f64::NEG_INFINITY);
        assert_eq!(ln_chi_squared_tail(0.0, 3.0), 0.0);
    }
}
