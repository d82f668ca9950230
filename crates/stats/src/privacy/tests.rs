//! Figures against counting by hand, scipy and scikit-learn, and tables with a known answer.

use super::*;
use crate::generate::{Depths, Generator};
use crate::golden::{assert_close, load, matrix, number, shared_data};
use ndarray::array;
use rand_distr::{Distribution as _, Gamma};

/// Samples of one population.
fn population(n: usize, n_taxa: usize, seed: u64) -> Array2<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_fn((n, n_taxa), |(_, j)| {
        let shape = 0.15 + 0.1 * (j % 5) as f64;
        let x: f64 = Gamma::new(shape, 40.0).unwrap().sample(&mut rng);
        x.floor()
    })
}

fn figures(train: &Array2<f64>, holdout: &Array2<f64>, synthetic: &Array2<f64>) -> Privacy {
    let tables = Tables {
        train,
        holdout,
        synthetic,
    };
    privacy(&tables, 1).unwrap()
}

#[test]
fn figures_are_those_of_scipy_and_scikit_learn() {
    let golden = load("privacy");
    let [train, holdout, synthetic] =
        ["train", "holdout", "synthetic"].map(|key| matrix(&golden[key]));
    let found = figures(&train, &holdout, &synthetic);
    for closeness in &found.distances {
        let expected = &golden["distances"][closeness.distance.name()];
        for (key, value) in [
            ("share", closeness.share.value),
            ("membership", closeness.membership.value),
            ("to_train", closeness.to_train),
            ("holdout_to_train", closeness.holdout_to_train),
            ("neighbour_ratio", closeness.neighbour_ratio),
            ("holdout_neighbour_ratio", closeness.holdout_neighbour_ratio),
        ] {
            assert_close(value, number(&expected[key]), 1e-12, key);
        }
        let Interval { value, low, high } = closeness.share;
        assert!(low <= value && value <= high);
        assert_eq!(
            closeness.ratio,
            closeness.to_train / closeness.holdout_to_train
        );
    }
    assert_close(found.copies, number(&golden["copies"]), 1e-15, "copies");
    assert_close(found.values, number(&golden["values"]), 1e-15, "values");
    let of_holdout = number(&golden["values_of_holdout"]);
    assert_close(
        found.values_of_holdout,
        of_holdout,
        1e-15,
        "values of the hold-out",
    );
}

#[test]
fn samples_of_the_population_pass_and_copies_fail() {
    let (train, holdout) = (population(700, 30, 1), population(700, 30, 2));
    let fresh = figures(&train, &holdout, &population(2000, 30, 3));
    assert!(
        fresh.criteria.iter().all(|c| c.verdict != Verdict::Fail),
        "{fresh:#?}"
    );
    assert_eq!(fresh.copies, 0.0);
    for closeness in &fresh.distances {
        let share = closeness.share;
        assert!(share.low < 0.5 && 0.5 < share.high, "{closeness:?}");
        assert!((closeness.ratio - 1.0).abs() < 0.05, "{closeness:?}");
    }
    let generator = Generator::Bootstrap.fit(&train, 1).unwrap();
    let copies = generator.sample(700, &Depths::AsFitted, 1).unwrap();
    let copied = figures(&train, &holdout, &copies);
    assert_eq!((copied.copies, copied.values), (1.0, 1.0));
    assert_eq!(
        (copied.distances[0].share.value, copied.distances[0].ratio),
        (1.0, 0.0)
    );
    assert!(copied.distances[0].membership.value > 0.75);
    assert_eq!(copied.verdict, Verdict::Fail);
}

#[test]
fn samples_of_the_holdout_are_no_leak_and_no_pass() {
    let (train, holdout) = (population(90, 30, 1), population(60, 30, 2));
    let found = figures(&train, &holdout, &holdout);
    assert!(found.is_of_the_holdout());
    assert!(found.distances[0].share.high < SMALLEST_SHARE);
    assert_eq!(found.verdict, Verdict::Unclear, "{:#?}", found.criteria);
}

#[test]
fn a_handful_of_samples_decides_nothing_but_copies() {
    let (train, holdout) = (population(90, 30, 1), population(87, 30, 2));
    for n in [1, 3] {
        for seed in 10..20 {
            let found = figures(&train, &holdout, &population(n, 30, seed));
            assert_ne!(found.verdict, Verdict::Fail, "{n}, {seed}");
            let found = figures(&train, &population(n, 30, seed), &holdout);
            assert_ne!(found.verdict, Verdict::Fail, "{n} held out, {seed}");
        }
    }
    let one = train.slice(ndarray::s![..1, ..]).to_owned();
    assert_eq!(figures(&train, &holdout, &one).verdict, Verdict::Fail);
}

#[test]
fn a_copy_counts_by_its_chance_to_be_in_the_subsample() {
    // Of 900 training samples 300 are compared: a copy of those wins always, of the others half the time.
    let (train, holdout) = (population(900, 30, 4), population(300, 30, 5));
    let found = figures(&train, &holdout, &train);
    let share = found.distances[0].share.value;
    assert!(
        (share - (1.0 / 3.0 + 0.5 * 2.0 / 3.0)).abs() < 0.04,
        "{share}"
    );
}

#[test]
fn the_interval_of_the_share_holds_one_half_as_often_as_it_says() {
    // The synthetic samples share their closest records: 600 of them, but 60 real samples a side.
    let n_held = (0..60)
        .filter(|seed| {
            let [train, holdout] = [60, 60].map(|n| population(n, 12, 100 + 3 * seed));
            let holdout = if seed % 2 == 0 {
                population(60, 12, 101 + 3 * seed)
            } else {
                holdout
            };
            let train = if seed % 2 == 1 {
                population(60, 12, 101 + 3 * seed)
            } else {
                train
            };
            let found = figures(&train, &holdout, &population(600, 12, 102 + 3 * seed));
            let share = found.distances[0].share;
            share.low <= 0.5 && 0.5 <= share.high
        })
        .count();
    // Of 60 draws at 95 %, 51 or more with a probability of 0.997.
    assert!(n_held >= 51, "{n_held} of 60");
}

#[test]
fn ties_between_training_and_holdout_count_half() {
    let table = population(50, 10, 7);
    let found = figures(&table, &table, &table);
    for closeness in &found.distances {
        assert_eq!(
            (closeness.share.value, closeness.membership.value),
            (0.5, 0.5)
        );
        assert!(closeness.ratio.is_nan(), "{closeness:?}");
    }
}

#[test]
fn small_and_empty_tables_have_figures_or_typed_errors() {
    let one = array![[1.0, 3.0]];
    let found = figures(&one, &one, &one);
    assert!(found.distances[0].neighbour_ratio.is_nan());
    assert_eq!((found.copies, found.distances[0].share.value), (1.0, 0.5));
    let with_empty = array![[0.0, 0.0], [2.0, 2.0], [4.0, 4.0]];
    let found = figures(&with_empty, &with_empty, &with_empty);
    assert_eq!((found.n.train, found.n_empty.synthetic), (2, 1));
    assert_eq!(found.distances[1].neighbour_ratio, 1.0);
    let message = |train: &Array2<f64>, synthetic: &Array2<f64>| {
        let tables = Tables {
            train,
            holdout: &one,
            synthetic,
        };
        privacy(&tables, 1).unwrap_err().to_string()
    };
    assert!(
        message(&one, &Array2::zeros((2, 2))).contains("synthetic table with a non-zero entry")
    );
    assert!(message(&Array2::zeros((0, 2)), &one).contains("training table"));
    assert!(message(&one, &array![[1.0, -1.0]]).contains("synthetic table, row 0, column 1"));
    assert!(message(&one, &array![[1.0]]).contains("found 1, expected 2"));
}

#[test]
fn threads_do_not_change_the_figures() {
    let (train, holdout, synthetic) = (
        population(80, 9, 1),
        population(50, 9, 2),
        population(60, 9, 3),
    );
    let in_pool = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap();
        pool.install(|| figures(&train, &holdout, &synthetic))
    };
    assert_eq!(in_pool(1), in_pool(2));
}

#[test]
fn copies_that_the_holdout_has_as_well_are_no_leak() {
    // Samples of one taxon are copies of each other in all three tables.
    let with_trivial = |n_trivial: usize, seed: u64| {
        let mut table = population(200, 30, seed);
        for mut row in table.rows_mut().into_iter().take(n_trivial) {
            row.fill(0.0);
            row[0] = 1.0;
        }
        table
    };
    let (train, holdout) = (with_trivial(10, 1), with_trivial(10, 2));
    let of = |n_trivial| {
        let found = figures(&train, &holdout, &with_trivial(n_trivial, 3));
        assert_eq!(found.copies, n_trivial as f64 / 200.0);
        found.criteria.last().unwrap().verdict
    };
    assert_eq!([of(0), of(10)], [Verdict::Pass; 2]);
    assert_eq!([of(14), of(60)], [Verdict::Unclear, Verdict::Fail]);
    let found = figures(&train, &population(200, 30, 2), &with_trivial(1, 3));
    assert_eq!(found.criteria.last().unwrap().verdict, Verdict::Fail);
    // scipy.stats.binomtest(10, 200).proportion_ci(method="wilson")
    let (low, high) = wilson(0.05, 200);
    assert_close(low, 0.02738264560076392, 1e-12, "low");
    assert_close(high, 0.08957814813877599, 1e-12, "high");
}

fn table(path: &str) -> Option<suffuse_data::Table> {
    let path = shared_data()?.join(path);
    Some(suffuse_data::format::read(&path, &Default::default()).unwrap())
}

fn dense(table: &suffuse_data::Table, rows: &[usize]) -> Array2<f64> {
    let mut values = Vec::with_capacity(rows.len() * table.n_features());
    rows.iter()
        .for_each(|row| values.extend(table.dense_row(*row)));
    Array2::from_shape_vec((rows.len(), table.n_features()), values).unwrap()
}

#[test]
fn the_bootstrap_fails_on_real_tables_and_other_peoples_generators_do_not() {
    let Some(real) = table("microbiome/AG_gut_top500.h5ad") else {
        return;
    };
    let split = std::fs::read_to_string(shared_data().unwrap().join("peers/AG_split.tsv")).unwrap();
    let of = |set: &str| {
        let ids: Vec<&str> = split
            .lines()
            .filter_map(|line| {
                line.split_once('\t')
                    .filter(|(_, s)| *s == set)
                    .map(|(id, _)| id)
            })
            .collect();
        dense(
            &real,
            &suffuse_data::select::sample_positions(&real, &ids).unwrap(),
        )
    };
    let (train, holdout) = (of("train"), of("test"));
    let copies = Generator::Bootstrap.fit(&train, 1).unwrap();
    let copies = copies.sample(486, &Depths::AsFitted, 1).unwrap();
    let found = figures(&train, &holdout, &copies);
    assert!(
        (0.68..0.78).contains(&found.distances[0].share.value),
        "{found:#?}"
    );
    assert!(found.distances[0].membership.low > LARGEST_MEMBERSHIP);
    assert_eq!((found.copies, found.verdict), (1.0, Verdict::Fail));
    // The figure for the hold-out is 0.017.
    assert!((0.014..0.022).contains(&found.values_of_holdout));
    for peer in ["AG_midas_nonparam", "AG_midas_param", "AG_sd2_full_logfix"] {
        let peer = table(&format!("peers/{peer}.h5ad")).unwrap();
        let rows: Vec<usize> = (0..486).collect();
        let found = figures(&train, &holdout, &dense(&peer, &rows));
        assert_ne!(found.verdict, Verdict::Fail, "{found:#?}");
        assert_eq!(found.copies, 0.0);
    }
}
