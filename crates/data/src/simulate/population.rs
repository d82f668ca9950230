//! Who is simulated: taxa, samples, and the latents of their entries.

use super::{Effect, SimulateOptions};
use crate::seeded::seeded;
use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, StandardNormal};

/// Number of latent factors.
const RANK: usize = 8;
/// Part of the latent variance that the factors share among taxa.
const SHARED: f64 = 0.8;
/// Part of a loading's variance that a family has in common, and a genus beyond it.
const FAMILY: f64 = 0.3;
const GENUS: f64 = 0.5;
/// Part of the factors' variance that samples of one subject have in common.
const SUBJECT: f64 = 0.3;
/// Correlation of the latent of presence with that of abundance.
const PRESENCE: f64 = 0.8;
/// Standard deviation of `mu` over taxa, and range of `sigma`.
const MU_SD: f64 = 1.6;
const SIGMA: std::ops::Range<f64> = 0.7..1.4;
/// How a taxon's prevalence follows its `mu`, and how it varies beside that.
const PREVALENCE_SLOPE: f64 = 0.8;
const PREVALENCE_SD: f64 = 0.6;
/// Taxa per genus and genera per family, on average.
pub(super) const TAXA_PER_GENUS: usize = 3;
const GENERA_PER_FAMILY: usize = 3;
/// Part of the taxa that differ by body site, and that follow age.
const SITE_TAXA: f64 = 0.4;
const AGE_TAXA: f64 = 0.25;
/// Body sites.
pub(super) const SITES: [&str; 3] = ["gut", "oral", "skin"];
/// Ages in years, uniform; the mean and standard deviation of that.
const AGE: std::ops::Range<f64> = 20.0..80.0;
const AGE_MEAN: f64 = 50.0;
const AGE_SD: f64 = 17.32;
/// A taxon and what moves it.
pub(super) struct Taxon {
    pub(super) genus: usize,
    pub(super) family: usize,
    pub(super) loadings: [f64; RANK],
    pub(super) mu: f64,
    pub(super) sigma: f64,
    /// Prevalence on the probit scale, up to the offset that [`calibrate`] finds.
    pub(super) prevalence: f64,
    pub(super) site_shifts: [f64; SITES.len()],
    pub(super) age_shift: f64,
}

impl Taxon {
    /// Effects of the metadata that are not zero.
    pub(super) fn effects(&self, feature: usize) -> Vec<Effect> {
        let site = SITES
            .iter()
            .zip(self.site_shifts)
            .map(|(site, shift)| Effect {
                feature,
                column: "body_site",
                level: Some(site),
                shift,
            });
        let age = Effect {
            feature,
            column: "age",
            level: None,
            shift: self.age_shift,
        };
        site.chain([age])
            .filter(|effect| effect.shift != 0.0)
            .collect()
    }
}

/// A sample and what is known of it.
pub(super) struct Sample {
    pub(super) subject: usize,
    pub(super) site: usize,
    pub(super) age: f64,
    pub(super) is_site_known: bool,
    pub(super) is_age_known: bool,
    pub(super) factors: [f64; RANK],
    pub(super) library_size: u64,
}

/// Latents of one entry.
#[derive(Clone, Copy)]
pub(super) struct Latent {
    pub(super) abundance: f64,
    pub(super) presence: f64,
}

/// Draws the taxa, in genera and families.
pub(super) fn draw_taxa(options: &SimulateOptions) -> Vec<Taxon> {
    let mut generator = seeded(options.seed, "simulate/taxa");
    let n_genera = options.n_taxa.div_ceil(TAXA_PER_GENUS);
    let n_families = n_genera.div_ceil(GENERA_PER_FAMILY);
    let families: Vec<[f64; RANK]> = (0..n_families).map(|_| direction(&mut generator)).collect();
    let genera: Vec<[f64; RANK]> = (0..n_genera).map(|_| direction(&mut generator)).collect();
    (0..options.n_taxa)
        .map(|taxon| {
            let genus = taxon / TAXA_PER_GENUS;
            let family = genus / GENERA_PER_FAMILY;
            let own = direction(&mut generator);
            let mut loadings = [0.0; RANK];
            for (factor, loading) in loadings.iter_mut().enumerate() {
                *loading = FAMILY.sqrt() * families[family][factor]
                    + GENUS.sqrt() * genera[genus][factor]
                    + (1.0 - FAMILY - GENUS).sqrt() * own[factor];
            }
            normalize(&mut loadings);
            let abundance = normal(&mut generator);
            let prevalence = PREVALENCE_SLOPE * abundance + PREVALENCE_SD * normal(&mut generator);
            let sigma = generator.random_range(SIGMA);
            let mut site_shifts = [0.0; SITES.len()];
            let differs_by_site = generator.random_bool(SITE_TAXA);
            for shift in &mut site_shifts {
                let drawn = options.effect_size * normal(&mut generator);
                *shift = if differs_by_site { drawn } else { 0.0 };
            }
            let follows_age = generator.random_bool(AGE_TAXA);
            let drawn = options.effect_size * normal(&mut generator);
            let age_shift = if follows_age { drawn } else { 0.0 };
            let mu = MU_SD * abundance;
            Taxon {
                genus,
                family,
                loadings,
                mu,
                sigma,
                prevalence,
                site_shifts,
                age_shift,
            }
        })
        .collect()
}

/// Draws subjects, metadata, factors and library sizes.
pub(super) fn draw_samples(options: &SimulateOptions) -> Vec<Sample> {
    (0..options.n_samples)
        .map(|sample| {
            let subject = sample / options.samples_per_subject;
            let mut generator = seeded(options.seed, &format!("simulate/subject/{subject}"));
            let of_subject: [f64; RANK] = std::array::from_fn(|_| normal(&mut generator));
            let age = generator.random_range(AGE).round();
            let mut generator = seeded(options.seed, &format!("simulate/sample/{sample}"));
            let factors = of_subject.map(|factor| {
                SUBJECT.sqrt() * factor + (1.0 - SUBJECT).sqrt() * normal(&mut generator)
            });
            let ln_size =
                options.library_size.ln() + options.library_size_ln_sd * normal(&mut generator);
            Sample {
                subject,
                site: generator.random_range(0..SITES.len()),
                age,
                is_site_known: !generator.random_bool(options.missing_fraction),
                is_age_known: !generator.random_bool(options.missing_fraction),
                factors,
                library_size: ln_size.exp().round().max(1.0) as u64,
            }
        })
        .collect()
}

/// Draws `n_samples * n_taxa` latents, row after row.
pub(super) fn draw_latent(
    options: &SimulateOptions,
    taxa: &[Taxon],
    samples: &[Sample],
) -> Vec<Latent> {
    let mut latent = Vec::with_capacity(taxa.len() * samples.len());
    for (index, sample) in samples.iter().enumerate() {
        let mut generator = seeded(options.seed, &format!("simulate/latent/{index}"));
        for taxon in taxa {
            let shared: f64 = taxon
                .loadings
                .iter()
                .zip(sample.factors)
                .map(|(l, u)| l * u)
                .sum();
            let abundance = SHARED.sqrt() * shared
                + (1.0 - SHARED).sqrt() * normal(&mut generator)
                + taxon.site_shifts[sample.site]
                + taxon.age_shift * (sample.age - AGE_MEAN) / AGE_SD;
            let presence =
                PRESENCE * abundance + (1.0 - PRESENCE * PRESENCE).sqrt() * normal(&mut generator);
            latent.push(Latent {
                abundance,
                presence,
            });
        }
    }
    latent
}

fn normal(generator: &mut ChaCha12Rng) -> f64 {
    StandardNormal.sample(generator)
}

/// A random vector of length 1.
fn direction(generator: &mut ChaCha12Rng) -> [f64; RANK] {
    let mut vector = std::array::from_fn(|_| normal(generator));
    normalize(&mut vector);
    vector
}

fn normalize(vector: &mut [f64; RANK]) {
    let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
}
