//! Rows of the networks' inputs, made on the CPU from entries and from what is hidden of them.

use super::dat::{self, N_FLAGS, N_GAP, N_GUESS, N_NEIGHBOURS, N_SUMMARY, N_TIME_FEATURES};
use super::entries::{Entries, Known, Standardisation};
use super::neighbours::PassedOver;
use super::vae::{N_CHANNELS, Vae};
use crate::cond::Conditions;
use crate::nn::timestep::timestep_features;
use crate::parameters::tensor;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;

/// Largest standardised abundance that a network sees: when a dominant taxon is hidden, its value
/// relative to the little that is left would otherwise rule the loss.
const MAX_STANDARDISED: f64 = 10.0;

/// What a network is told of an entry: the position of its flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// The value, which is positive.
    Present = 0,
    /// That it is zero.
    Absent = 1,
    /// Nothing.
    Hidden = 2,
    /// That it is positive.
    HiddenPresent = 3,
}

impl Flag {
    /// The flag of an entry of which nothing more is hidden.
    pub fn of(known: Known) -> Flag {
        match known {
            Known::Present => Flag::Present,
            Known::Absent => Flag::Absent,
            Known::Unknown => Flag::Hidden,
            Known::Withheld => Flag::HiddenPresent,
        }
    }

    /// Says whether the network sees the entry.
    pub fn is_observed(self) -> bool {
        matches!(self, Flag::Present | Flag::Absent)
    }
}

/// What the guide says of a row, per taxon.
#[derive(Debug, Clone, Copy)]
pub struct Guess<'a> {
    /// ln(1+percent) given presence.
    pub value: &'a [f64],
    /// Spread of what the guide leaves over, in ln(1+percent).
    pub sd: &'a [f64],
    /// Log-odds of presence.
    pub presence_logit: &'a [f64],
}

/// Rows as the networks take them, taxa in the table's order.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    n_rows: usize,
    n_taxa: usize,
    entries: Vec<f32>,
    flags: Vec<f32>,
    is_observed: Vec<f32>,
    is_known: Vec<f32>,
    target_flags: Vec<Option<Flag>>,
    summary: Vec<f32>,
    guess: Vec<f32>,
    centre: Vec<f64>,
    spread: Vec<f64>,
    metadata: Vec<f32>,
    no_metadata: Vec<f32>,
    neighbours: Option<Box<Neighbours>>,
}

/// The nearest earlier and later sample of each row.
#[derive(Debug, Clone, Default)]
struct Neighbours {
    /// [`N_NEIGHBOURS`] per row, in their order.
    rows: Rows,
    /// Whether there is one, `ln(1 + gap)`, and which of them it is, `[rows, 2, 3]`.
    gaps: Vec<f32>,
}

/// Centre and scale of each latent dimension over the known entries of the training table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentScale {
    /// Mean per latent dimension.
    pub mean: Vec<f32>,
    /// Standard deviation per latent dimension.
    pub sd: Vec<f32>,
}

impl Rows {
    /// No rows of `n_taxa` taxa.
    pub fn new(n_taxa: usize) -> Self {
        Rows {
            n_taxa,
            ..Rows::default()
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.n_rows
    }

    /// Says whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// Adds a sample with these flags. Values are relative to [`Entries::hundred_percent`]; those in
    /// sight are standardised around mean + offset, hidden ones around the guide's guess, if there is one.
    pub fn push(
        &mut self,
        entries: &Entries,
        sample: usize,
        flags: &[Flag],
        standardisation: &Standardisation,
        guess: Option<&Guess>,
    ) {
        let hidden: Vec<bool> = flags.iter().map(|flag| !flag.is_observed()).collect();
        let total = entries.hundred_percent(sample, &hidden);
        let known_row = entries.known_row(sample);
        let abundance = entries.abundance_row(sample);
        let logs: Vec<f64> = abundance
            .iter()
            .map(|x| ln1p_percent(*x, Scale(total)))
            .collect();
        let in_sight = (0..flags.len()).filter(|taxon| flags[*taxon] == Flag::Present);
        let offset = standardisation.offset(in_sight.clone().map(|taxon| (taxon, logs[taxon])));
        for (taxon, flag) in flags.iter().enumerate() {
            let known = known_row[taxon];
            let is_present = known == Known::Present;
            let expected = standardisation.mean[taxon] + offset;
            let (centre, spread, word) = match guess.filter(|_| !flag.is_observed()) {
                Some(guess) => {
                    let guessed = (guess.value[taxon] - expected) / standardisation.sd[taxon];
                    let word = [guessed, guess.presence_logit[taxon]];
                    (guess.value[taxon], guess.sd[taxon], word)
                }
                None => (expected, standardisation.sd[taxon], [0.0; N_GUESS]),
            };
            self.centre.push(centre);
            self.spread.push(spread);
            let bounded = |x: f64| x.clamp(-MAX_STANDARDISED, MAX_STANDARDISED) as f32;
            self.guess.extend(word.map(bounded));
            let u = match is_present {
                true => (logs[taxon] - centre) / spread,
                false => 0.0,
            };
            let u = u.clamp(-MAX_STANDARDISED, MAX_STANDARDISED);
            self.entries
                .extend([f32::from(u8::from(is_present)), u as f32]);
            let mut one_hot = [0.0; N_FLAGS];
            one_hot[*flag as usize] = 1.0;
            self.flags.extend(one_hot);
            let is_known = matches!(known, Known::Present | Known::Absent);
            self.is_observed
                .push(f32::from(u8::from(flag.is_observed())));
            self.is_known.push(f32::from(u8::from(is_known)));
            self.target_flags
                .push((is_known && !flag.is_observed() && total > 0.0).then_some(*flag));
        }
        let observed: f64 = in_sight.map(|taxon| abundance[taxon]).sum();
        let share = if total > 0.0 { observed / total } else { 0.0 };
        self.summary.extend([share as f32, offset as f32]);
        self.n_rows += 1;
    }

    /// Adds the samples around the last row, what is in sight of them.
    pub(super) fn push_neighbours(
        &mut self,
        entries: &Entries,
        sample: usize,
        passed_over: PassedOver,
        standardisation: &Standardisation,
    ) {
        let around = entries.around(sample, passed_over);
        let nearest = around.map_or([None; N_NEIGHBOURS], |around| around.nearest());
        let n_taxa = self.n_taxa;
        let neighbours = self.neighbours.get_or_insert_with(|| {
            Box::new(Neighbours {
                rows: Rows::new(n_taxa),
                gaps: Vec::new(),
            })
        });
        for (near, side) in nearest.into_iter().zip([-1.0, 1.0]) {
            match near {
                Some(near) => {
                    let known = entries.known_row(near.sample);
                    let flags: Vec<Flag> = known.into_iter().map(Flag::of).collect();
                    let rows = &mut neighbours.rows;
                    rows.push(entries, near.sample, &flags, standardisation, None);
                    let gap = near.gap.ln_1p() as f32;
                    neighbours.gaps.extend([1.0, gap, side]);
                }
                None => {
                    neighbours.rows.push_nothing();
                    neighbours.gaps.extend([0.0, 0.0, side]);
                }
            }
        }
    }

    /// Adds a row of which nothing is known, not even that something is hidden.
    fn push_nothing(&mut self) {
        let n = self.n_taxa;
        self.entries.extend(vec![0.0; n * N_CHANNELS]);
        self.flags.extend(vec![0.0; n * N_FLAGS]);
        self.guess.extend(vec![0.0; n * N_GUESS]);
        self.is_observed.extend(vec![0.0; n]);
        self.is_known.extend(vec![0.0; n]);
        self.target_flags.extend(vec![None; n]);
        self.centre.extend(vec![0.0; n]);
        self.spread.extend(vec![0.0; n]);
        self.summary.extend([0.0; N_SUMMARY]);
        self.n_rows += 1;
    }

    /// Latents, flags and gap of the samples around each row, `[rows, 2, n_taxa * (d_latent + 4) + 3]`.
    pub(super) fn neighbours(
        &self,
        vae: &Vae,
        scale: &LatentScale,
        device: &Device,
    ) -> Option<Tensor<3>> {
        let Neighbours { rows, gaps } = self.neighbours.as_deref()?;
        let latents = rows.latents(vae, scale, device);
        let [_, n_taxa, d] = latents.dims();
        let shape = |width: usize| [self.n_rows, N_NEIGHBOURS, width];
        let parts = vec![
            latents.reshape(shape(n_taxa * d)),
            tensor(rows.flags.clone(), shape(n_taxa * N_FLAGS), device),
            tensor(gaps.clone(), shape(N_GAP), device),
        ];
        Some(Tensor::cat(parts, 2))
    }

    /// ln(1+percent) of a standardised abundance, never below the smallest observed one of the taxon.
    pub fn in_logs(&self, row: usize, taxon: usize, u: f64, least: &[f64]) -> f64 {
        let at = row * self.n_taxa + taxon;
        (self.centre[at] + self.spread[at] * u).max(least[taxon])
    }

    /// Adds the metadata of the last row; `is_dropped` replaces them by the learned null.
    pub fn push_metadata(&mut self, conditions: &Conditions, sample: usize, is_dropped: bool) {
        let is_missing = is_dropped || conditions.missing[sample];
        let values = &conditions.values[sample * conditions.dim..(sample + 1) * conditions.dim];
        self.metadata.extend(
            values
                .iter()
                .map(|value| if is_missing { 0.0 } else { *value }),
        );
        self.no_metadata.push(f32::from(u8::from(is_missing)));
    }

    /// Presence and standardised abundance, `[rows, n_taxa, 2]`.
    pub fn entries(&self, device: &Device) -> Tensor<3> {
        tensor(
            self.entries.clone(),
            [self.n_rows, self.n_taxa, N_CHANNELS],
            device,
        )
    }

    /// 1 where the truth is known, `[rows, n_taxa]`.
    pub fn is_known(&self, device: &Device) -> Tensor<2> {
        tensor(self.is_known.clone(), [self.n_rows, self.n_taxa], device)
    }

    /// Weight of each entry in the loss, `[rows, n_taxa]` in row-major order.
    ///
    /// Only hidden entries whose truth is known count. Those flagged as present share the weight
    /// `known_present`, those of which nothing is known share the rest: otherwise the many hidden
    /// zeros of a sparse table would drown the abundances.
    pub fn loss_weights(&self, known_present: f64) -> Vec<f32> {
        let count = |flag| {
            self.target_flags
                .iter()
                .filter(|target| **target == Some(flag))
                .count() as f64
        };
        let (n_present, n_hidden) = (count(Flag::HiddenPresent), count(Flag::Hidden));
        let weight = |target: &Option<Flag>| match target {
            Some(Flag::HiddenPresent) if n_hidden == 0.0 => 1.0 / n_present,
            Some(Flag::HiddenPresent) => known_present / n_present,
            Some(Flag::Hidden) if n_present == 0.0 => 1.0 / n_hidden,
            Some(Flag::Hidden) => (1.0 - known_present) / n_hidden,
            _ => 0.0,
        };
        self.target_flags
            .iter()
            .map(|target| weight(target) as f32)
            .collect()
    }

    /// Normalised latents of the known entries, 0 elsewhere, `[rows, n_taxa, d_latent]`.
    pub fn latents(&self, vae: &Vae, scale: &LatentScale, device: &Device) -> Tensor<3> {
        let (mean, _) = vae.encode(self.entries(device));
        let [rows, n_taxa, _] = mean.dims();
        scale.forward(mean) * self.is_known(device).reshape([rows, n_taxa, 1])
    }

    /// What the network may know while it is trained, given the normalised latents of the known
    /// entries: the tokens of the others are empty.
    pub fn known_in_training(&self, latents: &Tensor<3>, device: &Device) -> dat::Known {
        dat::Known {
            is_filled: tensor(self.is_known.clone(), [self.n_rows, self.n_taxa, 1], device),
            ..self.known(latents, device)
        }
    }

    /// What the network may know while it fills every token, given the normalised latents of the
    /// known entries.
    pub fn known(&self, latents: &Tensor<3>, device: &Device) -> dat::Known {
        let (rows, n_taxa) = (self.n_rows, self.n_taxa);
        let observed = tensor(self.is_observed.clone(), [rows, n_taxa, 1], device);
        let d_metadata = self.metadata.len() / rows.max(1);
        dat::Known {
            observed: latents.clone() * observed,
            flags: tensor(self.flags.clone(), [rows, n_taxa, N_FLAGS], device),
            guess: tensor(self.guess.clone(), [rows, n_taxa, N_GUESS], device),
            is_filled: Tensor::ones([rows, n_taxa, 1], device),
            summary: tensor(self.summary.clone(), [rows, N_SUMMARY], device),
            neighbours: None,
            metadata: (d_metadata > 0).then(|| {
                (
                    tensor(self.metadata.clone(), [rows, d_metadata], device),
                    tensor(self.no_metadata.clone(), [rows, 1], device),
                )
            }),
        }
    }
}

impl LatentScale {
    /// `(z - mean) / sd`.
    pub fn forward(&self, latent: Tensor<3>) -> Tensor<3> {
        (latent.clone() - self.row(&self.mean, &latent)) / self.row(&self.sd, &latent)
    }

    /// `mean + sd * z`.
    pub fn inverse(&self, latent: Tensor<3>) -> Tensor<3> {
        latent.clone() * self.row(&self.sd, &latent) + self.row(&self.mean, &latent)
    }

    fn row(&self, values: &[f32], like: &Tensor<3>) -> Tensor<3> {
        tensor(values.to_vec(), [1, 1, values.len()], &like.device())
    }
}

/// Features of a timestep per row and token, `[rows, tokens, 64]`, in row-major order of `timesteps`.
pub fn time_features(timesteps: &[usize], shape: [usize; 2], device: &Device) -> Tensor<3> {
    let values = timesteps
        .iter()
        .flat_map(|t| timestep_features(*t, N_TIME_FEATURES))
        .collect();
    tensor(values, [shape[0], shape[1], N_TIME_FEATURES], device)
}
