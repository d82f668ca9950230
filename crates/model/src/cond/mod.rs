//! What is known of a sample beside its abundances: metadata as numbers, as a sentence, as an
//! embedding.
//!
//! ```text
//! Metadata ──ColumnEncoder──► numbers, one-hot levels, missing flags   [n_samples, dim]
//!     │
//!     └─SentenceTemplate──► "age: 63; sex: female." ──TextEncoder──►   [n_samples, dim]
//! ```
//!
//! Missing is never guessed: a missing cell is a flag or is left out of the sentence, and a sample
//! without any known cell is reported as such, so that the network can put its learned null there.

pub mod column_scale;
pub mod columns;
pub mod conditions;
pub mod error;
pub mod sentence;
pub mod text_encoder;
pub mod thin;

pub use column_scale::SkipReason;
pub use columns::{ColumnEncoder, ColumnOptions, Encoded, Skipped, Unseen};
pub use conditions::Conditions;
pub use error::{Error, Result};
pub use sentence::SentenceTemplate;
pub use text_encoder::{EmbeddingCache, TextEncoder};
pub use thin::thin_metadata;
