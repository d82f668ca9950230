//! What a comparison gives: figures with their real-real band, and one sentence.

use super::figure::{Figure, Good};
use serde::Serialize;
use suffuse_stats::scores::quantile;

/// A figure beside what real samples give.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Value {
    /// Which.
    pub figure: Figure,
    /// Which values of it are good.
    pub good: Good,
    /// Generated against real; `NaN` where it is undefined.
    pub value: f64,
    /// Real against real; `None` without TRAIN, or where the figure has no band.
    pub band: Option<Band>,
}

/// What two sets of real samples give, over random splits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Band {
    /// Middle of the splits.
    pub median: f64,
    /// 5th percentile of the splits.
    pub low: f64,
    /// 95th percentile of the splits.
    pub high: f64,
    /// Says whether the generated samples are as close: up to `high` where low values are good, from `low`
    /// on where high ones are, between the two for a slope.
    pub is_inside: bool,
    /// Every split.
    pub splits: Vec<f64>,
}

impl Value {
    /// A figure and its band, where there are splits and the figure is judged.
    pub(super) fn new(figure: Figure, value: f64, splits: Vec<f64>) -> Value {
        let good = figure.good();
        let mut sorted: Vec<f64> = splits.iter().copied().filter(|x| !x.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        let has_band = !sorted.is_empty() && good != Good::WithAnother;
        let band = has_band.then(|| {
            let (low, high) = (quantile(&sorted, 0.05), quantile(&sorted, 0.95));
            Band {
                median: quantile(&sorted, 0.5),
                low,
                high,
                is_inside: match good {
                    Good::Low => value <= high,
                    Good::High => value >= low,
                    Good::NearOne => low <= value && value <= high,
                    Good::WithAnother => false,
                },
                splits,
            }
        });
        Value {
            figure,
            good,
            value,
            band,
        }
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Results {
    /// Samples on each side of every figure.
    pub n_per_side: usize,
    /// Real samples with a non-zero entry.
    pub n_real: usize,
    /// Generated ones.
    pub n_generated: usize,
    /// Those of TRAIN.
    pub n_train: usize,
    /// Features compared.
    pub n_taxa: usize,
    /// Label vectors of PERMANOVA and PERMDISP.
    pub n_permutations: usize,
    /// Splits of the band; 0 without TRAIN.
    pub n_splits: usize,
    /// In the order of [`Figure::all`].
    pub figures: Vec<Value>,
    /// One sentence on how easily generated samples are told from real ones.
    pub verdict: String,
    /// What the user should know, one sentence each.
    pub notes: Vec<String>,
}

impl Results {
    /// The value of a figure, where it was computed.
    pub fn get(&self, figure: Figure) -> Option<&Value> {
        self.figures.iter().find(|value| value.figure == figure)
    }

    /// Figures with a band, and how many of them are inside.
    pub fn n_inside(&self) -> (usize, usize) {
        let bands = self.figures.iter().filter_map(|value| value.band.as_ref());
        let inside: Vec<bool> = bands.map(|band| band.is_inside).collect();
        (inside.iter().filter(|is| **is).count(), inside.len())
    }

    /// The figures as tab-separated text with a header; an undefined number is left empty.
    pub fn tsv(&self) -> String {
        let mut text =
            "figure\tvalue\treal_real_median\treal_real_5\treal_real_95\tinside\n".to_string();
        let number = |x: f64| {
            if x.is_nan() {
                String::new()
            } else {
                x.to_string()
            }
        };
        for value in &self.figures {
            let band = match &value.band {
                Some(band) => format!(
                    "{}\t{}\t{}\t{}",
                    number(band.median),
                    number(band.low),
                    number(band.high),
                    band.is_inside
                ),
                None => "\t\t\t".to_string(),
            };
            text.push_str(&format!(
                "{}\t{}\t{band}\n",
                value.figure.id(),
                number(value.value)
            ));
        }
        text
    }
}

/// AUROC from which on samples are told apart so well, where there is no band to judge by.
const LEVELS: [(f64, &str); 4] = [
    (0.9, "are told from real ones nearly always"),
    (0.75, "are often told from real ones"),
    (0.6, "are told from real ones at times"),
    (f64::NEG_INFINITY, "are hardly told from real ones"),
];

/// AUROC of a forest that takes each sample for its twin on the other side.
const MUCH_BELOW_CHANCE: f64 = 0.35;

/// The sentence: the forest decides.
pub(super) fn verdict(figures: &[Value]) -> String {
    let Some(forest) = figures
        .iter()
        .find(|value| value.figure == Figure::ForestAuroc)
    else {
        return "no forest was grown: nothing says how easily samples are told apart".to_string();
    };
    if forest.value < MUCH_BELOW_CHANCE {
        return format!(
            "Generated samples are nearer to real ones than these are to each other: a random forest reaches AUROC {:.2}, far below chance, as with copies of real samples; see `suffuse privacy`.",
            forest.value
        );
    }
    let level = LEVELS.iter().find(|(from, _)| forest.value >= *from);
    let told = level.map_or("cannot be judged", |(_, told)| told);
    match &forest.band {
        Some(band) if band.is_inside => format!(
            "Generated samples are not told from real ones: a random forest reaches AUROC {:.2}, and up to {:.2} between two sets of real samples.",
            forest.value, band.high
        ),
        Some(band) => format!(
            "Generated samples {told}: a random forest reaches AUROC {:.2}, and up to {:.2} between two sets of real samples.",
            forest.value, band.high
        ),
        None => format!(
            "Generated samples {told}: a random forest reaches AUROC {:.2}, where 0.5 is chance. Give --train for what real samples reach.",
            forest.value
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splits() -> Vec<f64> {
        (1..=21).map(|k| f64::from(k) / 100.0).collect()
    }

    #[test]
    fn a_band_ends_at_its_percentiles_and_judges_by_what_is_good() {
        // Of 21 even steps the 5th and 95th percentile are the second and the last but one.
        let low = Value::new(Figure::RichnessKs, 0.2, splits()).band.unwrap();
        assert!((low.low - 0.02).abs() < 1e-12 && (low.high - 0.20).abs() < 1e-12);
        assert_eq!((low.median, low.is_inside), (0.11, true));
        let is_inside = |figure, value| Value::new(figure, value, splits()).band.unwrap().is_inside;
        assert!(!is_inside(Figure::RichnessKs, 0.21) && is_inside(Figure::RichnessKs, 0.0));
        assert!(
            !is_inside(Figure::Proportionality, 0.01) && is_inside(Figure::Proportionality, 0.9)
        );
        assert!(
            !is_inside(Figure::PrevalenceSlope, 0.21) && is_inside(Figure::PrevalenceSlope, 0.1)
        );
        assert!(
            !is_inside(Figure::PrevalenceSlope, 0.0) && !is_inside(Figure::RichnessKs, f64::NAN)
        );
        let p = Figure::PermanovaP(super::super::figure::Metric::Jaccard);
        assert_eq!(Value::new(p, 0.5, splits()).band, None);
        assert_eq!(Value::new(Figure::Mmd2, 0.5, Vec::new()).band, None);
    }

    #[test]
    fn the_forest_decides_the_sentence() {
        let of = |value, splits| verdict(&[Value::new(Figure::ForestAuroc, value, splits)]);
        assert!(of(0.53, vec![0.5, 0.55]).contains("are not told"));
        assert!(of(0.97, vec![0.5, 0.55]).contains("nearly always"));
        assert!(of(0.56, vec![0.5, 0.52]).contains("hardly"));
        assert!(of(0.8, Vec::new()).contains("--train"));
        assert!(of(0.7, Vec::new()).contains("at times"));
        assert!(of(0.2, vec![0.5, 0.52]).contains("below chance"));
    }
}
