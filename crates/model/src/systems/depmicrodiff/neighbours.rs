//! Earlier and later samples of a subject: who is near in time, and what they say together.
//!
//! ```text
//! subject, time -> Timeline: samples with something in sight, in order of time
//!               -> around a sample: nearest earlier, nearest later, gaps -> condition tokens, guide
//!                                   all of them, weighed by exp(-gap / reach) -> local mean, local presence
//! ```

use super::entries::{Entries, Known};
use crate::error::Result;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use suffuse_data::hide::Occasions;
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;

/// Samples on either side that have a say.
const MAX_A_SIDE: usize = 16;

/// How fast the samples of a subject lose touch: chosen on the samples in sight, stored with a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rhythm {
    /// Median gap between two consecutive samples of a subject, in the unit of the times.
    pub(super) unit: f64,
    /// For ln(1+percent) given presence.
    pub(super) value: Kernel,
    /// For presence.
    pub(super) presence: Kernel,
}

/// A sample counts for `exp(-gap / reach)`, the mean over all samples for `prior`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kernel {
    /// In units of the rhythm.
    pub(super) reach: f64,
    pub(super) prior: f64,
}

/// Reaches and priors to choose from.
const REACHES: [f64; 7] = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
const PRIORS: [f64; 4] = [0.03, 0.1, 0.3, 1.0];
/// Samples on which reach and prior are judged, at most.
const MAX_JUDGED: usize = 400;
/// Bounds of a probability of presence.
const LEAST_PRESENCE: f64 = 0.005;

/// The samples of each subject that have something in sight, in order of time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Timeline {
    /// Per sample: its subject and time, unless the time is not known.
    times: Vec<Option<(usize, f64)>>,
    /// Per subject, by time and then by sample.
    subjects: Vec<Vec<Visit>>,
    rhythm: Rhythm,
}

/// A sample that has something in sight.
#[derive(Debug, Clone, PartialEq)]
struct Visit {
    sample: usize,
    time: f64,
    /// 100 percent, in the unit of the table.
    total: f64,
    /// Taxon and ln(1+percent) where present.
    present: Vec<(usize, f64)>,
    /// Taxa whose value is not in sight, and whether they are known to be present.
    unsure: Vec<(usize, Known)>,
}

/// The nearest samples that are passed over on each side: larger gaps are learned that way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PassedOver {
    earlier: usize,
    later: usize,
}

/// Chance that one more of the nearest samples of a side is passed over in training.
const PASS_OVER: f64 = 0.25;
/// Chance that a whole side is: the end of a series.
const PASS_OVER_SIDE: f64 = 0.08;

impl PassedOver {
    /// What is passed over in a row of training.
    pub(super) fn draw(rng: &mut ChaCha8Rng) -> Self {
        let mut side = || {
            if rng.random_bool(PASS_OVER_SIDE) {
                return usize::MAX;
            }
            let mut n = 0;
            while n < MAX_A_SIDE && rng.random_bool(PASS_OVER) {
                n += 1;
            }
            n
        };
        PassedOver {
            earlier: side(),
            later: side(),
        }
    }
}

/// A sample near another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Near {
    pub(super) sample: usize,
    /// In units of the rhythm.
    pub(super) gap: f64,
}

/// The samples around one, nearest first on each side; at least one.
#[derive(Debug)]
pub(super) struct Around<'a> {
    earlier: Vec<(&'a Visit, f64)>,
    later: Vec<(&'a Visit, f64)>,
    rhythm: &'a Rhythm,
}

/// What is the same for all samples of a table, per taxon.
pub(super) struct Usual<'a> {
    /// ln(1+percent) given presence.
    pub(super) value: &'a [f64],
    /// Share of the samples in which it is present.
    pub(super) prevalence: &'a [f64],
}

impl Timeline {
    /// The samples of a table in time, with a rhythm that is yet to be chosen.
    ///
    /// # Errors
    /// Another number of subjects or times than of samples.
    pub(super) fn new(occasions: &Occasions, entries: &Entries) -> Result<Self> {
        let n_samples = entries.n_samples();
        occasions.time_points(n_samples)?; // checks the lengths
        let times: Vec<Option<(usize, f64)>> = (0..n_samples)
            .map(|sample| (occasions.subject[sample], occasions.time[sample]))
            .map(|(subject, time)| time.is_finite().then_some((subject, time)))
            .collect();
        let n_subjects = occasions.subject.iter().max().map_or(0, |last| last + 1);
        let mut subjects: Vec<Vec<Visit>> = vec![Vec::new(); n_subjects];
        for sample in entries.informative_samples() {
            if let Some((subject, time)) = times[sample] {
                subjects[subject].push(Visit::new(entries, sample, time));
            }
        }
        let mut gaps = Vec::new();
        for visits in &mut subjects {
            visits.sort_by(|a, b| a.time.total_cmp(&b.time).then(a.sample.cmp(&b.sample)));
            let steps = visits.windows(2).map(|pair| pair[1].time - pair[0].time);
            gaps.extend(steps.filter(|gap| *gap > 0.0));
        }
        let kernel = Kernel {
            reach: 2.0,
            prior: PRIORS[0],
        };
        Ok(Timeline {
            times,
            subjects,
            rhythm: Rhythm {
                unit: median(gaps).unwrap_or(1.0),
                value: kernel,
                presence: kernel,
            },
        })
    }

    /// The same with the rhythm of a model.
    pub(super) fn set_rhythm(&mut self, rhythm: Rhythm) {
        self.rhythm = rhythm;
    }

    /// The samples around one, itself left out; `None` where there are none or its time is not known.
    pub(super) fn around(&self, sample: usize, passed_over: PassedOver) -> Option<Around<'_>> {
        let (subject, time) = self.times[sample]?;
        let visits = &self.subjects[subject];
        let key = |visit: &Visit| visit.time.total_cmp(&time).then(visit.sample.cmp(&sample));
        let before = visits.partition_point(|visit| key(visit).is_lt());
        let after = visits.partition_point(|visit| key(visit).is_le());
        let gap = |visit: &'_ Visit| (visit.time - time).abs() / self.rhythm.unit;
        let earlier = visits[..before].iter().rev().skip(passed_over.earlier);
        let later = visits[after..].iter().skip(passed_over.later);
        let around = Around {
            earlier: earlier.take(MAX_A_SIDE).map(|v| (v, gap(v))).collect(),
            later: later.take(MAX_A_SIDE).map(|v| (v, gap(v))).collect(),
            rhythm: &self.rhythm,
        };
        (!around.earlier.is_empty() || !around.later.is_empty()).then_some(around)
    }

    /// The rhythm under which the samples around a sample say most of it: of the grid, that of the least
    /// squared error of ln(1+percent) and of the least cross-entropy of presence.
    pub(super) fn chosen_rhythm(&self, usual: &Usual) -> Rhythm {
        let visits: Vec<&Visit> = self.subjects.iter().flatten().collect();
        let step = visits.len().div_ceil(MAX_JUDGED).max(1);
        let judged: Vec<(&Visit, Around)> = visits
            .iter()
            .step_by(step)
            .filter_map(|visit| {
                let around = self.around(visit.sample, PassedOver::default())?;
                Some((*visit, around))
            })
            .collect();
        let mut best = self.rhythm.clone();
        let (mut least_square, mut least_entropy) = (f64::INFINITY, f64::INFINITY);
        for reach in REACHES {
            for prior in PRIORS {
                let kernel = Kernel { reach, prior };
                let (mut square, mut entropy) = (0.0, 0.0);
                for (visit, around) in &judged {
                    let value = around.values_by(kernel, usual.value);
                    let presence = around.presence_by(kernel, usual.prevalence);
                    let mut is_present = vec![false; value.len()];
                    for &(taxon, y) in &visit.present {
                        square += (y - value[taxon]).powi(2);
                        is_present[taxon] = true;
                    }
                    let mut is_sure = vec![true; value.len()];
                    visit.unsure.iter().for_each(|(t, _)| is_sure[*t] = false);
                    for taxon in (0..value.len()).filter(|taxon| is_sure[*taxon]) {
                        let p = presence[taxon];
                        entropy -= if is_present[taxon] { p } else { 1.0 - p }.ln();
                    }
                }
                if square < least_square {
                    (least_square, best.value) = (square, kernel);
                }
                if entropy < least_entropy {
                    (least_entropy, best.presence) = (entropy, kernel);
                }
            }
        }
        best
    }
}

impl Visit {
    fn new(entries: &Entries, sample: usize, time: f64) -> Self {
        let total = entries.total(sample, None);
        let known = entries.known_row(sample);
        let abundance = entries.abundance_row(sample);
        let taxa = || known.iter().enumerate();
        Visit {
            sample,
            time,
            total,
            present: taxa()
                .filter(|(_, known)| **known == Known::Present)
                .map(|(taxon, _)| (taxon, ln1p_percent(abundance[taxon], Scale(total))))
                .collect(),
            unsure: taxa()
                .filter(|(_, known)| matches!(known, Known::Unknown | Known::Withheld))
                .map(|(taxon, known)| (taxon, *known))
                .collect(),
        }
    }
}

impl Around<'_> {
    /// The nearest earlier and the nearest later sample; samples of one time stand in the order of the table.
    pub(super) fn nearest(&self) -> [Option<Near>; 2] {
        let near = |side: &[(&Visit, f64)]| {
            let (visit, gap) = side.first()?;
            Some(Near {
                sample: visit.sample,
                gap: *gap,
            })
        };
        [near(&self.earlier), near(&self.later)]
    }

    /// Of the nearest sample of a side (0 earlier, 1 later), per taxon: ln(1+percent) where that is in
    /// sight, and 1 if it is present, -1 if it is absent, 0 if that is not known or there is no sample.
    pub(super) fn nearest_row(&self, side: usize, n_taxa: usize) -> (Vec<Option<f64>>, Vec<f64>) {
        let (mut values, mut presence) = (vec![None; n_taxa], vec![0.0; n_taxa]);
        let side = [&self.earlier, &self.later][side];
        if let Some((visit, _)) = side.first() {
            presence.fill(-1.0);
            for &(taxon, y) in &visit.present {
                (values[taxon], presence[taxon]) = (Some(y), 1.0);
            }
            for &(taxon, known) in &visit.unsure {
                presence[taxon] = if known == Known::Withheld { 1.0 } else { 0.0 };
            }
        }
        (values, presence)
    }

    /// Median total, in the unit of the table.
    pub(super) fn median_total(&self) -> f64 {
        let totals = self.all().map(|(visit, _)| visit.total).collect();
        median(totals).expect("there is a sample around")
    }

    /// ln(1+percent) given presence, per taxon: mean over the samples that have the taxon.
    ///
    /// - `usual`: the same over all subjects
    pub(super) fn values(&self, usual: &[f64]) -> Vec<f64> {
        self.values_by(self.rhythm.value, usual)
    }

    /// Probability of presence, per taxon.
    ///
    /// - `prevalence`: over all subjects
    pub(super) fn presence(&self, prevalence: &[f64]) -> Vec<f64> {
        self.presence_by(self.rhythm.presence, prevalence)
    }

    fn all(&self) -> impl Iterator<Item = &(&Visit, f64)> {
        self.earlier.iter().chain(&self.later)
    }

    fn values_by(&self, kernel: Kernel, usual: &[f64]) -> Vec<f64> {
        let n_taxa = usual.len();
        let mut sums: Vec<f64> = usual.iter().map(|y| kernel.prior * y).collect();
        let mut weights = vec![kernel.prior; n_taxa];
        for (visit, gap) in self.all() {
            let weight = (-gap / kernel.reach).exp();
            for &(taxon, y) in &visit.present {
                sums[taxon] += weight * y;
                weights[taxon] += weight;
            }
        }
        let mean = |(sum, weight): (&f64, &f64)| sum / weight;
        sums.iter().zip(&weights).map(mean).collect()
    }

    fn presence_by(&self, kernel: Kernel, prevalence: &[f64]) -> Vec<f64> {
        let n_taxa = prevalence.len();
        let mut sums: Vec<f64> = prevalence.iter().map(|p| kernel.prior * p).collect();
        let mut unsure = vec![0.0; n_taxa];
        let mut weights = kernel.prior;
        for (visit, gap) in self.all() {
            let weight = (-gap / kernel.reach).exp();
            weights += weight;
            for &(taxon, _) in &visit.present {
                sums[taxon] += weight;
            }
            for &(taxon, known) in &visit.unsure {
                match known {
                    Known::Withheld => sums[taxon] += weight,
                    _ => unsure[taxon] += weight,
                }
            }
        }
        let share = |(sum, unsure): (&f64, &f64)| {
            (sum / (weights - unsure)).clamp(LEAST_PRESENCE, 1.0 - LEAST_PRESENCE)
        };
        sums.iter().zip(&unsure).map(share).collect()
    }
}

/// The mean of the two in the middle; `None` of nothing.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (n > 0).then(|| (values[(n - 1) / 2] + values[n / 2]) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systems::depmicrodiff::{Cohort, Totals};
    use suffuse_data::Table;

    /// Subject 0 at days 0, 1, 3, 5 (the one at 1 not measured at all), subject 1 at days 2 and unknown.
    fn table() -> (Table, Occasions) {
        let nan = f64::NAN;
        let rows = [
            [90.0, 10.0, 0.0],
            [nan, nan, nan],
            [4.0, 4.0, 0.0],
            [10.0, 0.0, 30.0],
            [1.0, 1.0, 1.0],
            [1.0, 0.0, 0.0],
        ];
        let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let table = Table::from_dense(ids("s", 6), ids("t", 3), rows.as_flattened()).unwrap();
        let occasions = Occasions {
            subject: vec![0, 0, 0, 0, 1, 1],
            time: vec![0.0, 1.0, 3.0, 5.0, 2.0, nan],
        };
        (table, occasions)
    }

    fn timeline(table: &Table, occasions: &Occasions) -> Timeline {
        let cohort = Cohort {
            table,
            hidden: &[],
            totals: Totals::OfWhatIsLeft,
            conditions: None,
            groups: None,
            times: None,
        };
        Timeline::new(occasions, &Entries::new(&cohort).unwrap()).unwrap()
    }

    fn usual() -> Usual<'static> {
        Usual {
            value: &[1.0, 1.0, 1.0],
            prevalence: &[0.5, 0.5, 0.5],
        }
    }

    #[test]
    fn neighbours_are_the_nearest_samples_of_the_subject_with_something_in_sight() {
        let (table, occasions) = table();
        let timeline = timeline(&table, &occasions);
        assert_eq!(timeline.rhythm.unit, 2.5); // gaps 3 and 2
        let nearest = |sample, passed_over| {
            let around = timeline.around(sample, passed_over)?;
            Some(around.nearest().map(|near| near.map(|n| (n.sample, n.gap))))
        };
        let all = PassedOver::default();
        assert_eq!(nearest(1, all), Some([Some((0, 0.4)), Some((2, 0.8))]));
        assert_eq!(nearest(0, all), Some([None, Some((2, 1.2))]));
        let one = PassedOver {
            earlier: usize::MAX,
            later: 1,
        };
        assert_eq!(nearest(1, one), Some([None, Some((3, 1.6))]));
        // Alone, of unknown time, or everything passed over.
        assert_eq!(nearest(4, all), None);
        assert_eq!(nearest(5, all), None);
        let none = PassedOver {
            earlier: 2,
            later: 2,
        };
        assert_eq!(nearest(1, none), None);
    }

    #[test]
    fn samples_of_one_time_are_neighbours_without_a_gap() {
        let (table, mut occasions) = table();
        occasions.time = vec![0.0, 0.0, 0.0, 0.0, 2.0, 2.0];
        occasions.subject[5] = 0;
        let timeline = timeline(&table, &occasions);
        let nearest = timeline.around(2, PassedOver::default()).unwrap().nearest();
        assert_eq!(nearest.map(|near| near.unwrap().sample), [0, 3]);
        assert_eq!(nearest.map(|near| near.unwrap().gap), [0.0, 0.0]);
    }

    #[test]
    fn the_local_mean_weighs_samples_by_their_gap() {
        let (table, occasions) = table();
        let timeline = timeline(&table, &occasions);
        let around = timeline.around(1, PassedOver::default()).unwrap();
        assert_eq!(around.median_total(), 40.0); // of 100, 8, 40
        let kernel = Kernel {
            reach: 0.4,
            prior: 0.5,
        };
        // exp(-1), exp(-2), exp(-4) for gaps of 1, 2, 4 days; percent 90, 50, 25 of the first taxon.
        let w = [1.0, 2.0, 4.0].map(|x: f64| (-x).exp());
        let y = [90.0, 50.0, 25.0].map(f64::ln_1p);
        let sum = w[0] * y[0] + w[1] * y[1] + w[2] * y[2] + 0.5;
        let expected = sum / (w.iter().sum::<f64>() + 0.5);
        let found = around.values_by(kernel, usual().value);
        assert!((found[0] - expected).abs() < 1e-12, "{found:?}");
        // The last taxon is present at day 5 alone, with 75 percent.
        let expected = (w[2] * 75.0_f64.ln_1p() + 0.5) / (w[2] + 0.5);
        assert!((found[2] - expected).abs() < 1e-12, "{found:?}");
        let expected = (w[2] + 0.25) / (w.iter().sum::<f64>() + 0.5);
        let found = around.presence_by(kernel, usual().prevalence);
        assert!((found[2] - expected).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn the_reach_is_short_where_only_the_next_sample_tells_and_long_where_all_tell_alike() {
        let n = 120;
        let table = |share_at: &dyn Fn(usize) -> f64| {
            let rows: Vec<f64> = (0..n)
                .flat_map(|day| [share_at(day), 1.0 - share_at(day)])
                .collect();
            let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
            Table::from_dense(ids("s", n), ids("t", 2), &rows).unwrap()
        };
        let occasions = Occasions {
            subject: vec![0; n],
            time: (0..n).map(|day| day as f64).collect(),
        };
        let usual = Usual {
            value: &[3.5, 4.0],
            prevalence: &[1.0, 1.0],
        };
        let wave = table(&|day| 0.4 + 0.3 * (day as f64 / 2.0).sin());
        let noise = table(&|day| 0.4 + 0.3 * ((day * day * 7919 % 101) as f64 / 101.0 - 0.5));
        let reach = |table| {
            timeline(table, &occasions)
                .chosen_rhythm(&usual)
                .value
                .reach
        };
        assert!(reach(&wave) <= 0.5, "{}", reach(&wave));
        assert!(reach(&noise) >= 4.0, "{}", reach(&noise));
    }
}
