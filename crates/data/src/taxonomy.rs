//! Lineages of features: from the broadest rank to the finest.
//!
//! Accepted forms: `k__Bacteria; p__Firmicutes; g__` (Greengenes, QIIME), `d__Bacteria;p__...`
//! (GTDB, SILVA 138), `D_0__Bacteria;D_1__...` (older SILVA), `k__Bacteria|p__...` (MetaPhlAn) and
//! names without prefixes separated by `;` or `|`, whose rank is their position. Confidences behind every name
//! (`Bacteria(100);Firmicutes(98);`, mothur) and a `Root` before the first (RDP) are left out.

use crate::delimited::normalized;
use crate::metadata_tsv::is_missing;
use crate::{Metadata, Table};
use std::collections::HashMap;

/// Names of the ranks and, per feature, the lineage in that order; an empty name is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taxonomy {
    /// Rank names, broadest first, as in `["superkingdom", "phylum", ...]`.
    pub ranks: Vec<String>,
    /// One lineage per feature, each as long as `ranks`.
    pub lineages: Vec<Vec<String>>,
}

/// Prefix and name of the known ranks, broadest first.
const RANKS: [(&str, &str); 10] = [
    ("d", "domain"),
    ("sk", "superkingdom"),
    ("k", "kingdom"),
    ("p", "phylum"),
    ("c", "class"),
    ("o", "order"),
    ("f", "family"),
    ("g", "genus"),
    ("s", "species"),
    ("t", "strain"),
];

/// Ranks of `D_0__` to `D_7__`, and of names without prefix by position.
const RANKS_BY_POSITION: [&str; 8] = [
    "domain", "phylum", "class", "order", "family", "genus", "species", "strain",
];

/// Begins the name of a rank that has none, before its place in the lineage.
const LEVEL: &str = "level_";

/// A rank without a name in QIIME 2's collapsed tables.
const NO_NAME: &str = "__";

/// Whole lineages that say that nothing is known.
const UNKNOWN: [&str; 6] = ["", "unassigned", "unclassified", "unknown", "none", "na"];

impl Taxonomy {
    /// Parses one lineage text per feature.
    ///
    /// Ranks are those that occur in any lineage. An unknown prefix `x__` becomes a rank `x`, and a prefix that a
    /// lineage has again, as in `k__Eukaryota|k__Metazoa` of Kraken's reports, one that is named by its place; such ranks
    /// stand before the broadest known rank that follows them in a lineage, or at the end. `Unassigned`, `__` for
    /// every rank, and an empty text are a lineage of unknown names.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Taxonomy {
        let parsed: Vec<_> = (texts.iter())
            .map(|text| parse_lineage(text.as_ref()))
            .collect();
        let mut ranks: Vec<String> = Vec::new();
        for (rank, _) in parsed.iter().flatten() {
            if !ranks.contains(rank) {
                ranks.push(rank.clone());
            }
        }
        let follows = broadest_known_after(&parsed);
        // A stable sort keeps unknown ranks in the order of their first occurrence.
        ranks.sort_by_key(|rank| match canonical_position(rank) {
            known if known < RANKS.len() => (known, true),
            end => (follows.get(rank.as_str()).map_or(end, |rank| *rank), false),
        });
        let column_of: HashMap<&str, usize> = ranks
            .iter()
            .enumerate()
            .map(|(column, rank)| (rank.as_str(), column))
            .collect();
        let lineages = parsed
            .iter()
            .map(|lineage| {
                let mut names = vec![String::new(); ranks.len()];
                for (rank, name) in lineage {
                    names[column_of[rank.as_str()]].clone_from(name);
                }
                names
            })
            .collect();
        Taxonomy { ranks, lineages }
    }

    /// Lineages from feature ids that are lineages themselves, as in MetaPhlAn's tables.
    ///
    /// `None` unless they are, see [`are_lineages`].
    pub fn from_ids(feature_ids: &[String]) -> Option<Taxonomy> {
        are_lineages(feature_ids).then(|| Taxonomy::parse(feature_ids))
    }

    /// Lineages from a data frame of features, for `feature_ids` in their order.
    ///
    /// Takes a column `Taxon`, `taxonomy`, `lineage` or `Consensus Lineage` (as in QIIME 2), or
    /// else columns named by ranks (`superkingdom`, `phylum`, ...). `None` if there is neither.
    pub fn from_metadata(metadata: &Metadata, feature_ids: &[String]) -> Option<Taxonomy> {
        let aligned = metadata.align(feature_ids);
        let rows = 0..feature_ids.len();
        if let Some(column) = aligned
            .columns()
            .iter()
            .find(|column| is_lineage_column(&column.name))
        {
            let texts: Vec<String> = rows
                .map(|row| column.values.text(row).unwrap_or_default())
                .collect();
            return Some(Taxonomy::parse(&texts));
        }
        let mut columns: Vec<(usize, &str, &crate::Column)> = (aligned.columns().iter())
            .filter_map(|column| {
                let position = position_of_column(&column.name)?;
                Some((position, RANKS[position].1, column))
            })
            .collect();
        columns.sort_by_key(|(position, _, _)| *position);
        if columns.is_empty() {
            return None;
        }
        let ranks = columns
            .iter()
            .map(|(_, rank, _)| rank.to_string())
            .collect();
        let lineages = rows
            .map(|row| {
                columns
                    .iter()
                    .map(|(_, _, c)| c.values.text(row).unwrap_or_default())
                    .map(|name| bare_name(&name).to_string())
                    .collect()
            })
            .collect();
        Some(Taxonomy { ranks, lineages })
    }

    /// The lineage of a feature as text, `k__Bacteria; p__Firmicutes; g__`: all ranks are
    /// written, so that [`Taxonomy::parse`] gives them back. `Unassigned` if all are unknown.
    ///
    /// # Panics
    /// If `feature` is not less than the number of lineages.
    pub fn lineage_text(&self, feature: usize) -> String {
        let lineage = &self.lineages[feature];
        if lineage.iter().all(String::is_empty) {
            return "Unassigned".to_string();
        }
        let part = |(rank, name): (&String, &String)| {
            let known = RANKS.iter().find(|(_, known)| known == rank);
            format!(
                "{}__{name}",
                known.map_or(rank.as_str(), |(prefix, _)| prefix)
            )
        };
        self.ranks
            .iter()
            .zip(lineage)
            .map(part)
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// The finest known rank and name of a feature.
    ///
    /// # Panics
    /// If `feature` is not less than the number of lineages.
    pub fn finest(&self, feature: usize) -> Option<(&str, &str)> {
        let lineage = &self.lineages[feature];
        let rank = lineage.iter().rposition(|name| !name.is_empty())?;
        Some((&self.ranks[rank], &lineage[rank]))
    }

    /// Lineages in a new order; `None` makes an unknown lineage.
    ///
    /// # Panics
    /// If an index is not less than the number of lineages.
    pub fn take(&self, features: &[Option<usize>]) -> Taxonomy {
        let unknown = || vec![String::new(); self.ranks.len()];
        let lineages = features
            .iter()
            .map(|feature| feature.map_or_else(unknown, |feature| self.lineages[feature].clone()))
            .collect();
        Taxonomy {
            ranks: self.ranks.clone(),
            lineages,
        }
    }
}

/// Says whether ids are lineages: each begins with a rank prefix (`k__A|p__B`) or says that it is unknown, and one at
/// least names two ranks.
pub fn are_lineages(ids: &[String]) -> bool {
    let is_lineage = |id: &String| {
        let first = id.split(['|', ';']).next().unwrap_or(id).trim();
        is_unknown(first) || split_prefix(first).is_some()
    };
    ids.iter().all(is_lineage) && ids.iter().any(|id| id.contains(['|', ';']))
}

/// Says whether [`Taxonomy::from_metadata`] reads a column of this name.
pub fn is_read_from(column: &str) -> bool {
    is_lineage_column(column) || position_of_column(column).is_some()
}

/// Says whether a column of this name holds whole lineages.
pub(crate) fn is_lineage_column(name: &str) -> bool {
    const NAMES: [&str; 5] = [
        "taxonomy",
        "taxon",
        "consensus lineage",
        "consensuslineage",
        "lineage",
    ];
    NAMES.contains(&normalized(name).as_str())
}

/// A name in a column of one rank without its mark, as in `g__Blautia`; empty where it is unknown.
pub(crate) fn bare_name(name: &str) -> &str {
    let name = name.trim();
    match name.split_once("__") {
        Some((mark, bare)) if mark.len() <= 2 && mark.bytes().all(|b| b.is_ascii_lowercase()) => {
            bare
        }
        _ if is_missing(name) => "",
        _ => name,
    }
}

/// Position among [`RANKS`] of the rank that a column names.
fn position_of_column(name: &str) -> Option<usize> {
    let name = normalized(name);
    RANKS.iter().position(|(_, rank)| *rank == name)
}

/// The name of each feature as it would stand in a lineage: the metadata column `name` where there
/// is one, else the last part of an id that is a lineage (`k__A|p__B` gives `B`), else the id.
pub fn own_names(table: &Table) -> Vec<String> {
    let column = table.feature_metadata.column("name");
    table
        .feature_ids()
        .iter()
        .enumerate()
        .map(|(feature, id)| {
            if let Some(name) = column.and_then(|column| column.values.text(feature)) {
                return name;
            }
            let last = id.rsplit(['|', ';']).next().unwrap_or(id).trim();
            split_prefix(last)
                .map_or(last, |(_, name)| name)
                .to_string()
        })
        .collect()
}

/// Says whether a text names nothing.
fn is_unknown(name: &str) -> bool {
    name == NO_NAME || UNKNOWN.contains(&name.to_lowercase().as_str())
}

/// Ranks and names of one lineage; unknown names are kept as empty.
fn parse_lineage(text: &str) -> Vec<(String, String)> {
    let text = text.trim();
    let separator = if text.contains(';') { ';' } else { '|' };
    let parts = text.trim_end_matches(separator).split(separator);
    let mut parts: Vec<&str> = parts.map(str::trim).collect();
    let is_root = |part: &&str| {
        let name = without_confidence(part).unwrap_or(part);
        name.eq_ignore_ascii_case("root")
    };
    if parts.first().is_some_and(is_root) {
        parts.remove(0);
    }
    // Some programs give no confidence where they give no name.
    let without: Option<Vec<&str>> = parts
        .iter()
        .map(|part| without_confidence(part).or(is_unknown(part).then_some(*part)))
        .collect();
    parts = without.unwrap_or(parts);
    if parts.iter().all(|part| is_unknown(part)) {
        return Vec::new();
    }
    let mut lineage: Vec<(String, String)> = Vec::new();
    for (position, part) in parts.into_iter().enumerate() {
        let (rank, name) = match split_prefix(part) {
            Some((prefix, name)) => (rank_of_prefix(prefix), name),
            None if part == NO_NAME => (rank_after(lineage.last(), position), ""),
            None => (rank_after(lineage.last(), position), part),
        };
        let is_new = |rank: &String| lineage.iter().all(|(other, _)| other != rank);
        let by_place = (position..).map(|level| format!("{LEVEL}{level}"));
        let rank = std::iter::once(rank).chain(by_place).find(is_new);
        lineage.extend(rank.map(|rank| (rank, name.to_string())));
    }
    lineage
}

/// `Bacteria(100)` as `Bacteria`; `None` for a name without a percentage behind it.
fn without_confidence(part: &str) -> Option<&str> {
    let (name, percent) = part.strip_suffix(')')?.rsplit_once('(')?;
    let percent: f64 = percent.parse().ok()?;
    (0.0..=100.0).contains(&percent).then(|| name.trim())
}

/// `p__Firmicutes` as `("p", "Firmicutes")`, `D_1__Firmicutes` as `("D_1", "Firmicutes")`, `level_8__x` as
/// `("level_8", "x")`.
fn split_prefix(part: &str) -> Option<(&str, &str)> {
    let (prefix, name) = part.split_once("__")?;
    let is_prefix = match prefix.strip_prefix("D_").or(prefix.strip_prefix(LEVEL)) {
        Some(digits) => !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()),
        None => (1..=2).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_lowercase()),
    };
    is_prefix.then(|| (prefix, name.trim()))
}

fn rank_of_prefix(prefix: &str) -> String {
    if let Some(level) = prefix.strip_prefix("D_") {
        return match level
            .parse::<usize>()
            .ok()
            .and_then(|level| RANKS_BY_POSITION.get(level))
        {
            Some(rank) => rank.to_string(),
            None => format!("{LEVEL}{level}"),
        };
    }
    RANKS
        .iter()
        .find(|(known, _)| *known == prefix)
        .map_or_else(|| prefix.to_string(), |(_, rank)| rank.to_string())
}

/// The rank of a name without prefix: the one below the name before it.
fn rank_after(previous: Option<&(String, String)>, position: usize) -> String {
    let next = match previous {
        None => RANKS_BY_POSITION.first(),
        Some((rank, _)) if matches!(rank.as_str(), "kingdom" | "superkingdom") => {
            RANKS_BY_POSITION.get(1)
        }
        Some((rank, _)) => (RANKS_BY_POSITION.iter().position(|known| known == rank))
            .and_then(|at| RANKS_BY_POSITION.get(at + 1)),
    };
    next.map_or_else(|| format!("{LEVEL}{position}"), |rank| rank.to_string())
}

/// Of each rank that is not among [`RANKS`], the first of those that follows it in a lineage.
fn broadest_known_after(lineages: &[Vec<(String, String)>]) -> HashMap<&str, usize> {
    let mut found: HashMap<&str, usize> = HashMap::new();
    for lineage in lineages {
        let mut broadest = RANKS.len();
        for (rank, _) in lineage.iter().rev() {
            match canonical_position(rank) {
                known if known < RANKS.len() => broadest = broadest.min(known),
                _ => {
                    let first = found.entry(rank).or_insert(broadest);
                    *first = broadest.min(*first);
                }
            }
        }
    }
    found
}

fn canonical_position(rank: &str) -> usize {
    RANKS
        .iter()
        .position(|(_, known)| *known == rank)
        .unwrap_or(RANKS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, String)> {
        let taxonomy = Taxonomy::parse(&[text]);
        taxonomy
            .ranks
            .iter()
            .cloned()
            .zip(taxonomy.lineages[0].iter().cloned())
            .collect()
    }

    #[test]
    fn the_four_common_forms_give_the_same_names() {
        let expected = [("phylum", "Firmicutes"), ("class", "Bacilli")];
        for (text, top) in [
            ("k__Bacteria; p__Firmicutes; c__Bacilli", "kingdom"),
            ("d__Bacteria;p__Firmicutes;c__Bacilli", "domain"),
            ("D_0__Bacteria;D_1__Firmicutes;D_2__Bacilli", "domain"),
            ("k__Bacteria|p__Firmicutes|c__Bacilli", "kingdom"),
            ("Bacteria;Firmicutes;Bacilli;", "domain"),
            ("Bacteria | Firmicutes | Bacilli", "domain"),
            ("sk__Bacteria; Firmicutes; Bacilli", "superkingdom"),
            ("Bacteria(100);Firmicutes(98);Bacilli(71.5);", "domain"),
            ("Root;Bacteria;Firmicutes;Bacilli", "domain"),
            (
                "Root(100);Bacteria(100);Firmicutes(98);Bacilli(71);",
                "domain",
            ),
            ("Root;Bacteria(100);Firmicutes(98);Bacilli(71)", "domain"),
            ("root; k__Bacteria; p__Firmicutes; c__Bacilli", "kingdom"),
        ] {
            let names = names(text);
            assert_eq!(
                names[0],
                (top.to_string(), "Bacteria".to_string()),
                "{text}"
            );
            for (found, expected) in names[1..].iter().zip(expected) {
                assert_eq!((found.0.as_str(), found.1.as_str()), expected, "{text}");
            }
        }
    }

    #[test]
    fn a_number_in_brackets_that_is_no_confidence_stays() {
        for text in ["k__A; p__B(100)", "A; B(1995)", "A(100); B(x)"] {
            let last = names(text).pop().unwrap().1;
            assert!(
                text.ends_with(&last) && last.starts_with("B("),
                "{text}: {last}"
            );
        }
    }

    #[test]
    fn unknown_names_unknown_prefixes_and_unassigned_features_keep_their_place() {
        let texts = ["k__A; p__; g__G", "Unassigned", "k__A; p__P; sh__X", ""];
        let taxonomy = Taxonomy::parse(&texts);
        assert_eq!(taxonomy.ranks, ["kingdom", "phylum", "genus", "sh"]);
        assert_eq!(taxonomy.lineages[0], ["A", "", "G", ""]);
        assert_eq!(taxonomy.lineages[1], ["", "", "", ""]);
        assert_eq!(taxonomy.lineages[2], ["A", "P", "", "X"]);
        assert_eq!(taxonomy.finest(0), Some(("genus", "G")));
        assert_eq!(taxonomy.finest(1), None);
        for unknown in [
            "unknown(100)",
            "Root",
            "Root(100);unclassified",
            "unknown(87);unclassified;",
        ] {
            assert!(names(unknown).is_empty(), "{unknown}");
        }
        let partly = names("Bacteria(100);unclassified");
        assert_eq!(partly[0].1, "Bacteria");
        // As QIIME 2 collapses tables: a mark without a rank where no name is known.
        for unknown in ["Unassigned;__;__", "__"] {
            assert!(names(unknown).is_empty(), "{unknown}");
        }
        let collapsed = Taxonomy::parse(&["d__A;p__P;__;__", "d__A;p__P;c__C;__"]);
        assert_eq!(collapsed.ranks, ["domain", "phylum", "class", "order"]);
        assert_eq!(
            collapsed.lineages,
            [["A", "P", "", ""], ["A", "P", "C", ""]]
        );
        let ids = ["Unassigned;__", "d__A;p__P"].map(String::from);
        assert_eq!(Taxonomy::from_ids(&ids).unwrap().lineages[1], ["A", "P"]);
    }

    #[test]
    fn ranks_without_a_known_name_stand_where_they_stood() {
        let ranks = |texts: &[&str]| Taxonomy::parse(texts).ranks;
        assert_eq!(
            ranks(&["x__cell|k__B|x__C", "x__cell|k__B|p__D|y__E"]),
            ["x", "kingdom", "phylum", "level_2", "y"]
        );
        // Domains and kingdoms of Kraken's reports have one prefix.
        let kraken = ["k__E", "k__E|k__M", "k__E|k__M|p__C", "k__B", "k__B|p__F"];
        let taxonomy = Taxonomy::parse(&kraken);
        assert_eq!(taxonomy.ranks, ["kingdom", "level_1", "phylum"]);
        assert_eq!(taxonomy.lineages[2], ["E", "M", "C"]);
        assert_eq!(taxonomy.lineages[4], ["B", "", "F"]);
        assert_eq!(
            ranks(&["level_1__A; level_1__B; level_1__C"]),
            ["level_1", "level_2", "level_3"]
        );
        assert_eq!(
            ranks(&["k__A; g__G; sh__X; s__S", "k__A; sh__X"]),
            ["kingdom", "genus", "sh", "species"]
        );
    }

    #[test]
    fn a_formatted_lineage_parses_back_to_itself() {
        let texts = ["k__A; p__; g__G", "k__A; p__P; g__", "Unassigned"];
        let taxonomy = Taxonomy::parse(&texts);
        let back: Vec<String> = (0..3)
            .map(|feature| taxonomy.lineage_text(feature))
            .collect();
        assert_eq!(back, texts);
        assert_eq!(Taxonomy::parse(&back), taxonomy);
        let deep = Taxonomy::parse(&["a;b;c;d;e;f;g;h;i;j;k;l"]);
        assert_eq!(deep.ranks.last().unwrap(), "level_11");
        assert_eq!(Taxonomy::parse(&[deep.lineage_text(0)]), deep);
    }

    #[test]
    fn own_names_come_from_metadata_or_from_the_end_of_the_id() {
        let ids = vec![
            "k__A|p__B".to_string(),
            "k__A|p__B|c__C".to_string(),
            "x".to_string(),
        ];
        let table = Table::from_dense(vec!["s".to_string()], ids, &[1.0; 3]).unwrap();
        assert_eq!(own_names(&table), ["B", "C", "x"]);
    }

    #[test]
    fn rank_columns_become_lineages_in_the_order_of_the_features() {
        let text = "taxid\tspecies\tphylum\n7\tP x\tP\n9\t\tQ\n";
        let metadata =
            crate::metadata_tsv::read_from(text.as_bytes(), std::path::Path::new("t.tsv")).unwrap();
        let ids = ["9".to_string(), "7".to_string(), "8".to_string()];
        let taxonomy = Taxonomy::from_metadata(&metadata, &ids).unwrap();
        assert_eq!(taxonomy.ranks, ["phylum", "species"]);
        assert_eq!(taxonomy.lineages, [["Q", ""], ["P", "P x"], ["", ""]]);
    }
}
