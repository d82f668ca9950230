//! Tests of the guide: against numpy, and what must hold exactly.

use super::batch::Flag;
use super::config::{Config, GuideConfig};
use super::dat::Beside;
use super::entries::{Entries, Standardisation};
use super::guide::{Estimates, Guide, GuideRows, Part, Seen, Shape, members};
use super::guide_fit::folds;
use super::level::Level;
use super::log_scale::LogScale;
use super::neighbours::PassedOver;
use crate::parameters::{Builder, Parameters};
use burn::tensor::Device;
use suffuse_data::Table;

/// Of parity/depmicrodiff/guide.py.
const X: [f64; 20] = [
    5.0, 3.0, 0.0, 2.0, //
    1.0, 0.0, 4.0, 5.0, //
    2.0, 2.0, 2.0, 0.0, //
    7.0, 1.0, 1.0, 1.0, //
    0.0, 6.0, 3.0, 3.0,
];
const N_TAXA: usize = 4;
/// No metadata and no times.
const ALONE: Beside = Beside {
    d_metadata: 0,
    n_neighbours: 0,
};
const FIRST: [Flag; 4] = [
    Flag::Present,
    Flag::HiddenPresent,
    Flag::Absent,
    Flag::Present,
];
const LAST: [Flag; 4] = [Flag::Hidden, Flag::Present, Flag::Hidden, Flag::Present];

fn config() -> GuideConfig {
    GuideConfig {
        n_members: 2,
        width: 16,
        ..Config::tiny().guide
    }
}

fn entries(x: &[f64]) -> Entries<'static> {
    let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
    let n_samples = x.len() / N_TAXA;
    Entries::of_table(Table::from_dense(ids("s", n_samples), ids("t", N_TAXA), x).unwrap())
}

struct Fitted {
    standardisation: Standardisation,
    guide: Guide,
}

/// A guide with the weights of the script.
///
/// - `depth`: mean and standard deviation of ln(total), where depth is read
fn fitted(depth: Option<[f64; 2]>) -> Fitted {
    let (config, entries) = (config(), entries(&X));
    let standardisation = Standardisation::fit(&[&entries]);
    let scale = LogScale::fit(&[&entries]);
    let level = Level::of_sines(depth);
    let shape = Shape {
        config: &config,
        scale: &scale,
        standardisation: &standardisation,
        level: &level,
        d_metadata: 0,
        is_in_time: false,
    };
    let make = |p: &mut Builder| Part::BOTH.map(|part| members(p, &shape, part));
    let mut weights = Parameters::initial(&Parameters::default(), 0, make).unwrap();
    for (path, parameter) in &mut weights.by_path {
        // The script's paths end before the name of the array.
        let length = path.len() as f64;
        for (i, value) in parameter.values.iter_mut().enumerate() {
            *value = (0.3 * (1.0 + length + 0.7 * i as f64).sin()) as f32;
        }
    }
    let guide = Guide {
        weights,
        scale,
        level,
        sd: vec![1.0; N_TAXA],
        loss: 0.0,
    };
    Fitted {
        standardisation,
        guide,
    }
}

impl Fitted {
    fn estimates(
        &self,
        entries: &Entries,
        rows: &[(usize, [Flag; 4])],
        folds: &[Option<usize>],
    ) -> Estimates {
        let config = config();
        let bound = self
            .guide
            .bind(&config, &self.standardisation, ALONE, &Device::flex())
            .unwrap();
        let mut guide_rows = GuideRows::new(N_TAXA);
        for (sample, flags) in rows {
            let seen = Seen {
                entries,
                sample: *sample,
                flags,
                passed_over: PassedOver::default(),
                metadata: None,
            };
            guide_rows.push(&bound.shape, &seen);
        }
        bound.estimates(&guide_rows, folds)
    }
}

#[test]
fn the_members_agree_with_numpy() {
    let golden: Vec<serde_json::Value> = serde_json::from_str(include_str!(
        "../../../../../parity/depmicrodiff/guide.json"
    ))
    .unwrap();
    let fitted = fitted(Some([1.0, 2.0]));
    let rows = [(0, FIRST), (4, LAST)];
    // Both members of the values leave out the same fold, so their mean is what is asked for.
    let found = fitted.estimates(&entries(&X), &rows, &[None, None]);
    for (row, golden) in golden.iter().enumerate() {
        for at in row * N_TAXA..(row + 1) * N_TAXA {
            let of = |name: &str| golden[name][at % N_TAXA].as_f64().unwrap();
            let pairs = [
                (found.value[at], (of("value0") + of("value1")) / 2.0),
                (found.presence_logit[at], of("presence_logit")),
            ];
            for (found, expected) in pairs {
                let error = (found - expected).abs();
                assert!(
                    error < 2e-5 * expected.abs().max(1.0),
                    "{at}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn what_is_hidden_cannot_change_an_estimate_nor_can_the_depth_of_the_sample() {
    let fitted = fitted(None);
    let estimate = |x: &[f64]| fitted.estimates(&entries(x), &[(4, LAST)], &[None]);
    let before = estimate(&X);
    let mut hidden_changed = X;
    (hidden_changed[16], hidden_changed[18]) = (400.0, 0.0);
    let after = estimate(&hidden_changed);
    assert_eq!(before.value, after.value);
    assert_eq!(before.presence_logit, after.presence_logit);
    let mut deeper = X;
    deeper[16..].iter_mut().for_each(|x| *x *= 1024.0); // a power of two, so nothing is rounded
    assert_eq!(before.value, estimate(&deeper).value);
}

#[test]
fn a_row_does_not_depend_on_its_neighbours_and_a_fold_asks_its_own_members() {
    let fitted = fitted(None);
    let entries = entries(&X);
    let alone = fitted.estimates(&entries, &[(4, LAST)], &[Some(0)]);
    let both = fitted.estimates(&entries, &[(0, FIRST), (4, LAST)], &[Some(7), Some(0)]);
    for (a, b) in alone.value.iter().zip(&both.value[N_TAXA..]) {
        assert!((a - b).abs() < 1e-5);
    }
    assert_eq!(both.value[..N_TAXA], [0.0; N_TAXA], "no member has fold 7");
}

#[test]
fn folds_keep_groups_whole_and_are_of_about_one_size() {
    let groups: Vec<usize> = (0..40).map(|sample| sample / 2).collect();
    let fold_of = folds(40, Some(&groups), 5, 3);
    assert!((0..20).all(|group| fold_of[2 * group] == fold_of[2 * group + 1]));
    assert!((0..5).all(|fold| fold_of.iter().filter(|f| **f == fold).count() == 8));
    assert_ne!(fold_of, folds(40, Some(&groups), 5, 4));
}
