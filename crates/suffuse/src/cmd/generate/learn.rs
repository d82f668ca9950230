//! Arguments of the learned generator.

use crate::cmd::DeviceArgs;
use clap::Args;
use std::path::{Path, PathBuf};
use suffuse::conditions::Encoding;
use suffuse::generate::{
    Cohort, Fitted, Fixed, Guidance, Interpolation, Learned, Learning, Method, TEXT, fit,
};
use suffuse::settings::{self, Setting};
use suffuse::{Error, Result, Watch, model_folder};
use suffuse_data::tree::Tree;
use suffuse_model::device::Device;
use suffuse_model::systems::sparse_microbiome::{Latents, Privacy, PrivacyRecord};

const DEFAULT_CONFIG: &str = "small";
/// The same for a private fit.
const PRIVATE_CONFIG: &str = "private";
/// Largest epsilon that is taken.
const MAX_EPSILON: f64 = 1000.0;
/// Metadata as numbers and categories, and not as sentences.
const COLUMNS: &str = "columns";

#[derive(Debug, Args)]
#[command(next_help_heading = "Learned generator (sparse-microbiome, vae)")]
pub(super) struct LearnArgs {
    /// Metadata columns that samples are conditioned on, separated by commas; --by is one of them
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    conditions: Vec<String>,
    /// Give all samples this value of a column of --conditions, as in age=60 (repeatable)
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = fixed)]
    fixed: Vec<Fixed>,
    /// Lead the samples from one value of a column of --conditions to another, as in age=20..70 or site=gut..skin
    #[arg(long, value_name = "COLUMN=FROM..TO", value_parser = interpolation)]
    interpolate: Option<Interpolation>,
    /// Features, one id a line, that stay as they are in the samples of TABLE, while the rest is generated to go with
    /// them: a synthetic sample for each
    #[arg(long, value_name = "FILE", conflicts_with_all = ["by", "depth", "spike_in", "set_prevalence", "scale_mean"])]
    keep: Option<PathBuf>,
    /// How strongly samples are held to their conditions, of all columns or of one: 2, body_site=3; 1 is as
    /// learned (repeatable)
    #[arg(long, value_name = "W|COLUMN=W", value_parser = guidance)]
    guidance: Vec<(Option<String>, f64)>,
    /// `columns` (numbers and categories), or the local folder of a BERT-family text encoder
    #[arg(long, value_name = "HOW", default_value = COLUMNS)]
    encoder: String,
    /// Newick tree with the features as tips [default: the lineages in TABLE, if it has any]
    #[arg(long, value_name = "FILE")]
    tree: Option<PathBuf>,
    /// Metadata column whose groups (subjects) are never split for validation
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
    /// Configuration: small, private, paper, tiny, or a .toml file [default: small; private with --dp-epsilon]
    #[arg(long, value_name = "NAME|FILE")]
    config: Option<String>,
    /// Set a key of the configuration, as in taxa.hyperbolic=false (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Setting>,
    /// Folder that keeps training, so that an interrupted run goes on
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Keep the fitted model in this folder
    #[arg(long, value_name = "DIR")]
    save_model: Option<PathBuf>,
    /// Use the model in this folder and fit nothing
    #[arg(long, value_name = "DIR", conflicts_with_all = ["save_model", "checkpoint", "config", "set", "tree", "group", "encoder"])]
    model: Option<PathBuf>,
    /// Fit with differential privacy: the probability of any result changes by a factor of exp(E) at most, with or
    /// without what one sample of TABLE adds. Taken to be public: the number of samples with reads, the features, their
    /// order and tree, whether counts are whole
    #[arg(long, value_name = "E", value_parser = epsilon, conflicts_with_all = ["by", "conditions", "fixed", "interpolate", "keep", "guidance", "encoder", "group", "checkpoint", "model"])]
    dp_epsilon: Option<f64>,
    /// Probability with which --dp-epsilon may not hold; less than one over the number of samples
    #[arg(long, value_name = "D", default_value_t = 1e-5, value_parser = delta, requires = "dp_epsilon")]
    dp_delta: f64,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Who promised differential privacy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Promised {
    Nothing,
    ByThisFit,
    ByModel(PrivacyRecord),
}

fn epsilon(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse::<f64>().ok();
    let number = number.filter(|x| *x > 0.0 && *x <= MAX_EPSILON);
    number.ok_or_else(|| {
        format!("expected a number above 0, {MAX_EPSILON} at most: beyond it nothing is promised")
    })
}

fn delta(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse::<f64>().ok();
    let number = number.filter(|x| (1e-100..1.0).contains(x));
    number.ok_or_else(|| "expected a number between 0 and 1, as in 1e-5".to_string())
}

fn fixed(text: &str) -> std::result::Result<Fixed, String> {
    match text.split_once('=') {
        Some((column, value)) if !column.is_empty() && !value.is_empty() => Ok(Fixed {
            column: column.to_string(),
            value: value.to_string(),
        }),
        _ => Err("expected COLUMN=VALUE".to_string()),
    }
}

fn interpolation(text: &str) -> std::result::Result<Interpolation, String> {
    let parts = text.split_once('=').and_then(|(column, ends)| {
        let (from, to) = ends.split_once("..")?;
        Some((column, from, to))
    });
    match parts {
        Some((column, from, to)) if ![column, from, to].contains(&"") => Ok(Interpolation {
            column: column.to_string(),
            from: from.to_string(),
            to: to.to_string(),
        }),
        _ => Err("expected COLUMN=FROM..TO".to_string()),
    }
}

/// Names of columns may hold an equals sign; the number follows the last one.
fn guidance(text: &str) -> std::result::Result<(Option<String>, f64), String> {
    let (column, weight) = match text.rsplit_once('=') {
        Some((column, weight)) => (Some(column.to_string()), weight),
        None => (None, text),
    };
    let weight = weight.parse::<f64>().ok();
    match weight.filter(|weight| (0.0..=100.0).contains(weight)) {
        Some(weight) => Ok((column, weight)),
        None => Err("expected a number from 0 to 100, or COLUMN=NUMBER".to_string()),
    }
}

impl LearnArgs {
    /// The device, if this build and this machine have it.
    pub(super) fn device(&self) -> Result<Device> {
        self.device.find()
    }

    /// Refuses what a simple generator has no use for, and reads the settings before anything else.
    pub(super) fn check(&self, method: Method) -> Result<()> {
        settings::generator_config(self.config(), &self.set)?;
        for (at, (column, weight)) in self.guidance.iter().enumerate() {
            let mut before = self.guidance[..at].iter();
            if let Some((_, other)) = before.find(|(other, _)| other == column) {
                return Err(Error::Usage(format!(
                    "--guidance: {} is to be {other} and {weight}; give one number",
                    column.as_deref().unwrap_or("that of all columns")
                )));
            }
        }
        if self.is_private() && method == Method::Vae {
            return Err(Error::Usage(
                "--dp-epsilon: --method vae has no private fit; leave --method out".to_string(),
            ));
        }
        if method == Method::Vae && self.model.is_some() {
            return Err(Error::Usage(
                "--model: the folder says what the model is; leave --method out".to_string(),
            ));
        }
        if method.is_learned() {
            return Ok(());
        }
        let asked = [
            ("--conditions", !self.conditions.is_empty()),
            ("--where", !self.fixed.is_empty()),
            ("--interpolate", self.interpolate.is_some()),
            ("--keep", self.keep.is_some()),
            ("--guidance", !self.guidance.is_empty()),
            ("--tree", self.tree.is_some()),
            ("--group", self.group.is_some()),
            ("--encoder", self.encoder != COLUMNS),
            ("--config", self.config.is_some()),
            ("--set", !self.set.is_empty()),
            ("--checkpoint", self.checkpoint.is_some()),
            ("--save-model", self.save_model.is_some()),
            ("--model", self.model.is_some()),
            ("--dp-epsilon", self.is_private()),
        ];
        match asked.iter().find(|(_, is_asked)| *is_asked) {
            Some((option, _)) => Err(Error::Usage(format!(
                "{option} is for the learned generator; --method {method} does not learn"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses conditions of samples whose latents are drawn without them: the samples would bear names that say nothing.
    pub(super) fn check_latents(
        &self,
        method: Method,
        loaded: Option<&Learned>,
        by: Option<&str>,
    ) -> Result<()> {
        if !method.is_learned() || self.columns(by).is_empty() {
            return Ok(());
        }
        let latents = match (loaded, method) {
            (Some(learned), _) => learned.model().config().sampling.latents,
            (None, Method::Vae) => Latents::Prior,
            (None, _) => {
                settings::generator_config(self.config(), &self.set)?
                    .sampling
                    .latents
            }
        };
        match latents {
            Latents::Diffusion => Ok(()),
            Latents::Gaussian | Latents::Prior => Err(Error::Usage(format!(
                "{}: samples of a generator whose latents are not drawn by the denoiser{} know no conditions; leave --by and --conditions out, or take sparse-microbiome with sampling.latents=diffusion",
                self.columns(by).join(", "),
                match method {
                    Method::Vae => " (--method vae)",
                    _ => "",
                }
            ))),
        }
    }

    fn config(&self) -> &str {
        let default = match self.dp_epsilon {
            Some(_) => PRIVATE_CONFIG,
            None => DEFAULT_CONFIG,
        };
        self.config.as_deref().unwrap_or(default)
    }

    /// Says whether the fit is to be private.
    fn is_private(&self) -> bool {
        self.dp_epsilon.is_some()
    }

    /// Whether what is written must tell nothing of the table but what a private fit tells: one that is asked for, or
    /// that of the model in a folder.
    ///
    /// # Errors
    /// Taxa to keep, which are real reads.
    pub(super) fn promised(&self, loaded: Option<&Learned>) -> Result<Promised> {
        if self.is_private() {
            return Ok(Promised::ByThisFit);
        }
        match loaded.and_then(|learned| learned.model().privacy().copied()) {
            None => Ok(Promised::Nothing),
            Some(_) if self.keep.is_some() => Err(Error::Usage(
                "--keep: the model was fitted with differential privacy, and taxa that are kept are real reads; leave one of them out".to_string(),
            )),
            Some(record) => Ok(Promised::ByModel(record)),
        }
    }

    /// What the fit may give away; its noise has a key of its own, which nobody keeps.
    fn privacy(&self) -> Result<Option<Privacy>> {
        let Some(epsilon) = self.dp_epsilon else {
            return Ok(None);
        };
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| {
            Error::Usage(format!(
                "--dp-epsilon: the system gives no random numbers: {error}"
            ))
        })?;
        Ok(Some(Privacy {
            epsilon,
            delta: self.dp_delta,
            key,
        }))
    }

    /// Columns that samples are conditioned on.
    pub(super) fn columns(&self, by: Option<&str>) -> Vec<String> {
        let mut columns = self.conditions.clone();
        if let Some(by) = by.filter(|by| !columns.iter().any(|column| column == by)) {
            columns.insert(0, by.to_string());
        }
        columns
    }

    /// Values that are fixed.
    ///
    /// # Errors
    /// A column that is told twice what to be, or that samples are not conditioned on.
    pub(super) fn fixed(&self, by: Option<&str>) -> Result<Vec<Fixed>> {
        let fixed = self.fixed.clone();
        for (at, Fixed { column, value }) in fixed.iter().enumerate() {
            if by == Some(column) {
                return Err(Error::Usage(format!(
                    "--where {column}={value}: --by {column} gives the column already, as often as each value is in the table; leave one of them out (--conditions {column} goes with --where)"
                )));
            }
            if let Some(other) = fixed[..at].iter().find(|other| other.column == *column) {
                return Err(Error::Usage(format!(
                    "--where: {column} is to be {} and {value}; give one value, or run once for each",
                    other.value
                )));
            }
        }
        if let Some(Interpolation { column, .. }) = &self.interpolate {
            let is_fixed = fixed.iter().any(|fixed| fixed.column == *column);
            if is_fixed || by == Some(column) {
                return Err(Error::Usage(format!(
                    "--interpolate {column}: the column is given by --by or --where as well; leave that out"
                )));
            }
            if !self.conditions.contains(column) {
                return Err(Error::Usage(format!(
                    "--interpolate {column}: samples are not conditioned on it; add it to --conditions"
                )));
            }
        }
        Ok(fixed)
    }

    /// The list of the features to keep, which is an input.
    pub(super) fn keep(&self) -> Option<&Path> {
        self.keep.as_deref()
    }

    /// From where to where samples are led.
    pub(super) fn interpolation(&self) -> Option<&Interpolation> {
        self.interpolate.as_ref()
    }

    /// Weights of the guidance.
    pub(super) fn guidance(&self) -> Guidance {
        let all = self.guidance.iter().find(|(column, _)| column.is_none());
        let of = |(column, weight): &(Option<String>, f64)| Some((column.clone()?, *weight));
        Guidance {
            all: all.map_or(1.0, |(_, weight)| *weight),
            of: self.guidance.iter().filter_map(of).collect(),
        }
    }

    /// The files that are read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = [&self.tree, &self.keep]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        files.extend(self.config.as_deref().and_then(settings::file));
        if let Some(folder) = &self.model {
            files.extend(model_folder::files(folder));
        }
        files
    }

    /// Where training is kept.
    pub(super) fn checkpoint(&self) -> Option<&Path> {
        self.checkpoint.as_deref()
    }

    /// Where the model is kept.
    pub(super) fn save_model(&self) -> Option<&Path> {
        self.save_model.as_deref()
    }

    /// How a generator is learned.
    pub(super) fn learning(&self, by: Option<&str>) -> Result<Learning> {
        Ok(Learning {
            config: settings::generator_config(self.config(), &self.set)?,
            columns: self.columns(by),
            encoding: match self.encoder.as_str() {
                COLUMNS => Encoding::Columns,
                folder => Encoding::Text(PathBuf::from(folder)),
            },
            tree: self.tree.as_deref().map(Tree::read).transpose()?,
            group: self.group.clone(),
            device: self.device()?,
            checkpoint: self.checkpoint.clone(),
            privacy: self.privacy()?,
        })
    }

    /// The folder of the model that is used.
    pub(super) fn model(&self) -> Option<&Path> {
        self.model.as_deref()
    }

    /// The model in the folder, if one is named.
    pub(super) fn loaded(&self) -> Result<Option<Learned>> {
        self.model().map(Learned::load).transpose()
    }

    /// What is read beside the table and says how the generator is fitted or which it is: a tree, a configuration,
    /// a text encoder, a model.
    pub(super) fn sources(&self) -> Vec<PathBuf> {
        let mut sources: Vec<PathBuf> = self.tree.iter().cloned().collect();
        sources.extend(self.config.as_deref().and_then(settings::file));
        sources.extend((self.encoder != COLUMNS).then(|| PathBuf::from(&self.encoder)));
        sources.extend(self.model.clone());
        sources
    }

    /// Refuses guidance of what a fit will not be conditioned on, before it begins.
    pub(super) fn check_guidance(&self, by: Option<&str>) -> Result<()> {
        if self.model.is_some() || self.guidance.is_empty() {
            return Ok(());
        }
        let columns = self.columns(by);
        let known: Vec<&str> = match (columns.is_empty(), self.encoder == COLUMNS) {
            (true, _) => Vec::new(),
            (false, true) => columns.iter().map(String::as_str).collect(),
            (false, false) => vec![TEXT],
        };
        for (column, weight) in &self.guidance {
            match column {
                None if known.is_empty() => {
                    return Err(Error::Usage(format!(
                        "--guidance {weight}: samples are conditioned on nothing; add --by or --conditions"
                    )));
                }
                Some(name) if !known.contains(&name.as_str()) => {
                    return Err(Error::Usage(format!(
                        "--guidance {name}: samples are not conditioned on it; they are on: {}",
                        match known.is_empty() {
                            true => "nothing (use --by or --conditions)".to_string(),
                            false => known.join(", "),
                        }
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The fitted generator: one that was read, or fitted now and kept if asked.
    pub(super) fn fitted(
        &self,
        loaded: Option<Learned>,
        method: Method,
        cohort: &Cohort,
        learning: &Learning,
        seed: u64,
        watch: &mut Watch,
    ) -> Result<Fitted> {
        if let Some(learned) = loaded {
            learned.require_conditions(&learning.columns)?;
            return Ok(Fitted::Learned(Box::new(learned)));
        }
        let fitted = fit(method, cohort, learning, seed, watch)?;
        if let (Some(folder), Fitted::Learned(learned)) = (&self.save_model, &fitted) {
            learned.save(folder)?;
        }
        Ok(fitted)
    }
}
