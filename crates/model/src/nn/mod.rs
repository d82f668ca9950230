//! Blocks of networks that two or more parts use.

pub mod attention;
pub mod linear;
pub mod mlp;
pub mod norm;
pub mod timestep;

pub use attention::Attention;
pub use linear::Linear;
pub use mlp::Mlp;
