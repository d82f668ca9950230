//! The page on generated samples beside real ones.

use super::citations::{self, Citation, Topic};
use super::svg::{Axis, Chart};
use super::taxa_by_samples::{self, heat_map};
use super::{Fact, Figure, Tile, count, facts, render};
use crate::Result;
use crate::compare::figure::Figure as What;
use crate::compare::{Pictures, Results};
use crate::provenance::Provenance;
use crate::report::band_table::{limit, number};
use serde::Serialize;

/// What is told of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Compared<'a> {
    /// File name of the real table.
    pub real: &'a str,
    /// File name of the generated table.
    pub synth: &'a str,
    /// The figures.
    pub results: &'a Results,
    /// What is drawn.
    pub pictures: &'a Pictures,
    /// Where it comes from.
    pub provenance: &'a Provenance,
}

/// Everything that the template shows.
#[derive(Debug, Clone, Serialize)]
struct ComparedPage {
    version: &'static str,
    file: String,
    subtitle: String,
    tiles: Vec<Tile>,
    words: Vec<String>,
    has_band: bool,
    lines: Vec<Line>,
    ordination: Figure,
    taxa: Vec<Figure>,
    heat_map: Figure,
    /// Shares that its colours stand for, from weak to strong.
    heat_levels: Vec<&'static str>,
    diversity: Vec<Figure>,
    distances: Vec<Figure>,
    facts: Vec<Fact>,
    citations: Vec<Citation>,
}

/// A figure in the table.
#[derive(Debug, Clone, Serialize)]
struct Line {
    /// Empty where it is that of the line above.
    part: &'static str,
    name: &'static str,
    value: String,
    median: String,
    limit: String,
    /// `yes`, `no`, or empty without a band.
    tone: &'static str,
}

/// Writes the page.
///
/// # Errors
/// A defect of the template.
pub fn of_comparison(compared: &Compared) -> Result<String> {
    let (results, pictures) = (compared.results, compared.pictures);
    let mut topics = vec![Topic::TwoSets, Topic::Ordination];
    if results.get(What::FaithKs).is_some() {
        topics.push(Topic::Phylogeny);
    }
    let page = ComparedPage {
        version: env!("CARGO_PKG_VERSION"),
        file: compared.synth.to_string(),
        subtitle: format!(
            "against {}: {} on each side, {}",
            compared.real,
            count(results.n_per_side, "sample", "samples"),
            count(results.n_taxa, "taxon", "taxa")
        ),
        tiles: tiles(results),
        words: words(results),
        has_band: results.n_splits > 0,
        lines: lines(results),
        ordination: ordination(pictures),
        taxa: vec![prevalence(pictures), abundance(pictures)],
        heat_map: heat_map(pictures),
        heat_levels: (taxa_by_samples::LEVELS.iter().map(|(_, name)| *name)).collect(),
        diversity: pictures.diversity.iter().enumerate().map(violins).collect(),
        distances: pictures
            .distances
            .iter()
            .enumerate()
            .map(distances)
            .collect(),
        facts: facts(compared.provenance),
        citations: citations::of(topics),
    };
    render(include_str!("compared.html"), &page)
}

fn tiles(results: &Results) -> Vec<Tile> {
    let tile = |figure: What, label: &str| {
        let value = results.get(figure)?;
        Some(Tile {
            value: number(value.value),
            label: label.to_string(),
            tone: match &value.band {
                Some(band) if band.is_inside => "good",
                Some(_) => "bad",
                None => "",
            },
        })
    };
    let mut tiles: Vec<Tile> = [
        tile(
            What::ForestAuroc,
            "AUROC of a forest that tells real from generated; 0.5 is chance",
        ),
        tile(
            What::NearestNeighbour,
            "accuracy of the nearest neighbour; 0.5 is chance",
        ),
        tile(
            What::PrevalencePearson,
            "correlation of the prevalence of taxa",
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    if results.n_splits > 0 {
        let (n_inside, n) = results.n_inside();
        tiles.push(Tile {
            value: format!("{n_inside} of {n}"),
            label: "figures are as good as between real samples".to_string(),
            tone: if n_inside == n { "good" } else { "" },
        });
    }
    tiles
}

fn words(results: &Results) -> Vec<String> {
    let mut words = vec![results.verdict.clone()];
    words.push(match results.n_splits {
        0 => "Nothing says how far two sets of real samples are apart: give the samples that the generator was fitted on with `--train`.".to_string(),
        n => format!(
            "The band is what real samples give: those that the generator was fitted on and those that it has not seen were mixed and parted again {n} times. It ends at the 95th percentile, or at the 5th where high values are good."
        ),
    });
    words.extend(results.notes.iter().cloned());
    words
}

fn lines(results: &Results) -> Vec<Line> {
    let mut last = "";
    let line = |value: &crate::compare::Value| {
        let part = value.figure.part();
        let shown = if part == last { "" } else { part };
        last = part;
        Line {
            part: shown,
            name: value.figure.name(),
            value: number(value.value),
            median: value
                .band
                .as_ref()
                .map_or(String::new(), |band| number(band.median)),
            limit: limit(value),
            tone: match &value.band {
                Some(band) if band.is_inside => "yes",
                Some(_) => "no",
                None => "",
            },
        }
    };
    results.figures.iter().map(line).collect()
}

fn ordination(pictures: &Pictures) -> Figure {
    let (n, found) = (pictures.n_points, &pictures.ordination);
    let axis = |k: usize| {
        let share = 100.0 * found.shares.get(k).copied().unwrap_or(0.0);
        let name = format!("axis {} ({share:.0} % of the variation)", k + 1);
        Axis::over(&name, found.points.column(k).iter().copied())
    };
    let mut chart = Chart::new(axis(0), axis(1), (460.0, 400.0));
    for row in 0..found.points.nrows() {
        let at = (found.points[[row, 0]], found.points[[row, 1]]);
        let class = if row < n { "before" } else { "dot" };
        chart.circle(class, at, 2.6, "");
    }
    let caption = format!(
        "Principal coordinates of Bray-Curtis distances: {n} real samples (rings) and {n} generated ones (discs)."
    );
    Figure {
        svg: chart.finish("ordination-chart", "Real and generated samples", &caption),
        caption,
    }
}

fn prevalence(pictures: &Pictures) -> Figure {
    let axis = |name: &str| Axis::over(name, [0.0, 1.0].into_iter());
    let mut chart = Chart::new(axis("prevalence, real"), axis("generated"), (400.0, 360.0));
    chart.line("reference", &[(0.0, 0.0), (1.0, 1.0)]);
    for taxon in &pictures.taxa {
        let [real, other] = taxon.prevalence;
        let name = format!("{}: {real:.2} real, {other:.2} generated", taxon.id);
        chart.circle("dot", (real, other), 2.4, &name);
    }
    let caption = "The share of samples that each taxon is in. On the line, both are equal.";
    Figure {
        svg: chart.finish("prevalence-chart", "Prevalence of taxa", caption),
        caption: caption.to_string(),
    }
}

fn abundance(pictures: &Pictures) -> Figure {
    let points: Vec<(&str, f64, f64)> = pictures
        .taxa
        .iter()
        .filter(|taxon| taxon.mean.iter().all(|mean| *mean > 0.0))
        .map(|taxon| {
            (
                taxon.id.as_str(),
                taxon.mean[0].log10(),
                taxon.mean[1].log10(),
            )
        })
        .collect();
    let both = || points.iter().flat_map(|(_, x, y)| [*x, *y]);
    let axis = |name: &str| Axis::over(name, both());
    let name = "log10 of the mean share, real";
    let mut chart = Chart::new(axis(name), axis("generated"), (400.0, 360.0));
    let (low, high) = both().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
        (low.min(x), high.max(x))
    });
    if low < high {
        chart.line("reference", &[(low, low), (high, high)]);
    }
    for (id, x, y) in &points {
        chart.circle("dot", (*x, *y), 2.4, id);
    }
    let caption = "The mean share of each taxon that is in both tables.";
    Figure {
        svg: chart.finish("abundance-chart", "Abundance of taxa", caption),
        caption: caption.to_string(),
    }
}

/// Points at which a density is drawn.
const N_DENSITY: usize = 64;

/// Densities of two sides beside each other.
fn violins((at, (name, sides)): (usize, &(&'static str, [Vec<f64>; 2]))) -> Figure {
    let all = || sides.iter().flatten().copied();
    let x = Axis {
        name: String::new(),
        range: (-1.1, 1.1),
        ticks: vec![(-0.5, "real".to_string()), (0.5, "generated".to_string())],
    };
    let y = Axis::over(name, all());
    let (low, high) = y.range;
    let mut chart = Chart::new(x, y, (300.0, 300.0));
    let places: Vec<f64> = (0..N_DENSITY)
        .map(|k| low + (high - low) * k as f64 / (N_DENSITY - 1) as f64)
        .collect();
    let densities = [0, 1].map(|side: usize| density(&sides[side], &places));
    let most = densities
        .iter()
        .flatten()
        .copied()
        .fold(f64::MIN_POSITIVE, f64::max);
    for (side, class) in [(0, "violin before"), (1, "violin")] {
        let centre = side as f64 - 0.5;
        let half = |k: usize| 0.45 * densities[side][k] / most;
        let right = (0..N_DENSITY).map(|k| (centre + half(k), places[k]));
        let left = (0..N_DENSITY).rev().map(|k| (centre - half(k), places[k]));
        let outline: Vec<(f64, f64)> = right.chain(left).collect();
        chart.line(class, &outline);
    }
    let caption = format!("{name} of real and generated samples.");
    Figure {
        svg: chart.finish(&format!("violin-{at}"), name, &caption),
        caption,
    }
}

/// A Gaussian kernel density with Silverman's (1986) width `0.9 min(sd, IQR / 1.34) n^(-1/5)`.
fn density(values: &[f64], places: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let sd = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let level = |level| suffuse_stats::scores::quantile(&sorted, level);
    let iqr = level(0.75) - level(0.25);
    let spread = if iqr > 0.0 { sd.min(iqr / 1.34) } else { sd };
    // Equal values have no width: a thin peak shows them.
    let thin = (places[places.len() - 1] - places[0]) / N_DENSITY as f64;
    let width = (0.9 * spread * n.powf(-0.2)).max(thin);
    let kernel = |z: f64| (-0.5 * z * z).exp();
    let at = |place: &f64| {
        values
            .iter()
            .map(|x| kernel((place - x) / width))
            .sum::<f64>()
            / n
    };
    places.iter().map(at).collect()
}

/// Distribution functions of the distances within two sides.
fn distances(
    (at, (metric, sides)): (usize, &(crate::compare::figure::Metric, [Vec<f64>; 2])),
) -> Figure {
    let name = metric.name();
    let x = Axis::over(&format!("{name} distance"), sides.iter().flatten().copied());
    let y = Axis::over("share of pairs", [0.0, 1.0].into_iter());
    let mut chart = Chart::new(x, y, (340.0, 280.0));
    for (side, class) in [(0, "other"), (1, "curve")] {
        let quantiles = &sides[side];
        let last = (quantiles.len().max(2) - 1) as f64;
        let points: Vec<(f64, f64)> = quantiles
            .iter()
            .enumerate()
            .map(|(k, distance)| (*distance, k as f64 / last))
            .collect();
        chart.line(class, &points);
    }
    let caption = format!("{name} between two real samples (dashed) and two generated ones.");
    Figure {
        svg: chart.finish(&format!("distances-{at}"), name, &caption),
        caption,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Features, Options, Tables, compare};
    use std::sync::atomic::AtomicBool;
    use suffuse_data::Table;

    const HOSTILE: &str = "<script>alert(1)</script>\" onload=\"x' {{ 7*7 }} </svg>";

    fn table(shift: usize) -> Table {
        let n_taxa = 5;
        let dense: Vec<f64> = (0..30 * n_taxa)
            .map(|k| match (k + shift) % 4 {
                0 => 0.0,
                _ => (((k + shift) * 7919) % 97 + 1) as f64,
            })
            .collect();
        let samples = (0..30).map(|s| format!("s{shift}-{s}")).collect();
        let taxa = (0..n_taxa).map(|t| format!("{HOSTILE}{t}")).collect();
        Table::from_dense(samples, taxa, &dense).unwrap()
    }

    #[test]
    fn the_page_shows_every_part_and_a_hostile_name_stays_text() {
        let options = Options {
            features: Features::Same,
            collapse: None,
            samples: None,
            label: None,
            group: None,
            n_splits: 3,
            n_permutations: 9,
            seed: 0,
        };
        let tables = Tables {
            real: table(0),
            generated: table(3),
            train: Some(table(5)),
            tree: None,
        };
        let interrupted = AtomicBool::new(false);
        let mut watch = crate::Watch {
            progress: &mut |_| {},
            interrupted: &interrupted,
        };
        let found = compare(tables, &options, &mut watch).unwrap();
        let page = of_comparison(&Compared {
            real: HOSTILE,
            synth: "generated.h5ad",
            results: &found.results,
            pictures: &found.pictures,
            provenance: &Provenance::default(),
        })
        .unwrap();
        assert!(!page.contains("<script>") && !page.contains("NaN") && page.contains("7*7"));
        for part in [
            "figures",
            "ordination",
            "taxa",
            "heat",
            "diversity",
            "distances",
            "provenance",
            "citations",
        ] {
            assert!(page.contains(&format!("<section id=\"{part}\"")), "{part}");
        }
        // The ordination, two of taxa, the heat map, three diversities, three distances.
        assert_eq!(page.matches("<svg").count(), 10);
        assert_eq!(page.matches("</svg>").count(), 10);
        assert!(
            page.contains("5 taxa, in the order of a clustering")
                && page.contains("by 30 real and 30 generated")
        );
        assert_eq!(page.matches("<rect class=\"over\"").count(), 5);
        assert!(page.contains("forest AUROC") && page.contains("class=\"tag "));
    }

    #[test]
    fn a_density_is_that_of_scipy() {
        // Ratio of scipy.stats.gaussian_kde([0, 1, 3], bw_method=w / sd(ddof=1)) at 0 and 2, with w = 0.9 min(sd(ddof=0), 1.5 / 1.34) 3^-0.2 = 0.808732.
        let found = density(&[0.0, 1.0, 3.0], &[0.0, 2.0]);
        let ratio = found[0] / found[1];
        assert!((ratio - 1.499_372).abs() < 1e-6, "{ratio}");
    }
}
