//! Other prevalences and means of taxa, over all samples.

use super::draft::{Drafts, Switch};
use super::logistic;
use crate::{Error, Result};

/// Log-odds and logarithms of factors are looked for within this distance of 0.
const FARTHEST: f64 = 60.0;
/// Halvings of that interval: to 1e-12.
const N_HALVINGS: usize = 47;
/// Turns over all taxa whose means are scaled; each changes the shares of the others a little.
const N_TURNS: usize = 20;

impl Drafts<'_> {
    /// Switches a taxon on and off so that it is expected in a share `wanted` of all samples.
    ///
    /// # Errors
    /// A share outside of `[0, 1]`, or one larger than the groups with the taxon.
    pub(super) fn set_prevalence(&mut self, switch: Switch, wanted: f64) -> Result<()> {
        let taxon = switch.taxon;
        if !(0.0..=1.0).contains(&wanted) {
            return Err(Error::Unchangeable {
                taxon,
                problem: format!("found a prevalence of {wanted}, expected 0 to 1"),
            });
        }
        let sizes = self.sizes();
        let prevalences = self.prevalences(taxon);
        let n: usize = sizes.iter().sum();
        let n_with: usize = (sizes.iter().zip(&prevalences))
            .filter(|(_, p)| **p > 0.0)
            .map(|(size, _)| size)
            .sum();
        if wanted * n as f64 > n_with as f64 {
            return Err(Error::Unchangeable {
                taxon,
                problem: format!(
                    "a prevalence of {wanted} needs more samples than the {n_with} of {n} whose group has it when generated: there is nothing to draw its values from"
                ),
            });
        }
        // A group of which every sample has it could as well have one that does not.
        let at = |shift: f64, group: usize| match prevalences[group] {
            0.0 => 0.0,
            p => {
                let p = p.min(1.0 - 0.5 / sizes[group] as f64);
                logistic((p / (1.0 - p)).ln() + shift)
            }
        };
        let sum = |shift: f64| -> f64 {
            (0..sizes.len())
                .map(|g| sizes[g] as f64 * at(shift, g))
                .sum()
        };
        let shift = halved(|shift| sum(shift) - wanted * n as f64);
        self.switch(switch, |_, group| at(shift, group));
        Ok(())
    }

    /// Multiplies the shares of taxa so that their means over all samples change by the factors.
    ///
    /// # Errors
    /// A factor that is not above 0, a taxon that no sample has, a mean beyond what the samples that have it
    /// can hold.
    pub(super) fn scale_means(&mut self, factors: &[(usize, f64)]) -> Result<()> {
        let n = self.rows.len() as f64;
        // Per taxon, share and place of the samples that have it.
        let mut shares: Vec<Vec<(usize, f64)>> = Vec::with_capacity(factors.len());
        let mut wanted = Vec::with_capacity(factors.len());
        for (taxon, factor) in factors {
            let refuse = |problem: String| Error::Unchangeable {
                taxon: *taxon,
                problem,
            };
            if !(*factor > 0.0 && factor.is_finite()) {
                return Err(refuse(format!(
                    "found a factor of {factor}, expected a number above 0"
                )));
            }
            let of_taxon: Vec<(usize, f64)> = (self.rows.iter().enumerate())
                .filter(|(_, row)| row.has(*taxon))
                .map(|(at, row)| (at, row.weight(*taxon) / row.total()))
                .collect();
            let mean = of_taxon.iter().map(|(_, share)| share).sum::<f64>() / n;
            let most = of_taxon.len() as f64 / n;
            if of_taxon.is_empty() {
                return Err(refuse("no generated sample has it".to_string()));
            }
            if mean * factor >= most {
                return Err(refuse(format!(
                    "its mean share {mean:.3e} times {factor} is {:.3e}, but only a share {most:.3e} of the samples has it",
                    mean * factor
                )));
            }
            wanted.push(mean * factor * n);
            shares.push(of_taxon);
        }
        let mut scales = vec![1.0; factors.len()];
        // Total of each sample after scaling, where it was 1 before.
        let mut totals = vec![1.0; self.rows.len()];
        for _ in 0..N_TURNS {
            let mut moved: f64 = 0.0;
            for ((shares, wanted), scale) in shares.iter().zip(&wanted).zip(&mut scales) {
                let others = |at: usize, share: f64| (totals[at] - share * *scale).max(0.0);
                let found = halved(|ln_scale| {
                    let by = ln_scale.exp();
                    let after = |(at, share): &(usize, f64)| {
                        share * by / (others(*at, *share) + share * by)
                    };
                    shares.iter().map(after).sum::<f64>() - wanted
                })
                .exp();
                for (at, share) in shares {
                    totals[*at] = (totals[*at] - share * *scale).max(0.0) + share * found;
                }
                moved = moved.max((found / *scale).ln().abs());
                *scale = found;
            }
            if moved < 1e-9 {
                break;
            }
        }
        for ((taxon, _), scale) in factors.iter().zip(scales) {
            self.rows
                .iter_mut()
                .for_each(|row| row.multiply(*taxon, scale));
        }
        Ok(())
    }
}

/// Where a rising function crosses 0.
fn halved(f: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (-FARTHEST, FARTHEST);
    for _ in 0..N_HALVINGS {
        let middle = 0.5 * (low + high);
        if f(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}
