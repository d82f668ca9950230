//! Fills in sparse biological tables with diffusion models: the library behind the `suffuse`
//! program. It joins reading and writing (`suffuse-data`), baselines and scores (`suffuse-stats`)
//! and models (`suffuse-model`).
//!
//! ```text
//! input ─► conditions ─► model, block by block ─► impute::Filling ─┬► output + provenance
//!    │                 └► baseline ─► impute::Completed ────────────┘
//!    ├──► pool: completed tables ─► two groups compared, by Rubin's rules
//!    ├──► evaluate: hide ─► fill ─► score ─► one result file each ─► summary, report
//!    ├──► generate: fit ─► synthetic samples, block by block ─► alterations ─► output + provenance
//!    ├──► compare: real, generated ─► figures, with what real samples give ─► report
//!    └──► privacy: train, hold-out, synthetic ─► what a synthetic table gives away
//! ```

pub mod auto;
pub mod compare;
pub mod conditions;
pub mod demo;
pub mod dependencies;
pub mod error;
pub mod evaluate;
pub mod generate;
pub mod impute;
pub mod input;
pub mod kept_table;
pub mod method;
pub mod model_folder;
pub mod output;
pub mod pool;
pub mod privacy;
pub mod provenance;
pub mod report;
pub mod settings;
pub mod structural_zeros;
pub mod summary;
pub mod times;
pub mod watch;

pub use error::{Error, Result};
pub use watch::Watch;

/// A zero with at least this probability of presence is filled by default.
pub const PRESENCE_THRESHOLD: f64 = 0.5;
