//! What can be chosen in a method: its default and the candidates among which tuning chooses.

use super::Method;
use std::fmt;

/// One choice. It is shown as people read it: `rank 2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Setting {
    /// The method has nothing to choose, or chooses by itself.
    AsItIs,
    Neighbours(usize),
    /// Penalty of the nuclear norm, in the unit of the table.
    Lambda(f64),
    /// No residual: soft-impute with the penalty that leaves nothing.
    MeanAndOffset,
    Rank(usize),
    /// Of a factorisation; the penalty as [`Setting::Penalty`].
    Factors {
        rank: usize,
        penalty: f64,
    },
    Partners(usize),
    /// Of the sum of squares of coefficients, in squared units of the table.
    Penalty(f64),
    Trees {
        /// Samples that a leaf must hold.
        min_leaf: usize,
        /// Share of the features that a node tries.
        tried: f64,
    },
}

impl Setting {
    /// What is taken where nothing tells one setting from another.
    pub(super) fn default_of(method: Method) -> Setting {
        match method {
            Method::Zero | Method::TaxonMean | Method::TaxonMeanOffset | Method::SoftImpute => {
                Setting::AsItIs
            }
            Method::Knn => Setting::Neighbours(10),
            Method::Svd => Setting::Rank(2),
            Method::Nmf => Setting::Factors {
                rank: 2,
                penalty: 1.0,
            },
            Method::LocalLeastSquares => Setting::Partners(10),
            Method::Ridge => Setting::Penalty(30.0),
            Method::ExtraTrees => Setting::Trees {
                min_leaf: 3,
                tried: 0.2,
            },
        }
    }

    /// Candidates, the strongest smoothing first. Soft-impute makes its own from the table.
    pub(super) fn candidates(method: Method) -> Vec<Setting> {
        match method {
            Method::Zero | Method::TaxonMean | Method::TaxonMeanOffset | Method::SoftImpute => {
                vec![Setting::AsItIs]
            }
            Method::Knn => [40, 20, 10, 5, 3].map(Setting::Neighbours).into(),
            Method::Svd => [1, 2, 4, 8].map(Setting::Rank).into(),
            Method::Nmf => [(1, 3.0), (2, 3.0), (4, 3.0), (1, 0.3), (2, 0.3), (4, 0.3)]
                .map(|(rank, penalty)| Setting::Factors { rank, penalty })
                .into(),
            Method::LocalLeastSquares => [2, 5, 10, 20].map(Setting::Partners).into(),
            Method::Ridge => [300.0, 100.0, 30.0, 10.0, 3.0].map(Setting::Penalty).into(),
            Method::ExtraTrees => [(10, 0.1), (3, 0.1), (10, 0.33), (3, 0.33)]
                .map(|(min_leaf, tried)| Setting::Trees { min_leaf, tried })
                .into(),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::AsItIs => f.write_str("nothing to choose"),
            Setting::Neighbours(n) => write!(f, "{n} neighbours"),
            Setting::Lambda(lambda) => write!(f, "lambda {lambda:.3}"),
            Setting::MeanAndOffset => f.write_str("mean and offset only"),
            Setting::Rank(rank) => write!(f, "rank {rank}"),
            Setting::Factors { rank, penalty } => write!(f, "rank {rank}, penalty {penalty}"),
            Setting::Partners(n) => write!(f, "{n} partners"),
            Setting::Penalty(penalty) => write!(f, "penalty {penalty}"),
            Setting::Trees { min_leaf, tried } => {
                write!(
                    f,
                    "leaves of {min_leaf}, {} % of the features",
                    100.0 * tried
                )
            }
        }
    }
}
