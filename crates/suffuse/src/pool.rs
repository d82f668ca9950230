//! Two groups of samples compared over a set of completed tables, and what filling did to the test.
//!
//! ```text
//! original ─► Study ─► log-ratios ─► Differential (before), CorrelationInflation
//! completed tables, one by one ─► same samples, features, observed entries? ─► log-ratios ─► (after)
//!                                                                   finish ─► taxa, checks
//! ```
//!
//! Percents are of the measured total of a sample in the original, in all tables: then an entry that
//! was not filled has one value throughout, and what differs between tables was filled.

mod labels;
mod results;

pub use results::{Check, Results, Taxon};

use crate::{Error, Result};
use labels::labels;
use ndarray::Array2;
use serde::Serialize;
use suffuse_data::Table;
use suffuse_data::transform::{Scale, clr, percent};
use suffuse_stats::correlation_inflation::CorrelationInflation;
use suffuse_stats::differential::{Differential, Group, MIN_PER_GROUP, Permutations, Test, Tested};
use suffuse_stats::pool::{Estimate, Pooled, Pooling};

/// The scale on which groups are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogScale {
    /// Centred log-ratio of percent + pseudocount, where the pseudocount of all tables is half of the
    /// smallest percent observed in the original.
    #[default]
    Clr,
    /// `ln(1 + percent)`.
    Ln1p,
}

/// What is compared, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Metadata column of the original that holds the groups.
    pub group: String,
    /// The two values to compare; needed where the column has more.
    pub levels: Option<[String; 2]>,
    /// Test per taxon.
    pub test: Test,
    /// Scale of the values.
    pub scale: LogScale,
    /// Permuted labels; none for no check of the test.
    pub permutations: Permutations,
}

/// An original table and the completed ones that came in so far.
pub struct Study<'a> {
    original: &'a Table,
    options: &'a Options,
    levels: [String; 2],
    /// Of each compared sample.
    groups: Vec<Group>,
    scaling: Scaling,
    before: Differential,
    after: Differential,
    means: Vec<Pooling>,
    correlation: Option<CorrelationInflation>,
    n_tables: usize,
    notes: Vec<String>,
}

/// From raw units to log-ratios, in one way for all tables.
struct Scaling {
    scale: LogScale,
    /// Rows that are compared.
    samples: Vec<usize>,
    /// Measured totals of all samples of the original.
    totals: Vec<f64>,
    /// In percent.
    pseudocount: f64,
    /// Taxa of which the original has no value above zero in these rows: against the mean of the logarithms of a
    /// sample they vary as that does, and say nothing of themselves.
    is_absent: Vec<bool>,
}

impl<'a> Study<'a> {
    /// No completed table yet.
    ///
    /// # Errors
    /// No such column, a column that does not have two values, levels that it lacks, groups of fewer than
    /// two samples with a non-zero entry.
    pub fn new(original: &'a Table, options: &'a Options) -> Result<Study<'a>> {
        let (levels, labels) = labels(&original.sample_metadata, options)?;
        let totals = original.totals();
        let (mut samples, mut groups, mut n_empty) = (Vec::new(), Vec::new(), 0);
        for (sample, group) in labels.iter().enumerate() {
            match group {
                Some(_) if totals[sample] <= 0.0 => n_empty += 1,
                Some(group) => {
                    samples.push(sample);
                    groups.push(*group);
                }
                None => {}
            }
        }
        for (level, group) in levels.iter().zip([Group::First, Group::Second]) {
            let found = groups.iter().filter(|g| **g == group).count();
            if found < MIN_PER_GROUP {
                return Err(Error::Table(format!(
                    "group {level:?} of column {:?}: found {found} samples with a non-zero entry, expected at least {MIN_PER_GROUP}; choose other groups with --levels A,B",
                    options.group
                )));
            }
        }
        let mut notes = Vec::new();
        let n_other = labels.iter().filter(|label| label.is_none()).count();
        if n_other > 0 {
            notes.push(format!(
                "{n_other} samples are in neither group and are left out"
            ));
        }
        if n_empty > 0 {
            notes.push(format!(
                "{n_empty} samples have no non-zero entry in the original and are left out"
            ));
        }
        let n_taxa = original.n_features();
        let scaling = Scaling {
            scale: options.scale,
            pseudocount: pseudocount(original, &totals),
            is_absent: are_absent(original, &samples),
            totals,
            samples,
        };
        let values = scaling.values(original);
        let mut before = Differential::new(options.test, n_taxa, &groups, options.permutations)?;
        let after = before.clone();
        before.add(&values)?;
        let correlation = match options.permutations.n {
            0 => None,
            _ => Some(CorrelationInflation::new(&values)?),
        };
        Ok(Study {
            original,
            options,
            levels,
            groups,
            scaling,
            before,
            after,
            means: vec![Pooling::default(); n_taxa],
            correlation,
            n_tables: 0,
            notes,
        })
    }

    /// Takes in a completed table.
    ///
    /// # Errors
    /// Samples, features or observed entries that are not those of the original; the first is named.
    pub fn add(&mut self, completed: &Table) -> Result<()> {
        require_same(self.original, completed)?;
        let values = self.scaling.values(completed);
        self.after.add(&values)?;
        for (column, mean) in values.columns().into_iter().zip(&mut self.means) {
            mean.add(mean_of(column.iter().copied()));
        }
        if let Some(correlation) = &mut self.correlation {
            correlation.add(&values)?;
        }
        self.n_tables += 1;
        Ok(())
    }

    /// Pools the tables.
    ///
    /// # Errors
    /// No table came in.
    pub fn finish(self) -> Result<Results> {
        let original = self.before.taxa()?;
        let pooled = self.after.taxa()?;
        let mut taxa = Vec::with_capacity(pooled.len());
        for (taxon, (pooled, original)) in pooled.iter().zip(&original).enumerate() {
            let mean = self.means[taxon].finish()?;
            let feature = self.original.feature_ids()[taxon].clone();
            taxa.push(self.taxon(feature, &mean, pooled, original));
        }
        let check = match &self.correlation {
            Some(correlation) => Some(Check {
                before: self.before.false_positives()?,
                after: self.after.false_positives()?,
                correlation: correlation.finish()?,
            }),
            None => None,
        };
        let n_in = |group| self.groups.iter().filter(|g| **g == group).count();
        let mut notes = self.notes;
        if self.n_tables == 1 {
            notes.push(
                "one completed table says nothing of what its filled entries might have been: p-values are too small; give those of `suffuse impute --m 20`".to_string(),
            );
        }
        if self.n_tables > 1 && !taxa.iter().any(|taxon| taxon.missing_information > 0.0) {
            notes.push(
                "the completed tables agree in all that is compared: nothing was filled there, or they are one table"
                    .to_string(),
            );
        }
        Ok(Results {
            n_samples: [n_in(Group::First), n_in(Group::Second)],
            levels: self.levels,
            n_tables: self.n_tables,
            test: self.options.test,
            scale: self.options.scale,
            taxa,
            check,
            notes,
        })
    }

    fn taxon(&self, feature: String, mean: &Pooled, pooled: &Tested, original: &Tested) -> Taxon {
        let effect = &pooled.effect;
        let (shift, bounds) = match self.options.test {
            Test::Welch => (0.0, [f64::NEG_INFINITY, f64::INFINITY]),
            // The statistic is a probability less one half.
            Test::Wilcoxon => (0.5, [0.0, 1.0]),
        };
        let ends = effect.interval().map(|end| end + shift);
        let within = |end: f64| {
            if end.is_nan() {
                end
            } else {
                end.clamp(bounds[0], bounds[1])
            }
        };
        Taxon {
            feature,
            mean: mean.estimate,
            mean_interval: mean.interval(),
            effect: effect.estimate + shift,
            effect_interval: ends.map(within),
            t: effect.t,
            df: effect.df,
            p: effect.p,
            q: pooled.q,
            missing_information: effect.missing_information,
            p_original: original.effect.p,
            q_original: original.q,
        }
    }
}

impl Scaling {
    /// Log-ratios of the compared samples, `[n_samples, n_taxa]`; `NaN` stays `NaN`.
    fn values(&self, table: &Table) -> Array2<f64> {
        let mut values = Vec::with_capacity(self.samples.len() * table.n_features());
        for sample in &self.samples {
            let total = Scale(self.totals[*sample]);
            let row = table.dense_row(*sample);
            match self.scale {
                LogScale::Ln1p => {
                    values.extend(row.iter().map(|x| percent::ln1p_percent(*x, total)));
                }
                LogScale::Clr => {
                    let row: Vec<f64> = row.iter().map(|x| percent::percent(*x, total)).collect();
                    let centre = clr::mean_ln(&row, self.pseudocount);
                    let shown = row.iter().zip(&self.is_absent);
                    values.extend(shown.map(|(x, is_absent)| match is_absent {
                        true => f64::NAN,
                        false => clr::forward(x + self.pseudocount, centre),
                    }));
                }
            }
        }
        Array2::from_shape_vec((self.samples.len(), table.n_features()), values)
            .expect("a value per sample and taxon")
    }
}

/// Says of each taxon whether none of these samples has a value above zero of it.
fn are_absent(table: &Table, samples: &[usize]) -> Vec<bool> {
    let mut is_absent = vec![true; table.n_features()];
    for sample in samples {
        let (features, values) = table.row(*sample);
        for (feature, value) in features.iter().zip(values) {
            is_absent[*feature as usize] &= value.is_nan();
        }
    }
    is_absent
}

/// Half of the smallest percent observed; 1 where nothing was, which no result then depends on.
fn pseudocount(table: &Table, totals: &[f64]) -> f64 {
    let mut smallest = f64::INFINITY;
    for (sample, total) in totals.iter().enumerate() {
        let present = table.row(sample).1.iter().filter(|x| **x > 0.0);
        for x in present {
            smallest = smallest.min(percent::percent(*x, Scale(*total)));
        }
    }
    if smallest.is_finite() {
        smallest / 2.0
    } else {
        1.0
    }
}

fn mean_of(values: impl Iterator<Item = f64> + Clone) -> Estimate {
    let measured = values.filter(|value| !value.is_nan());
    let n = measured.clone().count() as f64;
    if n < 2.0 {
        return Estimate {
            value: f64::NAN,
            variance: f64::NAN,
            df: f64::NAN,
        };
    }
    let mean = measured.clone().sum::<f64>() / n;
    let squares: f64 = measured.map(|value| (value - mean).powi(2)).sum();
    Estimate {
        value: mean,
        variance: squares / (n - 1.0) / n,
        df: n - 1.0,
    }
}

/// Refuses a table that was not filled from the original.
fn require_same(original: &Table, completed: &Table) -> Result<()> {
    let way_out = "give the tables that `suffuse impute` made of this original";
    for (what, expected, found) in [
        ("sample", original.sample_ids(), completed.sample_ids()),
        ("feature", original.feature_ids(), completed.feature_ids()),
    ] {
        let pairs = (1..).zip(expected.iter().zip(found));
        for (position, (expected, found)) in pairs {
            if expected != found {
                return Err(Error::Table(format!(
                    "{what} {position}: found {found:?}, expected {expected:?} as in the original; {way_out}"
                )));
            }
        }
        if expected.len() != found.len() {
            return Err(Error::Table(format!(
                "found {} {what}s, expected {} as in the original; {way_out}",
                found.len(),
                expected.len()
            )));
        }
    }
    for sample in 0..original.n_samples() {
        let (before, after) = (original.dense_row(sample), completed.dense_row(sample));
        for (feature, (before, after)) in before.iter().zip(&after).enumerate() {
            let is_kept = match before {
                v if v.is_nan() => true,
                0.0 => !after.is_nan(),
                observed => observed.to_bits() == after.to_bits(),
            };
            if !is_kept {
                return Err(Error::Table(format!(
                    "sample {:?}, feature {:?}: found {after}, expected {before} as observed in the original; {way_out}",
                    original.sample_ids()[sample],
                    original.feature_ids()[feature]
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use suffuse_data::metadata::{Column, ColumnValues};

    fn names(prefix: &str, n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{prefix}{i}")).collect()
    }

    fn table(dense: &[f64], groups: &[Option<&str>]) -> Table {
        let n = groups.len();
        let mut table =
            Table::from_dense(names("s", n), names("t", dense.len() / n), dense).unwrap();
        let values = groups.iter().map(|g| g.map(str::to_string)).collect();
        let column = Column {
            name: "site".to_string(),
            values: ColumnValues::Text(values),
        };
        table.sample_metadata.set_column(column).unwrap();
        table
    }

    fn options(scale: LogScale) -> Options {
        Options {
            group: "site".to_string(),
            levels: None,
            test: Test::Welch,
            scale,
            permutations: Permutations { n: 0, seed: 0 },
        }
    }

    const GROUPS: [Option<&str>; 5] = [Some("a"), Some("a"), Some("b"), Some("b"), None];
    const DENSE: [f64; 15] = [
        1.0, 3.0, 0.0, //
        2.0, 1.0, 1.0, //
        0.0, 5.0, 5.0, //
        1.0, 4.0, 3.0, //
        9.0, 1.0, 0.0,
    ];

    // numpy: x = dense[:4] / dense[:4].sum(1)[:, None] * 100; d = x[x > 0].min() / 2 (of all five rows)
    // y = np.log(x + d) - np.log(x + d).mean(1)[:, None]; y[2:].mean(0) - y[:2].mean(0)
    #[test]
    fn log_ratios_are_those_of_numpy_with_half_of_the_smallest_percent_added() {
        let original = table(&DENSE, &GROUPS);
        let clr = options(LogScale::Clr);
        let mut study = Study::new(&original, &clr).unwrap();
        study.add(&original).unwrap();
        let results = study.finish().unwrap();
        let expected = [
            -1.475_237_978_042_934_8,
            0.108_929_085_787_046_85,
            1.366_308_892_255_887_5,
        ];
        for (taxon, expected) in results.taxa.iter().zip(expected) {
            assert!(
                (taxon.effect - expected).abs() < 1e-12,
                "{} against {expected}",
                taxon.effect
            );
        }
        // The same table once more says nothing new.
        assert!(results.taxa.iter().all(|t| t.p == t.p_original));
        assert_eq!(results.n_samples, [2, 2]);
        assert!(results.notes[0].starts_with("1 samples are in neither group"));
        let mut study = Study::new(&original, &clr).unwrap();
        (0..3).for_each(|_| study.add(&original).unwrap());
        let again = study.finish().unwrap();
        assert!(again.notes[1].contains("nothing was filled"));
        assert!(again.taxa.iter().all(|t| t.p == t.p_original));
    }

    #[test]
    fn what_was_not_filled_has_one_value_in_all_tables() {
        let original = table(&DENSE, &GROUPS);
        let mut filled = DENSE;
        filled[2] = 2.0;
        let other = table(&filled, &GROUPS);
        let ln1p = options(LogScale::Ln1p);
        let mut study = Study::new(&original, &ln1p).unwrap();
        study.add(&original).unwrap();
        study.add(&other).unwrap();
        let results = study.finish().unwrap();
        let missing: Vec<f64> = results.taxa.iter().map(|t| t.missing_information).collect();
        assert!(missing[0] == 0.0 && missing[1] == 0.0 && missing[2] > 0.0);
        assert_eq!(results.tsv().lines().count(), 4);
    }

    #[test]
    fn a_taxon_that_no_sample_has_is_no_test_of_the_mean_of_the_others() {
        let with_nothing = |dense: &[f64]| -> Vec<f64> {
            let rows = dense.chunks(3).map(|row| [row, &[0.0]].concat());
            rows.flatten().collect()
        };
        let original = table(&with_nothing(&DENSE), &GROUPS);
        let clr = options(LogScale::Clr);
        let mut study = Study::new(&original, &clr).unwrap();
        study.add(&original).unwrap();
        let results = study.finish().unwrap();
        assert!(results.taxa[3].p.is_nan() && results.taxa[3].q.is_nan());
        assert!(results.taxa[3].p_original.is_nan());
        // The q-values of the others are those of three tests: the largest is the largest p.
        let others = &results.taxa[..3];
        let largest = |of: fn(&Taxon) -> f64| others.iter().map(of).fold(0.0, f64::max);
        assert_eq!(largest(|taxon| taxon.q), largest(|taxon| taxon.p));
    }

    #[test]
    fn a_table_of_another_origin_is_refused_with_the_first_difference() {
        let original = table(&DENSE, &GROUPS);
        let clr = options(LogScale::Clr);
        let mut study = Study::new(&original, &clr).unwrap();
        let mut message = |dense: &[f64], ids: [&str; 2]| {
            let other = Table::from_dense(names(ids[0], dense.len() / 3), names(ids[1], 3), dense);
            study.add(&other.unwrap()).unwrap_err().to_string()
        };
        assert!(message(&DENSE, ["x", "t"]).contains("sample 1: found \"x0\", expected \"s0\""));
        assert!(message(&DENSE, ["s", "u"]).contains("feature 1: found \"u0\""));
        assert!(message(&DENSE[..12], ["s", "t"]).contains("found 4 samples, expected 5"));
        let mut changed = DENSE;
        changed[4] = 1.5;
        let text = message(&changed, ["s", "t"]);
        assert!(text.contains("sample \"s1\", feature \"t1\": found 1.5, expected 1"));
        changed = DENSE;
        changed[2] = f64::NAN;
        assert!(message(&changed, ["s", "t"]).contains("found NaN, expected 0"));
        assert!(Study::new(&original, &clr).unwrap().finish().is_err());
    }

    #[test]
    fn a_column_without_two_values_is_refused_with_its_values_and_the_way_out() {
        let groups = [Some("a"), Some("a"), Some("b"), Some("b"), Some("c")];
        let original = table(&DENSE, &groups);
        let mut asked = options(LogScale::Clr);
        let message = |asked: &Options| {
            let problem = Study::new(&original, asked).err().unwrap();
            (problem.exit_code(), problem.to_string())
        };
        let (code, text) = message(&asked);
        assert_eq!(code, 2);
        assert!(
            text.contains("\"a\", \"b\", \"c\"") && text.contains("--levels A,B"),
            "{text}"
        );
        asked.levels = Some(["b", "d"].map(String::from));
        assert!(message(&asked).1.contains("found \"d\""));
        asked.levels = Some(["a", "c"].map(String::from));
        let (code, text) = message(&asked);
        assert!(
            code == 1 && text.contains("\"c\"") && text.contains("found 1 samples"),
            "{text}"
        );
        asked.levels = Some(["b", "a"].map(String::from));
        assert_eq!(Study::new(&original, &asked).unwrap().levels, ["b", "a"]);
        asked.group = "age".to_string();
        assert!(message(&asked).1.contains("there are: site"));
    }
}
