//! Numbers from outside are those of `parity/sparse_microbiome/hyperbolic.py`.

use super::*;
use ball::{Geodesic, Pair};
use serde_json::Value;
use std::path::Path;
use suffuse_data::taxonomy::Taxonomy;
use suffuse_data::tree::Tree;

const SEED: u64 = 3;

fn golden() -> Value {
    let text = include_str!("../../../../../../parity/sparse_microbiome/hyperbolic.json");
    serde_json::from_str(text).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let numbers = value.as_array().unwrap().iter();
    numbers.map(|x| x.as_f64().unwrap()).collect()
}

/// To a relative 1e-9 of the longest entry.
#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    for (f, e) in found.iter().zip(expected) {
        assert!(
            (f - e).abs() <= 1e-9 * size,
            "{what}: {found:?}, expected {expected:?}"
        );
    }
}

fn tree(text: &str) -> Tree {
    Tree::parse(text, Path::new("t.nwk")).unwrap()
}

fn ids<S: ToString>(names: &[S]) -> Vec<String> {
    names.iter().map(S::to_string).collect()
}

fn of_tree(text: &str, names: &[&str]) -> TaxonDistances {
    TaxonDistances::from_tree(&tree(text), &ids(names)).unwrap()
}

fn fitted(distances: &TaxonDistances) -> HyperbolicEmbedding {
    HyperbolicEmbedding::fit(distances, N_DIMS, SEED).unwrap()
}

/// Hyperbolic distances of an embedding in units of the taxon distances.
fn distance(embedding: &HyperbolicEmbedding, i: usize, j: usize) -> f64 {
    let point = |row: usize| {
        let mut point: Vec<f64> = embedding.tangent.row(row).mapv(f64::from).to_vec();
        ball::exp_map_at_origin(&mut point);
        point
    };
    embedding.scale * ball::distance(&point(i), &point(j))
}

/// The binary tree of `2^depth` leaves with branches of length 1, and its leaves from left to right.
fn balanced(depth: u32) -> TaxonDistances {
    let mut nodes: Vec<String> = (0..1 << depth).map(|leaf| format!("t{leaf}:1")).collect();
    let names: Vec<String> = (0..1 << depth).map(|leaf| format!("t{leaf}")).collect();
    while nodes.len() > 1 {
        nodes = (nodes.chunks(2))
            .map(|pair| format!("({},{}):1", pair[0], pair[1]))
            .collect();
    }
    TaxonDistances::from_tree(&tree(&format!("{};", nodes[0])), &names).unwrap()
}

#[test]
fn the_ball_agrees_with_the_hyperboloid() {
    for case in golden()["ball"].as_array().unwrap() {
        let [u, v, tangent] = ["u", "v", "tangent"].map(|name| numbers(&case[name]));
        let found = ball::distance(&u, &v);
        assert_close(&[found], &[case["distance"].as_f64().unwrap()], "distance");
        let shrink = |x: &[f64]| 1.0 - ball::dot(x, x);
        let pair = Pair {
            u: &u,
            v: &v,
            shrink_u: shrink(&u),
            shrink_v: shrink(&v),
        };
        let of_pair = pair.distance_and_gradients();
        assert_eq!(of_pair.distance, found);
        let gradient: Vec<f64> = (u.iter().zip(&v))
            .map(|(u, v)| of_pair.factor * (u - v + of_pair.own_u * u))
            .collect();
        assert_close(&gradient, &numbers(&case["gradient"]), "gradient");
        let mut moved = u.clone();
        ball::exp_map(&mut moved, &tangent);
        assert_close(&moved, &numbers(&case["exp"]), "exponential map");
        let mut log = u.clone();
        ball::log_map_at_origin(&mut log);
        assert_close(&log, &numbers(&case["log"]), "log map");
        ball::exp_map_at_origin(&mut log);
        assert_close(&log, &u, "exponential map of the log map");
        let mut carried = tangent.clone();
        Geodesic { from: &u, to: &v }.transport(&mut carried);
        assert_close(&carried, &numbers(&case["transport"]), "parallel transport");
    }
}

#[test]
fn points_stay_within_the_ball() {
    let mut point = vec![0.6, -0.3];
    ball::exp_map(&mut point, &[50.0, 20.0]);
    assert!((ball::dot(&point, &point).sqrt() - ball::MAX_NORM).abs() < 1e-12);
    let mut still = vec![0.6, -0.3];
    ball::exp_map(&mut still, &[0.0, 0.0]);
    assert_eq!(still, [0.6, -0.3]);
}

#[test]
fn distances_on_a_tree_are_those_of_scikit_bio() {
    let golden = &golden()["tree"];
    let names: Vec<&str> = (golden["names"].as_array().unwrap().iter())
        .map(|name| name.as_str().unwrap())
        .collect();
    let rows = golden["distances"].as_array().unwrap();
    let expected: Vec<f64> = rows.iter().flat_map(numbers).collect();
    let n = names.len();
    let mean = expected.iter().sum::<f64>() / (n * (n - 1)) as f64;
    let expected: Vec<f64> = expected.iter().map(|distance| distance / mean).collect();
    let found = of_tree(golden["newick"].as_str().unwrap(), &names);
    assert_close(found.matrix().as_slice().unwrap(), &expected, "tree");
    // Features in another order, and fewer of them.
    let some = of_tree(golden["newick"].as_str().unwrap(), &["g", "b"]);
    assert_eq!(some.matrix(), &ndarray::array![[0.0, 1.0], [1.0, 0.0]]);
}

// By hand: of three ranks, 1 below the genus, 2 below the phylum, 3 below the root.
#[test]
fn distances_in_a_taxonomy_count_ranks_below_the_common_ancestor() {
    let taxonomy = Taxonomy::parse(&[
        "p__A; g__B; s__c",
        "p__A; g__B; s__d",
        "p__A; g__E; s__c",
        "p__F; g__B; s__c",
        "Unassigned",
        "p__A; g__B; s__",
        "p__A; g__B; s__",
        "p__A; g__; s__x",
        "p__A; g__; s__x",
    ]);
    let d = TaxonDistances::from_taxonomy(&taxonomy).unwrap();
    let to_first = [0.0, 1.0, 2.0, 3.0, 3.0, 1.0, 1.0, 2.0, 2.0];
    let unit = d.matrix()[[0, 1]];
    let found: Vec<f64> = d.matrix().row(0).iter().map(|x| x / unit).collect();
    assert_close(&found, &to_first, "to the first");
    assert_close(
        &[d.matrix()[[5, 6]] / unit],
        &[1.0],
        "unknown species of one genus",
    );
    assert_eq!(d.matrix()[[7, 8]], 0.0);
    assert!((d.matrix().sum() / 72.0 - 1.0).abs() < 1e-12);
    for (i, j, k) in (0..729).map(|at| (at / 81, at / 9 % 9, at % 9)) {
        let [ij, jk, ik] = [(i, j), (j, k), (i, k)].map(|pair| d.matrix()[pair]);
        assert!(ik <= ij.max(jk), "not ultrametric: {i} {j} {k}");
    }
}

#[test]
fn what_cannot_be_embedded_is_said() {
    let message = |text: &str, names: &[&str]| {
        let found = TaxonDistances::from_tree(&tree(text), &ids(names));
        found.unwrap_err().to_string()
    };
    let m = message("(a:1,b:2);", &["a", "x", "b", "y"]);
    assert!(
        m.contains("lacks 2 of 4 features") && m.contains("\"x\", \"y\""),
        "{m}"
    );
    assert!(message("(a,b);", &["a", "b"]).contains("no branch lengths"));
    let m = message("(a:1,b:-3);", &["a", "b"]);
    assert!(m.contains("\"a\" and \"b\" -2 apart"), "{m}");
    assert!(message("(a:1,b:2);", &[]).contains("no taxon"));
    let none = Taxonomy::parse(&["", ""]);
    let m = TaxonDistances::from_taxonomy(&none)
        .unwrap_err()
        .to_string();
    assert!(m.contains("no ranks"), "{m}");
    let two = of_tree("(a:1,b:2);", &["a", "b"]);
    let m = HyperbolicEmbedding::fit(&two, 0, SEED)
        .unwrap_err()
        .to_string();
    assert!(m.contains("0 dimensions"), "{m}");
}

// Classical scaling: numpy, `euclidean_distortion` of the script; .061 in 16 dimensions, .227 in 4.
#[test]
fn a_balanced_tree_fits_far_better_than_into_straight_space() {
    let distances = balanced(6);
    for n_dims in [4, 16] {
        let euclidean = golden()["euclidean_distortion"][n_dims.to_string()]
            .as_f64()
            .unwrap();
        let embedding = HyperbolicEmbedding::fit(&distances, n_dims, SEED).unwrap();
        assert!(
            embedding.distortion < euclidean / 2.0,
            "{n_dims} dimensions: {} of {euclidean}",
            embedding.distortion
        );
        assert_eq!(embedding.tangent.dim(), (64, n_dims));
        assert!(embedding.rank_correlation.unwrap() > 0.9);
    }
}

#[test]
fn the_figures_are_those_of_the_stored_points() {
    let distances = balanced(4);
    let embedding = fitted(&distances);
    let pairs = (0..16).flat_map(|i| (0..i).map(move |j| (i, j)));
    let deviations: Vec<f64> = pairs
        .map(|(i, j)| (distance(&embedding, i, j) / distances.matrix()[[i, j]] - 1.0).abs())
        .collect();
    let mean = deviations.iter().sum::<f64>() / deviations.len() as f64;
    // Stored as f32.
    assert!(
        (mean - embedding.distortion).abs() < 1e-5,
        "{mean} {}",
        embedding.distortion
    );
}

#[test]
fn sampled_pairs_fit_too_and_repeat_themselves() {
    let distances = balanced(7);
    let embedding = fitted(&distances);
    assert!(embedding.distortion < 0.05, "{}", embedding.distortion);
    assert_eq!(embedding, fitted(&distances));
    let other = HyperbolicEmbedding::fit(&distances, N_DIMS, SEED + 1).unwrap();
    assert_ne!(embedding.tangent, other.tangent);
}

#[test]
fn one_taxon_lies_near_the_origin_and_two_at_their_distance() {
    let one = fitted(&of_tree("(a:1,b:2);", &["a"]));
    assert_eq!(one.tangent.dim(), (1, N_DIMS));
    assert!(one.tangent.iter().all(|x| x.abs() < 0.1));
    assert_eq!((one.distortion, one.rank_correlation), (0.0, None));
    let two = fitted(&of_tree("(a:1,b:2);", &["a", "b"]));
    assert!((distance(&two, 0, 1) - 1.0).abs() < 1e-5);
    assert_eq!(two.rank_correlation, None);
}

#[test]
fn identical_tips_meet_and_the_others_keep_their_distance() {
    let distances = of_tree("((a:0,b:0):1,(c:1,d:1):1);", &["a", "b", "c", "d"]);
    let embedding = fitted(&distances);
    assert!(distance(&embedding, 0, 1) < 0.01);
    assert!(embedding.distortion < 0.01, "{}", embedding.distortion);
    let all = fitted(&of_tree("(a:0,b:0,c:0);", &["a", "b", "c"]));
    assert!(distance(&all, 0, 2) < 0.01 && all.tangent.iter().all(|x| x.is_finite()));
    assert_eq!(all.rank_correlation, None);
}

// Equally distant points, one per dimension and one more at most, are a simplex: no distortion at all.
#[test]
fn a_star_becomes_a_simplex() {
    let names: Vec<String> = (0..12).map(|tip| format!("t{tip}")).collect();
    let text = format!("({}:2);", names.join(":2,"));
    let star = TaxonDistances::from_tree(&tree(&text), &names).unwrap();
    let embedding = fitted(&star);
    assert!(embedding.distortion < 1e-3, "{}", embedding.distortion);
    assert_eq!(star.matrix()[[0, 11]], 1.0);
}

#[test]
fn an_embedding_is_stored_without_loss() {
    let embedding = fitted(&balanced(3));
    let text = serde_json::to_string(&embedding).unwrap();
    assert_eq!(
        serde_json::from_str::<HyperbolicEmbedding>(&text).unwrap(),
        embedding
    );
    let ragged =
        r#"{"tangent":[[1.0,2.0],[3.0]],"scale":1.0,"distortion":0.0,"rank_correlation":null}"#;
    let m = serde_json::from_str::<HyperbolicEmbedding>(ragged)
        .unwrap_err()
        .to_string();
    assert!(
        m.contains("row 2 of the embedding has 1 numbers, the first has 2"),
        "{m}"
    );
}
