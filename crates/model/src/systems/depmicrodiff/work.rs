//! A block of samples while it is filled: what is known of its entries, how presence was judged, which entries
//! will be filled.

use super::Model;
use super::closing::Unit;
use super::entries::{Entries, Known};
use super::impute::{Asked, Fill, Rejudge};
use std::ops::Range;

/// What is known of a block's entries and what was found out, in row-major order.
pub(super) struct Work {
    pub(super) samples: Range<usize>,
    pub(super) n_taxa: usize,
    pub(super) known: Vec<Known>,
    /// Entries that may be filled if their sample can be.
    pub(super) is_candidate: Vec<bool>,
    /// Per sample.
    pub(super) is_fillable: Vec<bool>,
    /// Per sample.
    pub(super) unit: Vec<Unit>,
    pub(super) presence: Vec<f64>,
}

impl Work {
    pub(super) fn range(&self, sample: usize) -> Range<usize> {
        let row = sample - self.samples.start;
        row * self.n_taxa..(row + 1) * self.n_taxa
    }

    pub(super) fn unit(&self, sample: usize) -> Unit {
        self.unit[sample - self.samples.start]
    }

    /// Probability of presence of each entry in row-major order, and whether it is a zero that was judged.
    pub(super) fn zeros(&self) -> impl Iterator<Item = (f64, bool)> + '_ {
        (0..self.known.len()).map(|at| {
            let is_judged = self.is_candidate[at] && self.is_fillable[at / self.n_taxa];
            (
                self.presence[at],
                is_judged && self.known[at] == Known::Absent,
            )
        })
    }

    /// (sample, taxon) of an entry in row-major order.
    fn place(&self, at: usize) -> (u32, u32) {
        let sample = self.samples.start + at / self.n_taxa;
        (sample as u32, (at % self.n_taxa) as u32)
    }

    pub(super) fn fillable(&self) -> impl Iterator<Item = usize> {
        let is_fillable = |sample: &usize| self.is_fillable[sample - self.samples.start];
        self.samples.clone().filter(is_fillable)
    }
}

/// A block whose presence is judged, and which entries will be filled with a positive value.
pub(super) struct Judged {
    pub(super) work: Work,
    pub(super) is_positive: Vec<bool>,
}

impl Judged {
    /// (sample, taxon) of the entries that will be filled, in row-major order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let positive = (0..self.is_positive.len()).filter(|at| self.is_positive[*at]);
        positive.map(|at| self.work.place(at))
    }

    /// Share of the present entries that will be filled, per sample of the block; 0 where none is present.
    pub(super) fn hidden_shares(&self) -> Vec<f64> {
        let n_taxa = self.work.n_taxa.max(1);
        let samples = self
            .is_positive
            .chunks(n_taxa)
            .zip(self.work.known.chunks(n_taxa));
        let share = |(is_positive, known): (&[bool], &[Known])| {
            let n_hidden = is_positive
                .iter()
                .filter(|is_positive| **is_positive)
                .count();
            let n_in_sight = known
                .iter()
                .filter(|known| **known == Known::Present)
                .count();
            n_hidden as f64 / (n_hidden + n_in_sight).max(1) as f64
        };
        samples.map(share).collect()
    }

    pub(super) fn of(work: Work, presence_threshold: f64) -> Judged {
        let is_positive = (0..work.known.len())
            .map(|at| {
                work.is_fillable[at / work.n_taxa]
                    && (work.known[at] == Known::Withheld
                        || (work.is_candidate[at] && work.presence[at] >= presence_threshold))
            })
            .collect();
        Judged { work, is_positive }
    }
}

/// Puts other probabilities in the place of those that the model gives the zeros of some blocks.
pub(super) fn judge_again(blocks: &mut [Work], rejudge: &Rejudge) {
    let (mut places, mut presence) = (Vec::new(), Vec::new());
    for work in blocks.iter() {
        for (at, (p, _)) in work
            .zeros()
            .enumerate()
            .filter(|(_, (_, is_zero))| *is_zero)
        {
            places.push(work.place(at));
            presence.push(p);
        }
    }
    let mut again = rejudge(&places, &presence).into_iter();
    for work in blocks {
        let zeros: Vec<bool> = work.zeros().map(|(_, is_zero)| is_zero).collect();
        let zeros = work
            .presence
            .iter_mut()
            .zip(zeros)
            .filter(|(_, is_zero)| *is_zero);
        for ((presence, _), again) in zeros.zip(again.by_ref()) {
            *presence = again;
        }
    }
}

impl Model {
    /// What is known before anything is drawn.
    pub(super) fn begin(&self, entries: &Entries, asked: &Asked, samples: Range<usize>) -> Work {
        let n_taxa = entries.n_taxa;
        let n_entries = samples.len() * n_taxa;
        let known: Vec<Known> = samples
            .clone()
            .flat_map(|sample| entries.known_row(sample))
            .collect();
        let is_fillable: Vec<bool> = samples
            .clone()
            .map(|sample| entries.is_fillable(sample))
            .collect();
        let unit = samples
            .clone()
            .map(|sample| Unit::of(entries, sample))
            .collect();
        let is_structural = |at: usize| {
            let sample = samples.start + at / n_taxa;
            asked
                .structural
                .contains(&(sample as u32, (at % n_taxa) as u32))
        };
        let is_candidate: Vec<bool> = (0..n_entries)
            .map(|at| match known[at] {
                Known::Unknown => {
                    asked.fill != Fill::Zeros
                        && self.standardisation.is_measured[at % n_taxa]
                        && !is_structural(at)
                }
                Known::Absent => asked.fill != Fill::Missing && !is_structural(at),
                Known::Present | Known::Withheld => false,
            })
            .collect();
        let presence = (0..n_entries)
            .map(|at| match known[at] {
                Known::Present | Known::Withheld => 1.0,
                Known::Absent if is_structural(at) => 0.0,
                _ if is_candidate[at] && is_fillable[at / n_taxa] => 0.0,
                _ => f64::NAN,
            })
            .collect();
        Work {
            samples,
            n_taxa,
            known,
            is_candidate,
            is_fillable,
            unit,
            presence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_is_a_share_of_what_is_present() {
        use Known::{Absent, Present, Unknown, Withheld};
        let work = Work {
            samples: 5..8,
            n_taxa: 4,
            known: [
                [Present, Withheld, Absent, Present],
                [Unknown, Unknown, Absent, Withheld],
                [Absent; 4],
            ]
            .concat(),
            is_candidate: [false, false, true, false].repeat(3),
            is_fillable: vec![true, true, false],
            unit: vec![Unit::Total(100.0); 3],
            presence: [0.0, 0.0, 0.9, 0.0].repeat(3),
        };
        // A withheld entry and a zero that is judged false beside two in sight, beside none; nothing.
        let shares = Judged::of(work, 0.5).hidden_shares();
        assert_eq!(shares, [0.5, 1.0, 0.0]);
    }
}
