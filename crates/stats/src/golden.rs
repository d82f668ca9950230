//! Reads the numbers that `parity/stats/*.py` wrote with scipy, scikit-learn, statsmodels and numpy.

use ndarray::{Array1, Array2};
use serde_json::Value;
use std::path::PathBuf;

/// The golden file `parity/stats/{name}.json`.
pub(crate) fn load(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../parity/stats")
        .join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(
        value["versions"]["numpy"].is_string(),
        "{name}: no library versions"
    );
    value
}

/// A number; `null` is `NaN`.
pub(crate) fn number(value: &Value) -> f64 {
    if value.is_null() {
        f64::NAN
    } else {
        value.as_f64().unwrap()
    }
}

/// A list of numbers; `null` is `NaN`.
pub(crate) fn vector(value: &Value) -> Array1<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// A list of equally long rows; `null` is `NaN`.
pub(crate) fn matrix(value: &Value) -> Array2<f64> {
    let rows = value.as_array().unwrap();
    let n_columns = rows[0].as_array().unwrap().len();
    let values = rows.iter().flat_map(|row| vector(row).to_vec()).collect();
    Array2::from_shape_vec((rows.len(), n_columns), values).unwrap()
}

/// Asserts that two numbers agree to a relative (and for small ones absolute) tolerance; NaN equals NaN.
#[track_caller]
pub(crate) fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    let close = (found.is_nan() && expected.is_nan())
        || found == expected
        || (found - expected).abs() <= tolerance * expected.abs().max(1.0);
    assert!(close, "{what}: found {found}, expected {expected}");
}

/// [`assert_close`] for each entry of two matrices.
#[track_caller]
pub(crate) fn assert_matrix_close(
    found: &Array2<f64>,
    expected: &Array2<f64>,
    tolerance: f64,
    what: &str,
) {
    assert_eq!(found.dim(), expected.dim(), "{what}");
    for (at, value) in found.indexed_iter() {
        assert_close(*value, expected[at], tolerance, &format!("{what} {at:?}"));
    }
}

/// The folder of real data, where `SUFFUSE_DATA` names one.
pub(crate) fn shared_data() -> Option<PathBuf> {
    std::env::var_os("SUFFUSE_DATA").map(PathBuf::from)
}
