//! Fused CPU operators with hand-written gradients, behind Burn's backend extension.
//!
//! Burn computes attention on the CPU as a chain of operators that each write a
//! `[batch, heads, queries, keys]` tensor to memory. The operator of this crate keeps a tile of it
//! in the cache instead:
//!
//! - [`masked_attention`]: softmax attention with a mask and an additive bias
//!
//! ```text
//! attention  what a caller sees: shapes, choice of backend, autodiff registration
//! fused      tensors -> tasks, one per (batch, head), and their output buffers
//! pair       one (batch, head): forward and backward on tiles of 16 queries
//! blocked    the mask, cut into tiles      strided  reads tensors in place
//! vector     instruction sets, small matrix products               exp  the exponential
//! ```
//!
//! Results do not depend on the number of threads: every sum has one fixed order.

mod attention;
mod blocked;
mod exp;
mod fused;
mod pair;
mod strided;
mod vector;

pub use attention::masked_attention;
pub use blocked::Blocked;
