//! Blocks of networks that two or more parts use.

pub mod attention;
pub mod dit_block;
pub mod dropout;
pub mod linear;
pub mod mlp;
pub mod norm;
pub mod timestep;
pub mod unet;

pub use attention::Attention;
pub use dit_block::DitBlock;
pub use dropout::Dropout;
pub use linear::Linear;
pub use mlp::Mlp;
pub use unet::UNet;
