//! The same fit and the same samples with one and two threads, any batch size and any sample order.

use std::sync::atomic::AtomicBool;
use suffuse_data::Table;
use suffuse_data::simulate::{SimulateOptions, simulate};
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;
use suffuse_model::Error;
use suffuse_model::device::Device;
use suffuse_model::systems::depmicrodiff::{
    Action, Cohort, Config, Fill, FitOptions, Imputation, ImputeOptions, Model, Totals, fit,
};
use suffuse_model::train::Progress;

fn table() -> Table {
    let options = SimulateOptions {
        n_samples: 50,
        n_taxa: 18,
        ..SimulateOptions::default()
    };
    simulate(&options).expect("the defaults are valid").table
}

fn cohort<'a>(table: &'a Table, hidden: &'a [(u32, u32)]) -> Cohort<'a> {
    Cohort {
        table,
        hidden,
        totals: Totals::OfWhatIsLeft,
        conditions: None,
        groups: None,
        times: None,
    }
}

fn fitted(
    table: &Table,
    checkpoint: Option<&std::path::Path>,
    stop_after: usize,
) -> Result<Model, Error> {
    let interrupted = AtomicBool::new(false);
    let mut n_steps = 0;
    let mut progress = |_: &Progress| {
        n_steps += 1;
        interrupted.store(n_steps >= stop_after, std::sync::atomic::Ordering::Relaxed);
    };
    let mut options = FitOptions {
        seed: 4,
        pretrain: &[],
        device: Device::flex(),
        checkpoint,
        save_every_s: 0.0,
        progress: &mut progress,
        interrupted: &interrupted,
    };
    fit(&Config::tiny(), &cohort(table, &[]), &mut options)
}

fn imputed(model: &Model, table: &Table, hidden: &[(u32, u32)], batch_size: usize) -> Imputation {
    let mut options = ImputeOptions {
        fill: Fill::MissingAndZeros,
        presence_threshold: 0.5,
        structural_zeros: &[],
        n_draws: 3,
        n_sets: 0,
        partner: None,
        sampler: "fractional:20".parse().expect("a sampler"),
        seed: 9,
        device: Device::flex(),
        batch_size,
        progress: &mut |_| (),
        interrupted: &AtomicBool::new(false),
    };
    model
        .impute(&cohort(table, hidden), &mut options)
        .expect("the table has the model's features")
}

fn in_pool<T: Send>(n_threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build()
        .expect("a pool")
        .install(work)
}

/// The first non-zero of some samples.
fn some_hidden(table: &Table) -> Vec<(u32, u32)> {
    (0..table.n_samples())
        .step_by(3)
        .filter(|s| table.row(*s).0.len() > 3)
        .map(|s| (s as u32, table.row(s).0[0]))
        .collect()
}

#[test]
fn threads_change_neither_the_fit_nor_the_samples() {
    let table = table();
    let hidden = some_hidden(&table);
    let run = |n_threads| {
        in_pool(n_threads, || {
            let model = fitted(&table, None, usize::MAX).expect("a fit");
            let imputation = imputed(&model, &table, &hidden, 16);
            (model, imputation)
        })
    };
    let (one, two) = (run(1), run(2));
    assert!(one.0 == two.0, "weights, moments, average and log");
    assert!(one.1 == two.1, "samples");
}

#[test]
fn batch_size_and_sample_order_do_not_change_a_sample() {
    let table = table();
    let model = fitted(&table, None, usize::MAX).expect("a fit");
    let hidden = some_hidden(&table);
    let all = imputed(&model, &table, &hidden, 64);
    assert!(all == imputed(&model, &table, &hidden, 1));
    assert!(all == imputed(&model, &table, &hidden, 7));

    let order: Vec<usize> = (0..table.n_samples()).rev().collect();
    let reversed = suffuse_data::select::take_samples(&table, &order).expect("positions in range");
    let n = table.n_samples() as u32;
    let mut hidden_reversed: Vec<(u32, u32)> =
        hidden.iter().map(|(s, t)| (n - 1 - s, *t)).collect();
    hidden_reversed.sort_unstable();
    let other = imputed(&model, &reversed, &hidden_reversed, 5);
    for (row, sample) in order.into_iter().enumerate() {
        assert_eq!(other.value.row(row), all.value.row(sample));
        assert_eq!(other.lower.row(row), all.lower.row(sample));
        assert_eq!(other.presence.row(row), all.presence.row(sample));
    }
}

#[test]
fn a_completed_table_holds_its_draw_of_each_entry_and_agrees_elsewhere() {
    let table = table();
    let model = fitted(&table, None, usize::MAX).expect("a fit");
    let hidden = some_hidden(&table);
    let impute = |n_sets, batch_size| {
        let mut options = ImputeOptions {
            fill: Fill::MissingAndZeros,
            presence_threshold: 0.3,
            structural_zeros: &[],
            n_draws: 3,
            n_sets,
            partner: None,
            sampler: "ddim:2".parse().expect("a sampler"),
            seed: 9,
            device: Device::flex(),
            batch_size,
            progress: &mut |_| (),
            interrupted: &AtomicBool::new(false),
        };
        let mut blocks = Vec::new();
        let result = model.impute_blocks(&cohort(&table, &hidden), &mut options, |block| {
            blocks.push(block);
            Ok::<(), Error>(())
        });
        result.map(|()| blocks)
    };
    let blocks = impute(3, 64).expect("its own table");
    let [block] = &blocks[..] else {
        panic!("one block");
    };
    // An entry that is known to be present is its draw in every table.
    for ((sample, taxon), draws) in hidden.iter().zip(&block.filled.hidden_draws) {
        let seen = table.row(*sample as usize).1.iter().sum::<f64>();
        let total = Scale(seen - table.get(*sample as usize, *taxon as usize));
        for (set, draw) in block.sets.iter().zip(draws) {
            let y = ln1p_percent(set[[*sample as usize, *taxon as usize]], total);
            assert!((y - draw).abs() < 1e-9, "{y} against {draw}");
        }
    }
    for set in &block.sets {
        for (at, value) in set.indexed_iter() {
            let is_filled = block.filled.action[at] == Action::Filled;
            assert!(is_filled || value.to_bits() == block.filled.value[at].to_bits());
        }
    }
    let is_absent = |set: &ndarray::Array2<f64>| {
        let entries = set.iter().zip(&block.filled.value);
        entries
            .filter(|(drawn, mean)| **drawn == 0.0 && **mean > 0.0)
            .count()
    };
    assert!(block.sets.iter().all(|set| is_absent(set) > 0));
    assert_ne!(block.sets[0], block.sets[1]);
    // Neither blocks nor the number of tables change a table.
    for small in impute(2, 7).expect("its own table") {
        for (k, set) in small.sets.iter().enumerate() {
            for (row, values) in set.rows().into_iter().enumerate() {
                assert_eq!(values, block.sets[k].row(small.first_sample + row));
            }
        }
    }
    let problem = impute(4, 64).expect_err("more tables than draws");
    assert!(problem.to_string().contains("raise sampling.n_draws to 4"));
}

#[test]
fn dependencies_are_those_of_all_samples_until_there_are_more_than_wished() {
    let table = table();
    let dependencies = |max_samples: usize| {
        let setting = (
            "dependencies.max_samples".to_string(),
            max_samples.to_string(),
        );
        let config = Config::tiny()
            .with_overrides(&[setting])
            .expect("a number above 0");
        let mut options = FitOptions {
            device: Device::flex(),
            seed: 4,
            pretrain: &[],
            checkpoint: None,
            save_every_s: 0.0,
            progress: &mut |_| (),
            interrupted: &AtomicBool::new(false),
        };
        let model = fit(&config, &cohort(&table, &[]), &mut options).expect("a fit");
        model.dependencies().clone()
    };
    let all = dependencies(5000);
    assert_eq!(dependencies(table.n_samples()), all);
    assert_ne!(dependencies(20), all);
    assert_eq!(dependencies(20), dependencies(20));
}

#[test]
fn an_interrupted_fit_goes_on_to_the_same_end() {
    let table = table();
    let whole = fitted(&table, None, usize::MAX).expect("a fit");
    let folder = tempfile::tempdir().expect("a folder");
    for stop_after in [7, 30, 41] {
        match fitted(&table, Some(folder.path()), stop_after) {
            Err(Error::Interrupted) => {}
            other => panic!(
                "expected an interruption, got {:?}",
                other.map(|_| "a model")
            ),
        }
    }
    let resumed = fitted(&table, Some(folder.path()), usize::MAX).expect("a fit");
    assert!(resumed == whole);
}

#[test]
fn observed_entries_survive_bit_for_bit_and_a_stored_model_imputes_the_same() {
    let table = table();
    let model = fitted(&table, None, usize::MAX).expect("a fit");
    let imputation = imputed(&model, &table, &[], 16);
    let dense = table.to_dense();
    for (found, original) in imputation.value.iter().zip(&dense) {
        if *original > 0.0 {
            assert_eq!(found.to_bits(), original.to_bits());
        }
    }
    assert!(
        imputation
            .value
            .iter()
            .all(|value| value.is_finite() && *value >= 0.0)
    );
    let folder = tempfile::tempdir().expect("a folder");
    model.save(folder.path()).expect("a writable folder");
    let stored = Model::load(folder.path()).expect("a model");
    assert!(stored == model);
    assert!(imputed(&stored, &table, &[], 16) == imputation);
}

#[test]
fn a_hidden_value_cannot_influence_its_own_imputation() {
    let table = table();
    let hidden = some_hidden(&table);
    let run = |factor: f64| {
        let mut dense = table.to_dense();
        for (sample, taxon) in &hidden {
            dense[*sample as usize * table.n_features() + *taxon as usize] *= factor;
        }
        let table = table.with_dense(&dense).expect("positive values");
        let interrupted = AtomicBool::new(false);
        let mut options = FitOptions {
            seed: 4,
            pretrain: &[],
            device: Device::flex(),
            checkpoint: None,
            save_every_s: 0.0,
            progress: &mut |_| (),
            interrupted: &interrupted,
        };
        let model = fit(&Config::tiny(), &cohort(&table, &hidden), &mut options).expect("a fit");
        imputed(&model, &table, &hidden, 16).hidden_draws
    };
    assert!(run(1.0) == run(37.5));
}
