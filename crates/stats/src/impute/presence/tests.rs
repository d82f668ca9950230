use super::*;
use crate::golden::{assert_close, assert_matrix_close, load, matrix, number, vector};
use crate::ranks::auroc;
use ndarray::{Axis, array, concatenate};
use proptest::prelude::*;

const OPTIONS: PresenceOptions = PresenceOptions {
    zeroed: 0.0,
    seed: 3,
};

/// The problem of the golden file: 40 rows to learn from, 8 asked about.
fn golden_problem() -> (serde_json::Value, Problem) {
    let golden = load("presence");
    let (train, asked) = (matrix(&golden["train"]), matrix(&golden["asked"]));
    let all = concatenate![Axis(0), train, asked];
    let rows: Vec<Vec<f64>> = asked.rows().into_iter().map(|row| row.to_vec()).collect();
    let table = Incomplete::from_values(all).unwrap();
    let train: Vec<usize> = (0..train.nrows()).collect();
    let problem = Problem::new(&table, &train, &rows, &rows, OPTIONS);
    (golden, problem)
}

#[test]
fn the_rasch_model_is_that_of_newtons_method_on_all_parameters_at_once() {
    let (golden, problem) = golden_problem();
    let found = rasch::Rasch::fit(&problem.truth);
    for (what, found) in [("ease", found.ease), ("richness", found.richness)] {
        for (found, expected) in found.iter().zip(vector(&golden[what])) {
            assert_close(*found, expected, 1e-5, what);
        }
    }
    let found = rasch::presence(&problem);
    for (at, expected) in matrix(&golden["rasch"]).indexed_iter() {
        match problem.asked.present[at] {
            0.0 => assert_close(found[at], *expected, 1e-5, &format!("asked {at:?}")),
            _ => assert_eq!(found[at], 1.0),
        }
    }
}

#[test]
fn regressions_are_those_of_scikit_learn() {
    let (golden, problem) = golden_problem();
    let found = regression::Products::of_all(&problem).ridge(&problem, 0.05);
    assert_matrix_close(&found, &matrix(&golden["ridge"]), 1e-9, "ridge");
    let found = regression::Products::of_presence(&problem).partners(&problem, 3);
    assert_matrix_close(&found, &matrix(&golden["partners"]), 1e-9, "partners");
    let found = regression::inverse_for_tests(array![[4.0, 2.0], [2.0, 3.0]]);
    let expected = array![[3.0, -2.0], [-2.0, 4.0]] / 8.0;
    assert_matrix_close(&found, &expected, 1e-12, "inverse by hand");
}

#[test]
fn low_rank_presence_is_that_of_an_exact_decomposition_without_the_entry() {
    let (golden, problem) = golden_problem();
    let axes = factors::Axes::new(&problem);
    assert_matrix_close(
        &axes.hard(&problem, 3),
        &matrix(&golden["hard"]),
        1e-4,
        "hard",
    );
    assert_matrix_close(
        &axes.soft(&problem, 0.3),
        &matrix(&golden["soft"]),
        1e-4,
        "soft",
    );
}

#[test]
fn the_logistic_curve_is_that_of_scikit_learn() {
    let golden = load("presence");
    let scores = vector(&golden["scores"]).to_vec();
    let is_present: Vec<bool> = vector(&golden["labels"]).iter().map(|l| *l > 0.0).collect();
    let curve = Curve::fit(&scores, &is_present);
    for (score, expected) in scores.iter().zip(vector(&golden["curve"])) {
        assert_close(curve.at(*score), expected, 1e-6, "probability");
    }
    assert_eq!(Curve::fit(&[0.1, 0.2], &[true, true]), Curve::default());
    assert_eq!(Curve::fit(&[], &[]), Curve::default());
}

#[test]
fn prevalence_counts_the_training_rows_alone() {
    let (golden, problem) = golden_problem();
    for (found, expected) in problem.prevalence.iter().zip(vector(&golden["prevalence"])) {
        assert_close(*found, expected, 1e-12, "prevalence");
    }
    assert_close(number(&golden["auroc"]), 0.5, 0.5, "the file has an area");
}

/// Two guilds of 10 taxa each; a sample has most of one and little of the other.
fn guilds(n_samples: usize) -> Array2<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    Array2::from_shape_fn((n_samples, 20), |(sample, taxon)| {
        let is_own = (sample % 2 == 0) == (taxon < 10);
        let p = if is_own { 0.85 } else { 0.1 };
        let is_present = rng.random::<f64>() < p;
        let level = 0.5 + rng.random::<f64>();
        if is_present { level } else { 0.0 }
    })
}

#[test]
fn every_method_that_reads_the_other_taxa_finds_what_they_tell() {
    let complete = guilds(200);
    let rows: Vec<usize> = (160..200).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut values = complete.clone();
    let (mut judged, mut is_present) = (Vec::new(), Vec::new());
    for (at, row) in rows.iter().enumerate() {
        for taxon in 0..20 {
            let is_there = complete[[*row, taxon]] > 0.0;
            if is_there && rng.random::<f64>() < 0.3 {
                values[[*row, taxon]] = 0.0;
            }
            if values[[*row, taxon]] == 0.0 {
                judged.push((at, taxon));
                is_present.push(is_there);
            }
        }
    }
    let table = Incomplete::from_values(values).unwrap();
    let options = PresenceOptions {
        zeroed: 0.3,
        seed: 1,
    };
    let area = |method: Method| {
        let found = presence(method, &table, &rows, options).unwrap();
        assert!(found.iter().all(|p| (0.0..=1.0).contains(p)), "{method}");
        assert_eq!(found, presence(method, &table, &rows, options).unwrap());
        let scores: Vec<f64> = judged.iter().map(|at| found[*at]).collect();
        auroc(&scores, &is_present).unwrap()
    };
    assert_eq!(area(Method::Zero), 0.5);
    for method in [
        Method::Knn,
        Method::SoftImpute,
        Method::Svd,
        Method::Nmf,
        Method::LocalLeastSquares,
        Method::Ridge,
        Method::ExtraTrees,
    ] {
        // Who knows the guild of a sample tells 0.85 from 0.1, given that it was seen as zero.
        let found = area(method);
        assert!(found > 0.8, "{method}: {found}");
    }
    assert!(area(Method::TaxonMean) < 0.65);
}

#[test]
fn a_taxon_that_is_hidden_in_all_rows_is_judged_from_the_others() {
    let complete = guilds(120);
    let rows: Vec<usize> = (90..120).collect();
    let mut values = complete.clone();
    for row in &rows {
        values[[*row, 3]] = f64::NAN;
        values[[*row, 14]] = f64::NAN;
    }
    let table = Incomplete::from_values(values).unwrap();
    for method in Method::ALL {
        let found = presence(method, &table, &rows, OPTIONS).unwrap();
        assert!(found.iter().all(|p| p.is_finite()), "{method}");
        let scores: Vec<f64> = found
            .column(3)
            .iter()
            .chain(found.column(14))
            .copied()
            .collect();
        let truth = rows.iter().map(|row| complete[[*row, 3]] > 0.0);
        let truth: Vec<bool> = truth
            .chain(rows.iter().map(|row| complete[[*row, 14]] > 0.0))
            .collect();
        let area = auroc(&scores, &truth).unwrap();
        let reads_others = !matches!(
            method,
            Method::Zero | Method::TaxonMean | Method::TaxonMeanOffset
        );
        assert!(!reads_others || area > 0.8, "{method}: {area}");
    }
}

#[test]
fn a_whole_hidden_row_is_told_by_prevalence() {
    let mut values = guilds(60);
    values.row_mut(59).fill(f64::NAN);
    let table = Incomplete::from_values(values).unwrap();
    for method in Method::ALL {
        let found = presence(method, &table, &[59], OPTIONS).unwrap();
        assert!(found.iter().all(|p| (0.0..=1.0).contains(p)), "{method}");
    }
}

#[test]
fn rows_and_shares_out_of_range_are_refused() {
    let table = Incomplete::from_values(array![[1.0, 0.0], [0.0, 1.0]]).unwrap();
    assert!(presence(Method::Knn, &table, &[2], OPTIONS).is_err());
    let options = PresenceOptions {
        zeroed: 1.0,
        ..OPTIONS
    };
    assert!(presence(Method::Knn, &table, &[0], options).is_err());
    let all = presence(Method::Ridge, &table, &[0, 1], OPTIONS).unwrap();
    assert_eq!(all, array![[1.0, 0.5], [0.5, 1.0]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn small_and_odd_tables_give_probabilities(
        values in proptest::collection::vec(
            prop_oneof![3 => Just(0.0), 1 => Just(f64::NAN), 4 => 0.01..4.6], 60),
        zeroed in prop_oneof![Just(0.0), 0.05..0.9],
        n_asked in 1usize..14,
    ) {
        let table = Incomplete::from_values(Array2::from_shape_vec((15, 4), values).unwrap()).unwrap();
        let rows: Vec<usize> = (0..n_asked).collect();
        for method in Method::ALL {
            let options = PresenceOptions { zeroed, seed: 2 };
            let found = presence(method, &table, &rows, options).unwrap();
            prop_assert!(found.iter().all(|p| (0.0..=1.0).contains(p)), "{method} {found}");
        }
    }
}
