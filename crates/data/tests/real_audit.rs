//! What an audit says of tables made by others; see `real_files.rs`.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop on the first surprise"
)]

use std::path::PathBuf;
use suffuse_data::Table;
use suffuse_data::audit::{Audit, AuditOptions, Kind, audit};
use suffuse_data::format::{self, ReadOptions};
use suffuse_data::nested;
use suffuse_data::taxonomy::own_names;

fn read(name: &str) -> Option<Table> {
    let path = PathBuf::from(std::env::var_os("SUFFUSE_DATA")?).join(name);
    Some(format::read(&path, &ReadOptions::default()).unwrap())
}

fn audited(table: &Table) -> Audit {
    audit(table, &AuditOptions::default()).unwrap()
}

// Patients and empty samples as in the README of the data; copied ranks as counted with pandas.
#[test]
fn nested_ranks_patients_and_empty_samples_of_a_cancer_table_are_found() {
    let Some(table) = read("tcga/tcga_coad_solid.h5ad") else {
        return;
    };
    let audit = audited(&table);
    let finding = |kind| audit.finding(kind).unwrap();
    assert_eq!(finding(Kind::NestedRanks).groups.len(), 57);
    assert_eq!(finding(Kind::EmptySamples).groups[0].len(), 17);
    let patients = finding(Kind::RepeatedSubjects);
    assert!(patients.found.contains("of 441 subjects"), "{patients:?}");
    assert!(patients.found.contains("patient_barcode"), "{patients:?}");
    let copies = &finding(Kind::IdenticalFeatures).groups;
    let fusobacteria = ["32066", "203490", "203491"].map(String::from); // phylum, class, order
    assert!(copies.contains(&fusobacteria.to_vec()), "{copies:?}");
    let kinds: Vec<Kind> = audit.findings.iter().map(|f| f.kind).collect();
    assert!(kinds.contains(&Kind::FractionalValues) && !kinds.contains(&Kind::SumOfFeatures));
}

// With pandas: nine parents equal the sum of their closest descendants in each sample to 1e-6; each
// has one child. Most others hold reads that were given to no child.
#[test]
fn the_parents_of_a_cancer_table_that_are_sums_are_nine() {
    let Some(table) = read("tcga/tcga_coad_solid.h5ad") else {
        return;
    };
    let names = own_names(&table);
    let mut parents: Vec<&str> = nested::sums(&table)
        .iter()
        .map(|sum| names[sum.parent].as_str())
        .collect();
    parents.sort_unstable();
    let expected = [
        "Bifidobacteriales",
        "Eggerthellales",
        "Erysipelotrichales",
        "Erysipelotrichia",
        "Filifactor",
        "Fusobacteria",
        "Fusobacteriia",
        "Solobacterium",
        "Veillonellales",
    ];
    assert_eq!(parents, expected);
}

#[test]
fn sequences_and_cells_are_not_taken_for_nested_or_repeated() {
    let Some(gut) = read("microbiome/AG_gut_top500.h5ad") else {
        return;
    };
    assert_eq!(audited(&gut).findings, []);
    let cells = audited(&read("singlecell/PBMC4k_10x_top2000.h5ad").unwrap());
    assert_eq!(cells.findings, []);
}

#[test]
fn two_hosts_of_many_days_are_two_subjects() {
    let Some(table) = read("longitudinal/MovingPictures_gut_top300.h5ad") else {
        return;
    };
    let audit = audited(&table);
    let hosts = &audit.finding(Kind::RepeatedSubjects).unwrap().groups;
    let sizes: Vec<usize> = hosts.iter().map(|group| group.len() - 1).collect();
    assert_eq!(sizes.len(), 2);
    assert_eq!(sizes.iter().sum::<usize>(), 467);
}
