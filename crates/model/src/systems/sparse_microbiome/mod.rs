//! Generation of microbiome samples with exact zeros.

pub mod hyperbolic;
