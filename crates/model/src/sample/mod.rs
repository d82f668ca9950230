//! The reverse process: functions that take a denoiser and walk from noise to data.

pub mod reverse;
pub mod sampler;

pub use reverse::{Step, second_order, step};
pub use sampler::Sampler;
