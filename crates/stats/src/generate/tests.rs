//! What all generators have in common.

use super::*;
use ndarray::{Axis, array};
use rand_distr::{Distribution, StandardNormal};

fn counts(n: usize, n_taxa: usize) -> Array2<f64> {
    Array2::from_shape_fn((n, n_taxa), |(i, j)| {
        let x = (i * 31 + j * 17 + i * j * 7) % 23;
        if j == 0 {
            (x + 1) as f64
        } else if j == 1 {
            0.0
        } else {
            (x as f64 - 9.0).max(0.0) * (1 + j % 4) as f64
        }
    })
}

fn fit(generator: Generator, table: &Array2<f64>) -> Fitted {
    generator
        .fit(table, 1)
        .unwrap_or_else(|error| panic!("{generator}: {error}"))
}

#[test]
fn names_are_parsed_and_others_are_refused() {
    for generator in Generator::ALL {
        assert_eq!(Generator::parse(generator.name()).unwrap(), generator);
        let json = serde_json::to_string(&generator).unwrap();
        assert_eq!(json, format!("\"{}\"", generator.name()));
    }
    let message = Generator::parse("gan").unwrap_err().to_string();
    assert!(message.contains("\"gan\"") && message.contains("midasim-parametric"));
}

#[test]
fn rows_sum_to_the_depths_and_absent_taxa_stay_absent() {
    let table = counts(40, 9);
    let depths: Vec<u64> = (0..70).map(|i| 3 + 41 * i).collect();
    for generator in Generator::ALL {
        let fitted = fit(generator, &table);
        let sample = fitted
            .sample(70, &Depths::Given(depths.clone()), 2)
            .unwrap();
        assert_eq!(sample.dim(), (70, 9));
        for (row, depth) in sample.rows().into_iter().zip(&depths) {
            assert_eq!(row.sum(), *depth as f64, "{generator}");
            assert!(row.iter().all(|x| x.fract() == 0.0 && *x >= 0.0));
        }
        assert_eq!(sample.column(1).sum(), 0.0, "{generator}");
    }
}

#[test]
fn midasim_gives_taxa_that_all_samples_have_to_all() {
    let table = counts(40, 9);
    for generator in [Generator::Midasim, Generator::MidasimParametric] {
        let sample = fit(generator, &table)
            .sample(60, &Depths::AsFitted, 2)
            .unwrap();
        assert!(sample.column(0).iter().all(|x| *x > 0.0), "{generator}");
    }
}

#[test]
fn seeds_decide_and_threads_do_not() {
    let table = counts(30, 8);
    let in_pool = |n_threads: usize, generator: Generator| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap()
            .install(|| {
                let fitted = fit(generator, &table);
                let sample = fitted.sample(25, &Depths::AsFitted, 7).unwrap();
                (fitted, sample)
            })
    };
    for generator in Generator::ALL {
        let (fitted, sample) = in_pool(1, generator);
        assert_eq!(
            in_pool(2, generator),
            (fitted.clone(), sample.clone()),
            "{generator}"
        );
        let other = fitted.sample(25, &Depths::AsFitted, 8).unwrap();
        assert_ne!(other, sample, "{generator}");
    }
}

#[test]
fn bootstrap_rows_are_rows_of_the_table() {
    let mut table = counts(20, 6);
    table.row_mut(3).fill(0.0);
    let sample = fit(Generator::Bootstrap, &table)
        .sample(200, &Depths::AsFitted, 1)
        .unwrap();
    for row in sample.rows() {
        assert!(row.sum() > 0.0 && table.rows().into_iter().any(|real| real == row));
    }
    let fractions = array![[0.25, 0.75], [1.0, 0.0]];
    let sample = fit(Generator::Bootstrap, &fractions)
        .sample(9, &Depths::AsFitted, 1)
        .unwrap();
    assert!(sample.rows().into_iter().all(|row| row.sum() == 1.0));
}

#[test]
fn edge_cases_give_sensible_samples_or_typed_errors() {
    let tables = [
        array![[4.0, 1.0, 0.0]],
        array![[4.0], [2.0], [9.0]],
        array![[0.0, 0.0], [3.0, 1.0], [2.0, 2.0]],
        array![[5.0, 5.0], [5.0, 5.0], [5.0, 5.0]],
        array![[1.0, 0.0], [0.0, 1.0]],
        array![[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]],
        array![[0.2, 0.8], [0.6, 0.4], [1.0, 0.0]],
        array![[1e6, 1.0], [1.0, 1e6], [3.0, 4.0]],
    ];
    for table in &tables {
        for generator in Generator::ALL {
            let fitted = match generator.fit(table, 1) {
                Ok(fitted) => fitted,
                Err(Error::TooFew { needed: 2, .. }) if table.nrows() == 1 => continue,
                Err(Error::BadEntry { .. }) if table[[0, 0]] == 0.2 => continue,
                Err(error) => panic!("{generator} on {table}: {error}"),
            };
            let given = fitted.sample(12, &Depths::Given(vec![30; 12]), 3).unwrap();
            for row in given.rows() {
                assert_eq!(row.sum(), 30.0, "{generator} on {table}");
            }
            match fitted.sample(5, &Depths::AsFitted, 3) {
                Ok(sample) => assert!(sample.iter().all(|x| x.is_finite())),
                Err(error) => assert!(
                    error.to_string().contains("does not hold counts"),
                    "{error}"
                ),
            }
            assert_eq!(
                fitted.sample(0, &Depths::Given(vec![]), 3).unwrap().nrows(),
                0
            );
        }
    }
}

#[test]
fn tables_that_cannot_be_fitted_are_refused() {
    for generator in Generator::ALL {
        let message = |table: &Array2<f64>| generator.fit(table, 1).unwrap_err().to_string();
        assert!(message(&Array2::zeros((3, 2))).contains("found 0"));
        assert!(message(&Array2::zeros((0, 2))).contains("found 0"));
        assert!(message(&array![[1.0, -2.0]]).contains("column 1"));
        assert!(message(&array![[1.0, f64::NAN]]).contains("column 1"));
        let fitted = fit(generator, &counts(9, 5));
        let error = fitted.sample(3, &Depths::Given(vec![5]), 1).unwrap_err();
        assert!(error.to_string().contains("found 1, expected 3"), "{error}");
    }
}

/// Presences that depend on a factor and on the sample's richness.
fn sparse(n: usize, n_taxa: usize) -> Array2<f64> {
    let mut rng = stream(9, None);
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    let loadings: Vec<f64> = (0..n_taxa).map(|_| normal()).collect();
    let mut table = Array2::zeros((n, n_taxa));
    for mut row in table.rows_mut() {
        let (rich, factor) = (0.7 * normal(), normal());
        for (x, loading) in row.iter_mut().zip(&loadings) {
            if rich + loading * factor + normal() > 0.4 {
                *x = (30.0 * (0.8 * normal() + 0.3 * loading).exp()).ceil();
            }
        }
    }
    table
}

#[test]
fn midasim_keeps_prevalences_pairs_and_the_spread_of_richness() {
    let table = sparse(1500, 20);
    let fitted = fit(Generator::Midasim, &table);
    let sample = fitted.sample(15_000, &Depths::AsFitted, 4).unwrap();
    let presence = |table: &Array2<f64>| table.mapv(|x| f64::from(u8::from(x > 0.0)));
    let (real, drawn) = (presence(&table), presence(&sample));
    let (p, q) = (
        real.mean_axis(Axis(0)).unwrap(),
        drawn.mean_axis(Axis(0)).unwrap(),
    );
    for (p, q) in p.iter().zip(&q) {
        assert!((p - q).abs() < 0.02, "{p} {q}");
    }
    let pairs = |z: &Array2<f64>| z.t().dot(z) / z.nrows() as f64;
    let (real_pairs, drawn_pairs) = (pairs(&real), pairs(&drawn));
    let differences = (&drawn_pairs - &real_pairs).mapv(f64::abs);
    let (largest, mean) = (
        differences.iter().copied().fold(0.0, f64::max),
        differences.mean().unwrap(),
    );
    // Of twenty taxa richness says much about each; of hundreds, as in real tables, little.
    assert!(largest < 0.04 && mean < 0.012, "{largest} {mean}");
    let spread = |z: &Array2<f64>| z.sum_axis(Axis(1)).std(1.0);
    let ratio = spread(&drawn) / spread(&real);
    assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
}

#[test]
fn totals_of_fractions_are_no_depths() {
    let counts = sparse(200, 30);
    let richness = |row: ndarray::ArrayView1<f64>| row.iter().filter(|x| **x > 0.0).count() as f64;
    let mean = |table: &Array2<f64>| {
        table.rows().into_iter().map(richness).sum::<f64>() / table.nrows() as f64
    };
    let mut fractions = counts.clone();
    for mut row in fractions.rows_mut() {
        // Rounding that goes with the richness.
        let total = row.sum().max(1.0) * (1.0 - 1e-12 * richness(row.view()));
        row.mapv_inplace(|x| x / total);
    }
    let depths = Depths::Given(vec![10_000; 400]);
    let sample = fit(Generator::Midasim, &fractions).sample(400, &depths, 2);
    let (found, expected) = (mean(&sample.unwrap()), mean(&counts));
    assert!((found - expected).abs() < 0.5, "{found} of {expected}");
    let error = Generator::MidasimParametric.fit(&fractions, 1).unwrap_err();
    assert!(
        error.to_string().contains("whole number of reads"),
        "{error}"
    );
}

#[test]
fn sparsedossa2_keeps_prevalences_although_reads_are_missed() {
    let table = sparse(1500, 20);
    let sample = fit(Generator::SparseDossa2, &table)
        .sample(8000, &Depths::AsFitted, 4)
        .unwrap();
    let prevalence = |table: &Array2<f64>| {
        let present = table.mapv(|x| f64::from(u8::from(x > 0.0)));
        present.mean_axis(Axis(0)).unwrap()
    };
    for (p, q) in prevalence(&table).iter().zip(&prevalence(&sample)) {
        assert!((p - q).abs() < 0.04, "{p} {q}");
    }
}

#[test]
fn rows_do_not_depend_on_their_block_and_are_those_of_the_table() {
    let table = counts(30, 8);
    for generator in Generator::ALL {
        let fitted = fit(generator, &table);
        for reads in [
            Reads::Exact,
            Reads::Multinomial,
            Reads::DirichletMultinomial { concentration: 9.0 },
        ] {
            let drawing = fitted.drawing(40, &Depths::AsFitted, reads, 3).unwrap();
            let whole = drawing.rows(0..40);
            let blocks: Vec<SparseRow> = [0..7, 7..8, 8..40]
                .into_iter()
                .flat_map(|block| drawing.rows(block))
                .collect();
            assert_eq!(whole, blocks, "{generator}");
            let dense = drawing.table();
            for (row, sparse) in dense.rows().into_iter().zip(&whole) {
                assert_eq!(SparseRow::of(&row.to_vec()), *sparse, "{generator}");
            }
        }
    }
}

#[test]
fn redrawn_reads_have_the_variance_of_their_law() {
    // One composition, so that all variance is that of the reads.
    let table = array![[300.0, 100.0, 600.0], [300.0, 100.0, 600.0]];
    let fitted = fit(Generator::Bootstrap, &table);
    let (n, depth, p) = (20_000, 100.0, 0.3);
    for (reads, inflation) in [
        (Reads::Multinomial, 1.0),
        // Mosimann 1962: (depth + concentration) / (1 + concentration).
        (
            Reads::DirichletMultinomial {
                concentration: 20.0,
            },
            120.0 / 21.0,
        ),
    ] {
        let drawing = fitted
            .drawing(n, &Depths::Given(vec![100; n]), reads, 3)
            .unwrap();
        let column = drawing.table().column(0).to_owned();
        let expected = depth * p * (1.0 - p) * inflation;
        assert!((column.mean().unwrap() / (depth * p) - 1.0).abs() < 0.02);
        // Relative standard error of a variance: sqrt(2 / 20,000) = 0.01.
        assert!((column.var(1.0) / expected - 1.0).abs() < 0.05, "{reads}");
    }
}

#[test]
fn ways_to_make_reads_are_parsed_and_others_are_refused() {
    for name in ["exact", "multinomial", "dirichlet-multinomial:12.5"] {
        assert_eq!(Reads::parse(name).unwrap().to_string(), name);
    }
    for name in [
        "poisson",
        "dirichlet-multinomial",
        "dirichlet-multinomial:0",
    ] {
        let message = Reads::parse(name).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    }
    let fractions = array![[0.25, 0.75], [1.0, 0.0]];
    let fitted = fit(Generator::Bootstrap, &fractions);
    let drawing = |reads| fitted.drawing(3, &Depths::AsFitted, reads, 1);
    assert!(drawing(Reads::Exact).is_ok());
    let message = drawing(Reads::Multinomial).unwrap_err().to_string();
    assert!(message.contains("does not hold counts"), "{message}");
}
