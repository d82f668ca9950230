//! What spike-ins must do, by closed forms.

use super::*;
use rand::RngExt;

/// Samples of 12 taxa and 200,000 reads: taxon `j` is in a share `(j + 1) / 13` of them, the last in all.
fn samples(n: usize) -> Vec<SparseRow> {
    let mut rng = stream(5, None);
    let row = |_| {
        let weights: Vec<f64> = (0..12)
            .map(|j| {
                let noise: f64 = StandardNormal.sample(&mut rng);
                let is_present = rng.random::<f64>() < (j + 1) as f64 / 13.0 || j == 11;
                f64::from(u8::from(is_present)) * (0.7 * noise).exp()
            })
            .collect();
        SparseRow::of(&super::super::counting::apportion(&weights, 200_000))
    };
    (0..n).map(row).collect()
}

fn normals(n: usize) -> Vec<f64> {
    Covariate::Normal.draw(n, 6)
}

/// 0 and 1 in turns.
fn halves(n: usize) -> Vec<f64> {
    (0..n).map(|at| (at % 2) as f64).collect()
}

fn effect(taxon: usize, covariate: usize, effect: f64, on: On) -> Effect {
    Effect {
        taxon,
        covariate,
        effect,
        on,
    }
}

fn count(row: &SparseRow, taxon: usize) -> f64 {
    Draft::of(row).weight(taxon)
}

#[test]
fn shares_are_multiplied_by_the_exponential_and_all_else_stays() {
    let n = 3000;
    let before = samples(n);
    let mut rows = before.clone();
    let changes = Changes {
        effects: vec![
            effect(4, 0, 0.7, On::Abundance),
            effect(9, 0, -0.5, On::Abundance),
        ],
        covariates: vec![normals(n)],
        ..Changes::default()
    };
    let realised = apply(&mut rows, &vec![0; n], &changes, 1).unwrap().effects;
    for (found, expected) in realised.iter().zip([0.7, -0.5]) {
        assert!((found - expected).abs() < 1e-3, "{found} {expected}");
    }
    let covariate = &changes.covariates[0];
    for ((row, old), x) in rows.iter().zip(&before).zip(covariate) {
        assert_eq!(row.columns, old.columns);
        assert_eq!(row.total(), 200_000.0);
        assert!(row.counts.iter().all(|count| count.fract() == 0.0));
        // In closed form, within the rounding of half a read of 12 taxa, shared out in proportion.
        let factor = |j: usize| match j {
            4 => (0.7 * x).exp(),
            9 => (-0.5 * x).exp(),
            _ => 1.0,
        };
        let total: f64 = (0..12).map(|j| count(old, j) * factor(j)).sum();
        for j in 0..12 {
            let expected = 200_000.0 * count(old, j) * factor(j) / total;
            let off = (count(row, j) - expected).abs();
            assert!(off <= 1.0 + 6.0 * expected / 200_000.0, "taxon {j}: {off}");
        }
    }
}

#[test]
fn odds_of_presence_move_by_the_effect_of_a_binary_covariate() {
    let n = 40_000;
    let before = samples(n);
    let mut rows = before.clone();
    let changes = Changes {
        effects: vec![
            effect(3, 0, 1.2, On::Prevalence),
            effect(8, 0, -0.8, On::Prevalence),
        ],
        covariates: vec![halves(n)],
        ..Changes::default()
    };
    let realised = apply(&mut rows, &vec![0; n], &changes, 1).unwrap().effects;
    for (taxon, wanted, realised) in [(3, 1.2, realised[0]), (8, -0.8, realised[1])] {
        let odds = |rows: &[SparseRow], of: usize| {
            let rows: Vec<_> = rows.iter().skip(of).step_by(2).collect();
            let found = rows.iter().filter(|row| count(row, taxon) > 0.0).count() as f64;
            found / (rows.len() as f64 - found)
        };
        // Where the covariate is 0 nothing changes.
        assert_eq!(odds(&rows, 0), odds(&before, 0));
        // Standard error of a log odds ratio: below sqrt(4 / (20,000 x 0.2)) = 0.032.
        let ratio = (odds(&rows, 1) / odds(&before, 1)).ln();
        assert!((ratio - wanted).abs() < 0.1, "{ratio}");
        assert!((realised - wanted).abs() < 0.1, "{realised}");
    }
    for (row, old) in rows.iter().zip(&before) {
        assert_eq!(row.total(), 200_000.0);
        // Both are rounded to whole reads, and neither taxon is rare where it is present.
        if count(row, 10) > 0.0 {
            let ratio = |row: &SparseRow| count(row, 11) / count(row, 10);
            let (new, old) = (ratio(row), ratio(old));
            assert!((new / old - 1.0).abs() < 0.01, "{new} {old}");
        }
    }
}

#[test]
fn odds_move_by_a_normal_covariate_within_groups() {
    let n = 40_000;
    let mut rows = samples(n);
    // The taxon is rarer in group 1: one prevalence for both would move the odds of neither rightly.
    let groups: Vec<usize> = (0..n).map(|at| usize::from(at >= n / 2)).collect();
    for row in rows
        .iter_mut()
        .skip(n / 2)
        .filter(|row| row.counts[0] % 4.0 > 0.0)
    {
        if let Ok(at) = row.columns.binary_search(&6) {
            row.columns.remove(at);
            row.counts.remove(at);
        }
    }
    let changes = Changes {
        effects: vec![effect(6, 0, 0.9, On::Prevalence)],
        covariates: vec![normals(n)],
        ..Changes::default()
    };
    let realised = apply(&mut rows, &groups, &changes, 2).unwrap().effects[0];
    assert!((realised - 0.9).abs() < 0.06, "{realised}");
}

#[test]
fn switched_on_taxa_have_ratios_that_were_generated() {
    let n = 500;
    let before = samples(n);
    let mut rows = before.clone();
    let changes = Changes {
        prevalences: vec![(5, 1.0)],
        ..Changes::default()
    };
    apply(&mut rows, &vec![0; n], &changes, 1).unwrap();
    let ratio = |row: &SparseRow| count(row, 5) / (row.total() - count(row, 5));
    let known: Vec<f64> = before.iter().map(ratio).filter(|r| *r > 0.0).collect();
    for row in &rows {
        let found = ratio(row);
        let is_known = known.iter().any(|known| (known / found - 1.0).abs() < 0.01);
        assert!(found > 0.0 && is_known, "{found}");
    }
}

#[test]
fn prevalences_and_means_become_the_wanted_ones() {
    let n = 20_000;
    let before = samples(n);
    let mut rows = before.clone();
    let changes = Changes {
        prevalences: vec![(2, 0.6), (11, 0.4), (7, 0.0)],
        mean_factors: vec![(4, 2.0), (9, 0.5)],
        ..Changes::default()
    };
    let groups: Vec<usize> = (0..n).map(|at| at % 3).collect();
    apply(&mut rows, &groups, &changes, 3).unwrap();
    let prevalence =
        |taxon: usize| rows.iter().filter(|row| count(row, taxon) > 0.0).count() as f64 / n as f64;
    // Standard error sqrt(0.25 / 20,000) = 0.0035.
    assert!((prevalence(2) - 0.6).abs() < 0.015);
    assert!((prevalence(11) - 0.4).abs() < 0.015);
    // It stays where nothing else is left.
    let is_alone = |row: &&SparseRow| row.columns == [7];
    let n_alone = rows.iter().filter(is_alone).count();
    assert_eq!(prevalence(7) * n as f64, n_alone as f64);
    assert!(n_alone < 5, "{n_alone}");
    // Means of what is left when only prevalences are changed, by the same seed.
    let mut unscaled = before.clone();
    let only = Changes {
        prevalences: changes.prevalences.clone(),
        ..Changes::default()
    };
    apply(&mut unscaled, &groups, &only, 3).unwrap();
    let mean = |rows: &[SparseRow], taxon: usize| -> f64 {
        rows.iter()
            .map(|row| count(row, taxon) / row.total())
            .sum::<f64>()
            / n as f64
    };
    for (taxon, factor) in [(4, 2.0), (9, 0.5)] {
        let found = mean(&rows, taxon) / mean(&unscaled, taxon);
        assert!((found - factor).abs() < 1e-4, "{taxon}: {found}");
    }
    assert!(rows.iter().all(|row| row.total() == 200_000.0));
}

#[test]
fn no_change_keeps_every_read_and_seeds_decide() {
    let before = samples(50);
    let mut rows = before.clone();
    apply(&mut rows, &[0; 50], &Changes::default(), 1).unwrap();
    assert_eq!(rows, before);
    let changes = Changes {
        prevalences: vec![(5, 0.8)],
        ..Changes::default()
    };
    let run = |seed: u64| {
        let mut rows = before.clone();
        apply(&mut rows, &[0; 50], &changes, seed).unwrap();
        rows
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn the_only_taxon_of_a_sample_stays() {
    let only = SparseRow {
        columns: vec![3],
        counts: vec![7.0],
    };
    let mut rows = vec![only.clone(), SparseRow::of(&[1.0, 0.0, 0.0, 6.0])];
    let changes = Changes {
        prevalences: vec![(3, 0.0)],
        ..Changes::default()
    };
    apply(&mut rows, &[0; 2], &changes, 1).unwrap();
    assert_eq!(rows[0], only);
    assert_eq!(rows[1], SparseRow::of(&[7.0]));
}

#[test]
fn what_cannot_be_had_is_refused_by_its_taxon() {
    let n = 60;
    let try_to = |changes: Changes| {
        let mut rows = samples(n);
        match apply(&mut rows, &vec![0; n], &changes, 1) {
            Err(Error::Unchangeable { taxon, problem }) => (taxon, problem),
            other => panic!("{other:?}"),
        }
    };
    let effects = |effects| Changes {
        effects,
        covariates: vec![halves(n)],
        ..Changes::default()
    };
    let prevalences = |prevalences| Changes {
        prevalences,
        ..Changes::default()
    };
    let means = |mean_factors| Changes {
        mean_factors,
        ..Changes::default()
    };
    let (taxon, problem) = try_to(effects(vec![effect(11, 0, 1.0, On::Prevalence)]));
    assert!(taxon == 11 && problem.contains("odds"), "{problem}");
    let (taxon, problem) = try_to(effects(vec![effect(40, 0, 1.0, On::Abundance)]));
    assert!(
        taxon == 40 && problem.contains("no generated sample"),
        "{problem}"
    );
    let (_, problem) = try_to(prevalences(vec![(40, 0.3)]));
    assert!(problem.contains("0 of 60"), "{problem}");
    let (_, problem) = try_to(prevalences(vec![(4, 1.5)]));
    assert!(problem.contains("1.5"), "{problem}");
    let (_, problem) = try_to(means(vec![(4, 1e4)]));
    assert!(problem.contains("mean share"), "{problem}");
    let (_, problem) = try_to(means(vec![(4, -1.0)]));
    assert!(problem.contains("above 0"), "{problem}");
}

#[test]
fn covariates_have_the_moments_of_their_kind() {
    let binary = Covariate::Binary.draw(1001, 3);
    assert_eq!(binary.iter().filter(|x| **x == 1.0).count(), 500);
    assert_eq!(binary.iter().filter(|x| **x == 0.0).count(), 501);
    assert_ne!(binary, Covariate::Binary.draw(1001, 4));
    let normal = normals(20_000);
    let mean = normal.iter().sum::<f64>() / 20_000.0;
    let square = normal.iter().map(|x| x * x).sum::<f64>() / 20_000.0;
    // Standard errors 1 / sqrt(20,000) = 0.007 and sqrt(2 / 20,000) = 0.01.
    assert!(mean.abs() < 0.03 && (square - 1.0).abs() < 0.04);
}
