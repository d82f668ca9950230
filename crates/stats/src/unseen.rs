//! Which zeros of counts would not be zero had more reads been taken, and what stands there then.
//!
//! A method claims how likely each zero is present. What that claim is worth follows from thinning: the
//! counts that are learned from are thinned once more, so that for each zero of the thinner table the count
//! of the deeper one is known.
//!
//! ```text
//! thinner rows, their claims, the deeper rows -> P(deeper count > 0 | zero)
//!     logit P = b0 + b1 logit claim + b2 ln(singletons / present) + b3 logit prevalence + b4 ln(total / usual)
//! P > 1/2 -> one read of the deeper sample, 1 / times of an own read; else 0
//! ```
//!
//! An absolute error, as Bray-Curtis sums them, is least at the median: 0 as long as P is below one half, and
//! above it mostly a single read. Singletons and prevalence are those of the taxon at the depth of its table:
//! that taxa which are often seen once are often missed is Good's (1953) argument. The total is that of the
//! sample, told by the median of its table, so that it means the same at both depths.
//!
//! The relation of one depth to the next is not that of the next to the one after. So nothing is filled where
//! the gain on the thinner rows is not clear by four standard errors.

use crate::logistic_regression::{Belief, Evidence, fit, linear, logistic};
use crate::{Error, Result};
use ndarray::{Array2, ArrayView1, Axis};

/// What was learned of zeros.
#[derive(Debug, Clone, PartialEq)]
pub struct Unseen {
    /// Coefficients of 1 and the four figures of an entry.
    coefficients: [f64; N_FIGURES],
    /// Own reads that one read of the deeper sample is.
    read: f64,
    /// Gain in Bray-Curtis on the thinner rows.
    pub gain: Gain,
}

/// By how much Bray-Curtis to the deeper rows fell on rows that were thinned once more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// Mean over rows.
    pub mean: f64,
    /// Standard error of that mean.
    pub standard_error: f64,
    /// Rows.
    pub n_rows: usize,
}

/// Counts of samples whose deeper counts are known.
pub struct Thinned<'a> {
    /// Rows that were thinned.
    pub thinner: &'a Array2<f64>,
    /// The same rows before.
    pub deeper: &'a Array2<f64>,
    /// What a method claims of the thinner rows, each by what has not learned from it: probability that a
    /// taxon is present. Looked at where the thinner count is 0.
    pub claims: &'a Array2<f64>,
    /// How much deeper: expected reads of a deeper row over those of the thinner one, above 1.
    pub times: f64,
}

const N_FIGURES: usize = 5;
/// Of the coefficients, in units of curvature.
const PENALTY: f64 = 10.0;
/// Claims lie between this and 1 less this.
const DOUBT: f64 = 1e-4;
/// Bound of the logarithm of a total over the usual one.
const MAX_DEPTH: f64 = 6.0;
/// Standard errors by which a gain must be clear.
const CLEAR: f64 = 4.0;

impl Unseen {
    /// Learns what claims are worth.
    ///
    /// # Errors
    /// Matrices of several shapes.
    pub fn fit(thinned: &Thinned) -> Result<Unseen> {
        let Thinned {
            thinner,
            deeper,
            claims,
            times,
        } = *thinned;
        for (what, found) in [("deeper counts", deeper), ("claims", claims)] {
            if found.dim() != thinner.dim() {
                return Err(Error::Shape {
                    what,
                    found: found.len(),
                    expected: thinner.len(),
                });
            }
        }
        let figures = Figures::of(thinner);
        let (mut x, mut is_present) = (Vec::new(), Vec::new());
        for (row, counts) in thinner.rows().into_iter().enumerate() {
            let depth = figures.depth(counts);
            for (taxon, _) in counts
                .iter()
                .enumerate()
                .filter(|(_, count)| **count == 0.0)
            {
                x.extend(figures.at(taxon, claims[[row, taxon]], depth));
                is_present.push(deeper[[row, taxon]] > 0.0);
            }
        }
        let x = Array2::from_shape_vec((is_present.len(), N_FIGURES), x)
            .expect("as many figures per entry");
        let mut beliefs = [Belief {
            prior: 0.0,
            penalty: PENALTY,
            least: f64::NEG_INFINITY,
        }; N_FIGURES];
        beliefs[1].prior = 1.0;
        let evidence = Evidence {
            x: &x,
            is_present: &is_present,
            weight: &vec![1.0; is_present.len()],
        };
        let coefficients = fit(&evidence, &beliefs);
        let mut unseen = Unseen {
            coefficients: coefficients.try_into().expect("one per belief"),
            read: 1.0 / times,
            gain: Gain {
                mean: 0.0,
                standard_error: 0.0,
                n_rows: 0,
            },
        };
        let filled = unseen.filled(&figures, thinner, claims);
        unseen.gain = gain(thinner, &(thinner + &filled), deeper);
        Ok(unseen)
    }

    /// Says whether filling was clearly better than leaving zeros.
    pub fn is_of_use(&self) -> bool {
        self.gain.mean > CLEAR * self.gain.standard_error
    }

    /// What to add to counts: part of a read where a zero is probably false, 0 elsewhere and everywhere where
    /// filling is of no use.
    ///
    /// - `learned`: counts of the rows that claims were learned from, for the figures of the taxa
    /// - `counts`, `claims`: the rows to complete
    ///
    /// # Errors
    /// Claims of another shape than the counts.
    pub fn reads(
        &self,
        learned: &Array2<f64>,
        counts: &Array2<f64>,
        claims: &Array2<f64>,
    ) -> Result<Array2<f64>> {
        if claims.dim() != counts.dim() {
            return Err(Error::Shape {
                what: "claims",
                found: claims.len(),
                expected: counts.len(),
            });
        }
        if !self.is_of_use() {
            return Ok(Array2::zeros(counts.dim()));
        }
        Ok(self.filled(&Figures::of(learned), counts, claims))
    }

    fn filled(&self, figures: &Figures, counts: &Array2<f64>, claims: &Array2<f64>) -> Array2<f64> {
        let depths: Vec<f64> = counts
            .rows()
            .into_iter()
            .map(|row| figures.depth(row))
            .collect();
        Array2::from_shape_fn(counts.dim(), |at| {
            if counts[at] != 0.0 || claims[at].is_nan() {
                return 0.0;
            }
            let x = figures.at(at.1, claims[at], depths[at.0]);
            let p = logistic(linear(&self.coefficients, (&x[..]).into()));
            if p > 0.5 { self.read } else { 0.0 }
        })
    }
}

/// Figures of the taxa and the usual total at the depth of some counts.
struct Figures {
    singletons: Vec<f64>,
    prevalence: Vec<f64>,
    /// Median of the logarithms of the totals.
    usual: f64,
}

impl Figures {
    fn of(counts: &Array2<f64>) -> Figures {
        let columns = counts.axis_iter(Axis(1));
        let both = columns.map(|column| {
            let measured = column.iter().filter(|count| !count.is_nan()).count() as f64;
            let present = column.iter().filter(|count| **count > 0.0).count() as f64;
            let once = column.iter().filter(|count| **count == 1.0).count() as f64;
            let prevalence = (present + 1.0) / (measured + 2.0);
            (
                ((once + 0.5) / (present + 1.0)).ln(),
                (prevalence / (1.0 - prevalence)).ln(),
            )
        });
        let (singletons, prevalence) = both.unzip();
        let totals = counts.rows().into_iter().map(|row| total(&row));
        let mut logs: Vec<f64> = totals.filter(|total| *total > 0.0).map(f64::ln).collect();
        logs.sort_by(f64::total_cmp);
        Figures {
            singletons,
            prevalence,
            usual: logs.get(logs.len() / 2).copied().unwrap_or(0.0),
        }
    }

    /// Logarithm of a row's total over the usual one.
    fn depth(&self, row: ArrayView1<f64>) -> f64 {
        (total(&row).ln() - self.usual).clamp(-MAX_DEPTH, MAX_DEPTH)
    }

    fn at(&self, taxon: usize, claim: f64, depth: f64) -> [f64; N_FIGURES] {
        let claim = match claim.is_nan() {
            true => 0.5,
            false => claim.clamp(DOUBT, 1.0 - DOUBT),
        };
        [
            1.0,
            (claim / (1.0 - claim)).ln(),
            self.singletons[taxon],
            self.prevalence[taxon],
            depth,
        ]
    }
}

fn total(row: &ArrayView1<f64>) -> f64 {
    row.iter().filter(|value| !value.is_nan()).sum()
}

/// How much closer rows came to the deeper ones.
fn gain(before: &Array2<f64>, after: &Array2<f64>, deeper: &Array2<f64>) -> Gain {
    let rows = before.rows().into_iter().zip(after.rows());
    let gains: Vec<f64> = rows
        .zip(deeper.rows())
        .filter_map(|((before, after), deeper)| {
            let of = |row| bray_curtis(row, deeper);
            Some(of(before)? - of(after)?)
        })
        .collect();
    let n = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / n.max(1.0);
    let square: f64 = gains.iter().map(|gain| (gain - mean).powi(2)).sum();
    Gain {
        mean,
        standard_error: match gains.len() {
            0 | 1 => f64::INFINITY, // one row tells nothing of the next
            _ => (square / (n * (n - 1.0))).sqrt(),
        },
        n_rows: gains.len(),
    }
}

/// `sum |p - q| / 2` of two rows as shares of their totals; `None` where one is empty.
fn bray_curtis(a: ArrayView1<f64>, b: ArrayView1<f64>) -> Option<f64> {
    let (total_a, total_b) = (total(&a), total(&b));
    if !(total_a > 0.0 && total_b > 0.0) {
        return None;
    }
    let differences = a.iter().zip(b);
    let differences = differences.map(|(a, b)| (a / total_a - b / total_b).abs());
    Some(differences.filter(|d| !d.is_nan()).sum::<f64>() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Binomial, Distribution, Poisson};

    /// Counts of 400 rows: 40 taxa of few reads in the even half of the rows only, 20 of many in all, and
    /// the same rows thinned to a fifth.
    fn pair(rng: &mut ChaCha8Rng) -> [Array2<f64>; 2] {
        let level = |row: usize, taxon: usize| match (taxon < 40, row % 2) {
            (true, 0) => 4.0,
            (true, _) => 0.0,
            (false, _) => 400.0,
        };
        let full = Array2::from_shape_fn((400, 60), |(row, taxon)| match level(row, taxon) {
            0.0 => 0.0,
            level => Poisson::new(level).unwrap().sample(rng),
        });
        let thin = full.mapv(|count| Binomial::new(count as u64, 0.2).unwrap().sample(rng) as f64);
        [full, thin]
    }

    fn claims(of: f64) -> Array2<f64> {
        Array2::from_shape_fn((400, 60), |(row, _)| if row % 2 == 0 { of } else { 0.01 })
    }

    #[test]
    fn one_row_tells_nothing_of_the_next() {
        let row = |x: [f64; 3]| Array2::from_shape_vec((1, 3), x.to_vec()).unwrap();
        let found = gain(
            &row([1.0, 0.0, 0.0]),
            &row([1.0, 1.0, 0.0]),
            &row([5.0, 5.0, 0.0]),
        );
        assert!((found.mean - 0.5).abs() < 1e-12 && found.standard_error.is_infinite());
    }

    #[test]
    fn false_zeros_take_a_read_of_the_deeper_sample_and_bray_curtis_falls() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let [full, thin] = pair(&mut rng);
        let thinner = thin.mapv(|n| Binomial::new(n as u64, 0.2).unwrap().sample(&mut rng) as f64);
        let thinned = Thinned {
            thinner: &thinner,
            deeper: &thin,
            claims: &claims(0.15),
            times: 5.0,
        };
        let unseen = Unseen::fit(&thinned).unwrap();
        // Given a zero in the thinner row, 0.64 reads are expected in the deeper one, which has at least one
        // with probability 1 - exp(-0.64) = 0.47: below one half.
        assert!(!unseen.is_of_use(), "{unseen:?}");
        // One step deeper 3.2 are expected, so at least one with probability 0.96.
        let thinned = Thinned {
            thinner: &thin,
            deeper: &full,
            claims: &claims(0.55),
            times: 5.0,
        };
        let unseen = Unseen::fit(&thinned).unwrap();
        assert!(unseen.is_of_use());
        let reads = unseen.reads(&thin, &thin, &claims(0.55)).unwrap();
        for ((row, taxon), read) in reads.indexed_iter() {
            let expected = match (thin[[row, taxon]], row % 2, taxon < 40) {
                (0.0, 0, true) => 0.2,
                _ => 0.0,
            };
            assert_eq!(*read, expected, "row {row}, taxon {taxon}");
        }
        let gained = gain(&thin, &(&thin + &reads), &full);
        assert!(
            gained.mean > 0.0 && gained.standard_error > 0.0,
            "{gained:?}"
        );
        let (before, after) = (thin.row(0), (&thin + &reads).row(0).to_owned());
        let of = |row| bray_curtis(row, full.row(0)).unwrap();
        assert!(of(after.view()) < of(before));
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused_and_rows_without_reads_count_for_nothing() {
        let some = Array2::ones((3, 4));
        let other = Array2::ones((3, 5));
        let thinned = |claims| Thinned {
            thinner: &some,
            deeper: &some,
            claims,
            times: 5.0,
        };
        assert!(Unseen::fit(&thinned(&other)).is_err());
        let unseen = Unseen::fit(&thinned(&some)).unwrap();
        assert!(!unseen.is_of_use(), "there was no zero");
        assert!(unseen.reads(&some, &some, &other).is_err());
        let empty = Array2::zeros((3, 4));
        assert_eq!(gain(&empty, &some, &some).n_rows, 0);
    }
}
