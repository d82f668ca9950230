//! The generator as a whole: what must hold exactly, and what a short fit must have learned.

use std::sync::atomic::AtomicBool;
use suffuse_data::Table;
use suffuse_data::simulate::{SimulateOptions, simulate};
use suffuse_model::cond::Conditions;
use suffuse_model::device::Device;
use suffuse_model::systems::sparse_microbiome::{
    Attribute, Cohort, Config, Drawn, FitOptions, Inpainted, Kept, Model, Privacy, SampleOptions,
    TaxonDistances, Wanted, fit, fit_private,
};
use suffuse_model::systems::system_of;
use suffuse_model::train::Progress;

/// Whole counts of 240 samples and 30 taxa.
fn table() -> Table {
    let options = SimulateOptions {
        n_samples: 240,
        n_taxa: 30,
        zero_fraction: 0.5,
        ..SimulateOptions::default()
    };
    let table = simulate(&options).expect("the defaults are valid").table;
    let whole: Vec<f64> = table.to_dense().iter().map(|x| x.round()).collect();
    table.with_dense(&whole).expect("the shape is the same")
}

fn cohort<'a>(table: &'a Table, distances: Option<&'a TaxonDistances>) -> Cohort<'a> {
    Cohort {
        table,
        conditions: None,
        attributes: Vec::new(),
        distances,
        groups: None,
    }
}

fn fitted(config: &Config, cohort: &Cohort) -> Result<Model, suffuse_model::Error> {
    with_options(|options| fit(config, cohort, options))
}

fn with_options<T>(fit: impl FnOnce(&mut FitOptions) -> T) -> T {
    let mut progress = |_: &Progress| {};
    fit(&mut FitOptions {
        seed: 4,
        device: Device::flex(),
        checkpoint: None,
        save_every_s: 1e9,
        progress: &mut progress,
        interrupted: &AtomicBool::new(false),
    })
}

fn wanted(numbers: std::ops::Range<u64>) -> Vec<Wanted<'static>> {
    numbers
        .map(|number| Wanted {
            number,
            depth: None,
            conditions: None,
        })
        .collect()
}

fn drawn(model: &Model, wanted: &[Wanted], guidance: Vec<f64>) -> Vec<Drawn> {
    let options = SampleOptions {
        seed: 9,
        device: Device::flex(),
        guidance,
        sampler: None,
        interrupted: &AtomicBool::new(false),
    };
    model.sample(wanted, &options).expect("the model is whole")
}

fn within<T: Send>(n_threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build()
        .expect("threads can be started")
        .install(work)
}

fn setting(key: &str, value: &str) -> Config {
    Config::tiny()
        .with_overrides(&[(key.to_string(), value.to_string())])
        .expect("the setting exists")
}

#[test]
fn fits_and_samples_are_the_same_with_any_threads_blocks_and_order() {
    let table = table();
    let config = setting("denoiser.training.n_steps", "60");
    let one = within(1, || fitted(&config, &cohort(&table, None))).unwrap();
    let two = within(2, || fitted(&config, &cohort(&table, None))).unwrap();
    assert!(one == two);
    let all = within(1, || drawn(&one, &wanted(0..100), Vec::new()));
    let mut parts = within(2, || drawn(&one, &wanted(0..7), Vec::new()));
    parts.extend(within(2, || drawn(&one, &wanted(7..100), Vec::new())));
    assert!(all == parts);
    let backward: Vec<Wanted> = wanted(0..100).into_iter().rev().collect();
    let mut backward = drawn(&one, &backward, Vec::new());
    backward.reverse();
    assert!(all == backward);
}

/// Share of zeros of samples of some depth.
fn zeros_at(model: &Model, depth: u64) -> f64 {
    let deep: Vec<Wanted> = wanted(0..400)
        .into_iter()
        .map(|wanted| Wanted {
            depth: Some(depth),
            ..wanted
        })
        .collect();
    let drawn = drawn(model, &deep, Vec::new());
    let n_present: usize = drawn.iter().map(|sample| sample.shares.len()).sum();
    1.0 - n_present as f64 / (drawn.len() * model.feature_ids().len()) as f64
}

#[test]
fn totals_that_are_no_depths_say_nothing_of_the_samples() {
    let counts = table();
    let n_taxa = counts.n_features();
    let dense = counts.to_dense();
    let zeros = dense.iter().filter(|x| **x == 0.0).count() as f64 / dense.len() as f64;
    let scaled = |unit: f64| {
        let rows = dense.chunks(n_taxa).flat_map(|row| {
            let total: f64 = row.iter().sum();
            row.iter()
                .map(move |x| unit * x / total)
                .collect::<Vec<_>>()
        });
        counts.with_dense(&rows.collect::<Vec<_>>()).unwrap()
    };
    let config = setting("denoiser.training.n_steps", "60");
    for unit in [1.0, 100.0] {
        let model = fitted(&config, &cohort(&scaled(unit), None)).unwrap();
        assert!(!model.is_of_counts());
        for depth in [20, 2_000, 1_000_000] {
            let found = zeros_at(&model, depth);
            assert!(
                (found - zeros).abs() < 0.05,
                "{unit}, {depth}: {found} of {zeros}"
            );
        }
    }
    // Counts of one depth.
    let mut even = vec![0.0; dense.len()];
    for (row, even) in dense.chunks(n_taxa).zip(even.chunks_mut(n_taxa)) {
        even.copy_from_slice(row);
        let largest = (0..n_taxa)
            .max_by(|i, j| row[*i].total_cmp(&row[*j]))
            .unwrap();
        even[largest] += 1e6 - row.iter().sum::<f64>();
    }
    let model = fitted(&config, &cohort(&counts.with_dense(&even).unwrap(), None)).unwrap();
    assert_eq!(zeros_at(&model, 1_000), zeros_at(&model, 1_000_000));
}

#[test]
fn samples_have_exact_zeros_closed_shares_and_the_prevalences_of_the_table() {
    let table = table();
    let taxonomy = table
        .taxonomy
        .as_ref()
        .expect("simulated tables have lineages");
    let distances = TaxonDistances::from_taxonomy(taxonomy).unwrap();
    let model = fitted(&Config::tiny(), &cohort(&table, Some(&distances))).unwrap();
    assert!(model.embedding().is_some());
    let n = 4000;
    let samples = drawn(&model, &wanted(0..n), Vec::new());
    let mut present = vec![0.0; table.n_features()];
    for Drawn { total, shares } in &samples {
        assert!(*total >= 1.0 && total.fract() == 0.0);
        assert!(!shares.is_empty() && shares.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-9 && shares.iter().all(|(_, share)| *share > 0.0));
        shares
            .iter()
            .for_each(|(taxon, _)| present[*taxon as usize] += 1.0);
    }
    let real = suffuse_data::select::prevalence(&table);
    for (taxon, (found, real)) in present.iter().zip(&real).enumerate() {
        // Thresholds come from 512 samples: standard error .022, and .008 of these.
        let found = found / n as f64;
        assert!((found - real).abs() < 0.085, "{taxon}: {found}, {real}");
    }
    let richness = present.iter().sum::<f64>() / n as f64;
    let of_table = table.n_stored() as f64 / table.n_samples() as f64;
    assert!(
        (richness - of_table).abs() < 0.05 * of_table,
        "{richness} {of_table}"
    );
    // Totals within those of the table, and not only its own.
    let totals = table.totals();
    let most = totals.iter().copied().fold(0.0, f64::max);
    assert!(samples.iter().all(|sample| sample.total <= most));
    assert!(samples.iter().any(|sample| !totals.contains(&sample.total)));
}

#[test]
fn a_condition_decides_and_guidance_of_1_is_none() {
    // Two kinds of samples without a taxon in common.
    let (n, n_taxa) = (200, 12);
    let mut dense = vec![0.0; n * n_taxa];
    for row in 0..n {
        let kind = row % 2;
        for taxon in (0..n_taxa).filter(|taxon| taxon % 2 == kind) {
            dense[row * n_taxa + taxon] = ((row * 7 + taxon * 13) % 19) as f64;
        }
        dense[row * n_taxa + kind] += 5.0;
    }
    let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
    let table = Table::from_dense(ids("s", n), ids("t", n_taxa), &dense).unwrap();
    let one_hot = |kind: usize| {
        [
            f32::from(u8::from(kind == 0)),
            f32::from(u8::from(kind == 1)),
        ]
    };
    let cohort = Cohort {
        conditions: Some(Conditions {
            values: (0..n).flat_map(|row| one_hot(row % 2)).collect(),
            missing: vec![false; n],
            dim: 2,
            description: "kind".to_string(),
        }),
        attributes: vec![Attribute {
            name: "kind".to_string(),
            start: 0,
            len: 2,
        }],
        ..cohort(&table, None)
    };
    let model = fitted(&Config::tiny(), &cohort).unwrap();
    let kinds = [one_hot(0), one_hot(1)];
    // Of two attributes that are guided by 0, neither has a say.
    let halves = [0, 1].map(|start| Attribute {
        name: start.to_string(),
        start,
        len: 1,
    });
    let in_halves = Cohort {
        attributes: halves.to_vec(),
        ..cohort.clone()
    };
    let model_of_two = fitted(&setting("denoiser.training.n_steps", "60"), &in_halves).unwrap();
    let [of_first, of_second] = [0, 1].map(|kind: usize| {
        let wanted: Vec<Wanted> = (wanted(0..200).into_iter())
            .map(|wanted| Wanted {
                conditions: Some(&kinds[kind]),
                ..wanted
            })
            .collect();
        drawn(&model_of_two, &wanted, vec![0.0, 0.0])
    });
    let taxa = |sample: &Drawn| -> Vec<u32> { sample.shares.iter().map(|(t, _)| *t).collect() };
    let both = of_first.iter().zip(&of_second);
    let n_alike = both.filter(|(a, b)| taxa(a) == taxa(b)).count();
    assert!(n_alike >= 199, "{n_alike} of 200"); // but for rounding
    for (kind, conditions) in kinds.iter().enumerate() {
        let wanted: Vec<Wanted> = (0..200)
            .map(|number| Wanted {
                number,
                depth: Some(40 + number),
                conditions: Some(conditions),
            })
            .collect();
        let samples = drawn(&model, &wanted, Vec::new());
        assert!(
            samples
                .iter()
                .zip(&wanted)
                .all(|(s, w)| s.total == w.depth.unwrap() as f64)
        );
        let right = |sample: &Drawn| -> f64 {
            let own = sample
                .shares
                .iter()
                .filter(|(taxon, _)| *taxon as usize % 2 == kind);
            own.map(|(_, share)| share).sum()
        };
        let mean = samples.iter().map(right).sum::<f64>() / samples.len() as f64;
        assert!(mean > 0.85, "kind {kind}: share of its own taxa {mean}");
        assert!(samples == drawn(&model, &wanted, vec![1.0]));
        assert!(samples != drawn(&model, &wanted, vec![3.0]));
    }
}

#[test]
fn a_model_survives_its_folder_and_a_broken_folder_is_named() {
    let table = table();
    let config = setting("denoiser.training.n_steps", "20");
    let distances = TaxonDistances::from_taxonomy(table.taxonomy.as_ref().unwrap()).unwrap();
    let model = fitted(&config, &cohort(&table, Some(&distances))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(system_of(folder.path()).unwrap(), None);
    model.save(folder.path()).unwrap();
    assert_eq!(
        system_of(folder.path()).unwrap().as_deref(),
        Some("sparse-microbiome")
    );
    let back = Model::load(folder.path()).unwrap();
    assert!(back == model);
    for (file, text) in [
        ("features.tsv", "only_one\n"),
        ("transform.json", "{\"system\": \"sparse-microbiome\"}"),
        ("config.toml", "validation_fraction = 2"),
        ("ema.safetensors", "short"),
    ] {
        let path = folder.path().join(file);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, text).unwrap();
        let error = Model::load(folder.path()).unwrap_err().to_string();
        let named = match file {
            "features.tsv" => "transform.json", // the two do not fit
            file => file,
        };
        assert!(error.contains(named), "{file}: {error}");
        std::fs::write(&path, whole).unwrap();
    }
    assert!(Model::load(folder.path()).is_ok());
}

/// `epsilon` of a fit whose noise has a key of equal bytes.
fn privately(
    config: &Config,
    cohort: &Cohort,
    epsilon: f64,
    key: u8,
) -> Result<Model, suffuse_model::Error> {
    let privacy = Privacy {
        epsilon,
        delta: 1e-3,
        key: [key; 32],
    };
    with_options(|options| fit_private(config, cohort, &privacy, options))
}

#[test]
fn a_private_fit_depends_on_its_key_keeps_its_guarantee_and_logs_nothing() {
    let table = table();
    let overrides = [
        ("vae.training.n_steps", "20"),
        ("sampling.n_calibration", "512"),
    ]
    .map(|(key, value)| (key.to_string(), value.to_string()));
    let config = Config::private().with_overrides(&overrides).unwrap();
    let fit = |key: u8| privately(&config, &cohort(&table, None), 2.0, key).unwrap();
    let model = fit(1);
    assert_eq!(model, fit(1));
    assert_ne!(model, fit(2));
    let record = model.privacy().expect("the fit was private");
    assert!(record.epsilon <= 2.0 && record.delta == 1e-3, "{record:?}");
    assert_eq!(
        (model.log(), model.validation_losses()),
        ("", [f64::INFINITY; 2])
    );
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    assert_eq!(Model::load(folder.path()).unwrap(), model);
    for drawn in drawn(&model, &wanted(0..50), Vec::new()) {
        let sum: f64 = drawn.shares.iter().map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-9 && drawn.total >= 1.0);
    }
}

#[test]
fn with_little_noise_a_private_fit_has_the_prevalences_of_the_table() {
    let table = table();
    let overrides =
        [("vae.training.n_steps", "20")].map(|(key, value)| (key.to_string(), value.to_string()));
    let config = Config::private().with_overrides(&overrides).unwrap();
    let model = privately(&config, &cohort(&table, None), 1000.0, 1).unwrap();
    let samples = drawn(&model, &wanted(0..2000), Vec::new());
    for taxon in 0..table.n_features() {
        let has = |drawn: &&Drawn| drawn.shares.iter().any(|(t, _)| *t as usize == taxon);
        let found = samples.iter().filter(has).count() as f64 / 2000.0;
        let real = |row: &usize| table.get(*row, taxon) > 0.0;
        let expected = (0..240).filter(real).count() as f64 / 240.0;
        // standard error .011, and what is left of the noise
        assert!(
            (found - expected).abs() < 0.06,
            "{taxon}: {found} {expected}"
        );
    }
}

#[test]
fn what_no_guarantee_covers_is_refused() {
    let table = table();
    let refused = |config: &Config, cohort: &Cohort, epsilon: f64, expected: &str| {
        let error = privately(config, cohort, epsilon, 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    let plain = cohort(&table, None);
    let private = Config::private();
    refused(&Config::small(), &plain, 1.0, "sampling.latents");
    let correlated = [("residuals.correlated".to_string(), "true".to_string())];
    let correlated = private.with_overrides(&correlated).unwrap();
    refused(&correlated, &plain, 1.0, "residuals.correlated = false");
    for epsilon in [0.0, -1.0, f64::NAN] {
        refused(&private, &plain, epsilon, "epsilon");
    }
    let grouped = Cohort {
        groups: Some(vec![0; 240]),
        ..plain.clone()
    };
    refused(&private, &grouped, 1.0, "no groups");
    // A delta that publishing one of the samples would satisfy.
    let privacy = Privacy {
        epsilon: 1.0,
        delta: 0.01,
        key: [1; 32],
    };
    let error = with_options(|options| fit_private(&private, &plain, &privacy, options));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("240 samples"), "{error}");
}

#[test]
fn hard_tables_are_learned_from_or_refused_with_a_reason() {
    let make = |rows: &[&[f64]]| {
        let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let dense: Vec<f64> = rows.iter().flat_map(|row| row.iter().copied()).collect();
        Table::from_dense(ids("s", rows.len()), ids("t", rows[0].len()), &dense).unwrap()
    };
    let refused = |table: &Table| {
        fitted(&Config::tiny(), &cohort(table, None))
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&make(&[&[1.0, 2.0], &[0.0, 0.0]])).contains("1 samples with reads"));
    assert!(refused(&make(&[&[1.0, 0.0], &[3.0, 0.0]])).contains("1 features present"));
    let unmeasured = refused(&make(&[&[1.0, 2.0], &[3.0, f64::NAN]]));
    assert!(
        unmeasured.contains("\"s1\"") && unmeasured.contains("\"t1\""),
        "{unmeasured}"
    );
    // Two equal samples, one total, a taxon in all of them and one in none; fractions.
    for rows in [
        [&[2.0, 1.0, 0.0], &[2.0, 1.0, 0.0]],
        [&[0.5, 0.25, 0.0], &[0.0, 0.75, 0.0]],
    ] {
        let table = make(&rows.map(|row| row as &[f64]));
        let model = fitted(
            &setting("vae.training.n_steps", "20"),
            &cohort(&table, None),
        )
        .unwrap();
        for sample in drawn(&model, &wanted(0..50), Vec::new()) {
            assert!(
                sample
                    .shares
                    .iter()
                    .all(|(taxon, share)| *taxon < 2 && share.is_finite())
            );
            assert!(sample.total.is_finite() && sample.total > 0.0);
        }
        assert_eq!(model.is_of_counts(), rows[0][0] == 2.0);
    }
}

/// 240 samples of two kinds: taxa 0 to 5 are common in those of even, 6 to 11 in those of odd number.
fn two_kinds() -> Table {
    let mut state = 1_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut counts = Vec::new();
    for row in 0..240 {
        for taxon in 0..12 {
            let is_common = (taxon < 6) == (row % 2 == 0);
            let is_present = uniform() < if is_common { 0.9 } else { 0.08 };
            let count = (20.0 * (2.0 * uniform()).exp()).round();
            counts.push(if is_present { count } else { 0.0 });
        }
        counts[row * 12] += 5.0; // no sample is empty, and taxon 0 tells nothing by its presence
    }
    let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
    Table::from_dense(ids("s", 240), ids("t", 12), &counts).expect("the shape fits")
}

#[test]
fn what_is_generated_goes_with_what_is_kept() {
    let model = fitted(&Config::tiny(), &cohort(&two_kinds(), None)).unwrap();
    let options = SampleOptions {
        seed: 9,
        device: Device::flex(),
        guidance: Vec::new(),
        sampler: None,
        interrupted: &AtomicBool::new(false),
    };
    let taxa = [1, 2, 7, 8];
    let of = |shares: [f64; 4], n: u64| -> Vec<Inpainted> {
        let kept = Kept {
            taxa: &taxa,
            shares: &shares,
        };
        let all: Vec<(Wanted, Kept)> = wanted(0..n).into_iter().map(|w| (w, kept)).collect();
        model.inpaint(&all, &options).unwrap()
    };
    let share_with = |all: &[Inpainted], taxa: [u32; 4]| {
        let has = |sample: &Inpainted, taxon: u32| {
            sample.drawn.shares.iter().any(|(found, _)| *found == taxon)
        };
        let n: usize = all
            .iter()
            .map(|sample| taxa.iter().filter(|taxon| has(sample, **taxon)).count())
            .sum();
        n as f64 / (4 * all.len()) as f64
    };
    let n = 40;
    let (even, odd) = (of([0.2, 0.15, 0.0, 0.0], n), of([0.0, 0.0, 0.2, 0.15], n));
    // Common in the kind of the kept taxa, rare in the other: .9 and .08 in the table.
    let found = [
        share_with(&even, [3, 4, 5, 5]),
        share_with(&even, [9, 10, 11, 6]),
        share_with(&odd, [9, 10, 11, 6]),
        share_with(&odd, [3, 4, 5, 5]),
    ];
    assert!(found[0] > 0.75 && found[2] > 0.75, "{found:?}");
    assert!(found[1] < 0.25 && found[3] < 0.25, "{found:?}");
    for sample in &even {
        let share = |taxon: u32| {
            sample
                .drawn
                .shares
                .iter()
                .find(|(found, _)| *found == taxon)
        };
        assert_eq!(share(1), Some(&(1, 0.2)));
        assert_eq!(share(2), Some(&(2, 0.15)));
        assert!(share(7).is_none() && share(8).is_none());
        let sum: f64 = sample.drawn.shares.iter().map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        assert!(
            sample
                .drawn
                .shares
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0)
        );
        assert!((1.0..=Inpainted::N_CANDIDATES as f64).contains(&sample.n_effective));
    }
    // Each depends on its number alone, and all differ.
    assert!(of([0.2, 0.15, 0.0, 0.0], 3) == even[..3]);
    assert_ne!(even[0].drawn.shares, even[1].drawn.shares);
    // Kept taxa that are all of the sample leave nothing; what is no part of a sample is refused.
    let whole = of([0.5, 0.5, 0.0, 0.0], 1);
    assert_eq!(whole[0].drawn.shares, [(1, 0.5), (2, 0.5)]);
    for (taxa, shares) in [
        (&[1_u32, 1][..], &[0.1, 0.1][..]),
        (&[1, 12], &[0.1, 0.1]),
        (&[1, 2], &[0.1]),
        (&[1, 2], &[0.8, 0.8]),
        (&[1], &[f64::NAN]),
        (&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], &[0.0; 12]),
    ] {
        let kept = Kept { taxa, shares };
        let one = [(wanted(0..1)[0], kept)];
        assert!(
            model.inpaint(&one, &options).is_err(),
            "{taxa:?} {shares:?}"
        );
    }
}

#[test]
fn the_paper_preset_has_the_size_that_the_paper_names() {
    // 15.2 million weights for 500 taxa.
    let config = Config::preset("paper").unwrap();
    let quick = config
        .with_overrides(&[
            ("vae.training.n_steps".to_string(), "1".to_string()),
            ("denoiser.training.n_steps".to_string(), "1".to_string()),
            ("vae.training.batch_size".to_string(), "2".to_string()),
            ("denoiser.training.batch_size".to_string(), "2".to_string()),
            ("sampling.n_calibration".to_string(), "0".to_string()),
            ("residuals.correlated".to_string(), "false".to_string()),
        ])
        .unwrap();
    let options = SimulateOptions {
        n_samples: 6,
        n_taxa: 500,
        ..SimulateOptions::default()
    };
    let table = simulate(&options).unwrap().table;
    let distances = TaxonDistances::from_taxonomy(table.taxonomy.as_ref().unwrap()).unwrap();
    let (vae, denoiser) = fitted(&quick, &cohort(&table, Some(&distances)))
        .unwrap()
        .n_weights();
    let all = (vae + denoiser) as f64;
    assert!(
        (all / 15.2e6 - 1.0).abs() < 0.01,
        "{vae} + {denoiser} = {all}"
    );
}
