//! What is hidden while presence is judged: rounds that each hide a part of a sample.

use super::batch::Flag;
use super::entries::Known;
use crate::rng::{Stage, generator};
use rand::RngExt;

/// Folds in which the entries of a sample are hidden: each zero is judged with four fifths of the
/// entries in sight, at a rate that training has seen.
const N_FOLDS: usize = 20;
/// What one round of the presence pass hides of a sample, and whose presence it judges.
pub(super) struct Fold {
    pub(super) number: usize,
    pub(super) flags: Vec<Flag>,
    pub(super) judged: Vec<usize>,
}

/// Rounds of the presence pass. Zeros are judged with a fifth of all entries hidden, non-zeros too:
/// if only zeros were, "hidden" would mean "zero". A round that would hide all non-zeros leaves them in
/// sight, since training never hides everything. Without zeros to judge, one round does.
pub(super) fn folds(
    known: &[Known],
    is_candidate: &[bool],
    seed: u64,
    sample_id: &str,
) -> Vec<Fold> {
    let candidates: Vec<usize> = (0..known.len())
        .filter(|taxon| is_candidate[*taxon])
        .collect();
    if candidates.is_empty() {
        return Vec::new();
    }
    if candidates
        .iter()
        .all(|taxon| known[*taxon] == Known::Unknown)
    {
        let flags = known.iter().map(|known| Flag::of(*known)).collect();
        return vec![Fold {
            number: 0,
            flags,
            judged: candidates,
        }];
    }
    let mut rng = generator(seed, Stage::Sampling, sample_id, u64::MAX);
    let fold_of: Vec<usize> = known.iter().map(|_| rng.random_range(0..N_FOLDS)).collect();
    let hides_all = |number: usize| {
        let mut present = (0..known.len()).filter(|taxon| known[*taxon] == Known::Present);
        present.all(|taxon| fold_of[taxon] == number)
    };
    let fold = |number: usize| Fold {
        number,
        flags: known
            .iter()
            .zip(&fold_of)
            .map(|(known, fold)| match known {
                Known::Absent if *fold == number => Flag::Hidden,
                Known::Present if *fold == number && !hides_all(number) => Flag::Hidden,
                known => Flag::of(*known),
            })
            .collect(),
        judged: candidates
            .iter()
            .copied()
            .filter(|taxon| fold_of[*taxon] == number)
            .collect(),
    };
    (0..N_FOLDS)
        .map(fold)
        .filter(|fold| !fold.judged.is_empty())
        .collect()
}
