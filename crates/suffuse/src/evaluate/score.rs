//! An answer against the truth of its trial.

use super::answer::Answer;
use super::judged::{JudgedSums, bray_curtis};
use super::outcome::{DrawFigures, Key, Outcome, PresenceFigures, SampleSums, Seconds};
use super::trial::Trial;
use crate::Result;
use suffuse_stats::ranks::{auroc, average_precision, placements};
use suffuse_stats::scores::{fair_crps, predictive_interval, score_entries};

/// Scores an answer. Entries to which the method gave no value are left out of the scores of values.
///
/// # Errors
/// A draw that is not finite, which would be a defect of the method.
pub fn score(key: Key, trial: &Trial, answer: &Answer, seconds: Seconds) -> Result<Outcome> {
    let has_value = |at: &&(usize, usize)| !answer.value[**at].is_nan();
    let valued: Vec<(usize, usize)> = trial.scored.iter().filter(has_value).copied().collect();
    let report = score_entries(&trial.truth, &answer.value, &valued)?;
    let mut outcome = Outcome::new(key, &report, trial.fill.feature_ids(), seconds);
    outcome.samples = sums(trial, answer, &valued);
    outcome.draws = answer
        .draws
        .as_ref()
        .map(|draws| DrawFigures::of(&outcome.samples, draws.ncols()));
    outcome.presence = presence(trial, answer)?;
    outcome.judged = judged(trial, answer)?;
    let sums = outcome.judged.iter().copied().reduce(|a, b| a.and(&b));
    outcome.depth = sums.and_then(|sums| sums.depth());
    Ok(outcome)
}

/// The sums of each sample with a scored entry, in the order of the samples.
fn sums(trial: &Trial, answer: &Answer, valued: &[(usize, usize)]) -> Vec<SampleSums> {
    let mut all: Vec<SampleSums> = Vec::new();
    let mut last = usize::MAX;
    for (k, &at) in trial.scored.iter().enumerate() {
        if valued.binary_search(&at).is_err() {
            continue;
        }
        if at.0 != last {
            last = at.0;
            all.push(SampleSums {
                group: trial.groups.as_ref().map_or(at.0, |groups| groups[at.0]),
                ..SampleSums::default()
            });
        }
        let here = all.last_mut().expect("pushed above");
        let (truth, value) = (trial.truth[at], answer.value[at]);
        here.n += 1.0;
        here.truth += truth;
        here.value += value;
        here.truth_squared += truth * truth;
        here.value_squared += value * value;
        here.product += truth * value;
        here.absolute_error += (value - truth).abs();
        let Some(draws) = &answer.draws else {
            continue;
        };
        let mut sorted = draws.row(k).to_vec();
        sorted.sort_by(f64::total_cmp);
        here.crps += fair_crps(&sorted, truth);
        let intervals = match &answer.intervals {
            Some(intervals) => intervals[k],
            None => [0.5, 0.9].map(|level| predictive_interval(&sorted, level)),
        };
        for (slot, (low, high)) in intervals.into_iter().enumerate() {
            here.inside[slot] += f64::from(u8::from(low <= truth && truth <= high));
            here.width[slot] += high - low;
        }
    }
    all
}

fn presence(trial: &Trial, answer: &Answer) -> Result<Option<PresenceFigures>> {
    let Some(scores) = &answer.presence else {
        return Ok(None);
    };
    let is_positive: Vec<bool> = (0..scores.len()).map(|k| k < trial.scored.len()).collect();
    Ok(Some(PresenceFigures {
        auroc: auroc(scores, &is_positive)?,
        aupr: average_precision(scores, &is_positive)?,
        n_positive: trial.scored.len(),
        n_negative: trial.zeros.len(),
    }))
}

/// The sums of each sample with a judged entry, in the order of the samples; none where a method judged
/// nothing.
fn judged(trial: &Trial, answer: &Answer) -> Result<Vec<JudgedSums>> {
    let Some(scores) = &answer.presence else {
        return Ok(Vec::new());
    };
    let n_positive = trial.scored.len();
    let has_both = n_positive > 0 && scores.len() > n_positive;
    if !has_both && trial.full_depth.is_none() {
        return Ok(Vec::new());
    }
    let is_positive: Vec<bool> = (0..scores.len()).map(|k| k < n_positive).collect();
    // Without positives or without negatives there is nothing to place; depths are compared all the same.
    let placed = match has_both {
        true => placements(scores, &is_positive)?,
        false => Vec::new(),
    };
    let mut sums = vec![JudgedSums::default(); trial.fill.n_samples()];
    let entries = trial.scored.iter().chain(&trial.zeros);
    for ((at, placement), is_positive) in entries.zip(placed).zip(is_positive) {
        let here = &mut sums[at.0];
        let (n, sum) = match is_positive {
            true => (&mut here.n_positive, &mut here.positive),
            false => (&mut here.n_negative, &mut here.negative),
        };
        *n += 1.0;
        *sum += placement;
        let value = answer.value[*at];
        let filled = if value.is_nan() { 0.0 } else { value };
        here.squared_error += (filled - trial.truth[*at]).powi(2);
    }
    if let (Some(full), Some(completed)) = (&trial.full_depth, &answer.completed) {
        for (sample, here) in sums.iter_mut().enumerate() {
            let full = full.dense_row(sample);
            let thin = match trial.is_missing(sample) {
                true => Some(1.0), // nothing in common
                false => bray_curtis(&trial.fill.dense_row(sample), &full),
            };
            let completed = bray_curtis(&completed.row(sample).to_vec(), &full);
            if let (Some(thin), Some(completed)) = (thin, completed) {
                here.n_compared = 1.0;
                (here.thin, here.completed) = (thin, completed);
                here.n_closer = f64::from(u8::from(completed < thin));
            }
        }
    }
    for (sample, here) in sums.iter_mut().enumerate() {
        here.group = trial
            .groups
            .as_ref()
            .map_or(sample, |groups| groups[sample]);
    }
    sums.retain(|here| here.n_positive + here.n_negative + here.n_compared > 0.0);
    Ok(sums)
}
