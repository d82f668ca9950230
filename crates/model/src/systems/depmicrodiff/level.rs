//! How high a taxon stands in a sample that has it: a quadratic in figures of the sample and of the taxon,
//! on top of taxon mean and sample offset.
//!
//! ```text
//! z = offset, ln richness, ln(1 + hidden / seen), depth, mean[taxon], sd[taxon]
//! value ~ mean[taxon] + offset + c0 + c . z + z' C z
//! ```
//!
//! A taxon that is present has a read at least. So in a shallow sample the few taxa that are seen stand
//! higher than their means say, the rare ones most of all, and in a rich one lower. Depth is the total in
//! sight. It is not read where depths differ so little, as after rarefaction, that what is missing from the
//! total would tell how much is hidden.

use super::batch::Flag;
use super::config::Config;
use super::entries::{Entries, Standardisation};
use super::log_scale::{LogScale, log_percents};
use super::objective::{Source, hide};
use crate::rng::{Stage, generator};
use serde::{Deserialize, Serialize};
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;
use suffuse_stats::least_squares::LeastSquares;

/// Spread of ln(total) from which on depth is read: what hiding half of the entries takes from a total
/// varies by about .4 on that scale.
const MIN_DEPTH_SPREAD: f64 = 1.5;
/// Penalty of the regressions, per variance of a term.
const PENALTY: f64 = 1e-3;
/// Hidden values from which the regressions learn, about, and hidden copies of the table at most.
const ENOUGH_VALUES: usize = 200_000;
const MAX_COPIES: usize = 32;
/// Length of `z`, and of the row of a regression.
const N_VARIABLES: usize = 6;
const N_TERMS: usize = 1 + N_VARIABLES + N_VARIABLES * (N_VARIABLES + 1) / 2;

/// What a sample shows as a whole, of which some entries are hidden.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    /// ln(percent) of the taxa in sight.
    pub(super) logs: Vec<(usize, f64)>,
    /// What 100 percent is.
    pub(super) total: Scale,
    /// Offset in ln(percent) and in ln(1+percent).
    pub(super) offsets: [f64; 2],
    /// Numbers of taxa in sight, hidden but known to be present, and hidden.
    pub(super) n_seen: f64,
    pub(super) n_known: f64,
    pub(super) n_hidden: f64,
    /// Taxa that are present, those hidden counted as often as among those that are not.
    richness: f64,
}

impl Standing {
    pub(super) fn of(
        entries: &Entries,
        sample: usize,
        flags: &[Flag],
        scale: &LogScale,
        standardisation: &Standardisation,
    ) -> Standing {
        let hidden: Vec<bool> = flags.iter().map(|flag| *flag != Flag::Present).collect();
        let logs = log_percents(entries, sample, Some(&hidden));
        let log1p = logs.iter().map(|(j, log)| (*j, log.exp().ln_1p()));
        let count = |this: Flag| flags.iter().filter(|flag| **flag == this).count() as f64;
        let (n_seen, n_absent) = (logs.len() as f64, count(Flag::Absent));
        let (n_known, n_hidden) = (count(Flag::HiddenPresent), count(Flag::Hidden));
        Standing {
            total: Scale(entries.total(sample, Some(&hidden))),
            offsets: [scale.offset(&logs), standardisation.offset(log1p)],
            richness: n_seen + n_known + n_hidden * n_seen / (n_seen + n_absent).max(1.0),
            logs,
            n_seen,
            n_known,
            n_hidden,
        }
    }
}

/// A quadratic within what it has been fitted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quadratic {
    /// Least and largest value of each variable.
    ranges: Vec<[f64; 2]>,
    /// Of 1, the variables, and their products.
    coefficients: Vec<f64>,
}

/// What a level takes depth for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Depth {
    /// Mean and standard deviation of ln(total).
    mean: f64,
    sd: f64,
}

/// The fitted level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Level {
    /// `None` where depth is not read.
    depth: Option<Depth>,
    /// In ln(percent) and in ln(1+percent).
    spaces: [Quadratic; 2],
}

impl Level {
    /// Fits the level on hidden copies of the training samples.
    pub(super) fn fit(
        config: &Config,
        scale: &LogScale,
        standardisation: &Standardisation,
        cohorts: &[Source],
        seed: u64,
    ) -> Level {
        let quadratic = Quadratic {
            ranges: vec![[f64::INFINITY, f64::NEG_INFINITY]; N_VARIABLES],
            coefficients: vec![0.0; N_TERMS],
        };
        let mut level = Level {
            depth: Depth::of(cohorts),
            spaces: [quadratic.clone(), quadratic],
        };
        let of_cohort = |source: &Source| -> usize {
            let samples = source.samples.iter();
            let n = samples.map(|sample| source.entries.n_present(*sample));
            n.sum()
        };
        let n_values = cohorts.iter().map(of_cohort).sum::<usize>();
        let n_copies = (2 * ENOUGH_VALUES / n_values.max(1)).clamp(1, MAX_COPIES);
        let mut regressions = [LeastSquares::new(N_TERMS), LeastSquares::new(N_TERMS)];
        for copy in 0..n_copies as u64 {
            let mut rng = generator(seed, Stage::Validation, "guide level", copy);
            for source in cohorts {
                for &sample in &source.samples {
                    let flags = hide(config, &source.entries.known_row(sample), &mut rng);
                    let entries = &source.entries;
                    let standing = Standing::of(entries, sample, &flags, scale, standardisation);
                    if standing.total.0 <= 0.0 {
                        continue;
                    }
                    let abundance = entries.abundance_row(sample);
                    for (taxon, x) in abundance.iter().enumerate() {
                        if flags[taxon].is_observed() || *x <= 0.0 {
                            continue;
                        }
                        let truth = [
                            (100.0 * x / standing.total.0).ln(),
                            ln1p_percent(*x, standing.total),
                        ];
                        let means = [scale.mean[taxon], standardisation.mean[taxon]];
                        let sds = [scale.sd[taxon], standardisation.sd[taxon]];
                        for k in 0..2 {
                            let z = level.variables(&standing, means[k], sds[k]);
                            level.spaces[k].widen(&z);
                            let left = truth[k] - means[k] - standing.offsets[k];
                            regressions[k].push(&terms(&z), left);
                        }
                    }
                }
            }
        }
        for (space, regression) in level.spaces.iter_mut().zip(regressions) {
            space.coefficients = regression.solve(PENALTY);
            let was_seen = |[low, high]: &[f64; 2]| low <= high;
            if !space.ranges.iter().all(was_seen) {
                space.ranges = vec![[0.0; 2]; N_VARIABLES]; // nothing could be hidden
            }
        }
        level
    }

    /// ln(total) less its mean, in standard deviations; 0 where depth is not read.
    pub(super) fn depth(&self, total: Scale) -> f64 {
        match self.depth {
            Some(depth) if total.0 > 0.0 => (total.0.ln() - depth.mean) / depth.sd,
            _ => 0.0,
        }
    }

    /// What stands on top of mean and offset of a taxon, in ln(percent) or in ln(1+percent).
    ///
    /// - `mean`, `sd`: of the taxon, in the same space
    pub(super) fn above(&self, space: usize, standing: &Standing, mean: f64, sd: f64) -> f64 {
        self.spaces[space].at(self.variables(standing, mean, sd))
    }

    fn variables(&self, standing: &Standing, mean: f64, sd: f64) -> [f64; N_VARIABLES] {
        [
            standing.offsets[0],
            standing.richness.ln_1p(),
            ((standing.n_known + standing.n_hidden) / standing.n_seen.max(1.0)).ln_1p(),
            self.depth(standing.total),
            mean,
            sd,
        ]
    }

    /// Says whether the level has all its numbers.
    pub(super) fn is_whole(&self) -> bool {
        let is_whole = |space: &Quadratic| {
            (space.ranges.len(), space.coefficients.len()) == (N_VARIABLES, N_TERMS)
                && space.ranges.iter().all(|[low, high]| low <= high)
        };
        self.spaces.iter().all(is_whole) && self.depth.is_none_or(|depth| depth.sd > 0.0)
    }
}

impl Depth {
    fn of(cohorts: &[Source]) -> Option<Depth> {
        let of_cohort = |source: &Source| -> Vec<f64> {
            let totals = source.samples.iter();
            let totals = totals.map(|sample| source.entries.total(*sample, None));
            totals.filter(|t| *t > 0.0).map(f64::ln).collect()
        };
        let logs: Vec<f64> = cohorts.iter().flat_map(of_cohort).collect();
        let n = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / n;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / n;
        let sd = variance.sqrt();
        (sd >= MIN_DEPTH_SPREAD).then_some(Depth { mean, sd })
    }
}

impl Quadratic {
    fn widen(&mut self, z: &[f64; N_VARIABLES]) {
        for ([low, high], z) in self.ranges.iter_mut().zip(z) {
            *low = low.min(*z);
            *high = high.max(*z);
        }
    }

    fn at(&self, mut z: [f64; N_VARIABLES]) -> f64 {
        for (z, [low, high]) in z.iter_mut().zip(&self.ranges) {
            *z = z.max(*low).min(*high);
        }
        let terms = terms(&z);
        let products = terms.iter().zip(&self.coefficients);
        products.map(|(term, coefficient)| term * coefficient).sum()
    }
}

/// 1, the variables, and each product of two of them.
fn terms(z: &[f64; N_VARIABLES]) -> [f64; N_TERMS] {
    let mut terms = [1.0; N_TERMS];
    terms[1..=N_VARIABLES].copy_from_slice(z);
    let mut at = 1 + N_VARIABLES;
    for i in 0..N_VARIABLES {
        for j in i..N_VARIABLES {
            terms[at] = z[i] * z[j];
            at += 1;
        }
    }
    terms
}

#[cfg(test)]
impl Level {
    /// Any level, for parity/depmicrodiff/guide.py; `depth` is mean and standard deviation.
    pub(super) fn of_sines(depth: Option<[f64; 2]>) -> Level {
        let space = |space: f64| Quadratic {
            ranges: vec![[-100.0, 100.0]; N_VARIABLES],
            coefficients: (0..N_TERMS)
                .map(|k| 0.3 * (1.0 + space + 0.7 * k as f64).sin())
                .collect(),
        };
        Level {
            depth: depth.map(|[mean, sd]| Depth { mean, sd }),
            spaces: [space(0.0), space(1.0)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use suffuse_data::Table;

    /// Rounded counts of taxa with log-normal abundances, at these depths.
    fn counts(depth: impl Fn(usize) -> f64) -> Table {
        let (n, d) = (120, 20);
        let mut rng = generator(0, Stage::Validation, "level test", 0);
        let mut dense = Vec::new();
        for sample in 0..n {
            let mut log = |scale: f64| {
                let uniform: f64 = (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0;
                scale * uniform
            };
            let shares: Vec<f64> = (0..d).map(|j| (log(1.0) - 0.4 * j as f64).exp()).collect();
            let all: f64 = shares.iter().sum();
            dense.extend(
                shares
                    .iter()
                    .map(|share| (depth(sample) * share / all).round()),
            );
        }
        let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        Table::from_dense(ids("s", n), ids("t", d), &dense).unwrap()
    }

    fn source(table: Table) -> Source<'static> {
        let entries = Entries::of_table(table);
        Source {
            samples: entries.informative_samples(),
            folds: vec![0; entries.n_samples()],
            conditions: None,
            entries,
        }
    }

    fn fitted(source: &Source) -> (Standardisation, LogScale, Level) {
        let standardisation = Standardisation::fit(&[&source.entries]);
        let scale = LogScale::fit(&[&source.entries]);
        let sources = std::slice::from_ref(source);
        let level = Level::fit(&Config::tiny(), &scale, &standardisation, sources, 1);
        (standardisation, scale, level)
    }

    /// Root mean square of what is left of hidden ln(percent), without and with the level.
    fn left(source: &Source) -> [f64; 2] {
        let (standardisation, scale, level) = fitted(source);
        let mut rng = generator(5, Stage::Validation, "level test", 1);
        let (mut n, mut squares) = (0.0, [0.0; 2]);
        for &sample in &source.samples {
            let flags = hide(&Config::tiny(), &source.entries.known_row(sample), &mut rng);
            let standing = Standing::of(&source.entries, sample, &flags, &scale, &standardisation);
            let abundance = source.entries.abundance_row(sample);
            for taxon in (0..flags.len()).filter(|j| !flags[*j].is_observed()) {
                if abundance[taxon] > 0.0 && standing.total.0 > 0.0 {
                    let truth = (100.0 * abundance[taxon] / standing.total.0).ln();
                    let left = truth - scale.mean[taxon] - standing.offsets[0];
                    let above = level.above(0, &standing, scale.mean[taxon], scale.sd[taxon]);
                    n += 1.0;
                    squares[0] += left * left;
                    squares[1] += (left - above).powi(2);
                }
            }
        }
        squares.map(|square| (square / n).sqrt())
    }

    #[test]
    fn a_present_taxon_has_a_read_at_least_so_depth_tells_how_high_it_stands() {
        let deep_and_shallow = source(counts(|sample| {
            10_f64.powf(1.0 + 4.0 * (sample % 9) as f64 / 8.0)
        }));
        let [without, with] = left(&deep_and_shallow);
        assert!(with < 0.96 * without, "{without} {with}");
    }

    #[test]
    fn depth_is_not_read_of_rarefied_samples() {
        let rarefied = source(counts(|_| 2000.0));
        let (_, _, level) = fitted(&rarefied);
        assert!(level.depth.is_none());
        assert_eq!(level.depth(Scale(17.0)), 0.0);
        let [without, with] = left(&rarefied);
        assert!(with < 1.01 * without, "{without} {with}");
    }

    #[test]
    fn beyond_what_was_seen_the_level_stays_where_it_was() {
        let level = Level::of_sines(None);
        let at = |mean: f64| {
            let standing = Standing {
                logs: Vec::new(),
                total: Scale(1.0),
                offsets: [0.0; 2],
                n_seen: 1.0,
                n_known: 1.0,
                n_hidden: 0.0,
                richness: 2.0,
            };
            level.above(0, &standing, mean, 1.0)
        };
        assert_eq!(at(100.0), at(1e9));
        assert!((at(50.0) - at(100.0)).abs() > 1.0);
    }

    #[test]
    fn a_table_in_which_nothing_can_be_hidden_has_a_level_of_zero() {
        let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let table = Table::from_dense(ids("s", 3), ids("t", 2), &[0.0; 6]).unwrap();
        let (_, _, level) = fitted(&source(table));
        assert!(level.is_whole());
        assert!(
            level
                .spaces
                .iter()
                .all(|space| space.coefficients.iter().all(|c| *c == 0.0))
        );
        let text = serde_json::to_string(&level).unwrap();
        assert_eq!(serde_json::from_str::<Level>(&text).unwrap(), level);
    }
}
