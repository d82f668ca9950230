//! Fused CPU operators with hand-written gradients, behind Burn's backend extension.
//!
//! Burn computes each of these on the CPU as a chain of operators that write every result between
//! them to memory, for attention a `[batch, heads, queries, keys]` tensor. The operators of this
//! crate keep a tile or a row in the cache instead:
//!
//! - [`masked_attention`]: softmax attention with a mask and additive biases
//! - [`modulated_layer_norm`]: layer normalisation with a scale and a shift per sample
//! - [`biased_silu`]: SiLU after a bias
//!
//! ```text
//! attention  what a caller sees: shapes, choice of backend, autodiff registration
//! fused      tensors -> tasks, one per (batch, head), and their output buffers
//! pair       one (batch, head): forward and backward on tiles of 16 queries
//! blocked    the mask, cut into tiles      strided  reads tensors in place
//! norm, silu one file each: caller's view, autodiff registration, forward and backward by rows
//! vector     instruction sets, small matrix products               exp  the exponential
//! ```
//!
//! Results do not depend on the number of threads: every sum has one fixed order.

mod attention;
mod blocked;
mod exp;
mod fused;
mod norm;
mod pair;
mod silu;
mod strided;
mod vector;

pub use attention::masked_attention;
pub use blocked::{Blocked, NO_BIAS};
pub use norm::modulated_layer_norm;
pub use silu::biased_silu;

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
