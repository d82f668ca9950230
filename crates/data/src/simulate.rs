//! A simulator of realistic tables, for demonstrations and tests.
//!
//! ```text
//! lineages ──► loadings ─┐
//! subjects ──► factors ──┴► latent z ──► presence (probit) ──┐
//! metadata ──► effects ────┘        └──► ln abundance ───────┴► fractions ──► counts
//! ```
//!
//! For sample `i` and taxon `j`, with `u` the factors of the sample and `L` unit-length loadings
//! that taxa of one genus and family share in part:
//!
//! - latent: `z = sqrt(SHARED) u_i . L_j + sqrt(1 - SHARED) eps + effects` (low rank + diagonal)
//! - present where `PRESENCE z + sqrt(1 - PRESENCE^2) e + prevalence_j > 0`; abundant taxa are
//!   prevalent
//! - `ln abundance = mu_j + sigma_j z`, a log-normal margin; fractions are closed over those present
//! - counts are multinomial, library sizes log-normal
//!
//! The latent factors have no unit; `mu` and `sigma` are in natural logarithms. They are chosen to
//! resemble 16S tables, not fitted to one.

mod population;

use crate::seeded::seeded;
use crate::{Column, ColumnValues, Error, Result, Table, Taxonomy};
use population::{
    Latent, SITES, Sample, TAXA_PER_GENUS, Taxon, draw_latent, draw_samples, draw_taxa,
};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Binomial, Distribution};
use serde::{Deserialize, Serialize};

/// How far the fraction of zeros may be from what was asked for.
const ZERO_TOLERANCE: f64 = 0.05;

/// What is simulated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulateOptions {
    /// Samples.
    pub n_samples: usize,
    /// Taxa.
    pub n_taxa: usize,
    /// Fraction of zero counts aimed at.
    pub zero_fraction: f64,
    /// Median of the reads per sample.
    pub library_size: f64,
    /// Standard deviation of `ln(reads per sample)`.
    pub library_size_ln_sd: f64,
    /// Samples in a row that one subject gave.
    pub samples_per_subject: usize,
    /// Standard deviation of the metadata's effects, in standard deviations of the latent.
    pub effect_size: f64,
    /// Fraction of missing values in each metadata column but the subject.
    pub missing_fraction: f64,
    /// Seed of every draw.
    pub seed: u64,
}

impl Default for SimulateOptions {
    fn default() -> Self {
        SimulateOptions {
            n_samples: 200,
            n_taxa: 60,
            zero_fraction: 0.7,
            library_size: 10_000.0,
            library_size_ln_sd: 0.6,
            samples_per_subject: 3,
            effect_size: 0.8,
            missing_fraction: 0.1,
            seed: 0,
        }
    }
}

/// How a metadata column moves a taxon.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// Column of the taxon in the table.
    pub feature: usize,
    /// Metadata column.
    pub column: &'static str,
    /// Level of a categorical column; `None` for a number, whose effect is per standard deviation.
    pub level: Option<&'static str>,
    /// Shift of the latent, in its standard deviations; positive is more present and more abundant.
    pub shift: f64,
}

/// A simulated table and what it was drawn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// Counts, with metadata columns `subject`, `body_site`, `age`, and lineages.
    pub table: Table,
    /// Expected fractions, `n_samples * n_taxa` in row-major order; 0 where a taxon is absent.
    pub truth: Vec<f64>,
    /// Effects of the metadata; taxa and levels without one are left out.
    pub effects: Vec<Effect>,
}

/// Draws a table. The same options give the same table.
///
/// # Errors
/// An option out of its range, or a fraction of zeros that the library size does not allow.
///
/// # Examples
/// ```
/// use suffuse_data::simulate::{SimulateOptions, simulate};
///
/// let simulated = simulate(&SimulateOptions { n_samples: 30, seed: 7, ..Default::default() })?;
/// assert_eq!((simulated.table.n_samples(), simulated.table.n_features()), (30, 60));
/// # Ok::<(), suffuse_data::Error>(())
/// ```
pub fn simulate(options: &SimulateOptions) -> Result<Simulated> {
    check(options)?;
    let taxa = draw_taxa(options);
    let samples = draw_samples(options);
    let latent = draw_latent(options, &taxa, &samples);
    let offset = calibrate(options, &taxa, &samples, &latent)?;
    let (n, m) = (options.n_samples, options.n_taxa);
    let mut truth = vec![0.0; n * m];
    let mut counts = vec![0.0; n * m];
    for (sample, fractions) in truth.chunks_mut(m).enumerate() {
        set_fractions(
            fractions,
            &taxa,
            &latent[sample * m..(sample + 1) * m],
            offset,
        );
        let mut generator = seeded(options.seed, &format!("simulate/counts/{sample}"));
        let row = &mut counts[sample * m..(sample + 1) * m];
        draw_counts(row, fractions, samples[sample].library_size, &mut generator);
    }
    let table = assemble(options, &taxa, &samples, &counts)?;
    let effects = taxa
        .iter()
        .enumerate()
        .flat_map(|(feature, taxon)| taxon.effects(feature));
    let effects = effects.collect();
    Ok(Simulated {
        table,
        truth,
        effects,
    })
}

fn check(options: &SimulateOptions) -> Result<()> {
    let SimulateOptions {
        n_samples, n_taxa, ..
    } = options;
    let claims = [
        (*n_samples >= 1, "n_samples: at least 1"),
        (*n_taxa >= 2, "n_taxa: at least 2"),
        (
            n_samples.checked_mul(*n_taxa).is_some_and(|n| n <= 1 << 32),
            "n_samples x n_taxa: at most 2^32",
        ),
        (
            (0.0..1.0).contains(&options.zero_fraction),
            "zero_fraction: from 0 to below 1",
        ),
        (
            (1.0..=1e12).contains(&options.library_size),
            "library_size: from 1 to 1e12",
        ),
        (
            (0.0..=3.0).contains(&options.library_size_ln_sd),
            "library_size_ln_sd: from 0 to 3",
        ),
        (
            options.samples_per_subject >= 1,
            "samples_per_subject: at least 1",
        ),
        (
            (0.0..=10.0).contains(&options.effect_size),
            "effect_size: from 0 to 10",
        ),
        (
            (0.0..=1.0).contains(&options.missing_fraction),
            "missing_fraction: from 0 to 1",
        ),
    ];
    match claims.into_iter().find(|(is_met, _)| !is_met) {
        Some((_, claim)) => Err(Error::Invalid(format!("simulation: {claim}"))),
        None => Ok(()),
    }
}

/// The offset of presence with which the expected fraction of zero counts is the one asked for.
fn calibrate(
    options: &SimulateOptions,
    taxa: &[Taxon],
    samples: &[Sample],
    latent: &[Latent],
) -> Result<f64> {
    let mut fractions = vec![0.0; taxa.len()];
    let mut zeros_at = |offset: f64| {
        let mut n_zeros = 0.0;
        for (sample, latent) in samples.iter().zip(latent.chunks(taxa.len())) {
            set_fractions(&mut fractions, taxa, latent, offset);
            let reads = sample.library_size as f64;
            n_zeros += fractions.iter().map(|f| (-reads * f).exp()).sum::<f64>();
        }
        n_zeros / latent.len() as f64
    };
    // Presence is certain and impossible at the ends: the latent has a standard deviation near 1.
    let (mut low, mut high) = (-30.0, 30.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if zeros_at(middle) > options.zero_fraction {
            low = middle;
        } else {
            high = middle;
        }
    }
    let reached = zeros_at(high);
    if (reached - options.zero_fraction).abs() > ZERO_TOLERANCE {
        return Err(Error::Invalid(format!(
            "simulation: {} taxa at a library size of {} allow a zero fraction of {reached:.3}, not \
             {}; change one of the three",
            options.n_taxa, options.library_size, options.zero_fraction
        )));
    }
    Ok(high)
}

/// Expected fractions of one sample. At least one taxon is present.
fn set_fractions(fractions: &mut [f64], taxa: &[Taxon], latent: &[Latent], offset: f64) {
    let score = |taxon: &Taxon, latent: &Latent| latent.presence + taxon.prevalence + offset;
    let highest = taxa
        .iter()
        .zip(latent)
        .map(|(t, l)| score(t, l))
        .fold(f64::NEG_INFINITY, f64::max);
    let mut total = 0.0;
    for ((fraction, taxon), latent) in fractions.iter_mut().zip(taxa).zip(latent) {
        let score = score(taxon, latent);
        let is_present = score > 0.0 || score == highest;
        *fraction = if is_present {
            (taxon.mu + taxon.sigma * latent.abundance).exp()
        } else {
            0.0
        };
        total += *fraction;
    }
    fractions.iter_mut().for_each(|fraction| *fraction /= total);
}

/// A multinomial draw as a chain of binomials.
fn draw_counts(counts: &mut [f64], fractions: &[f64], n_reads: u64, generator: &mut ChaCha12Rng) {
    let mut reads_left = n_reads;
    let mut fraction_left = 1.0;
    let last = fractions.iter().rposition(|fraction| *fraction > 0.0);
    for (taxon, fraction) in fractions.iter().enumerate() {
        if *fraction == 0.0 || reads_left == 0 {
            continue;
        }
        let drawn = if Some(taxon) == last {
            reads_left
        } else {
            let probability = (fraction / fraction_left).clamp(0.0, 1.0);
            Binomial::new(reads_left, probability)
                .expect("a clamped probability is one")
                .sample(generator)
        };
        counts[taxon] = drawn as f64;
        reads_left -= drawn;
        fraction_left = (fraction_left - fraction).max(f64::MIN_POSITIVE);
    }
}

fn assemble(
    options: &SimulateOptions,
    taxa: &[Taxon],
    samples: &[Sample],
    counts: &[f64],
) -> Result<Table> {
    let sample_ids = (1..=options.n_samples)
        .map(|i| format!("sample_{i:03}"))
        .collect();
    let taxon_ids = (1..=options.n_taxa)
        .map(|i| format!("taxon_{i:03}"))
        .collect();
    let mut table = Table::from_dense(sample_ids, taxon_ids, counts)?;
    let n_subjects = options.n_samples.div_ceil(options.samples_per_subject);
    let subjects = ColumnValues::Categorical {
        levels: (1..=n_subjects)
            .map(|i| format!("subject_{i:03}"))
            .collect(),
        codes: samples
            .iter()
            .map(|sample| Some(sample.subject as u32))
            .collect(),
        ordered: false,
    };
    let sites = ColumnValues::Categorical {
        levels: SITES.map(String::from).to_vec(),
        codes: samples
            .iter()
            .map(|s| s.is_site_known.then_some(s.site as u32))
            .collect(),
        ordered: false,
    };
    let ages = samples
        .iter()
        .map(|s| if s.is_age_known { s.age } else { f64::NAN })
        .collect();
    for (name, values) in [
        ("subject", subjects),
        ("body_site", sites),
        ("age", ColumnValues::Numeric(ages)),
    ] {
        table.sample_metadata.set_column(Column {
            name: name.to_string(),
            values,
        })?;
    }
    let lineages: Vec<String> = taxa
        .iter()
        .enumerate()
        .map(|(index, taxon)| {
            let (family, genus) = (taxon.family + 1, taxon.genus + 1);
            let species = index % TAXA_PER_GENUS + 1;
            format!(
                "d__Bacteria; f__Family{family}; g__Genus{genus}; s__Genus{genus} species{species}"
            )
        })
        .collect();
    table.taxonomy = Some(Taxonomy::parse(&lineages));
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(seed: u64) -> SimulateOptions {
        SimulateOptions {
            seed,
            ..Default::default()
        }
    }

    fn zero_fraction(table: &Table) -> f64 {
        1.0 - table.n_stored() as f64 / (table.n_samples() * table.n_features()) as f64
    }

    fn pearson(a: &[f64], b: &[f64]) -> f64 {
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let (ma, mb) = (mean(a), mean(b));
        let dot = |x: &[f64], mx: f64, y: &[f64], my: f64| {
            x.iter()
                .zip(y)
                .map(|(x, y)| (x - mx) * (y - my))
                .sum::<f64>()
        };
        dot(a, ma, b, mb) / (dot(a, ma, a, ma) * dot(b, mb, b, mb)).sqrt()
    }

    /// 1 where a taxon is present.
    fn presence(simulated: &Simulated, feature: usize) -> Vec<f64> {
        let column = simulated
            .truth
            .iter()
            .skip(feature)
            .step_by(simulated.table.n_features());
        column
            .map(|fraction| f64::from(u8::from(*fraction > 0.0)))
            .collect()
    }

    #[test]
    fn zeros_and_library_sizes_are_as_asked_for() {
        for (seed, asked) in [(1, 0.7), (2, 0.5), (3, 0.9)] {
            let simulated = simulate(&SimulateOptions {
                zero_fraction: asked,
                ..options(seed)
            })
            .unwrap();
            let found = zero_fraction(&simulated.table);
            assert!((found - asked).abs() < 0.02, "{found} zeros for {asked}");
            let mut totals = simulated.table.totals();
            totals.sort_by(f64::total_cmp);
            // The median of 200 log-normals: standard error 1.25 * 0.6 / sqrt(200) = 0.053 in ln.
            assert!(
                (totals[100] / 10_000.0).ln().abs() < 0.2,
                "median {}",
                totals[100]
            );
            assert!(totals[190] / totals[10] > 3.0, "sizes vary");
        }
    }

    #[test]
    fn the_seed_decides_everything() {
        // As text, since missing ages are NaN.
        let text = |seed| format!("{:?}", simulate(&options(seed)).unwrap());
        assert!(text(5) == text(5), "the same seed gave two tables");
        assert!(text(5) != text(6), "two seeds gave one table");
    }

    #[test]
    fn counts_follow_the_expected_fractions() {
        let simulated = simulate(&options(1)).unwrap();
        let m = simulated.table.n_features();
        let mut chi2 = 0.0;
        let mut n = 0.0;
        for (sample, total) in simulated.table.totals().iter().enumerate() {
            let row = &simulated.truth[sample * m..(sample + 1) * m];
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            for (feature, fraction) in row.iter().enumerate() {
                let (count, expected) = (simulated.table.get(sample, feature), fraction * total);
                assert!(*fraction > 0.0 || count == 0.0, "absent taxa have no reads");
                if expected > 5.0 {
                    chi2 += (count - expected).powi(2) / (expected * (1.0 - fraction)).max(1e-9);
                    n += 1.0;
                }
            }
        }
        // Each term has mean 1 and variance near 2.
        assert!(
            (chi2 / n - 1.0).abs() < 5.0 * (2.0_f64 / n).sqrt(),
            "mean {}",
            chi2 / n
        );
    }

    #[test]
    fn taxa_of_one_genus_occur_together() {
        let simulated = simulate(&SimulateOptions {
            effect_size: 0.0,
            n_samples: 600,
            ..options(2)
        })
        .unwrap();
        let (mut within, mut between) = (Vec::new(), Vec::new());
        for a in 0..60 {
            for b in a + 1..60 {
                let r = pearson(&presence(&simulated, a), &presence(&simulated, b));
                if r.is_finite() {
                    if a / TAXA_PER_GENUS == b / TAXA_PER_GENUS {
                        within.push(r)
                    } else {
                        between.push(r)
                    }
                }
            }
        }
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        assert!(
            mean(&within) > 0.1 && mean(&within) > mean(&between) + 0.08,
            "{} {}",
            mean(&within),
            mean(&between)
        );
    }

    #[test]
    fn abundant_taxa_are_prevalent() {
        let simulated = simulate(&options(3)).unwrap();
        let prevalence = crate::select::prevalence(&simulated.table);
        let m = prevalence.len();
        let log_mean: Vec<f64> = (0..m)
            .map(|j| (simulated.truth.iter().skip(j).step_by(m).sum::<f64>() / 200.0 + 1e-9).ln())
            .collect();
        assert!(pearson(&prevalence, &log_mean) > 0.5);
    }

    #[test]
    fn metadata_move_taxa_in_the_direction_of_their_effects() {
        let simulated = simulate(&SimulateOptions {
            missing_fraction: 0.0,
            n_samples: 600,
            ..options(4)
        })
        .unwrap();
        let ColumnValues::Numeric(ages) = &simulated
            .table
            .sample_metadata
            .column("age")
            .unwrap()
            .values
        else {
            panic!("age is a number")
        };
        let site = &simulated
            .table
            .sample_metadata
            .column("body_site")
            .unwrap()
            .values;
        let (mut n_right, mut n_strong) = (0, 0);
        for effect in simulated
            .effects
            .iter()
            .filter(|effect| effect.level.is_none())
        {
            let r = pearson(&presence(&simulated, effect.feature), ages);
            if effect.shift.abs() > 0.4 && r.is_finite() {
                n_strong += 1;
                n_right += usize::from(r * effect.shift > 0.0);
            }
        }
        assert!(
            n_strong >= 3 && n_right == n_strong,
            "age: {n_right} of {n_strong}"
        );
        let shift_of = |feature: usize, level: &str| {
            let found = simulated
                .effects
                .iter()
                .find(|e| e.feature == feature && e.level == Some(level));
            found.map_or(0.0, |effect| effect.shift)
        };
        (n_right, n_strong) = (0, 0);
        for feature in 0..60 {
            let contrast = shift_of(feature, "gut") - shift_of(feature, "oral");
            let present = presence(&simulated, feature);
            let mean_at = |level: &str| {
                let rows: Vec<f64> = (0..600)
                    .filter(|i| site.text(*i).unwrap() == level)
                    .map(|i| present[i])
                    .collect();
                rows.iter().sum::<f64>() / rows.len() as f64
            };
            let difference = mean_at("gut") - mean_at("oral");
            if contrast.abs() > 0.8 && difference != 0.0 {
                n_strong += 1;
                n_right += usize::from(difference * contrast > 0.0);
            }
        }
        assert!(
            n_strong >= 8 && n_right + 1 >= n_strong,
            "site: {n_right} of {n_strong}"
        );
    }

    #[test]
    fn metadata_are_missing_at_the_rate_asked_for_and_subjects_never() {
        let simulated = simulate(&SimulateOptions {
            n_samples: 900,
            missing_fraction: 0.2,
            ..options(1)
        })
        .unwrap();
        let n_missing = |name: &str| {
            let values = &simulated.table.sample_metadata.column(name).unwrap().values;
            (0..900).filter(|row| values.text(*row).is_none()).count()
        };
        // Binomial(900, 0.2): mean 180, sd 12.
        assert!(
            (120..240).contains(&n_missing("age")) && (120..240).contains(&n_missing("body_site"))
        );
        assert_eq!(n_missing("subject"), 0);
        let full = simulate(&SimulateOptions {
            missing_fraction: 0.0,
            ..options(1)
        })
        .unwrap();
        assert!(
            full.table
                .sample_metadata
                .columns()
                .iter()
                .all(|c| (0..200).all(|row| c.values.text(row).is_some()))
        );
    }

    #[test]
    fn impossible_options_are_refused() {
        let is_refused = |change: fn(&mut SimulateOptions)| {
            let mut options = SimulateOptions::default();
            change(&mut options);
            simulate(&options).is_err()
        };
        assert!(is_refused(|o| o.n_taxa = 1));
        assert!(is_refused(|o| o.zero_fraction = 1.0));
        assert!(is_refused(|o| o.effect_size = f64::NAN));
        assert!(is_refused(|o| {
            o.zero_fraction = 0.05;
            o.library_size = 20.0
        }));
        assert!(is_refused(|o| o.n_samples = usize::MAX));
    }
}
