//! Every figure of a comparison: its name, its meaning, and which way is good.

use serde::{Serialize, Serializer};

/// A distance between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// On shares.
    BrayCurtis,
    /// On presence.
    Jaccard,
    /// Euclidean on centred log-ratios.
    Aitchison,
    /// Presence on the tree.
    UnweightedUniFrac,
    /// Shares on the tree, normalised to 0 to 1.
    WeightedUniFrac,
    /// Between the two, alpha 0.5.
    GeneralisedUniFrac,
}

impl Metric {
    /// In the order in which they are shown.
    pub const ALL: [Metric; 6] = [
        Metric::BrayCurtis,
        Metric::Jaccard,
        Metric::Aitchison,
        Metric::UnweightedUniFrac,
        Metric::WeightedUniFrac,
        Metric::GeneralisedUniFrac,
    ];

    /// Says whether it is one on a tree.
    pub fn needs_tree(self) -> bool {
        matches!(
            self,
            Metric::UnweightedUniFrac | Metric::WeightedUniFrac | Metric::GeneralisedUniFrac
        )
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Metric::BrayCurtis => "Bray-Curtis",
            Metric::Jaccard => "Jaccard",
            Metric::Aitchison => "Aitchison",
            Metric::UnweightedUniFrac => "unweighted UniFrac",
            Metric::WeightedUniFrac => "weighted UniFrac",
            Metric::GeneralisedUniFrac => "generalised UniFrac",
        }
    }

    fn id(self) -> &'static str {
        match self {
            Metric::BrayCurtis => "bray_curtis",
            Metric::Jaccard => "jaccard",
            Metric::Aitchison => "aitchison",
            Metric::UnweightedUniFrac => "unweighted_unifrac",
            Metric::WeightedUniFrac => "weighted_unifrac",
            Metric::GeneralisedUniFrac => "generalised_unifrac",
        }
    }
}

/// A figure of a comparison of generated with real samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// `|z_generated - z_real| / z_real` of the shares of zeros.
    SparsityDeviation,
    /// Pearson correlation of the prevalence of taxa.
    PrevalencePearson,
    /// Spearman correlation of the prevalence of taxa.
    PrevalenceSpearman,
    /// Slope of generated on real prevalence.
    PrevalenceSlope,
    /// Mean absolute difference of prevalence.
    PrevalenceError,
    /// Absolute difference of the mean distances within each set.
    Discrepancy(Metric),
    /// KS D of the distances within each set.
    DistanceKs(Metric),
    /// PERMANOVA pseudo-F of real against generated.
    PermanovaF(Metric),
    /// Its share of the sum of squares.
    PermanovaR2(Metric),
    /// Its p-value.
    PermanovaP(Metric),
    /// PERMDISP F of real against generated.
    PermdispF(Metric),
    /// Its p-value.
    PermdispP(Metric),
    /// KS D of the number of taxa in a sample.
    RichnessKs,
    /// KS D of Shannon's entropy.
    ShannonKs,
    /// KS D of Simpson's index.
    SimpsonKs,
    /// KS D of Faith's phylogenetic diversity.
    FaithKs,
    /// Cross-validated AUROC of a random forest that is to tell real from generated.
    ForestAuroc,
    /// Leave-one-out accuracy of the nearest neighbour by Bray-Curtis.
    NearestNeighbour,
    /// Squared maximum mean discrepancy on centred log-ratios.
    Mmd2,
    /// Spearman correlation of the proportionality (rho_p) of all pairs of taxa.
    Proportionality,
    /// How well generated taxa follow the mean-variance line of the real ones.
    MeanVariance,
    /// How well generated taxa follow the occupancy-abundance line of the real ones.
    OccupancyAbundance,
    /// AUROC of the label on real samples, learned from generated ones.
    LabelAuroc,
    /// That AUROC over the one learned from real samples.
    LabelRatio,
    /// AUROC of the label on generated samples, learned from real ones.
    LabelRecognised,
    /// That AUROC over the one on real samples.
    RecognisedRatio,
}

/// Which values of a figure are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Good {
    /// The smaller, the better.
    Low,
    /// The larger, the better.
    High,
    /// The closer to 1, the better.
    NearOne,
    /// It goes with another figure and is not judged by itself.
    WithAnother,
}

impl Figure {
    /// All, in the order in which they are shown.
    pub fn all() -> Vec<Figure> {
        let mut all = vec![
            Figure::ForestAuroc,
            Figure::NearestNeighbour,
            Figure::Mmd2,
            Figure::SparsityDeviation,
            Figure::PrevalencePearson,
            Figure::PrevalenceSpearman,
            Figure::PrevalenceSlope,
            Figure::PrevalenceError,
            Figure::RichnessKs,
            Figure::ShannonKs,
            Figure::SimpsonKs,
            Figure::FaithKs,
        ];
        for metric in Metric::ALL {
            all.extend([
                Figure::Discrepancy(metric),
                Figure::DistanceKs(metric),
                Figure::PermanovaF(metric),
                Figure::PermanovaR2(metric),
                Figure::PermanovaP(metric),
                Figure::PermdispF(metric),
                Figure::PermdispP(metric),
            ]);
        }
        all.extend([
            Figure::Proportionality,
            Figure::MeanVariance,
            Figure::OccupancyAbundance,
            Figure::LabelAuroc,
            Figure::LabelRatio,
            Figure::LabelRecognised,
            Figure::RecognisedRatio,
        ]);
        all
    }

    /// Its name in files: lower case, joined by underscores.
    pub fn id(self) -> String {
        let of = |metric: Metric, what: &str| format!("{}_{what}", metric.id());
        let id = match self {
            Figure::SparsityDeviation => "sparsity_deviation",
            Figure::PrevalencePearson => "prevalence_pearson",
            Figure::PrevalenceSpearman => "prevalence_spearman",
            Figure::PrevalenceSlope => "prevalence_slope",
            Figure::PrevalenceError => "prevalence_mae",
            Figure::Discrepancy(metric) => return of(metric, "discrepancy"),
            Figure::DistanceKs(metric) => return of(metric, "ks"),
            Figure::PermanovaF(metric) => return of(metric, "permanova_f"),
            Figure::PermanovaR2(metric) => return of(metric, "permanova_r2"),
            Figure::PermanovaP(metric) => return of(metric, "permanova_p"),
            Figure::PermdispF(metric) => return of(metric, "permdisp_f"),
            Figure::PermdispP(metric) => return of(metric, "permdisp_p"),
            Figure::RichnessKs => "richness_ks",
            Figure::ShannonKs => "shannon_ks",
            Figure::SimpsonKs => "simpson_ks",
            Figure::FaithKs => "faith_ks",
            Figure::ForestAuroc => "forest_auroc",
            Figure::NearestNeighbour => "nearest_neighbour_accuracy",
            Figure::Mmd2 => "mmd2",
            Figure::Proportionality => "proportionality_spearman",
            Figure::MeanVariance => "mean_variance_r2",
            Figure::OccupancyAbundance => "occupancy_abundance_r2",
            Figure::LabelAuroc => "label_auroc",
            Figure::LabelRatio => "label_auroc_ratio",
            Figure::LabelRecognised => "label_recognised_auroc",
            Figure::RecognisedRatio => "label_recognised_ratio",
        };
        id.to_string()
    }

    /// The heading under which it stands.
    pub fn part(self) -> &'static str {
        match self {
            Figure::SparsityDeviation => "sparsity",
            Figure::PrevalencePearson
            | Figure::PrevalenceSpearman
            | Figure::PrevalenceSlope
            | Figure::PrevalenceError => "prevalence",
            Figure::Discrepancy(metric)
            | Figure::DistanceKs(metric)
            | Figure::PermanovaF(metric)
            | Figure::PermanovaR2(metric)
            | Figure::PermanovaP(metric)
            | Figure::PermdispF(metric)
            | Figure::PermdispP(metric) => metric.name(),
            Figure::RichnessKs | Figure::ShannonKs | Figure::SimpsonKs | Figure::FaithKs => {
                "alpha diversity"
            }
            Figure::ForestAuroc | Figure::NearestNeighbour | Figure::Mmd2 => "two-sample tests",
            Figure::Proportionality | Figure::MeanVariance | Figure::OccupancyAbundance => {
                "structure"
            }
            Figure::LabelAuroc
            | Figure::LabelRatio
            | Figure::LabelRecognised
            | Figure::RecognisedRatio => "utility",
        }
    }

    /// Its name under that heading.
    pub fn name(self) -> &'static str {
        match self {
            Figure::SparsityDeviation => "deviation",
            Figure::PrevalencePearson => "Pearson",
            Figure::PrevalenceSpearman => "Spearman",
            Figure::PrevalenceSlope => "slope",
            Figure::PrevalenceError => "MAE",
            Figure::Discrepancy(_) => "discrepancy",
            Figure::DistanceKs(_) => "KS of distances",
            Figure::PermanovaF(_) => "PERMANOVA F",
            Figure::PermanovaR2(_) => "PERMANOVA R2",
            Figure::PermanovaP(_) => "PERMANOVA p",
            Figure::PermdispF(_) => "PERMDISP F",
            Figure::PermdispP(_) => "PERMDISP p",
            Figure::RichnessKs => "KS of richness",
            Figure::ShannonKs => "KS of Shannon",
            Figure::SimpsonKs => "KS of Simpson",
            Figure::FaithKs => "KS of Faith PD",
            Figure::ForestAuroc => "forest AUROC",
            Figure::NearestNeighbour => "1-NN accuracy",
            Figure::Mmd2 => "MMD2",
            Figure::Proportionality => "Spearman of rho_p",
            Figure::MeanVariance => "mean-variance R2",
            Figure::OccupancyAbundance => "occupancy-abundance R2",
            Figure::LabelAuroc => "AUROC from generated",
            Figure::LabelRatio => "over AUROC from real",
            Figure::LabelRecognised => "AUROC on generated",
            Figure::RecognisedRatio => "over AUROC on real",
        }
    }

    /// Which values are good.
    pub fn good(self) -> Good {
        match self {
            Figure::PrevalencePearson
            | Figure::PrevalenceSpearman
            | Figure::Proportionality
            | Figure::MeanVariance
            | Figure::OccupancyAbundance
            | Figure::LabelRatio
            | Figure::RecognisedRatio => Good::High,
            Figure::PrevalenceSlope => Good::NearOne,
            // At one number of samples R2 says what F says.
            Figure::PermanovaR2(_)
            | Figure::PermanovaP(_)
            | Figure::PermdispP(_)
            | Figure::LabelAuroc
            | Figure::LabelRecognised => Good::WithAnother,
            _ => Good::Low,
        }
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_in_files_are_distinct_and_so_are_those_under_a_heading() {
        let all = Figure::all();
        let ids: BTreeSet<String> = all.iter().map(|figure| figure.id()).collect();
        let names: BTreeSet<_> = all.iter().map(|f| (f.part(), f.name())).collect();
        assert_eq!((ids.len(), names.len()), (all.len(), all.len()));
        assert!(ids.contains("jaccard_permanova_f") && ids.contains("forest_auroc"));
    }
}
