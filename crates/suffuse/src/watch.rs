//! What a long run reports while it works, and how it learns that the user wants it to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use suffuse_model::train::Progress;

/// The caller's ear and voice during a long run.
pub struct Watch<'a> {
    /// Called after every step of training and sampling.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Set by Ctrl-C; looked at between steps.
    pub interrupted: &'a AtomicBool,
}

impl Watch<'_> {
    /// Says whether the user asked to stop.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}
