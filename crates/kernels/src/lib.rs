//! Fused CPU operators with hand-written gradients, behind Burn's backend extension.
//!
//! Burn computes each of these on the CPU as a chain of operators that write every result between
//! them to memory, for attention a `[batch, heads, queries, keys]` tensor. The operators of this
//! crate keep a tile or a row in the cache instead:
//!
//! - [`masked_attention`]: softmax attention with a mask and additive biases
//! - [`modulated_layer_norm`]: layer normalisation with a scale and a shift per sample
//! - [`linear`] and [`mlp`]: affine maps of rows, alone or two with an [`Activation`] between them
//! - [`gated_residual`]: a residual branch behind a gate per sample and channel
//! - [`conv3x3`], [`group_norm_silu`], [`halved`], [`doubled`]: what a network on images needs
//!
//! ```text
//! one file per operator: a caller's view, autodiff registration, forward and backward
//!   attention  linear  mlp  norm  gate  conv  group_norm  resample
//! attention's parts
//!   fused      tensors -> tasks, one per (batch, head), and their output buffers
//!   pair       one (batch, head): forward and backward on tiles of 16 queries
//!   blocked    the mask, cut into tiles
//! autodiff   how an operator enters Burn's autodiff       strided  reads tensors in place
//! product    matrix products                              vector   instruction sets
//! activation SiLU and GELU                                exp      the exponential
//! ```
//!
//! Results do not depend on the number of threads: every sum has one fixed order.

mod activation;
mod attention;
mod autodiff;
mod blocked;
mod conv;
mod exp;
mod fused;
mod gate;
mod group_norm;
mod linear;
mod mlp;
mod norm;
mod pair;
mod product;
mod resample;
mod strided;
mod vector;

pub use activation::Activation;
pub use attention::masked_attention;
pub use blocked::{Blocked, NO_BIAS, OpenKey};
pub use conv::conv3x3;
pub use gate::gated_residual;
pub use group_norm::group_norm_silu;
pub use linear::linear;
pub use mlp::{Affine, mlp};
pub use norm::modulated_layer_norm;
pub use resample::{doubled, halved};

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Tensor};

/// Says whether tensors lie where the fused operators work: on `flex`, in single precision.
fn is_fused<const D: usize>(tensors: &[&Tensor<D>]) -> bool {
    tensors.iter().all(|tensor| {
        tensor.dtype() == DType::F32
            && matches!(
                tensor.device().inner().as_dispatch(),
                DispatchDevice::Flex(_)
            )
    })
}
