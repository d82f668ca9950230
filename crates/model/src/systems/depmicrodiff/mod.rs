//! DepMicroDiff: imputation of abundance tables by latent diffusion with a Dependency-Aware
//! Transformer (arXiv 2507.23676).
//!
//! ```text
//! table --entries--> what is known, totals, standardised ln(1+percent)
//!   |                    |
//!   |                 batch: what is hidden            vae: one latent token per taxon
//!   |                    |                                |
//!   +-- Dep (F-test, MI) --> mask <-- ar_steps      observed latents + metadata (condition)
//!                             |                           |    + neighbours: samples around it in time
//!                            dat: predicts the noise of the hidden tokens, step after step
//!                             |
//!                     sampling -> impute: presence, value, interval, what was done
//! ```

pub mod ar_steps;
pub mod batch;
mod closing;
pub mod config;
pub mod dat;
pub mod entries;
pub mod fit;
mod guide;
mod guide_fit;
mod guide_in_time;
#[cfg(test)]
mod guide_test;
pub mod held_out;
pub mod impute;
mod level;
mod log_scale;
pub mod mask;
mod neighbours;
mod objective;
mod presence;
mod pretraining;
mod sampling;
mod stored;
pub mod vae;
mod work;

pub use crate::cond::Conditions;
pub use config::Config;
pub use entries::{Cohort, Totals};
pub use fit::{FitOptions, SAVE_EVERY_S, fit};
pub use impute::{Action, Block, Fill, Imputation, ImputeOptions, Partner, Predict, Rejudge};

use crate::error::Result;
use crate::train::fit::Trained;
use batch::LatentScale;
use dat::Beside;
use entries::{Entries, Standardisation};
use guide::Guide;
use held_out::WholeSamples;
use mask::Dependent;
use neighbours::Rhythm;
use suffuse_stats::calibration::Calibration;

/// A fitted model: all that `impute` needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    config: Config,
    feature_ids: Vec<String>,
    guide: Option<Guide>,
    /// Weight of what the network expects, against the guide.
    trust: f64,
    calibration: Option<Calibration>,
    /// Where it was fitted with subjects and times.
    rhythm: Option<Rhythm>,
    /// The same for samples of which nothing is in sight.
    whole_samples: Option<WholeSamples>,
    standardisation: Standardisation,
    latent_scale: LatentScale,
    dependent: Dependent,
    d_metadata: usize,
    metadata_description: String,
    seed: u64,
    log: String,
    vae: Trained,
    dat: Trained,
}

impl Model {
    /// Settings that it was fitted with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Features in the order that tables must have.
    pub fn feature_ids(&self) -> &[String] {
        &self.feature_ids
    }

    /// The dependency matrix.
    pub fn dependencies(&self) -> &Dependent {
        &self.dependent
    }

    /// Where the metadata vectors come from; empty when there are none.
    pub fn metadata_description(&self) -> &str {
        &self.metadata_description
    }

    /// Says whether it was fitted with subjects and times.
    pub fn knows_times(&self) -> bool {
        self.rhythm.is_some()
    }

    fn beside(&self) -> Beside {
        Beside::new(self.d_metadata, self.rhythm.as_ref())
    }

    /// The entries of a cohort as the model knows them: without times, if it was fitted without.
    fn entries<'a>(&self, cohort: &Cohort<'a>) -> Result<Entries<'a>> {
        Ok(Entries::new(cohort)?.in_rhythm(self.rhythm.as_ref()))
    }

    /// Seed of the fit.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Number of weights of the autoencoder and of the denoiser.
    pub fn n_weights(&self) -> (usize, usize) {
        (self.vae.best.n_weights(), self.dat.best.n_weights())
    }

    /// Best validation losses of the autoencoder and of the denoiser.
    pub fn validation_losses(&self) -> (f64, f64) {
        (self.vae.best_loss, self.dat.best_loss)
    }

    /// How its draws are stretched and its intervals end; `None` where too little was held out.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// Leaves draws and intervals as the network gives them.
    pub fn forget_calibration(&mut self) {
        self.calibration = None;
        if let Some(whole_samples) = &mut self.whole_samples {
            whole_samples.calibration = None;
        }
    }

    /// Training log, one JSON object per line.
    pub fn log(&self) -> &str {
        &self.log
    }
}
