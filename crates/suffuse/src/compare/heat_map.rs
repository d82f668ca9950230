//! Taxa by samples of both sides, with taxa in the order of the tree or, without one, of a clustering.

use super::measure::Pair;
use super::pool::Pool;
use crate::Result;
use ndarray::{Array2, ArrayView1};
use suffuse_data::tree::Tree;
use suffuse_stats::average_linkage::average_linkage;
use suffuse_stats::pcoa::Ordination;

/// Most taxa that are drawn; of more, those in most samples.
const MAX_TAXA: usize = 150;
/// Most samples of each side that are drawn.
const MAX_SAMPLES: usize = 100;

/// Shares of taxa in samples, with a tree over the taxa.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeatMap {
    /// Features from top to bottom, as positions in [`super::Pictures::taxa`].
    pub taxa: Vec<usize>,
    /// What put them in this order.
    pub order: TaxonOrder,
    /// The tree over `taxa`, parents before children.
    pub branches: Vec<Branch>,
    /// Shares of the real and of the generated samples, `[n_taxa, n_samples]`; samples along the first axis of
    /// the ordination.
    pub shares: [Array2<f64>; 2],
}

/// What puts taxa in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TaxonOrder {
    /// The tree that the user gave.
    Tree,
    /// Average linkage: taxa are near that have their abundance in the same samples.
    #[default]
    Clustering,
}

/// A node of the tree over the taxa.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Branch {
    /// The node above, `None` for the root.
    pub parent: Option<usize>,
    /// Where it lies from top to bottom; taxon `k` at `k + 0.5`.
    pub row: f64,
    /// Distance to the root over the largest one, 0 to 1.
    pub depth: f64,
}

impl HeatMap {
    /// - `ordination`: of the first `n_points` samples of each side
    pub(super) fn new(
        pool: &Pool,
        pair: Pair,
        (ordination, n_points): (&Ordination, usize),
    ) -> Result<HeatMap> {
        let sides = [pair.real, pair.other];
        let rows = [0, 1].map(|side| {
            let mut points: Vec<usize> = (0..n_points).collect();
            let axis = |point: &usize| ordination.points[[side * n_points + point, 0]];
            points.sort_by(|a, b| axis(a).total_cmp(&axis(b)));
            let n = points.len().min(MAX_SAMPLES);
            let chosen = (0..n).map(|at| sides[side][points[at * points.len() / n]]);
            chosen.collect::<Vec<usize>>()
        });
        let chosen = most_prevalent(pool, sides);
        let (taxa, order, branches) = match &pool.tree {
            Some(tree) => {
                let (taxa, branches) = on_tree(tree, &pool.feature_ids, &chosen)?;
                (taxa, TaxonOrder::Tree, branches)
            }
            None => {
                let drawn: Vec<usize> = rows.iter().flatten().copied().collect();
                let profiles = Array2::from_shape_fn((chosen.len(), drawn.len()), |(t, s)| {
                    pool.shares[[drawn[s], chosen[t]]]
                });
                let (positions, branches) = clustered(&profiles)?;
                let taxa = positions.into_iter().map(|at| chosen[at]).collect();
                (taxa, TaxonOrder::Clustering, branches)
            }
        };
        let shares = rows.map(|rows| {
            Array2::from_shape_fn((taxa.len(), rows.len()), |(t, s)| {
                pool.shares[[rows[s], taxa[t]]]
            })
        });
        Ok(HeatMap {
            taxa,
            order,
            branches,
            shares,
        })
    }
}

/// The taxa that are in most samples of the side where they are in more, in the order of the table.
fn most_prevalent(pool: &Pool, sides: [&[usize]; 2]) -> Vec<usize> {
    let n_present = |taxon: usize| {
        let of_side = |rows: &[usize]| {
            let present = rows.iter().filter(|row| pool.shares[[**row, taxon]] > 0.0);
            present.count()
        };
        sides.map(of_side).into_iter().max()
    };
    let mut taxa: Vec<usize> = (0..pool.feature_ids.len()).collect();
    taxa.sort_by_key(|taxon| std::cmp::Reverse(n_present(*taxon)));
    taxa.truncate(MAX_TAXA);
    taxa.sort_unstable();
    taxa
}

/// The chosen taxa in the order of the tree, and the tree over them.
fn on_tree(tree: &Tree, ids: &[String], chosen: &[usize]) -> Result<(Vec<usize>, Vec<Branch>)> {
    let names: Vec<&str> = chosen.iter().map(|taxon| ids[*taxon].as_str()).collect();
    let tree = tree.prune(&names)?;
    let tip_of_name = tree.tip_of_name();
    let mut taxa = chosen.to_vec();
    taxa.sort_by_key(|taxon| tip_of_name[ids[*taxon].as_str()]);
    let mut branches: Vec<Branch> = (tree.root_distances().into_iter().enumerate())
        .map(|(node, depth)| Branch {
            parent: tree.parent(node),
            row: 0.0,
            depth,
        })
        .collect();
    for (row, tip) in tree.tips().into_iter().enumerate() {
        branches[tip].row = row as f64 + 0.5;
    }
    place(&mut branches);
    Ok((taxa, branches))
}

/// Rows in the order of an average linkage of their profiles, and the tree of its merges.
///
/// The distance of two rows is the Bray-Curtis distance of what each divided by its sum is; of a row without
/// an entry it is 1 to every other.
fn clustered(profiles: &Array2<f64>) -> Result<(Vec<usize>, Vec<Branch>)> {
    let n = profiles.nrows();
    let sums: Vec<f64> = profiles.rows().into_iter().map(|row| row.sum()).collect();
    let shared = |a: ArrayView1<f64>, b: ArrayView1<f64>, sums: [f64; 2]| {
        let least = a.iter().zip(b).map(|(a, b)| (a / sums[0]).min(b / sums[1]));
        least.sum::<f64>()
    };
    let distances = Array2::from_shape_fn((n, n), |(i, j)| match i == j {
        true => 0.0,
        false if sums[i] > 0.0 && sums[j] > 0.0 => {
            1.0 - shared(profiles.row(i), profiles.row(j), [sums[i], sums[j]])
        }
        false => 1.0,
    });
    let merges = average_linkage(&distances)?;
    let top = merges.last().map_or(0.0, |merge| merge.height);
    let depth_of = |cluster: usize| match cluster.checked_sub(n) {
        Some(merge) if top > 0.0 => 1.0 - merges[merge].height / top,
        Some(_) => 0.0,
        None => 1.0,
    };
    let mut branches = Vec::with_capacity(n + merges.len());
    let mut order = Vec::with_capacity(n);
    // The last merge is the root. What was put on last is looked at first, so the second child goes first.
    let mut open: Vec<(Option<usize>, usize)> = vec![(None, (n + merges.len()).saturating_sub(1))];
    while let Some((parent, cluster)) = open.pop() {
        let mut branch = Branch {
            parent,
            row: 0.0,
            depth: depth_of(cluster),
        };
        match cluster.checked_sub(n) {
            Some(merge) => {
                let [first, second] = merges[merge].clusters;
                open.extend([second, first].map(|child| (Some(branches.len()), child)));
            }
            None => {
                branch.row = order.len() as f64 + 0.5;
                order.push(cluster);
            }
        }
        branches.push(branch);
    }
    place(&mut branches);
    Ok((order, branches))
}

/// Puts every inner node between its first and last child, and divides depths by the largest.
fn place(branches: &mut [Branch]) {
    let mut span: Vec<Option<[f64; 2]>> = vec![None; branches.len()];
    for node in (0..branches.len()).rev() {
        if let Some([first, last]) = span[node] {
            branches[node].row = (first + last) / 2.0;
        }
        if let Some(parent) = branches[node].parent {
            let row = branches[node].row;
            let [first, last] = span[parent].unwrap_or([row, row]);
            span[parent] = Some([first.min(row), last.max(row)]);
        }
    }
    let deepest = branches.iter().fold(0.0_f64, |most, b| most.max(b.depth));
    if deepest > 0.0 {
        branches.iter_mut().for_each(|b| b.depth /= deepest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use std::path::Path;

    fn drawn(branches: &[Branch]) -> Vec<(Option<usize>, f64, f64)> {
        let of = |b: &Branch| (b.parent, b.row, b.depth);
        branches.iter().map(of).collect()
    }

    // By hand: c leaves the tree, and its sister's branch becomes 1 + 1 long.
    #[test]
    fn taxa_follow_the_tips_and_nodes_lie_between_their_children() {
        let tree = Tree::parse("((b:1,c:1):1,(d:1,a:3):1);", Path::new("t")).unwrap();
        let ids = ["a", "b", "c", "d"].map(String::from);
        let (taxa, branches) = on_tree(&tree, &ids, &[0, 1, 3]).unwrap();
        assert_eq!(taxa, [1, 3, 0]);
        let expected = [
            (None, 1.25, 0.0),
            (Some(0), 0.5, 0.5),
            (Some(0), 2.0, 0.25),
            (Some(2), 1.5, 0.5),
            (Some(2), 2.5, 1.0),
        ];
        assert_eq!(drawn(&branches), expected);
    }

    // By hand: 0 and 2 are in the same samples; 1 shares nothing with them; 3 is nowhere.
    #[test]
    fn taxa_of_the_same_samples_stand_together() {
        let profiles = array![
            [2.0, 2.0, 0.0],
            [0.0, 0.0, 1.0],
            [1.0, 1.0, 0.0],
            [0.0, 0.0, 0.0]
        ];
        let (order, branches) = clustered(&profiles).unwrap();
        assert_eq!(branches.len(), 7);
        let places: Vec<usize> = [0, 2]
            .map(|t| order.iter().position(|o| *o == t).unwrap())
            .to_vec();
        assert_eq!(places[0].abs_diff(places[1]), 1, "{order:?}");
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3]);
        assert!(branches[0].parent.is_none() && branches[0].depth == 0.0);
        for (node, branch) in branches.iter().enumerate().skip(1) {
            assert!(branch.parent.unwrap() < node && (0.0..=1.0).contains(&branch.depth));
        }
        let (order, branches) = clustered(&array![[1.0, 2.0]]).unwrap();
        assert_eq!((order, drawn(&branches)), (vec![0], vec![(None, 0.5, 1.0)]));
    }
}
