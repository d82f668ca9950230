//! The effects that samples show: slopes on covariates, with an intercept per group.

use super::draft::Draft;
use super::{Changes, Effect, On, logistic};
use std::collections::BTreeSet;

/// A sample as a regression sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    group: usize,
    x: f64,
    /// What depends on `x`; 0 or 1 for presence.
    y: f64,
}

/// The slope that belongs to each effect; `NaN` where it cannot be told. Where a covariate is constant within
/// the groups, there is one intercept for all of them.
pub(super) fn slopes(rows: &[Draft], groups: &[usize], changes: &Changes) -> Vec<f64> {
    let on_abundance = changes.effects.iter().filter(|e| e.on == On::Abundance);
    let spiked: BTreeSet<u32> = on_abundance.map(|effect| effect.taxon as u32).collect();
    let rest = |row: &Draft| -> f64 {
        (row.columns.iter().zip(&row.weights))
            .filter(|(column, _)| !spiked.contains(column))
            .map(|(_, weight)| weight)
            .sum()
    };
    let rests: Vec<f64> = match spiked.is_empty() {
        true => vec![0.0; rows.len()],
        false => rows.iter().map(rest).collect(),
    };
    let slope = |effect: &Effect| {
        let covariate = &changes.covariates[effect.covariate];
        let outcome = |at: usize| match effect.on {
            On::Prevalence => Some(f64::from(u8::from(rows[at].has(effect.taxon)))),
            On::Abundance => {
                let weight = rows[at].weight(effect.taxon);
                (weight > 0.0 && rests[at] > 0.0).then(|| (weight / rests[at]).ln())
            }
        };
        let mut points: Vec<Point> = (0..rows.len())
            .filter_map(|at| {
                let (group, x) = (groups[at], covariate[at]);
                outcome(at).map(|y| Point { group, x, y })
            })
            .collect();
        if (centre(&points).iter()).all(|point| point.x.abs() < 1e-12) {
            points.iter_mut().for_each(|point| point.group = 0);
        }
        match effect.on {
            On::Abundance => least_squares_slope(&points),
            On::Prevalence => logistic_slope(&points),
        }
    };
    changes.effects.iter().map(slope).collect()
}

/// Less the mean of their group, both `x` and `y`.
fn centre(points: &[Point]) -> Vec<Point> {
    let n_groups = points
        .iter()
        .map(|point| point.group + 1)
        .max()
        .unwrap_or(0);
    let mut sums = vec![(0.0, 0.0, 0.0); n_groups];
    for point in points {
        let (n, x, y) = &mut sums[point.group];
        (*n, *x, *y) = (*n + 1.0, *x + point.x, *y + point.y);
    }
    let less = |point: &Point| {
        let (n, x, y) = sums[point.group];
        Point {
            x: point.x - x / n,
            y: point.y - y / n,
            ..*point
        }
    };
    points.iter().map(less).collect()
}

fn least_squares_slope(points: &[Point]) -> f64 {
    let (mut above, mut below) = (0.0, 0.0);
    for point in centre(points) {
        above += point.x * point.y;
        below += point.x * point.x;
    }
    match below > 0.0 {
        true => above / below,
        false => f64::NAN,
    }
}

/// Steps of Newton's method; about ten are taken where there is a maximum.
const MAX_STEPS: usize = 40;

/// First and second derivatives of the likelihood of a group.
#[derive(Debug, Clone, Copy, Default)]
struct Derivatives {
    of_intercept: f64,
    of_slope: f64,
    intercept_twice: f64,
    both: f64,
    slope_twice: f64,
}

/// Maximum likelihood of a slope beside an intercept per group. Groups with one outcome say nothing.
fn logistic_slope(points: &[Point]) -> f64 {
    let n_groups = points
        .iter()
        .map(|point| point.group + 1)
        .max()
        .unwrap_or(0);
    let mut seen = vec![[0.0_f64; 2]; n_groups];
    for point in points {
        seen[point.group][usize::from(point.y > 0.5)] += 1.0;
    }
    let says = |group: usize| seen[group].iter().all(|n| *n > 0.0);
    let points: Vec<Point> = centre(points)
        .into_iter()
        .zip(points)
        .map(|(centred, point)| Point {
            y: point.y,
            ..centred
        })
        .filter(|point| says(point.group))
        .collect();
    let mut intercepts: Vec<f64> = seen.iter().map(|[no, yes]| (yes / no).ln()).collect();
    let mut slope = 0.0;
    for _ in 0..MAX_STEPS {
        let mut sums = vec![Derivatives::default(); n_groups];
        for Point { group, x, y } in &points {
            let p = logistic(intercepts[*group] + slope * x);
            let (rest, weight) = (y - p, p * (1.0 - p));
            let of = &mut sums[*group];
            of.of_intercept += rest;
            of.of_slope += rest * x;
            of.intercept_twice += weight;
            of.both += weight * x;
            of.slope_twice += weight * x * x;
        }
        let (mut above, mut below) = (0.0, 0.0);
        for of in (0..n_groups).filter(|g| says(*g)).map(|g| &sums[g]) {
            above += of.of_slope - of.both * of.of_intercept / of.intercept_twice;
            below += of.slope_twice - of.both * of.both / of.intercept_twice;
        }
        let step = above / below;
        if !step.is_finite() {
            return f64::NAN;
        }
        // A longer one leaves the region in which the quadratic is a good likeness.
        let step = step.clamp(-2.0, 2.0);
        let mut length = step.abs();
        for group in (0..n_groups).filter(|g| says(*g)) {
            let of = &sums[group];
            let move_by = (of.of_intercept - of.both * step) / of.intercept_twice;
            intercepts[group] += move_by.clamp(-2.0, 2.0);
            length = length.max(move_by.abs());
        }
        slope += step;
        if length < 1e-9 {
            return slope;
        }
    }
    f64::NAN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::assert_close;

    fn points(of: &[(usize, f64, f64)]) -> Vec<Point> {
        let point = |(group, x, y): &(usize, f64, f64)| Point {
            group: *group,
            x: *x,
            y: *y,
        };
        of.iter().map(point).collect()
    }

    #[test]
    fn two_classes_have_the_log_odds_ratio() {
        // 30 of 100 at 0, 60 of 90 at 2.
        let of = |x: f64, n_present: usize, n: usize| {
            (0..n).map(move |i| (0, x, f64::from(u8::from(i < n_present))))
        };
        let both: Vec<_> = of(0.0, 30, 100).chain(of(2.0, 60, 90)).collect();
        let ratio: f64 = (60.0 / 30.0) / (30.0 / 70.0);
        assert_close(logistic_slope(&points(&both)), ratio.ln() / 2.0, 1e-9, "");
        assert!(logistic_slope(&points(&[(0, 0.0, 1.0), (0, 1.0, 1.0)])).is_nan());
        assert!(logistic_slope(&points(&[(0, 0.0, 0.0), (0, 1.0, 1.0)])).is_nan());
    }

    #[test]
    fn a_line_has_its_slope_whatever_the_heights_of_groups() {
        let line = |i: usize| (i % 2, i as f64, 3.0 * (i % 2) as f64 - 0.25 * i as f64);
        let line: Vec<_> = (0..9).map(line).collect();
        assert_close(least_squares_slope(&points(&line)), -0.25, 1e-12, "slope");
        assert!(least_squares_slope(&points(&[(0, 1.0, 2.0), (0, 1.0, 5.0)])).is_nan());
        assert!(least_squares_slope(&[]).is_nan());
    }
}
