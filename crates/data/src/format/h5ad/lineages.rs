//! Lineages in the columns of `var`.

use crate::taxonomy::{bare_name, is_lineage_column};
use crate::{Column, ColumnValues, Metadata, Taxonomy};

/// Ranks that make up a lineage, broadest first, with their synonyms.
const RANKS: [&[&str]; 8] = [
    &["superkingdom", "kingdom", "domain"],
    &["phylum"],
    &["class"],
    &["order"],
    &["family"],
    &["genus"],
    &["species"],
    &["strain"],
];

/// Lineages, if `var` has them: in a column of lineage texts, or in two or more rank columns.
pub(super) fn lineages(var: &Metadata) -> Option<Taxonomy> {
    let is_lineage = |column: &&Column| is_lineage_column(&column.name);
    let column = var.columns().iter().find(is_lineage);
    if let Some(lineages) = column.and_then(|column| texts(&column.values)) {
        return Some(Taxonomy::parse(&lineages));
    }
    let mut ranks = Vec::new();
    let mut names: Vec<Vec<String>> = Vec::new();
    for synonyms in RANKS {
        for column in var.columns() {
            let name = column.name.to_lowercase();
            if !synonyms.contains(&name.as_str()) || ranks.contains(&name) {
                continue;
            }
            if let Some(texts) = texts(&column.values) {
                ranks.push(name);
                names.push(texts);
            }
        }
    }
    if ranks.len() < 2 {
        return None; // a lone `class` or `order` may be anything
    }
    let lineage = |row: usize| {
        names
            .iter()
            .map(|names| bare_name(&names[row]).to_string())
            .collect()
    };
    Some(Taxonomy {
        lineages: (0..var.ids().len()).map(lineage).collect(),
        ranks,
    })
}

/// The rows of a column of text; a missing one is empty.
fn texts(values: &ColumnValues) -> Option<Vec<String>> {
    match values {
        ColumnValues::Text(_) | ColumnValues::Categorical { .. } => Some(
            (0..values.len())
                .map(|row| values.text(row).unwrap_or_default())
                .collect(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_column(name: &str, values: &[&str]) -> Column {
        let values = values.iter().map(|value| Some(value.to_string())).collect();
        Column {
            name: name.to_string(),
            values: ColumnValues::Text(values),
        }
    }

    #[test]
    fn rank_columns_in_any_order_become_lineages_from_broad_to_fine() {
        let var = Metadata::new(
            vec!["t1".into(), "t2".into()],
            vec![
                text_column("Genus", &["g__Blautia", "g__"]),
                text_column("name", &["x", "y"]),
                text_column("Kingdom", &["k__Bacteria", "k__Archaea"]),
            ],
        )
        .unwrap();
        let taxonomy = lineages(&var).unwrap();
        assert_eq!(taxonomy.ranks, ["kingdom", "genus"]);
        assert_eq!(
            taxonomy.lineages,
            [["Bacteria", "Blautia"], ["Archaea", ""]]
        );
    }

    #[test]
    fn a_column_of_lineages_is_preferred_to_rank_columns() {
        let var = Metadata::new(
            vec!["t1".into()],
            vec![
                text_column("genus", &["Blautia"]),
                text_column("family", &["Lachnospiraceae"]),
                text_column("Taxon", &["d__Bacteria; g__Blautia; t__SGB4"]),
            ],
        )
        .unwrap();
        let taxonomy = lineages(&var).unwrap();
        assert_eq!(taxonomy.lineages, [["Bacteria", "Blautia", "SGB4"]]);
    }

    #[test]
    fn one_column_that_happens_to_be_called_class_is_no_lineage() {
        let var =
            Metadata::new(vec!["t1".into()], vec![text_column("class", &["kinase"])]).unwrap();
        assert_eq!(lineages(&var), None);
    }
}
