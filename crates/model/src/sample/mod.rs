//! The reverse process: functions that take a denoiser and walk from noise to data.

pub mod reverse;
pub mod sampler;

pub use reverse::{Step, step};
pub use sampler::Sampler;
