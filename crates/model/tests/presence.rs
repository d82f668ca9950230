//! Zeros as the members of the guide judge them that have not seen a sample, and as others judge them.

use std::sync::atomic::AtomicBool;
use suffuse_data::Table;
use suffuse_data::simulate::{SimulateOptions, simulate};
use suffuse_model::device::Device;
use suffuse_model::systems::depmicrodiff::{
    Action, Cohort, Config, Fill, FitOptions, ImputeOptions, Model, Partner, Totals, fit,
};
use suffuse_stats::blend::Blend;

fn table() -> Table {
    let options = SimulateOptions {
        n_samples: 40,
        n_taxa: 12,
        ..SimulateOptions::default()
    };
    simulate(&options).expect("the defaults are valid").table
}

fn cohort(table: &Table) -> Cohort<'_> {
    Cohort {
        table,
        hidden: &[],
        totals: Totals::OfWhatIsLeft,
        conditions: None,
        groups: Some((0..table.n_samples()).map(|sample| sample / 2).collect()),
        times: None,
    }
}

fn fitted(table: &Table) -> Model {
    let mut options = FitOptions {
        seed: 4,
        pretrain: &[],
        device: Device::flex(),
        checkpoint: None,
        save_every_s: f64::INFINITY,
        progress: &mut |_| (),
        interrupted: &AtomicBool::new(false),
    };
    fit(&Config::tiny(), &cohort(table), &mut options).expect("a fit")
}

#[test]
fn zeros_of_the_samples_asked_about_are_judged_and_nothing_else() {
    let table = table();
    let model = fitted(&table);
    let cohort = cohort(&table);
    let parts = model.parts(&cohort);
    // Samples of a group are in one part, or a member would have seen the other sample of the subject.
    assert!(parts.chunks(2).all(|pair| pair[0] == pair[1]));
    assert!(parts.iter().any(|part| *part != parts[0]));
    let is_asked: Vec<bool> = parts.iter().map(|part| *part == parts[0]).collect();
    let judged = |is_asked: &[bool]| {
        model
            .presence_by_others(&cohort, is_asked, &Device::flex(), &AtomicBool::new(false))
            .expect("its own table")
            .expect("there is a guide")
    };
    let some = judged(&is_asked);
    for ((sample, taxon), p) in some.indexed_iter() {
        let is_zero = table.get(sample, taxon) == 0.0;
        let has_total = table.totals()[sample] > 0.0;
        assert_eq!(!p.is_nan(), is_asked[sample] && is_zero && has_total);
        assert!(p.is_nan() || (0.0..=1.0).contains(p));
    }
    // What is said of a sample does not depend on which others are asked about.
    let all = judged(&vec![true; parts.len()]);
    for (sample, _) in is_asked.iter().enumerate().filter(|(_, asked)| **asked) {
        let (a, b) = (some.row(sample), all.row(sample));
        assert!(a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}

#[test]
fn zeros_are_filled_where_others_judge_them_false() {
    let table = table();
    let model = fitted(&table);
    let wanted = |(sample, taxon): &(u32, u32)| (sample + taxon) % 3 == 0;
    let rejudge = |zeros: &[(u32, u32)], model: &[f64]| -> Vec<f64> {
        assert_eq!(zeros.len(), model.len());
        zeros
            .iter()
            .map(|zero| if wanted(zero) { 0.9 } else { 0.1 })
            .collect()
    };
    let predict = |entries: &[(u32, u32)]| {
        assert!(entries.iter().all(wanted), "only those are to be filled");
        vec![1.0; entries.len()]
    };
    let mut options = ImputeOptions {
        fill: Fill::Zeros,
        presence_threshold: 0.5,
        structural_zeros: &[],
        n_draws: 2,
        n_sets: 0,
        partner: Some(Partner {
            blend: Blend {
                weight: 0.5,
                slope: 0.0,
                hidden_share: 0.3,
                calibration: None,
            },
            predict: &predict,
            rejudge: Some(&rejudge),
        }),
        sampler: "ddim:2".parse().expect("a sampler"),
        seed: 9,
        device: Device::flex(),
        batch_size: 7,
        progress: &mut |_| (),
        interrupted: &AtomicBool::new(false),
    };
    let filled = model
        .impute(&cohort(&table), &mut options)
        .expect("its own table");
    let mut n_filled = 0;
    for ((sample, taxon), action) in filled.action.indexed_iter() {
        let is_zero = table.get(sample, taxon) == 0.0 && table.totals()[sample] > 0.0;
        let is_wanted = is_zero && wanted(&(sample as u32, taxon as u32));
        assert_eq!(*action == Action::Filled, is_wanted);
        if is_zero {
            let expected = if is_wanted { 0.9 } else { 0.1 };
            assert_eq!(filled.presence[[sample, taxon]], expected);
        }
        n_filled += usize::from(is_wanted);
    }
    assert!(n_filled > 10, "{n_filled}");
}
