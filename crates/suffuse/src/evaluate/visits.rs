//! Visits that were not measured: what is hidden, what the simple methods in time say, and how an answer
//! becomes a whole composition.

use super::answer::Answer;
use super::protocol::Told;
use super::trial::{Hiding, Trial, positions};
use crate::Result;
use crate::impute::ln1p_percent;
use ndarray::{Array2, s};
use suffuse_data::Table;
use suffuse_data::hide::{Entry, HiddenAs, MaskOptions, Occasions, true_values};
use suffuse_model::systems::depmicrodiff::Totals;
use suffuse_stats::impute::{LongitudinalMethod, Visits, fill_in_time};

impl Trial {
    /// Hides visits of the whole table; the rest of it is learned from, other visits of the same subjects
    /// too, as when gaps of a series are filled. The truth of a hidden visit is percent of its own total.
    ///
    /// # Errors
    /// As the hiding.
    pub fn time_points(
        table: &Table,
        groups: Option<Vec<usize>>,
        hiding: &Hiding,
    ) -> Result<Trial> {
        let options = MaskOptions {
            seed: hiding.seed,
            among: None,
            hidden_as: HiddenAs::NotMeasured,
            occasions: hiding.occasions,
        };
        let masked = hiding.mask.apply(table, &options)?;
        let (left, full) = (masked.table.totals(), table.totals());
        let totals: Vec<f64> = left
            .iter()
            .zip(&full)
            .map(|(left, full)| if *left > 0.0 { *left } else { *full })
            .collect();
        let hidden = masked.hidden.iter().zip(true_values(table, &masked.hidden));
        let (present, absent): (Vec<_>, Vec<_>) = hidden.partition(|(_, value)| *value > 0.0);
        let entries = |part: Vec<(&Entry, f64)>| -> Vec<Entry> {
            let is_known = |entry: &&Entry| totals[entry.sample as usize] > 0.0;
            let of_part = part.into_iter().map(|(entry, _)| entry);
            of_part.filter(is_known).copied().collect()
        };
        Ok(Trial {
            learn: None,
            fill: masked.table,
            groups,
            withheld: Vec::new(),
            totals: Totals::OfWhatIsLeft,
            truth: ln1p_percent(table, &totals),
            scored: positions(&entries(present)),
            zeros: positions(&entries(absent)),
            told: Told::NotMeasured,
            zeroed: 0.0,
            full_depth: Some(table.clone()),
            completion: hiding.completion,
            thinner: None,
            times: hiding.occasions.cloned(),
        })
    }

    /// The same for a model that knows nothing of times. It is told the total of a hidden visit instead,
    /// without which it gives no value to such a sample.
    pub fn without_times(&self) -> Trial {
        let full = self.full_depth.as_ref().map(Table::totals);
        let totals = match (&self.totals, full) {
            (Totals::OfWhatIsLeft, Some(full)) => {
                let left = self.fill.totals();
                let of_sample = |sample: usize| match self.is_missing(sample) {
                    true => full[sample],
                    false => left[sample],
                };
                Totals::Given((0..left.len()).map(of_sample).collect())
            }
            (totals, _) => totals.clone(),
        };
        Trial {
            totals,
            times: None,
            ..self.clone()
        }
    }

    /// Says whether nothing of a sample to fill was measured.
    pub(super) fn is_missing(&self, sample: usize) -> bool {
        let (columns, values) = self.fill.row(sample);
        columns.len() == self.fill.n_features() && values.iter().all(|value| value.is_nan())
    }
}

/// What a simple method says of hidden visits from the others of their subject.
///
/// # Errors
/// None for a table that was read by this program.
pub fn of_time(method: LongitudinalMethod, times: &Occasions, trial: &Trial) -> Result<Answer> {
    let values = trial.incomplete()?.values;
    let values = values.slice(s![trial.n_learn().., ..]).to_owned();
    let visits = Visits {
        subject: &times.subject,
        time: &times.time,
    };
    let value = fill_in_time(method, &values, visits)?;
    let judged = trial.scored.iter().chain(&trial.zeros);
    Ok(Answer {
        presence: Some(judged.map(|at| value[*at]).collect()),
        value,
        draws: None,
        intervals: None,
        completed: None,
    })
}

/// An answer as it is scored where whole samples are filled: what it says of such a sample is all of it. An
/// entry without a value is absent, and the others are closed to 100 percent.
pub fn closed(answer: Answer, trial: &Trial) -> Answer {
    let mut completed = Array2::zeros(trial.truth.dim());
    let mut value = answer.value;
    for sample in (0..trial.fill.n_samples()).filter(|sample| trial.is_missing(*sample)) {
        let percent: Vec<f64> = value
            .row(sample)
            .iter()
            .map(|y| if y.is_nan() { 0.0 } else { y.exp_m1().max(0.0) })
            .collect();
        let total: f64 = percent.iter().sum();
        if total == 0.0 {
            continue; // no answer
        }
        for (feature, x) in percent.into_iter().enumerate() {
            completed[[sample, feature]] = 100.0 * x / total;
            value[[sample, feature]] = completed[[sample, feature]].ln_1p();
        }
    }
    Answer {
        value,
        completed: Some(completed),
        draws: None, // of one entry each, they are no compositions
        intervals: None,
        ..answer
    }
}

#[cfg(test)]
mod tests {
    use super::super::completion::Completion;
    use super::super::protocol::Protocol;
    use super::*;

    /// Six visits of one subject, four taxa; the total of visit `k` is `10 (k + 1)`.
    fn trial() -> Trial {
        let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
        let shares = [[4.0, 3.0, 3.0, 0.0], [2.0, 8.0, 0.0, 0.0]];
        let dense: Vec<f64> = (0..6)
            .flat_map(|k| shares[k % 2].map(|share| share * (k + 1) as f64))
            .collect();
        let table = Table::from_dense(ids("s", 6), ids("t", 4), &dense).unwrap();
        let occasions = Occasions {
            subject: vec![0; 6],
            time: (0..6).map(f64::from).collect(),
        };
        let hiding = Hiding {
            protocol: Protocol::TimePoint,
            mask: &"time:2".parse().unwrap(),
            occasions: Some(&occasions),
            seed: 1,
            completion: Completion::Filled,
        };
        Trial::time_points(&table, None, &hiding).unwrap()
    }

    fn missing(trial: &Trial) -> Vec<usize> {
        (0..6).filter(|sample| trial.is_missing(*sample)).collect()
    }

    #[test]
    fn hidden_visits_are_scored_as_shares_of_themselves() {
        let trial = trial();
        let hidden = missing(&trial);
        assert_eq!(hidden.len(), 2);
        assert_eq!(trial.scored.len() + trial.zeros.len(), 8);
        for &sample in &hidden {
            let percent: f64 = trial.truth.row(sample).iter().map(|y| y.exp_m1()).sum();
            assert!((percent - 100.0).abs() < 1e-9);
        }
        assert!(trial.zeros.iter().all(|at| trial.truth[*at] == 0.0));
        let told = trial.without_times();
        let Totals::Given(totals) = &told.totals else {
            panic!("totals are told");
        };
        let expected: Vec<f64> = (1..=6).map(|k| f64::from(10 * k)).collect();
        assert_eq!(totals, &expected);
        assert!(told.times.is_none() && trial.times.is_some());
    }

    #[test]
    fn an_answer_is_closed_to_a_hundred_percent_and_says_nothing_of_other_samples() {
        let trial = trial();
        let hidden = missing(&trial);
        let mut value = Array2::from_elem((6, 4), f64::NAN);
        for &sample in &hidden {
            value[[sample, 0]] = 30.0_f64.ln_1p();
            value[[sample, 1]] = 20.0_f64.ln_1p();
        }
        let answer = Answer {
            value,
            draws: None,
            intervals: None,
            presence: None,
            completed: None,
        };
        let closed = closed(answer, &trial);
        let completed = closed.completed.unwrap();
        for sample in 0..6 {
            let expected = match hidden.contains(&sample) {
                true => [60.0, 40.0, 0.0, 0.0],
                false => [0.0; 4],
            };
            for (found, expected) in completed.row(sample).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-9);
            }
        }
        assert_eq!(closed.value[[hidden[0], 3]], 0.0, "absent");
    }

    #[test]
    fn the_last_visit_is_carried_forward_and_the_first_backward() {
        let trial = trial();
        let times = trial.times.clone().unwrap();
        let answer = of_time(LongitudinalMethod::LastValue, &times, &trial).unwrap();
        for sample in missing(&trial) {
            let before = (0..sample).rev().find(|s| !trial.is_missing(*s));
            let from = before.unwrap_or_else(|| (0..6).find(|s| !trial.is_missing(*s)).unwrap());
            assert_eq!(answer.value.row(sample), trial.truth.row(from));
        }
    }
}
