//! What the tests of masks share.

use super::{HiddenAs, Mask, MaskOptions, Masked};
use crate::Table;

pub(super) fn table(dense: &[f64], n_samples: usize) -> Table {
    let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
    let n_features = dense.len() / n_samples;
    Table::from_dense(ids("s", n_samples), ids("t", n_features), dense).unwrap()
}

/// 20 x 10 with a zero in every third entry and one `NaN`.
pub(super) fn example() -> Table {
    let mut dense: Vec<f64> = (0..200).map(|i| f64::from(i % 3)).collect();
    dense[1] = f64::NAN;
    table(&dense, 20)
}

pub(super) const OPTIONS: MaskOptions = MaskOptions {
    seed: 7,
    among: None,
    hidden_as: HiddenAs::NotMeasured,
    occasions: None,
};

pub(super) fn apply(mask: &str, table: &Table, options: &MaskOptions) -> Masked {
    mask.parse::<Mask>().unwrap().apply(table, options).unwrap()
}

pub(super) fn problem(mask: &str, table: &Table, options: &MaskOptions) -> String {
    let mask: Mask = mask.parse().unwrap();
    mask.apply(table, options).unwrap_err().to_string()
}
