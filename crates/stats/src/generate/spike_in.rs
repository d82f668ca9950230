//! Known changes of generated samples: associations of taxa with covariates, other prevalences and means.
//!
//! ```text
//! share   x_j  ->  x_j exp(effect c) in the samples that have the taxon, then the sample is closed again
//! odds    p / (1 - p)  ->  p / (1 - p) exp(effect c): the taxon is switched on or off at random
//! ```
//!
//! Reads stay whole and each sample keeps its total. Where a sample changes, all other taxa keep their ratios
//! to each other, but for rounding: a taxon that is present has a read at least, so the share of one with few
//! reads cannot fall as far as it should.
//!
//! A taxon is switched on with probability `(q - p) / (1 - p)` where it is absent and its odds rise from
//! `p / (1 - p)` to `q / (1 - q)`, and off with probability `1 - q / p` where it is present and they fall.
//! `p` is its prevalence among the generated samples of the same group. Where it is switched on, its ratio to
//! all other taxa is that of a random sample of the group that has it. The only taxon of a sample is not
//! switched off.

mod changes;
mod draft;
mod realised;

use super::{SparseRow, stream};
use crate::error::check_length;
use crate::{Error, Result};
use draft::{Draft, Drafts, Switch};
use rand::seq::SliceRandom;
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;

/// What an association moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The share of the taxon where it is present.
    Abundance,
    /// The odds of its presence.
    Prevalence,
}

impl On {
    /// Name in files.
    pub fn name(self) -> &'static str {
        match self {
            On::Abundance => "abundance",
            On::Prevalence => "prevalence",
        }
    }
}

/// A covariate that is made for an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covariate {
    /// 1 in half of the samples (rounded down), chosen at random, 0 in the others.
    Binary,
    /// Standard normal.
    Normal,
}

impl Covariate {
    /// A value for each of `n` samples.
    pub fn draw(self, n: usize, seed: u64) -> Vec<f64> {
        let mut rng = stream(seed, None);
        match self {
            Covariate::Binary => {
                let mut values: Vec<f64> =
                    (0..n).map(|at| f64::from(u8::from(at < n / 2))).collect();
                values.shuffle(&mut rng);
                values
            }
            Covariate::Normal => (0..n).map(|_| StandardNormal.sample(&mut rng)).collect(),
        }
    }
}

/// An association of a taxon with a covariate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// Position of the taxon.
    pub taxon: usize,
    /// Position of the covariate.
    pub covariate: usize,
    /// What one unit of the covariate adds to the logarithm of the share, or to the log-odds of presence.
    pub effect: f64,
    /// What it moves.
    pub on: On,
}

/// All that is changed, in this order: prevalences, means, associations.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// Taxa and the share of all samples that shall have them. The log-odds of presence move by the same
    /// number in all groups; a group in which no sample has the taxon stays without it.
    pub prevalences: Vec<(usize, f64)>,
    /// Taxa and the factor of their mean relative abundance over all samples. Their shares are multiplied by
    /// one number each, the one with which the means come out after closing.
    pub mean_factors: Vec<(usize, f64)>,
    /// Associations.
    pub effects: Vec<Effect>,
    /// Covariates, each with a number per sample.
    pub covariates: Vec<Vec<f64>>,
}

impl Changes {
    /// Says whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.prevalences.is_empty() && self.mean_factors.is_empty() && self.effects.is_empty()
    }
}

/// What changes came to among the samples, in the order of [`Changes`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Realised {
    /// Share of the samples with each taxon whose prevalence was set.
    pub prevalences: Vec<f64>,
    /// Mean relative abundance of each taxon whose mean was scaled, over the one before that; associations
    /// are in it.
    pub mean_factors: Vec<f64>,
    /// The effect of each association, see [`apply`].
    pub effects: Vec<f64>,
}

/// Changes samples, and returns what the changes came to.
///
/// The effect of an association is the slope on the covariate after the spike-in less the one before, `NaN` where one of them cannot be
/// told: for abundance of the logarithm of the taxon over all taxa without an effect on their abundance (least
/// squares, samples that have it), for prevalence of the log-odds of presence (maximum likelihood), with an
/// intercept per group.
///
/// - `rows`: counts
/// - `groups`: a number per sample; prevalences and values are those of its group
///
/// # Errors
/// Lengths that do not fit; an entry that is no count; a prevalence, factor or effect that cannot be had
/// ([`Error::Unchangeable`]).
pub fn apply(
    rows: &mut [SparseRow],
    groups: &[usize],
    changes: &Changes,
    seed: u64,
) -> Result<Realised> {
    check_length("groups of the samples to change", groups.len(), rows.len())?;
    for covariate in &changes.covariates {
        check_length("values of a covariate", covariate.len(), rows.len())?;
        if let Some(row) = covariate.iter().position(|value| !value.is_finite()) {
            return Err(Error::BadEntry {
                what: "covariate",
                row,
                column: 0,
                value: covariate[row],
                expected: "a finite number",
            });
        }
    }
    let mut drafts = Drafts::new(rows, groups)?;
    for (at, (taxon, wanted)) in changes.prevalences.iter().enumerate() {
        let switch = Switch {
            taxon: *taxon,
            rng: stream(seed ^ SET_KEY, Some(at)),
        };
        drafts.set_prevalence(switch, *wanted)?;
    }
    let scaled = || changes.mean_factors.iter().map(|(taxon, _)| *taxon);
    let means_before: Vec<f64> = scaled().map(|taxon| drafts.mean_share(taxon)).collect();
    drafts.scale_means(&changes.mean_factors)?;
    let before = realised::slopes(&drafts.rows, groups, changes);
    move_odds(&mut drafts, changes, seed)?;
    multiply_shares(&mut drafts, changes)?;
    for (row, draft) in rows.iter_mut().zip(&mut drafts.rows) {
        if draft.is_changed {
            *row = draft.reads();
            *draft = Draft::of(row);
        }
    }
    let after = realised::slopes(&drafts.rows, groups, changes);
    let set = changes.prevalences.iter();
    let means = scaled().zip(means_before);
    Ok(Realised {
        prevalences: set.map(|(taxon, _)| drafts.prevalence(*taxon)).collect(),
        mean_factors: means
            .map(|(taxon, before)| drafts.mean_share(taxon) / before)
            .collect(),
        effects: after.iter().zip(before).map(|(a, b)| a - b).collect(),
    })
}

/// Streams of switching are none of those that samples are drawn from.
const SET_KEY: u64 = 0x7365_745f_7072_6576;
const SPIKE_KEY: u64 = 0x7370_696b_655f_696e;

/// What all covariates together add for a taxon, per sample.
fn added(changes: &Changes, on: On) -> BTreeMap<usize, Vec<f64>> {
    let mut added: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for effect in changes.effects.iter().filter(|effect| effect.on == on) {
        let covariate = &changes.covariates[effect.covariate];
        let sums = added
            .entry(effect.taxon)
            .or_insert_with(|| vec![0.0; covariate.len()]);
        for (sum, value) in sums.iter_mut().zip(covariate) {
            *sum += effect.effect * value;
        }
    }
    added
}

fn move_odds(drafts: &mut Drafts<'_>, changes: &Changes, seed: u64) -> Result<()> {
    for (at, (taxon, added)) in added(changes, On::Prevalence).into_iter().enumerate() {
        let prevalences = drafts.prevalences(taxon);
        if prevalences.iter().all(|p| *p <= 0.0 || *p >= 1.0) {
            return Err(Error::Unchangeable {
                taxon,
                problem: format!(
                    "all or none of the generated samples of a group have it (prevalences {prevalences:?}), so its odds cannot move"
                ),
            });
        }
        let rng = stream(seed ^ SPIKE_KEY, Some(at));
        drafts.switch(Switch { taxon, rng }, |row, group| {
            let p = prevalences[group];
            match p > 0.0 && p < 1.0 {
                true => logistic((p / (1.0 - p)).ln() + added[row]),
                false => p,
            }
        });
    }
    Ok(())
}

fn multiply_shares(drafts: &mut Drafts<'_>, changes: &Changes) -> Result<()> {
    for (taxon, added) in added(changes, On::Abundance) {
        if drafts.prevalences(taxon).iter().all(|p| *p == 0.0) {
            return Err(Error::Unchangeable {
                taxon,
                problem: "no generated sample has it, so it has no abundance to change".to_string(),
            });
        }
        for (draft, added) in drafts.rows.iter_mut().zip(&added) {
            draft.multiply(taxon, added.exp());
        }
    }
    Ok(())
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests;
