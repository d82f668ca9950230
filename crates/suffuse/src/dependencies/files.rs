//! The files of a [`Found`]: edge list, GraphML, pictures.

use super::Found;
use crate::Result;
use crate::output::{cell, remove_of_before, write_text};
use crate::report::{attention_mask, dependency_bars, dependency_network, heat_map};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use suffuse_data::format::Overwrite;
use suffuse_model::systems::depmicrodiff::ar_steps::ArSteps;
use suffuse_model::systems::depmicrodiff::mask::{self, DependencyMask, Dependent};

/// Taxa in the picture of the network, the most variable ones (20 in the paper).
const N_NETWORK_TAXA: usize = 20;
/// Pairs in the bar chart.
const N_BARS: usize = 20;
/// Taxa, autoregressive steps and condition tokens in the picture of the attention mask; the
/// figure of the paper has 7, 3 and 2.
const N_MASK_TAXA: usize = 12;
const N_MASK_STEPS: usize = 3;
const N_MASK_CONDITION_TOKENS: usize = 2;

/// What was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Written {
    /// Files.
    pub files: Vec<PathBuf>,
    /// Names of pictures that would have shown no pair.
    pub left_out: Vec<&'static str>,
}

impl Found {
    /// Writes `edges.tsv`, `dependencies.graphml` and the pictures (`pairs.svg`, `network.svg`,
    /// `matrix.svg`, `attention-mask.svg`).
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, folder: &Path, table_name: &str) -> Result<Written> {
        let pictures = [
            ("pairs.svg", self.bars(table_name)),
            ("network.svg", self.network(table_name)),
            ("matrix.svg", self.matrix(table_name)),
            ("attention-mask.svg", self.attention_mask(table_name)),
        ];
        let files = [
            ("edges.tsv", Some(self.edges_tsv())),
            ("dependencies.graphml", Some(self.graphml())),
        ];
        let mut written = Written::default();
        for (name, text) in files.into_iter().chain(pictures) {
            let path = folder.join(name);
            match text {
                Some(text) => {
                    write_text(&path, Overwrite::Replace, &text)?;
                    written.files.push(path);
                }
                None => {
                    remove_of_before(&path)?;
                    written.left_out.push(name);
                }
            }
        }
        Ok(written)
    }

    /// The edges as tab-separated text with a header.
    pub fn edges_tsv(&self) -> String {
        let mut text = String::from("source\ttarget\tkind\tstatistic\tp\tneg_log10_p\tq\n");
        for edge in &self.edges {
            text.push_str(&format!(
                "{}\t{}\t{}\t{}\t{:e}\t{}\t{:e}\n",
                cell(&edge.source),
                cell(&edge.target),
                edge.kind,
                edge.statistic,
                edge.p,
                edge.neg_log10_p,
                edge.q
            ));
        }
        text
    }

    /// The taxa and edges as GraphML. Mutual edges go both ways: readers take no graph of directed and undirected ones.
    pub fn graphml(&self) -> String {
        let mut text = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n\
             <key id=\"kind\" for=\"edge\" attr.name=\"kind\" attr.type=\"string\"/>\n\
             <key id=\"statistic\" for=\"edge\" attr.name=\"statistic\" attr.type=\"double\"/>\n\
             <key id=\"neg_log10_p\" for=\"edge\" attr.name=\"neg_log10_p\" attr.type=\"double\"/>\n\
             <key id=\"q\" for=\"edge\" attr.name=\"q\" attr.type=\"double\"/>\n\
             <graph edgedefault=\"directed\">\n",
        );
        for taxon in &self.taxa {
            text.push_str(&format!("<node id=\"{}\"/>\n", escape(taxon)));
        }
        let both_ways = self.edges.iter().flat_map(|edge| {
            let back = (edge.kind == "mutual").then_some((edge, &edge.target, &edge.source));
            std::iter::once((edge, &edge.source, &edge.target)).chain(back)
        });
        for (edge, source, target) in both_ways {
            text.push_str(&format!(
                "<edge source=\"{}\" target=\"{}\"><data key=\"kind\">{}</data><data key=\"statistic\">{}</data><data key=\"neg_log10_p\">{}</data><data key=\"q\">{}</data></edge>\n",
                escape(source),
                escape(target),
                edge.kind,
                double(edge.statistic),
                double(edge.neg_log10_p),
                edge.q
            ));
        }
        text.push_str("</graph>\n</graphml>\n");
        text
    }

    /// The strongest pairs: lagged ones if there are any, else directed ones.
    fn bars(&self, table_name: &str) -> Option<String> {
        let kind = if self.edges.iter().any(|edge| edge.kind == "lagged") {
            "lagged"
        } else {
            "directed"
        };
        let test = if kind == "lagged" {
            "lagged Granger causality"
        } else {
            "F-test of linear models"
        };
        let name_of: HashMap<&String, &String> = self.taxa.iter().zip(&self.names).collect();
        let mut pairs: Vec<dependency_bars::Pair> = self
            .edges
            .iter()
            .filter(|edge| edge.kind == kind && edge.neg_log10_p.is_finite())
            .map(|edge| dependency_bars::Pair {
                source: name_of[&edge.source].clone(),
                target: name_of[&edge.target].clone(),
                minus_log10_p: edge.neg_log10_p,
            })
            .collect();
        pairs.sort_by(|a, b| b.minus_log10_p.total_cmp(&a.minus_log10_p));
        pairs.truncate(N_BARS);
        dependency_bars::draw(
            &format!("Strongest directed dependencies: {table_name}"),
            test,
            &pairs,
        )
    }

    /// Mutual dependencies among the most variable taxa.
    fn network(&self, table_name: &str) -> Option<String> {
        let chosen: Vec<usize> = self
            .by_variance
            .iter()
            .copied()
            .take(N_NETWORK_TAXA)
            .collect();
        let nodes: Vec<String> = chosen
            .iter()
            .map(|taxon| self.names[*taxon].clone())
            .collect();
        let place = |id: &String| chosen.iter().position(|taxon| self.taxa[*taxon] == *id);
        let links: Vec<dependency_network::Link> = self
            .edges
            .iter()
            .filter(|edge| edge.kind == "mutual")
            .filter_map(|edge| {
                let between = (place(&edge.source)?, place(&edge.target)?);
                Some(dependency_network::Link {
                    between,
                    weight: edge.statistic,
                })
            })
            .collect();
        let title = format!(
            "Mutual information among the {} most variable taxa: {table_name}",
            nodes.len()
        );
        dependency_network::draw(&title, &nodes, &links)
    }

    fn matrix(&self, table_name: &str) -> Option<String> {
        let values = self
            .dep
            .rows()
            .into_iter()
            .map(|row| row.iter().map(|d| f64::from(u8::from(*d))).collect());
        let matrix = heat_map::Matrix {
            rows: self.names.clone(),
            columns: self.names.clone(),
            values: values.collect(),
        };
        let cells = heat_map::Cells {
            name: "dependent",
            colours: heat_map::Colours::Gradient,
        };
        heat_map::draw(
            &format!("Dependency matrix (row depends on column): {table_name}"),
            cells,
            &matrix,
        )
    }

    /// The attention mask (Algorithm 2) that the dependencies among the most variable taxa give.
    fn attention_mask(&self, table_name: &str) -> Option<String> {
        let chosen: Vec<usize> = self.by_variance.iter().copied().take(N_MASK_TAXA).collect();
        let pairs = chosen
            .iter()
            .flat_map(|i| chosen.iter().map(|j| self.dep[[*i, *j]]))
            .collect();
        let order: Vec<usize> = (0..chosen.len()).collect();
        let mask = mask::attention_mask(
            &ArSteps::even(chosen.len(), N_MASK_STEPS),
            N_MASK_CONDITION_TOKENS,
            &Dependent::new(chosen.len(), pairs),
            &order,
            DependencyMask::Restrict,
        );
        let names: Vec<String> = chosen
            .iter()
            .map(|taxon| self.names[*taxon].clone())
            .collect();
        let title = format!("Attention mask: {table_name}");
        attention_mask::draw(&title, &mask, &names)
    }
}

/// A number in the notation of XML schema doubles.
fn double(value: f64) -> String {
    if value == f64::INFINITY {
        "INF".to_string()
    } else {
        value.to_string()
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_xml() {
        assert_eq!(escape("a<b & \"c\""), "a&lt;b &amp; &quot;c&quot;");
    }
}
