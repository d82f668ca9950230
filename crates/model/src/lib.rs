//! Diffusion models for sparse biological tables.
//!
//! Modules use only what stands left of them: `rng, device -> parameters -> noise -> nn -> cond -> sample ->
//! checkpoint -> train -> systems`.

pub mod checkpoint;
pub mod cond;
pub mod device;
pub mod error;
pub mod nn;
pub mod noise;
pub mod parameters;
pub mod rng;
pub mod sample;
mod settings;
pub mod systems;
pub mod train;

pub use error::{Error, Result};
