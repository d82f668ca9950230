//! Features that count the same reads twice: a genus and its species, side by side in one table.
//!
//! A feature is an ancestor of another if its own name stands in the other's lineage, at its own
//! rank and under the same broader names. Where its own lineage does not hold its name, the rank is
//! not known, and the name alone decides. A feature with no descendant in the table is a leaf.
//! Sequences of one genus are leaves: what they share is not a feature of the table.

use crate::Table;
use crate::taxonomy::{Taxonomy, own_names};
use std::collections::HashMap;

/// Positions of the features without a descendant in the table, rising.
///
/// All features of a table without lineages are leaves.
pub fn leaves(table: &Table) -> Vec<usize> {
    let children = children(table);
    (0..children.len())
        .filter(|feature| children[*feature].is_empty())
        .collect()
}

/// The closest descendants of each feature in the table, rising; empty for a leaf.
///
/// A child of one parent may be the child of another, where two features carry one lineage.
pub fn children(table: &Table) -> Vec<Vec<usize>> {
    let ancestors = ancestors(table);
    let mut children = vec![Vec::new(); table.n_features()];
    for (feature, above) in ancestors.iter().enumerate() {
        for ancestor in above {
            let is_between = |other: &usize| ancestors[*other].contains(ancestor);
            if !above.iter().any(is_between) {
                children[*ancestor].push(feature);
            }
        }
    }
    children
}

/// Relative difference up to which a feature counts as the sum of others.
pub const SUM_TOLERANCE: f64 = 1e-6;

/// Fewest samples with the parent above zero from which a sum is believed.
const MIN_SAMPLES: usize = 3;

/// A parent that is the sum of its children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Position of the parent.
    pub parent: usize,
    /// Positions of its closest descendants, rising.
    pub children: Vec<usize>,
}

/// The parents that equal the sum of their [`children`] in every sample in which all of them were
/// measured, within [`SUM_TOLERANCE`], and that are above zero in three such samples at least.
///
/// The deepest come first: a parent that is a child itself stands before its own parent. Nothing is
/// claimed of a parent whose reads were in part given to no child.
pub fn sums(table: &Table) -> Vec<Sum> {
    let children = children(table);
    let parents: Vec<usize> = (0..children.len())
        .filter(|feature| !children[*feature].is_empty())
        .collect();
    let mut n_agreeing = vec![0usize; parents.len()];
    let mut is_sum = vec![true; parents.len()];
    for sample in 0..table.n_samples() {
        let row = table.dense_row(sample);
        for (at, parent) in parents.iter().enumerate() {
            let sum: f64 = children[*parent].iter().map(|child| row[*child]).sum();
            if sum.is_nan() || row[*parent].is_nan() {
                continue;
            }
            let agrees = (sum - row[*parent]).abs() <= SUM_TOLERANCE * row[*parent].max(sum);
            is_sum[at] &= agrees;
            n_agreeing[at] += usize::from(agrees && row[*parent] > 0.0);
        }
    }
    let mut sums: Vec<Sum> = parents
        .iter()
        .enumerate()
        .filter(|(at, _)| is_sum[*at] && n_agreeing[*at] >= MIN_SAMPLES)
        .map(|(_, parent)| Sum {
            parent: *parent,
            children: children[*parent].clone(),
        })
        .collect();
    // A parent lies above all that its children lie above.
    let mut height = vec![0usize; children.len()];
    let mut is_growing = true;
    while is_growing {
        is_growing = false;
        for (parent, below) in children.iter().enumerate() {
            let least = below.iter().map(|child| height[*child] + 1).max();
            if least.is_some_and(|least| least > height[parent]) {
                height[parent] = least.unwrap_or(0);
                is_growing = true;
            }
        }
    }
    sums.sort_by_key(|sum| (height[sum.parent], sum.parent));
    sums
}

/// Sets each parent that was filled to the sum of its children; returns the parents changed.
///
/// `row` is a completed sample, an element per feature. Observed entries are never touched, nor are
/// features without descendants; where a child is not measured still, its parent stays as it was
/// filled. A filled parent of a filled parent sums what the lower one became.
pub fn reconcile(row: &mut [f64], sums: &[Sum], is_filled: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut changed = Vec::new();
    for sum in sums.iter().filter(|sum| is_filled(sum.parent)) {
        let total: f64 = sum.children.iter().map(|child| row[*child]).sum();
        // The sum of nothing is -0.
        let total = total + 0.0;
        if !total.is_nan() && total.to_bits() != row[sum.parent].to_bits() {
            row[sum.parent] = total;
            changed.push(sum.parent);
        }
    }
    changed
}

/// Ancestors of each feature in the table, rising.
fn ancestors(table: &Table) -> Vec<Vec<usize>> {
    let n_features = table.n_features();
    let from_ids;
    let taxonomy = match &table.taxonomy {
        Some(taxonomy) => taxonomy,
        None => match Taxonomy::from_ids(table.feature_ids()) {
            Some(taxonomy) => {
                from_ids = taxonomy;
                &from_ids
            }
            None => return vec![Vec::new(); n_features],
        },
    };
    let names = own_names(table);
    let places: Vec<Place> = taxonomy
        .lineages
        .iter()
        .zip(&names)
        .map(|(lineage, name)| Place::of(lineage, name))
        .collect();
    let mut at_rank: HashMap<(usize, &str), Vec<usize>> = HashMap::new();
    let mut at_any: HashMap<&str, Vec<usize>> = HashMap::new();
    for (feature, name) in names.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
        match places[feature].rank {
            Some(rank) => at_rank.entry((rank, name)).or_default().push(feature),
            None => at_any.entry(name).or_default().push(feature),
        }
    }
    let none = Vec::new();
    let above = |feature: usize| {
        let lineage = &taxonomy.lineages[feature];
        let mut above: Vec<usize> = Vec::new();
        for (rank, name) in lineage.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
            let same_place = at_rank.get(&(rank, name)).unwrap_or(&none).iter();
            let agrees = |other: &&usize| agree(&taxonomy.lineages[**other], lineage, rank);
            above.extend(same_place.filter(agrees));
            above.extend(at_any.get(name.as_str()).unwrap_or(&none));
        }
        above.retain(|other| places[*other].depth < places[feature].depth);
        above.sort_unstable();
        above.dedup();
        above
    };
    (0..n_features).map(above).collect()
}

/// Where a feature stands in its lineage.
struct Place {
    /// Position of its own name; `None` if its lineage does not hold it.
    rank: Option<usize>,
    /// Twice the position of the rank, and one more where the feature lies below its finest known
    /// name. An ancestor is less deep, so that there are no circles.
    depth: Option<usize>,
}

impl Place {
    fn of(lineage: &[String], name: &str) -> Place {
        let own = |other: &String| !name.is_empty() && other == name;
        let rank = lineage.iter().rposition(own);
        let finest = lineage.iter().rposition(|name| !name.is_empty());
        Place {
            rank,
            depth: (rank.map(|rank| 2 * rank)).or(finest.map(|rank| 2 * rank + 1)),
        }
    }
}

/// Says whether two lineages hold the same names above a rank, as far as both are known there.
fn agree(a: &[String], b: &[String], rank: usize) -> bool {
    let both = a[..rank].iter().zip(&b[..rank]);
    both.into_iter()
        .all(|(a, b)| a.is_empty() || b.is_empty() || a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, ColumnValues};

    /// Features with these own names and lineages.
    fn table(features: &[(&str, &str)]) -> Table {
        let ids: Vec<String> = (0..features.len()).map(|i| i.to_string()).collect();
        let dense = vec![1.0; features.len()];
        let mut table = Table::from_dense(vec!["s".to_string()], ids, &dense).unwrap();
        let names = features.iter().map(|(name, _)| Some(name.to_string()));
        let column = Column {
            name: "name".to_string(),
            values: ColumnValues::Text(names.collect()),
        };
        table.feature_metadata.set_column(column).unwrap();
        let lineages: Vec<&str> = features.iter().map(|(_, lineage)| *lineage).collect();
        table.taxonomy = Some(Taxonomy::parse(&lineages));
        table
    }

    #[test]
    fn a_feature_in_the_lineage_of_another_is_no_leaf() {
        let table = table(&[
            ("A", "k__A"),
            ("G", "k__A; g__G"),
            ("H", "k__A; g__H"),
            ("G x", "k__A; g__G; s__G x"),
        ]);
        assert_eq!(leaves(&table), [2, 3]);
        assert_eq!(children(&table), [vec![1, 2], vec![3], vec![], vec![]]);
    }

    #[test]
    fn a_rank_without_a_known_name_holds_what_stands_below_it() {
        let ids = ["x__cell", "x__cell|k__B", "x__cell|k__B|x__C"].map(String::from);
        let table = Table::from_dense(vec!["s".to_string()], ids.to_vec(), &[1.0; 3]).unwrap();
        assert_eq!(children(&table), [vec![1], vec![2], vec![]]);
    }

    #[test]
    fn sequences_are_leaves_with_or_without_their_genus_in_the_table() {
        let lineage = "k__A; g__G";
        let alone = table(&[("ASV1", lineage), ("ASV2", lineage), ("ASV3", "k__A")]);
        assert_eq!(leaves(&alone), [0, 1, 2]);
        let beside = table(&[("ASV1", lineage), ("G", lineage), ("ASV2", lineage)]);
        assert_eq!(leaves(&beside), [0, 2]);
        assert_eq!(children(&beside)[1], [0, 2]);
    }

    #[test]
    fn one_name_at_two_ranks_or_under_two_families_is_not_taken_for_one_taxon() {
        let phylum_and_class = table(&[
            ("Actinobacteria", "p__Actinobacteria; c__"),
            ("Actinobacteria", "p__Actinobacteria; c__Actinobacteria"),
        ]);
        assert_eq!(children(&phylum_and_class), [vec![1], vec![]]);
        let two_families = table(&[
            ("Clostridium", "f__Lachnospiraceae; g__Clostridium; s__"),
            ("Clostridium", "f__Clostridiaceae; g__Clostridium; s__"),
            ("x", "f__Clostridiaceae; g__Clostridium; s__x"),
        ]);
        assert_eq!(children(&two_families), [vec![], vec![2], vec![]]);
    }

    #[test]
    fn a_feature_whose_lineage_lists_its_parents_alone_is_found_by_name() {
        let table = table(&[
            ("P", "k__A; p__; g__"),
            ("G", "k__A; p__P; g__"),
            ("x", "k__A; p__P; g__G"),
            ("none", "Unassigned"),
        ]);
        assert_eq!(children(&table), [vec![1], vec![2], vec![], vec![]]);
    }

    #[test]
    fn features_that_share_name_and_lineage_are_not_above_each_other() {
        let table = table(&[("G", "k__A; g__G"), ("G", "k__A; g__G")]);
        assert_eq!(leaves(&table), [0, 1]);
    }

    #[test]
    fn ids_that_are_lineages_serve_where_there_is_no_taxonomy() {
        let with_ids = |ids: &[&str]| {
            let ids: Vec<String> = ids.iter().map(|id| id.to_string()).collect();
            let dense = vec![1.0; ids.len()];
            Table::from_dense(vec!["s".to_string()], ids, &dense).unwrap()
        };
        let metaphlan = with_ids(&[
            "UNKNOWN",
            "k__A",
            "k__A|p__B",
            "k__A|p__C",
            "k__A|p__C|c__D",
        ]);
        assert_eq!(leaves(&metaphlan), [0, 2, 4]);
        assert_eq!(leaves(&with_ids(&["a", "b", "a|b"])), [0, 1, 2]);
        assert_eq!(leaves(&with_ids(&["g__A", "g__B"])), [0, 1]);
    }

    /// A (0) over G (1) and H (2), G over x (3) and y (4).
    fn summing(rows: &[[f64; 5]]) -> Table {
        let table = table(&[
            ("A", "k__A"),
            ("G", "k__A; g__G"),
            ("H", "k__A; g__H"),
            ("x", "k__A; g__G; s__x"),
            ("y", "k__A; g__G; s__y"),
        ]);
        let ids = (0..rows.len()).map(|i| format!("s{i}")).collect();
        let dense: Vec<f64> = rows.concat();
        let features = table.feature_ids().to_vec();
        let mut filled = Table::from_dense(ids, features, &dense).unwrap();
        filled.feature_metadata = table.feature_metadata;
        filled.taxonomy = table.taxonomy;
        filled
    }

    const NAN: f64 = f64::NAN;

    #[test]
    fn parents_that_sum_their_children_where_all_are_measured_are_listed_deepest_first() {
        let mut rows = [
            [6.0, 3.0, 3.0, 1.0, 2.0],
            [9.5, 4.5, 5.0, 4.5, 0.0],
            [NAN, 3.0, 3.0, 1.0, 2.0],
            [7.0, 7.0, 0.0, NAN, 2.0],
            [4.0, 3.0, 1.0, 3.0, 0.0],
        ];
        let both = sums(&summing(&rows));
        let parents: Vec<usize> = both.iter().map(|sum| sum.parent).collect();
        assert_eq!(parents, [1, 0]);
        assert_eq!(both[0].children, [3, 4]);
        rows[4][0] = 5.0; // a read of A that is neither G nor H
        let parents: Vec<usize> = sums(&summing(&rows)).iter().map(|sum| sum.parent).collect();
        assert_eq!(parents, [1]);
        assert_eq!(sums(&summing(&rows[..2])), [], "too few samples to tell");
    }

    #[test]
    fn filled_parents_become_sums_and_nothing_else_moves() {
        let rows = [[6.0, 3.0, 3.0, 1.0, 2.0]; 3];
        let sums = sums(&summing(&rows));
        let mut row = [50.0, 40.0, 3.0, 1.5, 2.0];
        let changed = reconcile(&mut row, &sums, |feature| [0, 1, 3].contains(&feature));
        assert_eq!((changed, row), (vec![1, 0], [6.5, 3.5, 3.0, 1.5, 2.0]));
        let mut observed = [50.0, 40.0, 3.0, 1.5, 2.0];
        assert_eq!(
            reconcile(&mut observed, &sums, |feature| feature == 3),
            Vec::<usize>::new()
        );
        assert_eq!(observed, [50.0, 40.0, 3.0, 1.5, 2.0]);
        let mut unknown = [50.0, 40.0, 3.0, NAN, 2.0];
        assert_eq!(reconcile(&mut unknown, &sums, |feature| feature < 2), [0]);
        assert_eq!((unknown[0], unknown[1]), (43.0, 40.0));
    }
}
