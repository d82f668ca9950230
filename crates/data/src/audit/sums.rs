//! Features that are sums of others: nested ranks that no lineage tells of.
//!
//! A part of a sum is nowhere larger than the sum. For each feature, those that are nowhere larger
//! are its candidates; an exact cover is searched among them, sample by sample: the sample that the
//! fewest candidates can explain is explained first, by the largest candidate first. The search is
//! bounded; what it misses are sums hidden among many rare features.

use super::{Finding, Kind, names};
use crate::Table;
use crate::nested::SUM_TOLERANCE;

/// Larger tables are searched along their lineages alone.
const MAX_FEATURES: usize = 5_000;

/// Fewest samples with the sum per part of it: fewer are met by chance among rare features.
const MIN_SAMPLES_PER_PART: usize = 3;

/// Fewest samples that hold two or more of the parts.
const MIN_SHARED_SAMPLES: usize = 3;

/// Most values looked at in the search for the parts of one feature.
const MAX_WORK: usize = 2_000_000;

/// Entries of a column: sample and value.
type Column = Vec<(u32, f64)>;

pub(super) fn findings(table: &Table, columns: &[Column], children: &[Vec<usize>]) -> Vec<Finding> {
    let columns = complete_rows(table, columns);
    let is_searched = table.n_features() <= MAX_FEATURES;
    let candidates = match is_searched {
        true => candidates(&columns),
        false => vec![Vec::new(); columns.len()],
    };
    let mut groups = Vec::new();
    for (whole, children) in children.iter().enumerate() {
        let by_lineage = Some(children.clone()).filter(|c| is_sum(&columns, whole, c));
        if let Some(parts) = by_lineage.or_else(|| search(&columns, whole, &candidates[whole])) {
            groups.push(names(
                table.feature_ids(),
                std::iter::once(&whole).chain(&parts),
            ));
        }
    }
    let mut findings = Vec::new();
    if !groups.is_empty() {
        let found = format!(
            "{} features equal the sum of two or more others in every sample: the parts give the sum away",
            groups.len()
        );
        let advice =
            "leave the sums out, or, where the lineages of the table say so, use --collapse leaves";
        findings.push(Finding::new(Kind::SumOfFeatures, found, advice, groups));
    }
    if !is_searched {
        let found = format!(
            "sums of features were looked for along lineages alone: {} features are more than {MAX_FEATURES}",
            table.n_features()
        );
        let advice = "leave rare features out and audit again if ranks may be mixed in this table";
        findings.push(Finding::new(
            Kind::SumsNotSearched,
            found,
            advice,
            Vec::new(),
        ));
    }
    findings
}

/// Columns without the samples in which something was not measured.
fn complete_rows(table: &Table, columns: &[Column]) -> Vec<Column> {
    let is_complete: Vec<bool> = (0..table.n_samples())
        .map(|sample| !table.row(sample).1.iter().any(|value| value.is_nan()))
        .collect();
    let kept = |column: &Column| -> Column {
        let entries = column.iter().copied();
        entries
            .filter(|entry| is_complete[entry.0 as usize])
            .collect()
    };
    columns.iter().map(kept).collect()
}

/// Per feature, the others that are nowhere larger and not the same; the largest total first.
fn candidates(columns: &[Column]) -> Vec<Vec<usize>> {
    let n_samples = columns.iter().flatten().map(|entry| entry.0 + 1).max();
    let mut rows: Vec<Vec<(usize, f64)>> = vec![Vec::new(); n_samples.unwrap_or(0) as usize];
    for (feature, column) in columns.iter().enumerate() {
        for (sample, value) in column {
            rows[*sample as usize].push((feature, *value));
        }
    }
    let mut candidates = vec![Vec::new(); columns.len()];
    for (part, column) in columns.iter().enumerate() {
        let Some((sample, most)) = column.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)) else {
            continue;
        };
        for (whole, value) in &rows[sample as usize] {
            let is_larger = *value >= most * (1.0 - SUM_TOLERANCE);
            if *whole != part && is_larger && is_within(column, &columns[*whole]) {
                candidates[*whole].push(part);
            }
        }
    }
    let total = |feature: &usize| columns[*feature].iter().map(|entry| entry.1).sum::<f64>();
    for (whole, list) in candidates.iter_mut().enumerate() {
        list.retain(|part| !is_same(&columns[*part], &columns[whole]));
        list.sort_by(|a, b| total(b).total_cmp(&total(a)).then(a.cmp(b)));
    }
    candidates
}

fn is_same(part: &Column, whole: &Column) -> bool {
    part.len() == whole.len()
        && part
            .iter()
            .zip(whole)
            .all(|(p, w)| p.0 == w.0 && (p.1 - w.1).abs() <= SUM_TOLERANCE * w.1)
}

/// Says whether `part` is nowhere larger than `whole`.
fn is_within(part: &Column, whole: &Column) -> bool {
    let mut rest = whole.iter();
    part.len() <= whole.len()
        && part.iter().all(|(sample, value)| {
            rest.find(|entry| entry.0 >= *sample)
                .is_some_and(|w| w.0 == *sample && *value <= w.1 * (1.0 + SUM_TOLERANCE))
        })
}

/// Says whether a feature is the sum of two or more others, in enough samples to tell.
fn is_sum(columns: &[Column], whole: usize, parts: &[usize]) -> bool {
    let column = &columns[whole];
    if parts.len() < 2 || column.len() < MIN_SAMPLES_PER_PART * parts.len() {
        return false;
    }
    let Some((&last, _)) = column.last().map(|(sample, value)| (sample, value)) else {
        return false;
    };
    let mut left = vec![0.0; last as usize + 1];
    let mut n_parts = vec![0usize; left.len()];
    for (sample, value) in column {
        left[*sample as usize] = *value;
    }
    for (sample, value) in parts.iter().flat_map(|part| &columns[*part]) {
        let Some(rest) = left.get_mut(*sample as usize) else {
            return false; // a part where the whole is zero
        };
        *rest -= value;
        n_parts[*sample as usize] += 1;
    }
    let mut is_explained = vec![false; left.len()];
    for (sample, value) in column {
        let rest = left[*sample as usize];
        is_explained[*sample as usize] = rest.abs() <= SUM_TOLERANCE * value;
    }
    let is_right = |sample: usize| match is_explained[sample] {
        true => true,
        false => left[sample] == 0.0 && n_parts[sample] == 0,
    };
    let n_shared = n_parts.iter().filter(|n| **n > 1).count();
    n_shared >= MIN_SHARED_SAMPLES && (0..left.len()).all(is_right)
}

/// The parts that a feature is the sum of, rising, if the bounded search finds them.
fn search(columns: &[Column], whole: usize, candidates: &[usize]) -> Option<Vec<usize>> {
    if candidates.len() < 2 {
        return None;
    }
    let column = &columns[whole];
    let place_of = |sample: u32| column.binary_search_by_key(&sample, |entry| entry.0).ok();
    let parts: Vec<Vec<(usize, f64)>> = candidates
        .iter()
        .map(|part| {
            let entries = columns[*part].iter();
            entries
                .filter_map(|(sample, value)| Some((place_of(*sample)?, *value)))
                .collect()
        })
        .collect();
    let mut cover = Cover {
        slack: column.iter().map(|entry| SUM_TOLERANCE * entry.1).collect(),
        left: column.iter().map(|entry| entry.1).collect(),
        parts: &parts,
        most: column.len() / MIN_SAMPLES_PER_PART,
        work_left: MAX_WORK,
        chosen: Vec::new(),
    };
    let all: Vec<usize> = (0..parts.len()).collect();
    if !cover.fill(&all) {
        return None;
    }
    let mut found: Vec<usize> = cover.chosen.iter().map(|part| candidates[*part]).collect();
    found.sort_unstable();
    Some(found).filter(|found| is_sum(columns, whole, found))
}

/// A search for parts that add up to a column.
struct Cover<'a> {
    /// Difference allowed per place.
    slack: Vec<f64>,
    /// What the chosen parts leave, per place.
    left: Vec<f64>,
    parts: &'a [Vec<(usize, f64)>],
    /// Most parts.
    most: usize,
    work_left: usize,
    chosen: Vec<usize>,
}

impl Cover<'_> {
    /// Explains what is left by some of the parts that are still open.
    fn fill(&mut self, open: &[usize]) -> bool {
        let Some((place, _)) = (self.left.iter().zip(&self.slack).enumerate())
            .map(|(place, (left, slack))| (place, left > slack))
            .find(|(_, is_left)| *is_left)
        else {
            return true;
        };
        if self.chosen.len() == self.most {
            return false;
        }
        let open: Vec<usize> = open
            .iter()
            .copied()
            .filter(|part| self.fits(*part))
            .collect();
        let mut n_at = vec![0usize; self.left.len()];
        let mut sum_at = vec![0.0; self.left.len()];
        for (at, value) in open.iter().flat_map(|part| &self.parts[*part]) {
            n_at[*at] += 1;
            sum_at[*at] += value;
        }
        let work = open
            .iter()
            .map(|part| self.parts[*part].len())
            .sum::<usize>()
            + self.left.len();
        self.work_left = self.work_left.saturating_sub(2 * work);
        if self.work_left == 0 {
            return false;
        }
        let mut hardest = place;
        for at in (0..self.left.len()).filter(|at| self.left[*at] > self.slack[*at]) {
            if sum_at[at] < self.left[at] - self.slack[at] {
                return false;
            }
            if n_at[at] < n_at[hardest] {
                hardest = at;
            }
        }
        let explains = |part: &&usize| self.parts[**part].iter().any(|(at, _)| *at == hardest);
        let choices: Vec<usize> = open.iter().filter(explains).copied().collect();
        let mut rest = open;
        for part in choices {
            // Of the choices at one place, later branches do without the earlier ones.
            rest.retain(|other| *other != part);
            self.take(part, -1.0);
            self.chosen.push(part);
            if self.fill(&rest) {
                return true;
            }
            self.chosen.pop();
            self.take(part, 1.0);
        }
        false
    }

    fn fits(&self, part: usize) -> bool {
        let is_within = |(at, value): &(usize, f64)| *value <= self.left[*at] + self.slack[*at];
        self.parts[part].iter().all(is_within)
    }

    fn take(&mut self, part: usize, sign: f64) {
        for (at, value) in &self.parts[part] {
            self.left[*at] += sign * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{SimulateOptions, simulate};

    fn table(columns: &[Vec<f64>]) -> Table {
        let n_samples = columns[0].len();
        let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
        let dense: Vec<f64> = (0..n_samples)
            .flat_map(|sample| columns.iter().map(move |column| column[sample]))
            .collect();
        Table::from_dense(ids("s", n_samples), ids("t", columns.len()), &dense).unwrap()
    }

    fn simulated(n_taxa: usize) -> Vec<Vec<f64>> {
        let options = SimulateOptions {
            n_samples: 60,
            n_taxa,
            zero_fraction: 0.6,
            seed: 11,
            ..Default::default()
        };
        let table = simulate(&options).unwrap().table;
        let column = |feature| (0..60).map(|sample| table.get(sample, feature)).collect();
        (0..n_taxa).map(column).collect()
    }

    fn add(columns: &[&Vec<f64>]) -> Vec<f64> {
        (0..columns[0].len())
            .map(|i| columns.iter().map(|c| c[i]).sum())
            .collect()
    }

    fn groups(table: &Table) -> Vec<Vec<String>> {
        let columns = super::super::columns(table);
        let children = crate::nested::children(table);
        let findings = findings(table, &columns, &children);
        findings
            .first()
            .map(|f| f.groups.clone())
            .unwrap_or_default()
    }

    #[test]
    fn two_levels_of_sums_are_found_without_any_lineage() {
        let mut columns = simulated(40);
        // The most prevalent first, so that the parts meet in some samples.
        columns.sort_by_key(|column| column.iter().filter(|x| **x == 0.0).count());
        columns.push(add(&[&columns[0], &columns[1], &columns[2]])); // t40
        columns.push(add(&[&columns[40], &columns[7]])); // t41, over t40
        let found = groups(&table(&columns));
        assert_eq!(
            found,
            [vec!["t40", "t0", "t1", "t2"], vec!["t41", "t7", "t40"]]
        );
    }

    #[test]
    fn a_table_without_sums_has_none_and_nearly_is_not_enough() {
        let mut columns = simulated(60);
        assert_eq!(groups(&table(&columns)), Vec::<Vec<String>>::new());
        let mut nearly = add(&[&columns[0], &columns[1]]);
        let largest = (0..60)
            .max_by(|a, b| nearly[*a].total_cmp(&nearly[*b]))
            .unwrap();
        nearly[largest] *= 1.0 + 1e-4;
        columns.push(nearly);
        assert_eq!(groups(&table(&columns)), Vec::<Vec<String>>::new());
    }

    #[test]
    fn rare_features_that_add_up_by_chance_are_no_finding() {
        // Each present once, and one present in the three samples of the others.
        let mut columns: Vec<Vec<f64>> = (0..3)
            .map(|i| (0..9).map(|j| f64::from(u8::from(i == j))).collect())
            .collect();
        columns.push(add(&[&columns[0], &columns[1], &columns[2]]));
        assert_eq!(groups(&table(&columns)), Vec::<Vec<String>>::new());
    }

    #[test]
    fn rows_with_an_entry_not_measured_are_left_out() {
        let mut columns = simulated(20);
        columns.push(add(&[&columns[0], &columns[1]]));
        columns[20][5] = f64::NAN;
        columns[3][9] = f64::NAN;
        assert_eq!(groups(&table(&columns)), [vec!["t20", "t0", "t1"]]);
    }
}
