//! Counts drawn anew as if the sample had been sequenced less deeply.

use super::parts::{Progress, nothing};
use crate::seeded::seeded;
use crate::{Csr, Error, Result};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Binomial, Distribution};
use std::borrow::Cow;

/// Counts above this are not exact in an `f64`.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0; // 2^53

impl Progress<'_> {
    /// Draws each count anew from `Binomial(count, share)`.
    pub(super) fn thin(&mut self, share: f64, suffix: &str) -> Result<()> {
        let mut csr = Csr {
            indptr: vec![0],
            ..Csr::default()
        };
        let mut n_thinned = 0;
        for sample in 0..self.table.n_samples() {
            // A sample's draws do not depend on which others are thinned.
            let id = &self.table.sample_ids()[sample];
            let mut generator = seeded(self.seed, &format!("hide/thin{suffix}/{id}"));
            let (columns, values) = self.table.row(sample);
            for (feature, value) in columns.iter().zip(values) {
                let is_open = self.is_among[sample]
                    && *value > 0.0
                    && self.hidden[sample].binary_search(feature).is_err();
                let left = match is_open {
                    true => self.thinned_count(sample, *feature, *value, share, &mut generator)?,
                    false => *value,
                };
                n_thinned += usize::from(is_open);
                if is_open && left < *value {
                    self.thinned[sample].push(*feature);
                }
                if left != 0.0 {
                    csr.indices.push(*feature);
                    csr.values.push(left);
                }
            }
            csr.indptr.push(csr.indices.len());
            self.thinned[sample].sort_unstable();
            self.thinned[sample].dedup();
        }
        if n_thinned == 0 {
            return Err(nothing("no count is left among the chosen samples"));
        }
        self.table = Cow::Owned(self.table.with_entries(csr)?);
        Ok(())
    }

    fn thinned_count(
        &self,
        sample: usize,
        feature: u32,
        count: f64,
        share: f64,
        generator: &mut ChaCha12Rng,
    ) -> Result<f64> {
        if count.fract() != 0.0 || count > MAX_COUNT {
            return Err(Error::Invalid(format!(
                "sample {:?}, feature {:?}: found {count}, expected a whole number up to 2^53; \
                 only counts can be thinned: give the table of raw counts, or hide another way, \
                 as in nonzero:0.1",
                self.table.sample_ids()[sample],
                self.table.feature_ids()[feature as usize]
            )));
        }
        let binomial = Binomial::new(count as u64, share)
            .map_err(|error| Error::Invalid(format!("share {share}: {error}")))?;
        Ok(binomial.sample(generator) as f64)
    }
}

#[cfg(test)]
mod tests {
    use crate::hide::example::{OPTIONS, apply, problem, table};
    use crate::hide::{MaskOptions, true_values};

    #[test]
    fn thinned_counts_have_the_mean_and_variance_of_a_binomial() {
        for (count, share) in [(7.0, 0.35), (1000.0, 0.2), (1e6, 0.7)] {
            let n = 20_000;
            let masked = apply(
                &format!("thin:{share}"),
                &table(&vec![count; n], 100),
                &OPTIONS,
            );
            let left = masked.table.to_dense();
            let mean = left.iter().sum::<f64>() / n as f64;
            let deviations = left.iter().map(|x| (x - mean) * (x - mean));
            let variance = deviations.sum::<f64>() / (n - 1) as f64;
            let (e, v) = (count * share, count * share * (1.0 - share));
            let sd_of_variance = v * (2.0 / n as f64).sqrt();
            assert!(
                (mean - e).abs() < 5.0 * (v / n as f64).sqrt(),
                "{mean}, expected {e}"
            );
            assert!(
                (variance - v).abs() < 5.0 * sd_of_variance,
                "{variance}, expected {v}"
            );
        }
    }

    #[test]
    fn counts_thinned_to_nothing_are_hidden_zeros_and_the_others_are_told() {
        let dense: Vec<f64> = (0..400).map(|i| f64::from(i % 5)).collect();
        let full = table(&dense, 20);
        let masked = apply("thin:0.3", &full, &OPTIONS);
        let before = true_values(&full, &masked.hidden);
        let after = true_values(&masked.table, &masked.hidden);
        assert!(before.iter().all(|x| *x > 0.0) && after.iter().all(|x| *x == 0.0));
        let before = true_values(&full, &masked.thinned);
        let after = true_values(&masked.table, &masked.thinned);
        assert!(before.iter().zip(&after).all(|(b, a)| a < b && *a > 0.0));
        let n_same = masked
            .table
            .to_dense()
            .iter()
            .zip(&dense)
            .filter(|(a, b)| a == b)
            .count();
        assert_eq!(n_same + masked.hidden.len() + masked.thinned.len(), 400);
        // Hidden after it was thinned: unknown, not smaller.
        let both = apply("thin:0.3+nonzero:1", &full, &OPTIONS);
        assert!(both.thinned.is_empty());
        assert_eq!(both.hidden.len(), 320, "all that are not zero");
        assert_eq!(apply("thin:1", &full, &OPTIONS).hidden, []);
    }

    #[test]
    fn a_sample_is_thinned_the_same_way_whichever_others_are() {
        let full = table(&[50.0; 200], 10);
        let all = apply("thin:0.3", &full, &OPTIONS).table;
        let among = MaskOptions {
            among: Some(&[4]),
            ..OPTIONS
        };
        let one = apply("thin:0.3", &full, &among).table;
        assert_eq!(one.row(4), all.row(4));
        assert_eq!(one.row(3), full.row(3));
        let twice = apply("thin:0.3+thin:0.3", &full, &OPTIONS).table;
        assert!(twice.totals().iter().sum::<f64>() < 0.15 * 50.0 * 200.0);
    }

    #[test]
    fn fractions_are_not_thinned_and_the_place_is_named() {
        let message = problem("thin:0.5", &table(&[1.0, 2.0, 3.0, 0.25], 2), &OPTIONS);
        for fact in ["\"s1\"", "\"t1\"", "0.25", "counts"] {
            assert!(message.contains(fact), "{message}");
        }
        let mut dense = vec![1.0; 4];
        dense[3] = 1e300;
        assert!(problem("thin:0.5", &table(&dense, 2), &OPTIONS).contains("2^53"));
        assert!(problem("nonzero:0.5", &table(&[0.0; 4], 2), &OPTIONS).contains("nothing to hide"));
    }
}
