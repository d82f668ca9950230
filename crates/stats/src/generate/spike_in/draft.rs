//! Samples while they are changed: weights, whose reads are made at the end.

use crate::generate::SparseRow;
use crate::generate::counting::apportion;
use crate::{Error, Result};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A sample: the taxa that it has, their weights, and the reads to be shared out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    pub(super) columns: Vec<u32>,
    pub(super) weights: Vec<f64>,
    depth: u64,
    pub(super) is_changed: bool,
}

impl Draft {
    pub(super) fn of(row: &SparseRow) -> Draft {
        Draft {
            columns: row.columns.clone(),
            weights: row.counts.clone(),
            depth: row.total() as u64,
            is_changed: false,
        }
    }

    fn position(&self, taxon: usize) -> std::result::Result<usize, usize> {
        self.columns.binary_search(&(taxon as u32))
    }

    pub(super) fn has(&self, taxon: usize) -> bool {
        self.position(taxon).is_ok()
    }

    /// The weight of a taxon, 0 where it is absent.
    pub(super) fn weight(&self, taxon: usize) -> f64 {
        self.position(taxon).map_or(0.0, |at| self.weights[at])
    }

    pub(super) fn total(&self) -> f64 {
        self.weights.iter().sum()
    }

    /// The ratio of a taxon to all others, where it and another one are present.
    fn odds(&self, taxon: usize) -> Option<f64> {
        let weight = self.weight(taxon);
        let others: f64 = (self.columns.iter().zip(&self.weights))
            .filter(|(column, _)| **column as usize != taxon)
            .map(|(_, weight)| weight)
            .sum();
        (weight > 0.0 && others > 0.0).then(|| weight / others)
    }

    pub(super) fn multiply(&mut self, taxon: usize, factor: f64) {
        if let Ok(at) = self.position(taxon)
            && factor != 1.0
        {
            // No effect makes a present taxon absent, or all others.
            self.weights[at] =
                (self.weights[at] * factor).clamp(self.total() * 1e-12, self.total() * 1e12);
            self.is_changed = true;
        }
    }

    fn insert(&mut self, taxon: usize, odds: f64) {
        if let Err(at) = self.position(taxon) {
            let weight = odds * self.total();
            self.columns.insert(at, taxon as u32);
            self.weights.insert(at, weight);
            self.is_changed = true;
        }
    }

    fn remove(&mut self, taxon: usize) {
        if let Ok(at) = self.position(taxon)
            && self.columns.len() > 1
        {
            self.columns.remove(at);
            self.weights.remove(at);
            self.is_changed = true;
        }
    }

    /// The sample with its reads.
    pub(super) fn reads(&self) -> SparseRow {
        let counts = apportion(&self.weights, self.depth);
        let present = || counts.iter().enumerate().filter(|(_, count)| **count > 0.0);
        SparseRow {
            columns: present().map(|(at, _)| self.columns[at]).collect(),
            counts: present().map(|(_, count)| *count).collect(),
        }
    }
}

/// All samples, with the group of each.
pub(super) struct Drafts<'a> {
    pub(super) rows: Vec<Draft>,
    pub(super) groups: &'a [usize],
    pub(super) n_groups: usize,
}

/// A taxon to switch on and off, and the stream that decides where.
pub(super) struct Switch {
    pub(super) taxon: usize,
    pub(super) rng: ChaCha8Rng,
}

impl<'a> Drafts<'a> {
    pub(super) fn new(rows: &[SparseRow], groups: &'a [usize]) -> Result<Drafts<'a>> {
        for (at, row) in rows.iter().enumerate() {
            let is_count = |count: &f64| *count > 0.0 && count.fract() == 0.0;
            if let Some(bad) = row.counts.iter().position(|count| !is_count(count)) {
                return Err(Error::BadEntry {
                    what: "samples to change",
                    row: at,
                    column: row.columns[bad] as usize,
                    value: row.counts[bad],
                    expected: "a whole number of reads",
                });
            }
        }
        Ok(Drafts {
            rows: rows.iter().map(Draft::of).collect(),
            groups,
            n_groups: groups.iter().max().map_or(0, |most| most + 1),
        })
    }

    /// Number of samples of each group.
    pub(super) fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.n_groups];
        self.groups.iter().for_each(|group| sizes[*group] += 1);
        sizes
    }

    /// Share of all samples that have a taxon.
    pub(super) fn prevalence(&self, taxon: usize) -> f64 {
        let n_present = self.rows.iter().filter(|row| row.has(taxon)).count();
        n_present as f64 / self.rows.len() as f64
    }

    /// Mean share of a taxon over all samples.
    pub(super) fn mean_share(&self, taxon: usize) -> f64 {
        let shares = self.rows.iter().filter(|row| row.has(taxon));
        let sum: f64 = shares.map(|row| row.weight(taxon) / row.total()).sum();
        sum / self.rows.len() as f64
    }

    /// Share of the samples of each group that have a taxon; 0 for a group without samples.
    pub(super) fn prevalences(&self, taxon: usize) -> Vec<f64> {
        let mut n_present = vec![0; self.n_groups];
        for (row, group) in self.rows.iter().zip(self.groups) {
            n_present[*group] += usize::from(row.has(taxon));
        }
        let share = |(n, of): (&usize, usize)| *n as f64 / of.max(1) as f64;
        n_present.iter().zip(self.sizes()).map(share).collect()
    }

    /// Switches a taxon on and off so that its probability becomes `wanted(sample, group)`.
    pub(super) fn switch(
        &mut self,
        Switch { taxon, mut rng }: Switch,
        wanted: impl Fn(usize, usize) -> f64,
    ) {
        let prevalences = self.prevalences(taxon);
        let mut odds = vec![Vec::new(); self.n_groups];
        for (row, group) in self.rows.iter().zip(self.groups) {
            odds[*group].extend(row.odds(taxon));
        }
        for (at, (row, group)) in self.rows.iter_mut().zip(self.groups).enumerate() {
            // Both are drawn for each sample, so that one effect does not change what another one meets.
            let (chance, which): (f64, f64) = (rng.random(), rng.random());
            let (p, q, odds) = (prevalences[*group], wanted(at, *group), &odds[*group]);
            if q > p && !odds.is_empty() && chance < (q - p) / (1.0 - p) {
                row.insert(taxon, odds[(which * odds.len() as f64) as usize]);
            } else if q < p && chance < 1.0 - q / p {
                row.remove(taxon);
            }
        }
    }
}
