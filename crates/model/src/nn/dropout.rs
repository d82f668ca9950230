//! Dropout with our own draws.

use crate::parameters::tensor;
use burn::tensor::Tensor;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Dropout (Srivastava 2014) whose draws are ours: the backend's would come from a generator that cannot be
/// kept.
#[derive(Debug)]
pub struct Dropout<'a> {
    /// Share of the units that is left out, below 1.
    pub share: f64,
    /// Where the draws come from.
    pub rng: &'a mut ChaCha8Rng,
}

impl Dropout<'_> {
    /// Leaves out units at random and divides the others by the share that is kept.
    ///
    /// - `h`: `[rows, width]`
    pub fn apply(&mut self, h: Tensor<2>) -> Tensor<2> {
        if self.share == 0.0 {
            return h;
        }
        let [rows, width] = h.dims();
        let kept = (1.0 / (1.0 - self.share)) as f32;
        let mask = (0..rows * width)
            .map(|_| match self.rng.random_bool(self.share) {
                true => 0.0,
                false => kept,
            })
            .collect();
        let mask = tensor::<2>(mask, [rows, width], &h.device());
        h * mask
    }
}
