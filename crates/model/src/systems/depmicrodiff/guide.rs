//! The guide: an ensemble of residual perceptrons that estimates what is hidden from what is in sight.
//! The diffusion model starts from its estimate and learns what is left: the shape of the residual.
//!
//! ```text
//! values, flags, figures of the sample, metadata -> member k   -> correction of mean + offset + level
//!                                                -> presence k -> correction of the taxon's log-odds
//! estimate = mean over members
//! ```
//!
//! Members are cross-fitted: each pair leaves out its own part of the groups, so that a training sample has
//! an estimate from members that have not seen it. Half of the members add to the mean in `ln(percent)`,
//! where a hidden taxon shifts all others of its sample alike; the other half in `ln(1 + percent)`.

use super::batch::{Flag, Guess};
use super::config::GuideConfig;
use super::dat::Beside;
use super::entries::{Entries, Known, Standardisation};
use super::guide_in_time::{InTime, N_TIME_CHANNELS, N_TIME_FIGURES};
use super::held_out::InSight;
use super::level::{Level, Standing};
use super::log_scale::LogScale;
use super::neighbours::PassedOver;
use crate::cond::Conditions;
use crate::error::Result;
use crate::nn::mlp::MlpShape;
use crate::nn::norm::{Modulation, modulate};
use crate::nn::{Dropout, Linear, Mlp};
use crate::parameters::{Absent, Builder, Initial, Parameters, tensor, values};
use burn::tensor::activation::{silu, softplus};
use burn::tensor::{Device, Tensor};
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;

/// Inputs per taxon: the standardised value in sight, and the flags of absence, of an entry that is hidden,
/// and of one that is hidden but known to be present.
const N_CHANNELS: usize = 4;
/// Figures of the sample: share of the total in sight, offset, numbers of taxa in sight and hidden, depth.
const N_FIGURES: usize = 7;
/// Largest standardised value that a member sees.
pub(super) const MAX_STANDARDISED: f64 = 10.0;
/// Hidden units over the partners of a taxon.
const PARTNER_WIDTH: usize = 8;

/// What a member adds to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Base {
    /// In ln(percent) and in ln(1+percent).
    pub(super) values: [f64; 2],
    pub(super) presence_logit: f64,
}

/// A sample and what is in sight of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) entries: &'a Entries<'a>,
    pub(super) sample: usize,
    pub(super) flags: &'a [Flag],
    /// Of the samples around it.
    pub(super) passed_over: PassedOver,
    /// `None` is the null of missing metadata.
    pub(super) metadata: Option<&'a [f32]>,
}

/// Rows as the members see them, and the truth of what is hidden of them.
#[derive(Debug, Clone, Default)]
pub(super) struct GuideRows {
    n_rows: usize,
    n_taxa: usize,
    /// `[n_rows, n_inputs]`
    inputs: Vec<f32>,
    /// Mean + offset + level in ln(percent) and in ln(1+percent), `[n_rows, n_taxa]` each; where nothing of
    /// a sample is in sight, what the samples around it say.
    base: [Vec<f32>; 2],
    /// The same for the log-odds of presence: those of the taxon or those around.
    presence_base: Vec<f32>,
    /// True ln(1+percent) where hidden and present, `[n_rows, n_taxa]`, and 1 where that is.
    value: Vec<f32>,
    has_value: Vec<f32>,
    /// Whether present, and 1 where nothing but that is asked.
    is_present: Vec<f32>,
    has_presence: Vec<f32>,
}

impl GuideRows {
    pub(super) fn new(n_taxa: usize) -> Self {
        GuideRows {
            n_taxa,
            ..GuideRows::default()
        }
    }

    /// Adds a sample.
    pub(super) fn push(&mut self, shape: &Shape, seen: &Seen) {
        let Seen {
            entries,
            sample,
            flags,
            passed_over,
            metadata,
        } = *seen;
        let Shape {
            scale,
            standardisation,
            level,
            ..
        } = *shape;
        let hidden: Vec<bool> = flags.iter().map(|flag| !flag.is_observed()).collect();
        let total = Scale(entries.hundred_percent(sample, &hidden));
        let standing = Standing::of(entries, sample, flags, scale, standardisation);
        let [offset, _] = standing.offsets;
        let in_time = shape.is_in_time.then(|| {
            let around = entries.around(sample, passed_over);
            InTime::new(around, scale, standardisation, InSight::of(&standing.logs))
        });
        let known = entries.known_row(sample);
        let abundance = entries.abundance_row(sample);
        let first = self.inputs.len();
        for (taxon, flag) in flags.iter().enumerate() {
            let flag_of = |this: Flag| f32::from(u8::from(*flag == this));
            self.inputs.extend([
                0.0,
                flag_of(Flag::Absent),
                flag_of(Flag::Hidden),
                flag_of(Flag::HiddenPresent),
            ]);
            let means = [scale.mean[taxon], standardisation.mean[taxon]];
            let sds = [scale.sd[taxon], standardisation.sd[taxon]];
            let around = in_time.as_ref().and_then(|in_time| in_time.base(taxon));
            for (space, base) in self.base.iter_mut().enumerate() {
                let above = match flag.is_observed() {
                    true => 0.0, // nobody asks
                    false => level.above(space, &standing, means[space], sds[space]),
                };
                let own = means[space] + standing.offsets[space] + above;
                base.push(around.map_or(own, |around| around.values[space]) as f32);
            }
            let own = scale.presence_logit[taxon];
            let logit = around.map_or(own, |around| around.presence_logit);
            self.presence_base.push(logit as f32);
            let is_asked = !flag.is_observed() && total.0 > 0.0;
            let is_present = known[taxon] == Known::Present;
            let truth = ln1p_percent(abundance[taxon], total) as f32;
            let has_value = is_asked && is_present;
            self.value.push(if has_value { truth } else { 0.0 });
            self.has_value.push(f32::from(u8::from(has_value)));
            let has_presence =
                is_asked && *flag == Flag::Hidden && (is_present || known[taxon] == Known::Absent);
            self.is_present
                .push(f32::from(u8::from(has_presence && is_present)));
            self.has_presence.push(f32::from(u8::from(has_presence)));
        }
        let mut share = 0.0;
        for (taxon, log) in &standing.logs {
            let u = (log - scale.mean[*taxon] - offset) / scale.sd[*taxon];
            let u = u.clamp(-MAX_STANDARDISED, MAX_STANDARDISED);
            self.inputs[first + taxon * N_CHANNELS] = u as f32;
            share += log.exp() / 100.0;
        }
        let Standing {
            n_seen,
            n_known,
            n_hidden,
            ..
        } = standing;
        let figures = [
            share,
            offset,
            n_seen.ln_1p() - 2.0,
            n_known.ln_1p() - 1.0,
            (n_seen + n_known).ln_1p() - 2.0,
            n_hidden.ln_1p() - 1.0,
            level.depth(standing.total),
        ];
        self.inputs.extend(figures.map(|figure| figure as f32));
        if shape.d_metadata > 0 {
            match metadata {
                Some(values) => self.inputs.extend(values),
                None => self.inputs.extend(vec![0.0; shape.d_metadata]),
            }
            self.inputs.push(f32::from(u8::from(metadata.is_none())));
        }
        if let Some(in_time) = in_time {
            self.inputs.extend(in_time.inputs());
        }
        self.n_rows += 1;
    }

    fn n_inputs(&self) -> usize {
        self.inputs.len() / self.n_rows
    }

    /// Some of the rows, without the truth.
    fn inputs_of(&self, rows: &[usize]) -> GuideRows {
        let of = |values: &[f32], width: usize| -> Vec<f32> {
            let row = |row: &usize| &values[row * width..(row + 1) * width];
            rows.iter().flat_map(row).copied().collect()
        };
        GuideRows {
            n_rows: rows.len(),
            inputs: of(&self.inputs, self.n_inputs()),
            base: std::array::from_fn(|space| of(&self.base[space], self.n_taxa)),
            presence_base: of(&self.presence_base, self.n_taxa),
            ..GuideRows::new(self.n_taxa)
        }
    }

    /// Position and residual, truth less estimate, of the hidden values.
    pub(super) fn residuals(&self, estimate: &[f64]) -> impl Iterator<Item = (usize, f64)> {
        let hidden = (0..self.value.len()).filter(|at| self.has_value[*at] > 0.0);
        hidden.map(|at| (at, f64::from(self.value[at]) - estimate[at]))
    }

    fn matrix(&self, values: &[f32], device: &Device) -> Tensor<2> {
        tensor(values.to_vec(), [self.n_rows, self.n_taxa], device)
    }
}

/// Metadata of a sample, unless they are missing.
pub(super) fn metadata_of(conditions: Option<&Conditions>, sample: usize) -> Option<&[f32]> {
    let conditions = conditions?;
    let range = sample * conditions.dim..(sample + 1) * conditions.dim;
    (!conditions.missing[sample]).then(|| &conditions.values[range])
}

/// What a member is asked for. Those that judge presence are networks of their own: what is learned of values
/// blurs what is learned of presence, and the two are learned at different speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// ln(1+percent) given presence.
    Values,
    /// Log-odds of presence.
    Presence,
}

impl Part {
    pub(super) const BOTH: [Part; 2] = [Part::Values, Part::Presence];

    /// Number of members.
    pub(super) fn n_members(self, config: &GuideConfig) -> usize {
        match self {
            Part::Values => config.n_members,
            Part::Presence => config.n_folds(),
        }
    }

    /// The fold that a member leaves out.
    pub(super) fn fold(self, member: usize) -> usize {
        match self {
            Part::Values => member / N_SPACES,
            Part::Presence => member,
        }
    }

    /// Name of the stage of training.
    pub(super) fn stage(self) -> &'static str {
        match self {
            Part::Values => "guide",
            Part::Presence => "guide-presence",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Part::Values => "member",
            Part::Presence => "presence",
        }
    }
}

/// One member.
#[derive(Debug, Clone)]
pub(super) struct Member {
    output: Output,
    first: Linear,
    blocks: Vec<Mlp>,
    last: Linear,
    partners: Option<Partners>,
}

/// Where a member's correction goes; constants are `[1, n_taxa]`.
#[derive(Debug, Clone)]
enum Output {
    Value { space: usize, sd: Box<Tensor<2>> },
    Presence,
}

/// What a taxon reads off its partners: a small perceptron of its own for each taxon.
#[derive(Debug, Clone)]
struct Partners {
    /// Positions of the partners' channels among the inputs, `[n_taxa * n_channels]`.
    channels: Vec<usize>,
    inner: Tensor<3>,
    inner_bias: Tensor<3>,
    outer: Tensor<3>,
}

impl Partners {
    fn new(p: &mut Builder, scale: &LogScale) -> Option<Partners> {
        let n_taxa = scale.partners.len();
        let n_channels = N_CHANNELS * scale.partners.first().map_or(0, Vec::len);
        if n_channels == 0 {
            return None;
        }
        let channels: Vec<usize> = scale
            .partners
            .iter()
            .flatten()
            .flat_map(|partner| (0..N_CHANNELS).map(move |k| partner * N_CHANNELS + k))
            .collect();
        let initial = Initial::FanIn(n_channels);
        Some(p.within("partners", |p| {
            Partners {
                channels,
                inner: p
                    .matrix("inner", [n_taxa * n_channels, PARTNER_WIDTH], initial)
                    .reshape([n_taxa, n_channels, PARTNER_WIDTH]),
                inner_bias: p
                    .matrix("inner_bias", [n_taxa, PARTNER_WIDTH], Initial::Zero)
                    .reshape([n_taxa, 1, PARTNER_WIDTH]),
                outer: p
                    .matrix("outer", [n_taxa * PARTNER_WIDTH, 1], Initial::Zero)
                    .reshape([n_taxa, PARTNER_WIDTH, 1]),
            }
        }))
    }

    /// - returns corrections, `[rows, n_taxa]`
    fn forward(&self, rows: &GuideRows, device: &Device) -> Tensor<2> {
        let [n_taxa, n_channels, _] = self.inner.dims();
        let mut read = Vec::with_capacity(n_taxa * rows.n_rows * n_channels);
        for of_taxon in self.channels.chunks(n_channels) {
            for inputs in rows.inputs.chunks(rows.n_inputs()) {
                read.extend(of_taxon.iter().map(|at| inputs[*at]));
            }
        }
        let rows = rows.n_rows;
        let x = tensor::<3>(read, [n_taxa, rows, n_channels], device);
        let h = silu(x.matmul(self.inner.clone()) + self.inner_bias.clone());
        let correction = h.matmul(self.outer.clone()); // [n_taxa, rows, 1]
        correction.reshape([n_taxa, rows]).swap_dims(0, 1)
    }
}

/// Shape and constants of the members.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape<'a> {
    pub(super) config: &'a GuideConfig,
    pub(super) scale: &'a LogScale,
    pub(super) standardisation: &'a Standardisation,
    pub(super) level: &'a Level,
    pub(super) d_metadata: usize,
    /// Whether members are told of other samples of the subject.
    pub(super) is_in_time: bool,
}

/// Width of the hidden layers: that of the configuration in tables of many taxa, less in small ones.
fn width(config: &GuideConfig, n_taxa: usize) -> usize {
    config
        .width
        .min(n_taxa.next_multiple_of(NARROW).max(NARROW))
}

/// Width in a small table; tables between have a multiple of it.
const NARROW: usize = 64;

/// Members that leave out the same fold: one adds in ln(percent), one in ln(1+percent).
pub(super) const N_SPACES: usize = 2;

/// Binds every member of a part.
pub(super) fn members(p: &mut Builder, shape: &Shape, part: Part) -> Vec<Member> {
    some_members(p, shape, part, 0..part.n_members(shape.config))
}

/// Binds some members of a part.
pub(super) fn some_members(
    p: &mut Builder,
    shape: &Shape,
    part: Part,
    which: impl Iterator<Item = usize>,
) -> Vec<Member> {
    let n_taxa = shape.scale.mean.len();
    let device = p.device().clone();
    let row = |values: &[f64]| {
        let values = values.iter().map(|value| *value as f32).collect();
        tensor::<2>(values, [1, n_taxa], &device)
    };
    let width = width(shape.config, n_taxa);
    let n_metadata = match shape.d_metadata {
        0 => 0,
        d => d + 1,
    };
    let n_in_time = match shape.is_in_time {
        true => N_TIME_CHANNELS * n_taxa + N_TIME_FIGURES,
        false => 0,
    };
    let n_inputs = N_CHANNELS * n_taxa + N_FIGURES + n_metadata + n_in_time;
    let square = MlpShape {
        n_inputs: width,
        n_hidden: width,
        n_outputs: width,
    };
    let output = |k: usize| match (part, k % N_SPACES) {
        (Part::Values, 0) => Output::Value {
            space: 0,
            sd: Box::new(row(&shape.scale.sd)),
        },
        (Part::Values, space) => Output::Value {
            space,
            sd: Box::new(row(&shape.standardisation.sd)),
        },
        (Part::Presence, _) => Output::Presence,
    };
    which
        .map(|k| {
            p.within(&format!("{}{k}", part.prefix()), |p| Member {
                output: output(k),
                first: Linear::new(p, "first", n_inputs, width),
                blocks: (0..shape.config.depth)
                    .map(|i| Mlp::new(p, &format!("block{i}"), square))
                    .collect(),
                last: Linear::zero(p, "last", width, n_taxa),
                partners: Partners::new(p, shape.scale),
            })
        })
        .collect()
}

impl Member {
    /// What the member says of every entry, `[rows, n_taxa]`.
    ///
    /// - `dropout`: while training, the share of hidden units that is left out, and a generator
    pub(super) fn forward(
        &self,
        rows: &GuideRows,
        device: &Device,
        mut dropout: Option<Dropout>,
    ) -> Tensor<2> {
        let shape = [rows.n_rows, rows.n_inputs()];
        let inputs = tensor::<2>(rows.inputs.clone(), shape, device);
        let mut h = self.first.forward(inputs); // [rows, width]
        let mut thinned = |h: Tensor<2>| match &mut dropout {
            Some(dropout) => dropout.apply(h),
            None => h,
        };
        for block in &self.blocks {
            h = h.clone() + block.forward(thinned(normalised(h)));
        }
        let mut correction = self.last.forward(thinned(normalised(h))); // [rows, n_taxa]
        if let Some(partners) = &self.partners {
            correction = correction + partners.forward(rows, device);
        }
        match &self.output {
            Output::Presence => correction + rows.matrix(&rows.presence_base, device),
            Output::Value { space, sd } => {
                let value = rows.matrix(&rows.base[*space], device) + correction * (**sd).clone();
                match space {
                    0 => softplus(value, 1.0), // ln(1 + percent) of ln(percent)
                    _ => value,
                }
            }
        }
    }

    /// Mean squared error of hidden values, or cross-entropy of presence where that is hidden.
    pub(super) fn loss(
        &self,
        rows: &GuideRows,
        device: &Device,
        dropout: Option<Dropout>,
    ) -> Tensor<1> {
        let said = self.forward(rows, device, dropout);
        let mean = |x: Tensor<2>, weights: &[f32]| {
            let n: f32 = weights.iter().sum();
            (x * rows.matrix(weights, device)).sum() / f32::max(n, 1.0)
        };
        match &self.output {
            Output::Value { .. } => {
                let error = said - rows.matrix(&rows.value, device);
                mean(error.clone() * error, &rows.has_value)
            }
            Output::Presence => {
                let is_present = rows.matrix(&rows.is_present, device);
                let cross_entropy = softplus(said.clone(), 1.0) - is_present * said;
                mean(cross_entropy, &rows.has_presence)
            }
        }
    }
}

/// Layer norm without gain and bias.
fn normalised(x: Tensor<2>) -> Tensor<2> {
    let [rows, width] = x.dims();
    let device = x.device();
    let none = || Tensor::zeros([rows, 1, width], &device);
    let modulation = Modulation {
        shift: none(),
        scale: none(),
    };
    modulate(x.reshape([rows, 1, width]), &modulation).reshape([rows, width])
}

/// A fitted guide.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Guide {
    pub(super) weights: Parameters,
    pub(super) scale: LogScale,
    pub(super) level: Level,
    /// Spread of what the guide leaves over, in ln(1+percent), per taxon.
    pub(super) sd: Vec<f64>,
    /// Best validation loss.
    pub(super) loss: f64,
}

/// What the guide says of the entries of some rows, `[rows, n_taxa]` in row-major order.
#[derive(Debug, Clone, Default)]
pub(super) struct Estimates {
    /// ln(1+percent) given presence.
    pub(super) value: Vec<f64>,
    /// Log-odds of presence.
    pub(super) presence_logit: Vec<f64>,
}

/// A guide bound to a device.
#[derive(Debug, Clone)]
pub(super) struct BoundGuide<'a> {
    pub(super) guide: &'a Guide,
    pub(super) shape: Shape<'a>,
    /// By [`Part::BOTH`].
    members: [Vec<Member>; 2],
    device: Device,
}

impl Guide {
    /// Binds the members.
    ///
    /// # Errors
    /// Weights that do not fit the configuration.
    pub(super) fn bind<'a>(
        &'a self,
        config: &'a GuideConfig,
        standardisation: &'a Standardisation,
        beside: Beside,
        device: &Device,
    ) -> Result<BoundGuide<'a>> {
        let shape = Shape {
            config,
            scale: &self.scale,
            standardisation,
            level: &self.level,
            d_metadata: beside.d_metadata,
            is_in_time: beside.n_neighbours > 0,
        };
        let mut builder = Builder::new(&self.weights, Absent::Refuse, device);
        let members = Part::BOTH.map(|part| members(&mut builder, &shape, part));
        builder.finish()?;
        Ok(BoundGuide {
            guide: self,
            shape,
            members,
            device: device.clone(),
        })
    }
}

impl BoundGuide<'_> {
    /// What the guide says of these rows.
    ///
    /// - `folds`: per row, the fold whose members are asked, which have not seen it; `None` asks all
    pub(super) fn estimates(&self, rows: &GuideRows, folds: &[Option<usize>]) -> Estimates {
        let n = rows.n_rows * rows.n_taxa;
        let mut all = Estimates {
            value: vec![0.0; n],
            presence_logit: vec![0.0; n],
        };
        if rows.n_rows == 0 {
            return all;
        }
        for (part, members) in Part::BOTH.into_iter().zip(&self.members) {
            let said = match part {
                Part::Values => &mut all.value,
                Part::Presence => &mut all.presence_logit,
            };
            let n_of_fold = |fold| (0..members.len()).filter(|k| part.fold(*k) == fold).count();
            for (k, member) in members.iter().enumerate() {
                let weight = |row: usize| match folds[row] {
                    None => 1.0 / members.len() as f64,
                    Some(fold) if fold == part.fold(k) => 1.0 / n_of_fold(fold) as f64,
                    Some(_) => 0.0,
                };
                let asked: Vec<usize> = (0..rows.n_rows).filter(|row| weight(*row) > 0.0).collect();
                if asked.is_empty() {
                    continue;
                }
                let own = rows.inputs_of(&asked);
                let of_member = values(member.forward(&own, &self.device, None));
                for (row, of_row) in asked.iter().zip(of_member.chunks(rows.n_taxa)) {
                    let said = &mut said[row * rows.n_taxa..(row + 1) * rows.n_taxa];
                    let both = said.iter_mut().zip(of_row);
                    both.for_each(|(said, value)| *said += weight(*row) * f64::from(*value));
                }
            }
        }
        all
    }
}

/// What a guide says of some rows, or nothing where there is no guide.
pub(super) struct Guesses<'a> {
    estimates: Option<(Estimates, &'a [f64])>,
    n_taxa: usize,
}

impl<'a> Guesses<'a> {
    /// Asks the guide, if there is one.
    pub(super) fn of(
        guide: Option<&'a BoundGuide<'a>>,
        seen: &[Seen],
        folds: &[Option<usize>],
    ) -> Self {
        let estimates = guide.map(|guide| {
            let mut rows = GuideRows::new(guide.shape.scale.mean.len());
            seen.iter().for_each(|seen| rows.push(&guide.shape, seen));
            (guide.estimates(&rows, folds), &guide.guide.sd[..])
        });
        Guesses {
            estimates,
            n_taxa: guide.map_or(0, |guide| guide.shape.scale.mean.len()),
        }
    }

    /// The guess of a row.
    pub(super) fn row(&self, row: usize) -> Option<Guess<'_>> {
        let (estimates, sd) = self.estimates.as_ref()?;
        let range = row * self.n_taxa..(row + 1) * self.n_taxa;
        Some(Guess {
            value: &estimates.value[range.clone()],
            presence_logit: &estimates.presence_logit[range],
            sd,
        })
    }
}

impl GuideConfig {
    /// Folds of the cross-fit.
    pub(super) fn n_folds(&self) -> usize {
        self.n_members.div_ceil(N_SPACES)
    }
}
