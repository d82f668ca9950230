//! What the guide is told of the other samples of a subject.

use super::entries::Standardisation;
use super::guide::{Base, MAX_STANDARDISED};
use super::held_out::InSight;
use super::log_scale::LogScale;
use super::neighbours::Around;

/// Inputs per taxon: values of the nearest earlier and later sample and of those around together, all
/// standardised as the sample's own; presence in the two, 1, -1 or 0 where not known; log-odds of presence
/// around, less those of the taxon.
pub(super) const N_TIME_CHANNELS: usize = 6;
/// Figures: for the earlier and the later sample whether there is one and `ln(1 + gap)`; whether nothing of
/// the sample itself is in sight.
pub(super) const N_TIME_FIGURES: usize = 5;

/// The samples around one, in the numbers of the guide.
pub(super) struct InTime {
    /// Per taxon, if nothing of the sample is in sight.
    base: Option<Vec<Base>>,
    /// `[n_taxa, N_TIME_CHANNELS]`, then the figures.
    inputs: Vec<f64>,
}

impl InTime {
    /// - `around`: `None` where no other sample of the subject is in sight
    /// - `in_sight`: how much of the sample itself is
    pub(super) fn new(
        around: Option<Around>,
        scale: &LogScale,
        standardisation: &Standardisation,
        in_sight: InSight,
    ) -> Self {
        let is_missing = in_sight == InSight::Nothing;
        let n_taxa = scale.mean.len();
        let n_inputs = n_taxa * N_TIME_CHANNELS;
        let mut inputs = vec![0.0; n_inputs + N_TIME_FIGURES];
        inputs[n_inputs + N_TIME_FIGURES - 1] = f64::from(u8::from(is_missing));
        let Some(around) = around else {
            return InTime { base: None, inputs };
        };
        let prevalence: Vec<f64> = scale
            .presence_logit
            .iter()
            .map(|logit| 1.0 / (1.0 + (-logit).exp()))
            .collect();
        let log1p = around.values(&standardisation.mean);
        let base: Vec<Base> = log1p
            .iter()
            .zip(around.presence(&prevalence))
            .map(|(log1p, presence)| Base {
                values: [log_of(*log1p), *log1p],
                presence_logit: (presence / (1.0 - presence)).ln(),
            })
            .collect();
        let standardised = |taxon: usize, log: f64| {
            let u = (log - scale.mean[taxon]) / scale.sd[taxon];
            u.clamp(-MAX_STANDARDISED, MAX_STANDARDISED)
        };
        for (side, near) in around.nearest().into_iter().enumerate() {
            let Some(near) = near else { continue };
            inputs[n_inputs + 2 * side] = 1.0;
            inputs[n_inputs + 2 * side + 1] = near.gap.ln_1p();
            let (values, presence) = around.nearest_row(side, n_taxa);
            for taxon in 0..n_taxa {
                let channels = &mut inputs[taxon * N_TIME_CHANNELS..];
                if let Some(log1p) = values[taxon] {
                    channels[side] = standardised(taxon, log_of(log1p));
                }
                channels[3 + side] = presence[taxon];
            }
        }
        for (taxon, base) in base.iter().enumerate() {
            let channels = &mut inputs[taxon * N_TIME_CHANNELS..];
            channels[2] = standardised(taxon, base.values[0]);
            channels[5] = base.presence_logit - scale.presence_logit[taxon];
        }
        InTime {
            base: is_missing.then_some(base),
            inputs,
        }
    }

    /// What members add to for a taxon, if it is not mean + offset.
    pub(super) fn base(&self, taxon: usize) -> Option<Base> {
        self.base.as_ref().map(|base| base[taxon])
    }

    /// `[n_taxa * N_TIME_CHANNELS + N_TIME_FIGURES]`
    pub(super) fn inputs(&self) -> impl Iterator<Item = f32> + '_ {
        self.inputs.iter().map(|input| *input as f32)
    }
}

/// Smallest percent whose logarithm is taken.
const LEAST_PERCENT: f64 = 1e-6;

/// ln(percent) of ln(1+percent).
fn log_of(log1p: f64) -> f64 {
    log1p.exp_m1().max(LEAST_PERCENT).ln()
}
