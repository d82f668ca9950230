//! How far taxa are apart on a tree or in a taxonomy.

use crate::error::{Error, Result};
use ndarray::Array2;
use suffuse_data::taxonomy::Taxonomy;
use suffuse_data::tree::Tree;

/// Distances between all pairs of taxa, their mean 1.
#[derive(Debug, Clone, PartialEq)]
pub struct TaxonDistances {
    distances: Array2<f64>,
}

impl TaxonDistances {
    /// Patristic distances: lengths of the paths between the tips that are named by `feature_ids`.
    ///
    /// Distances of 0 (identical tips) are kept. If all are 0 there is nothing to normalise.
    ///
    /// # Errors
    /// No feature; features that no tip is named by; a tree without branch lengths; a negative distance,
    /// which negative branch lengths can give.
    pub fn from_tree(tree: &Tree, feature_ids: &[String]) -> Result<TaxonDistances> {
        check_some(feature_ids.len())?;
        let tip_of_name = tree.tip_of_name();
        let missing: Vec<&String> = feature_ids
            .iter()
            .filter(|id| !tip_of_name.contains_key(id.as_str()))
            .collect();
        if !missing.is_empty() {
            return Err(Error::Table(format!(
                "the tree lacks {} of {} features, such as {:?}; take another tree, or only the features that are in it",
                missing.len(),
                feature_ids.len(),
                &missing[..missing.len().min(3)],
            )));
        }
        if feature_ids.len() > 1 && (1..tree.n_nodes()).all(|node| tree.length(node).is_none()) {
            return Err(Error::Table(
                "the tree has no branch lengths; take one that has, or a taxonomy".to_string(),
            ));
        }
        let tips: Vec<usize> = (feature_ids.iter())
            .map(|id| tip_of_name[id.as_str()])
            .collect();
        let n = tips.len();
        let distances = Array2::from_shape_vec((n, n), tree.patristic(&tips))
            .expect("one distance per pair of tips");
        // Sums and differences of root distances leave rounding of their size.
        let rounding = 1e-12
            * tree
                .root_distances()
                .iter()
                .fold(0.0_f64, |m, d| m.max(d.abs()));
        if let Some(((i, j), distance)) =
            (distances.indexed_iter()).find(|(_, distance)| **distance < -rounding)
        {
            return Err(Error::Table(format!(
                "the tree puts {:?} and {:?} {distance} apart: its branches of negative length must be made 0 or the tree another one",
                feature_ids[i], feature_ids[j],
            )));
        }
        Ok(TaxonDistances::normalised(distances.mapv(|distance| {
            if distance > rounding { distance } else { 0.0 }
        })))
    }

    /// The number of ranks below the lowest common ancestor, which is ultrametric.
    ///
    /// Two taxa share an ancestor at a rank if they have a name in common there and all that stands above
    /// it. Without a common name they meet at the root. An unknown name is not taken for the same as another
    /// unknown one, so a taxon without a lineage meets all others at the root. Taxa of the same name at the
    /// finest rank have a distance of 0.
    ///
    /// # Errors
    /// No feature, or no rank.
    pub fn from_taxonomy(taxonomy: &Taxonomy) -> Result<TaxonDistances> {
        let lineages = &taxonomy.lineages;
        check_some(lineages.len())?;
        let n_ranks = taxonomy.ranks.len();
        if n_ranks == 0 {
            return Err(Error::Table(
                "the taxonomy has no ranks: give lineages such as k__Bacteria; p__Firmicutes, or a tree"
                    .to_string(),
            ));
        }
        let n = lineages.len();
        let mut distances = Array2::zeros((n, n));
        for i in 0..n {
            for j in 0..i {
                let distance = (n_ranks - n_shared_ranks(&lineages[i], &lineages[j])) as f64;
                distances[[i, j]] = distance;
                distances[[j, i]] = distance;
            }
        }
        Ok(TaxonDistances::normalised(distances))
    }

    /// Number of taxa.
    pub fn n_taxa(&self) -> usize {
        self.distances.nrows()
    }

    /// The distances, `[n_taxa, n_taxa]`, symmetric with zeros on the diagonal.
    pub fn matrix(&self) -> &Array2<f64> {
        &self.distances
    }

    fn normalised(mut distances: Array2<f64>) -> TaxonDistances {
        let n = distances.nrows();
        let sum = distances.sum();
        if sum > 0.0 {
            distances *= (n * (n - 1)) as f64 / sum;
        }
        TaxonDistances { distances }
    }
}

/// Ranks from the broadest down to the finest at which both lineages have one and the same name.
fn n_shared_ranks(a: &[String], b: &[String]) -> usize {
    let n_equal = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let finest = a[..n_equal].iter().rposition(|name| !name.is_empty());
    finest.map_or(0, |rank| rank + 1)
}

fn check_some(n_taxa: usize) -> Result<()> {
    if n_taxa == 0 {
        return Err(Error::Table(
            "there is no taxon to embed: give a table with features".to_string(),
        ));
    }
    Ok(())
}
