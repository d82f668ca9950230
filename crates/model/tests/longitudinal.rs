//! Cohorts with subjects and times: missing time points are filled, and without times nothing changes.

use std::sync::atomic::AtomicBool;
use suffuse_data::Table;
use suffuse_data::hide::Occasions;
use suffuse_data::simulate::{SimulateOptions, simulate};
use suffuse_model::Error;
use suffuse_model::device::Device;
use suffuse_model::systems::depmicrodiff::{
    Action, Block, Cohort, Config, Fill, FitOptions, ImputeOptions, Model, Totals, fit,
};

fn fitted(cohort: &Cohort) -> Model {
    let mut options = FitOptions {
        seed: 4,
        pretrain: &[],
        device: Device::flex(),
        checkpoint: None,
        save_every_s: 0.0,
        progress: &mut |_| (),
        interrupted: &AtomicBool::new(false),
    };
    fit(&Config::tiny(), cohort, &mut options).expect("a fit")
}

fn blocks(model: &Model, cohort: &Cohort, n_sets: usize, batch_size: usize) -> Vec<Block> {
    let mut options = ImputeOptions {
        fill: Fill::MissingAndZeros,
        presence_threshold: 0.5,
        structural_zeros: &[],
        n_draws: 3,
        n_sets,
        partner: None,
        sampler: "ddim:3".parse().expect("a sampler"),
        seed: 9,
        device: Device::flex(),
        batch_size,
        progress: &mut |_| (),
        interrupted: &AtomicBool::new(false),
    };
    let mut blocks = Vec::new();
    let result = model.impute_blocks(cohort, &mut options, |block| {
        blocks.push(block);
        Ok::<(), Error>(())
    });
    result.expect("the table has the model's features");
    blocks
}

fn whole(model: &Model, cohort: &Cohort) -> Block {
    let mut blocks = blocks(model, cohort, 2, 1000);
    blocks.pop().expect("one block")
}

#[test]
fn times_tell_nothing_to_a_model_that_was_fitted_without() {
    let options = SimulateOptions {
        n_samples: 40,
        n_taxa: 15,
        ..SimulateOptions::default()
    };
    let table = simulate(&options).expect("the defaults are valid").table;
    let hidden: Vec<(u32, u32)> = (0..40)
        .filter(|s| table.row(*s).0.len() > 3)
        .map(|s| (s as u32, table.row(s).0[1]))
        .collect();
    let mut cohort = Cohort {
        table: &table,
        hidden: &hidden,
        totals: Totals::OfWhatIsLeft,
        conditions: None,
        groups: None,
        times: None,
    };
    let model = fitted(&cohort);
    assert!(!model.knows_times());
    let filled = blocks(&model, &cohort, 0, 16);
    cohort.times = Some(Occasions {
        subject: vec![0; 40],
        time: (0..40).map(f64::from).collect(),
    });
    assert!(blocks(&model, &cohort, 0, 16) == filled);
}

const N_DAYS: usize = 20;
const N_TAXA: usize = 10;
const TOTAL: f64 = 1000.0;
const MISSING: [usize; 4] = [5, 11, 29, 40];

/// Three subjects, each with its own level per taxon and slow waves around it.
fn truth() -> Vec<f64> {
    let row = |sample: usize| {
        let (subject, day) = (sample / N_DAYS, sample % N_DAYS);
        let share = |taxon: usize| {
            let level = ((subject * 7 + taxon * 3) % 5) as f64;
            let wave = (day as f64 / 4.0 + taxon as f64).sin();
            match (subject + taxon).is_multiple_of(4) {
                true => 0.0,
                false => (level + wave).exp(),
            }
        };
        let shares: Vec<f64> = (0..N_TAXA).map(share).collect();
        let total: f64 = shares.iter().sum();
        shares.into_iter().map(move |share| TOTAL * share / total)
    };
    (0..3 * N_DAYS).flat_map(row).collect()
}

/// The same with whole samples that were not measured.
fn series() -> (Table, Occasions) {
    let mut values = truth();
    for sample in MISSING {
        values[sample * N_TAXA..(sample + 1) * N_TAXA].fill(f64::NAN);
    }
    let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
    let table = Table::from_dense(ids("s", 3 * N_DAYS), ids("t", N_TAXA), &values);
    let occasions = Occasions {
        subject: (0..3 * N_DAYS).map(|sample| sample / N_DAYS).collect(),
        time: (0..3 * N_DAYS)
            .map(|sample| (sample % N_DAYS) as f64)
            .collect(),
    };
    (table.expect("positive numbers"), occasions)
}

fn cohort<'a>(table: &'a Table, times: Option<Occasions>) -> Cohort<'a> {
    Cohort {
        table,
        hidden: &[],
        totals: Totals::OfWhatIsLeft,
        conditions: None,
        groups: None,
        times,
    }
}

#[test]
fn a_missing_time_point_is_filled_from_its_neighbours_and_closed_to_their_total() {
    let (table, occasions) = series();
    let cohort = cohort(&table, Some(occasions));
    let model = fitted(&cohort);
    assert!(model.knows_times());
    let block = whole(&model, &cohort);
    let filled = &block.filled;
    let truth = truth();
    for sample in MISSING {
        let row = filled.value.row(sample);
        assert!((row.sum() - TOTAL).abs() < 1e-6, "{row}");
        let truth = &truth[sample * N_TAXA..(sample + 1) * N_TAXA];
        let error: f64 = row.iter().zip(truth).map(|(a, b)| (a - b).abs()).sum();
        assert!(error / (2.0 * TOTAL) < 0.25, "Bray-Curtis of {row}");
        for taxon in 0..N_TAXA {
            let at = [sample, taxon];
            assert_eq!(filled.action[at], Action::Filled);
            assert!(filled.lower[at] <= filled.value[at] && filled.value[at] <= filled.upper[at]);
            assert!((0.0..=1.0).contains(&filled.presence[at]));
        }
        for set in &block.sets {
            assert!((set.row(sample).sum() - TOTAL).abs() < 1e-6);
        }
    }
    for (filled, original) in filled.value.iter().zip(table.to_dense()) {
        assert!(original.is_nan() || original == 0.0 || filled.to_bits() == original.to_bits());
    }
}

#[test]
fn without_times_or_neighbours_a_missing_sample_stays_missing() {
    let (table, mut occasions) = series();
    // The subject of sample 40 has no other sample, and the time of sample 29 is not known.
    occasions.subject[40] = 7;
    occasions.time[29] = f64::NAN;
    let in_time = cohort(&table, Some(occasions));
    let filled = whole(&fitted(&in_time), &in_time).filled;
    let is_left = |sample: usize| filled.value.row(sample).iter().all(|x| x.is_nan());
    assert_eq!(MISSING.map(is_left), [false, false, true, true]);
    let alone = cohort(&table, None);
    let filled = whole(&fitted(&alone), &alone).filled;
    assert!(filled.value.row(MISSING[0]).iter().all(|x| x.is_nan()));
}

#[test]
fn threads_blocks_and_storing_change_nothing_in_time() {
    let (table, occasions) = series();
    let cohort = cohort(&table, Some(occasions));
    let run = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
        pool.build().expect("a pool").install(|| {
            let model = fitted(&cohort);
            let block = whole(&model, &cohort);
            (model, block)
        })
    };
    let (one, two) = (run(1), run(2));
    assert!(one.0 == two.0, "weights, moments, average and log");
    assert!(one.1 == two.1, "samples");
    let (model, block) = one;
    for small in blocks(&model, &cohort, 2, 7) {
        for (row, values) in small.filled.value.rows().into_iter().enumerate() {
            let whole = block.filled.value.row(small.first_sample + row);
            let bits = |x: &f64| x.to_bits();
            assert!(values.iter().map(bits).eq(whole.iter().map(bits)));
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    model.save(folder.path()).expect("a writable folder");
    let stored = Model::load(folder.path()).expect("a model");
    assert!(stored == model);
    assert!(whole(&stored, &cohort) == block);
}

#[test]
fn times_of_another_number_than_the_samples_are_refused() {
    let (table, mut occasions) = series();
    occasions.time.pop();
    let cohort = cohort(&table, Some(occasions));
    let mut options = FitOptions {
        seed: 0,
        pretrain: &[],
        device: Device::flex(),
        checkpoint: None,
        save_every_s: 0.0,
        progress: &mut |_| (),
        interrupted: &AtomicBool::new(false),
    };
    let problem = fit(&Config::tiny(), &cohort, &mut options).expect_err("59 times");
    assert!(problem.to_string().contains("59"), "{problem}");
}
