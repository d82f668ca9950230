//! What a training loop needs: one pass of AdamW with EMA, the learning rate, the log; training with
//! differential privacy.

pub mod adamw_ema;
pub mod fit;
pub mod learning_rate;
pub mod private;

pub use adamw_ema::{AdamW, OptimizerState};
pub use fit::{Progress, Stages, TrainConfig, forget};
pub use learning_rate::learning_rate;
