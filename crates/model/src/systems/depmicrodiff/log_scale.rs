//! The log-ratio scale of the guide: where ln(percent) of each taxon lies, and which taxa tell of which.

use super::entries::{Entries, Known};
use serde::{Deserialize, Serialize};

/// Observations that the pooled variance counts for.
const PRIOR_OBSERVATIONS: f64 = 3.0;
/// Rounds of fitting means and offsets in turn.
const N_ALTERNATIONS: usize = 10;
/// Partners of a taxon that are read directly.
const N_PARTNERS: usize = 12;
/// Samples with both taxa that count half.
const FEW_SAMPLES: f64 = 10.0;
/// Smallest spread of a taxon in ln(percent).
const MIN_SD: f64 = 0.1;

/// Centre and scale of ln(percent) of each taxon where present, beside the offset of the sample, and how
/// often it is present.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogScale {
    pub(super) mean: Vec<f64>,
    pub(super) sd: Vec<f64>,
    /// Log-odds of presence, shrunk to even odds by one observation.
    pub(super) presence_logit: Vec<f64>,
    /// Per taxon, the taxa that tell most of it where both are present, the first tells most.
    pub(super) partners: Vec<Vec<usize>>,
}

impl LogScale {
    /// Fits the additive model `ln(percent) ~ mean[taxon] + offset[sample]` to what is observed.
    ///
    /// - `cohorts`: one or more, of the same taxa
    pub(super) fn fit(cohorts: &[&Entries]) -> Self {
        let n_taxa = cohorts.first().map_or(0, |entries| entries.n_taxa);
        let of_cohort = |entries: &&Entries| -> Vec<Vec<(usize, f64)>> {
            (0..entries.n_samples())
                .map(|sample| log_percents(entries, sample, None))
                .collect()
        };
        let rows: Vec<Vec<(usize, f64)>> = cohorts.iter().flat_map(of_cohort).collect();
        let n_all = rows.iter().map(Vec::len).sum::<usize>() as f64;
        let mut scale = LogScale {
            mean: vec![0.0; n_taxa],
            sd: vec![1.0; n_taxa],
            presence_logit: presence_logits(cohorts, n_taxa),
            partners: Vec::new(),
        };
        let mut offsets = vec![0.0; rows.len()];
        for _ in 0..N_ALTERNATIONS {
            let mut sums = vec![(0.0, 0.0, 0.0); n_taxa];
            for (row, offset) in rows.iter().zip(&offsets) {
                for &(taxon, value) in row {
                    let (n, sum, square) = &mut sums[taxon];
                    *n += 1.0;
                    *sum += value - offset;
                    *square += (value - offset).powi(2);
                }
            }
            let pooled_mean = sums.iter().map(|(_, sum, _)| sum).sum::<f64>() / n_all.max(1.0);
            let within = |(n, sum, square): &(f64, f64, f64)| match *n > 0.0 {
                true => square - sum * sum / n,
                false => 0.0,
            };
            let pooled_variance = sums.iter().map(within).sum::<f64>() / n_all.max(1.0);
            for (j, sums) in sums.iter().enumerate() {
                scale.mean[j] = (sums.1 + pooled_mean) / (sums.0 + 1.0);
                let variance = (within(sums) + PRIOR_OBSERVATIONS * pooled_variance)
                    / (sums.0 + PRIOR_OBSERVATIONS);
                scale.sd[j] = variance.sqrt().max(MIN_SD);
            }
            for (row, offset) in rows.iter().zip(&mut offsets) {
                *offset = scale.offset(row);
            }
        }
        scale.partners = scale.find_partners(&rows, &offsets);
        scale
    }

    /// The taxa whose residuals correlate most with those of each taxon over samples that have both, less
    /// where these are few.
    fn find_partners(&self, rows: &[Vec<(usize, f64)>], offsets: &[f64]) -> Vec<Vec<usize>> {
        let n_taxa = self.mean.len();
        let mut product = vec![0.0; n_taxa * n_taxa];
        let mut square = vec![0.0; n_taxa * n_taxa];
        let mut n_both = vec![0.0; n_taxa * n_taxa];
        for (row, offset) in rows.iter().zip(offsets) {
            let residual = |(taxon, value): &(usize, f64)| {
                (
                    *taxon,
                    (value - self.mean[*taxon] - offset) / self.sd[*taxon],
                )
            };
            let residuals: Vec<(usize, f64)> = row.iter().map(residual).collect();
            for (i, a) in &residuals {
                for (j, b) in &residuals {
                    let at = i * n_taxa + j;
                    product[at] += a * b;
                    square[at] += a * a;
                    n_both[at] += 1.0;
                }
            }
        }
        let n_partners = N_PARTNERS.min(n_taxa.saturating_sub(1));
        (0..n_taxa)
            .map(|i| {
                let tells = |j: usize| {
                    let (at, back) = (i * n_taxa + j, j * n_taxa + i);
                    let spread = (square[at] * square[back]).sqrt();
                    let n = n_both[at];
                    match spread > 0.0 {
                        true => (product[at] / spread).abs() * (n / (n + FEW_SAMPLES)).sqrt(),
                        false => 0.0,
                    }
                };
                let mut order: Vec<(f64, usize)> = (0..n_taxa)
                    .filter(|j| *j != i)
                    .map(|j| (tells(j), j))
                    .collect();
                order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                order.into_iter().take(n_partners).map(|(_, j)| j).collect()
            })
            .collect()
    }

    /// How far ln(percent) of a sample lie above the means of their taxa: a mean weighted by
    /// `1 / sd^2`, shrunk to 0 as if one taxon of middling weight stood at its mean.
    pub(super) fn offset(&self, observed: &[(usize, f64)]) -> f64 {
        let weight = |taxon: usize| self.sd[taxon].powi(-2);
        let prior = (0..self.sd.len()).map(weight).sum::<f64>() / self.sd.len().max(1) as f64;
        let (mut sum, mut weights) = (0.0, prior);
        for &(taxon, value) in observed {
            sum += weight(taxon) * (value - self.mean[taxon]);
            weights += weight(taxon);
        }
        sum / weights
    }
}

/// Taxon and ln(percent) of the observed non-zeros, less those marked in `hidden`.
pub(super) fn log_percents(
    entries: &Entries,
    sample: usize,
    hidden: Option<&[bool]>,
) -> Vec<(usize, f64)> {
    let total = entries.total(sample, hidden);
    let in_sight = entries
        .abundance_row(sample)
        .into_iter()
        .enumerate()
        .filter(|(taxon, x)| *x > 0.0 && hidden.is_none_or(|hidden| !hidden[*taxon]));
    let log = |(taxon, x): (usize, f64)| (taxon, (100.0 * x / total).ln());
    in_sight.map(log).collect()
}

fn presence_logits(cohorts: &[&Entries], n_taxa: usize) -> Vec<f64> {
    let mut counts = vec![(0.5, 1.0); n_taxa];
    let rows = cohorts.iter().flat_map(|entries| {
        let samples = entries.informative_samples().into_iter();
        samples.map(|sample| entries.known_row(sample))
    });
    for known in rows {
        for (taxon, known) in known.into_iter().enumerate() {
            let (n_present, n) = &mut counts[taxon];
            *n += f64::from(u8::from(known != Known::Unknown));
            *n_present += f64::from(u8::from(matches!(known, Known::Present | Known::Withheld)));
        }
    }
    let logit = |(n_present, n): (f64, f64)| (n_present / (n - n_present)).ln();
    counts.into_iter().map(logit).collect()
}
