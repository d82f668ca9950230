//! Text tables as people and programs write them.

use super::*;
use crate::Error;
use crate::format::WriteOptions;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

fn table(text: &str) -> Result<Table> {
    read_from(text.as_bytes(), Path::new("t.tsv"), &TsvOptions::default())
}

#[test]
fn what_is_told_of_features_beside_their_numbers_is_no_sample() {
    let confident =
        "#OTU ID\ts1\ts2\tTaxon\tConfidence\na\t1\t0\tk__A; p__B\t0.99\nb\t0\t3\tk__A\t0.7\n";
    let ranks = "OTU,Kingdom,Phylum,s1,s2\na,k__A,p__B,1,0\nb,k__A,NA,0,3\n";
    let unnamed =
        "\"\",\"Kingdom\",\"Phylum\",\"s1\",\"s2\"\n\"a\",\"A\",\"B\",1,0\n\"b\",\"A\",\"\",0,3\n";
    let semicolons = "#OTU ID;s1;s2;taxonomy\na;1;0;\"k__A; p__B\"\nb;0;3;k__A\n";
    for text in [confident, ranks, unnamed, semicolons] {
        let table = table(text).unwrap();
        assert_eq!(table.sample_ids(), ["s1", "s2"], "{text}");
        assert_eq!(table.to_dense(), [1.0, 0.0, 0.0, 3.0], "{text}");
        let taxonomy = table.taxonomy.as_ref().unwrap();
        assert_eq!(taxonomy.finest(0).unwrap().1, "B", "{text}");
        assert_eq!(taxonomy.finest(1).unwrap().1, "A", "{text}");
    }
    let sure = &table(confident).unwrap().feature_metadata;
    let sure = &sure.column("Confidence").unwrap().values;
    assert_eq!(*sure, ColumnValues::Numeric(vec![0.99, 0.7]));
    // A sample may be called so where nothing is told of features.
    let plain = table("#OTU ID\tconfidence\torder\na\t1\t2\n").unwrap();
    assert_eq!(plain.sample_ids(), ["confidence", "order"]);
    let named_order = table("OTU\tKingdom\tPhylum\torder\na\tA\tB\t1\n").unwrap();
    assert_eq!(named_order.sample_ids(), ["order"]);
    let pathways = table("# Pathway\ts1\ts2\nPWY-1\t1\t2\n").unwrap();
    assert_eq!((pathways.n_samples(), pathways.n_features()), (2, 1));
}

fn message(text: &str) -> String {
    table(text).unwrap_err().to_string()
}

#[test]
fn a_qiime_table_has_samples_in_columns_and_its_lineages() {
    let text = "# Constructed from biom file\r\n#OTU ID\ts1\ts2\ttaxonomy\r\n\
                t1\t1.0\t0\tk__Bacteria; p__Firmicutes\r\nt2\t\t2e3\tk__Bacteria; p__\r\n";
    let table = table(text).unwrap();
    assert_eq!(table.sample_ids(), ["s1", "s2"]);
    assert_eq!(table.feature_ids(), ["t1", "t2"]);
    assert_eq!(table.get(0, 0), 1.0);
    assert_eq!(table.get(1, 1), 2000.0);
    assert!(table.get(0, 1).is_nan(), "an empty field is not measured");
    let taxonomy = table.taxonomy.unwrap();
    assert_eq!(taxonomy.ranks, ["kingdom", "phylum"]);
    assert_eq!(
        taxonomy.lineages,
        [["Bacteria", "Firmicutes"], ["Bacteria", ""]]
    );
}

#[test]
fn a_plain_table_has_samples_in_rows_unless_told_otherwise() {
    let text = ",a,b\ns1,1,NA\ns2,0,\"2.5\"\n";
    let rows = table(text).unwrap();
    assert_eq!(
        (rows.sample_ids(), rows.feature_ids()[1].as_str()),
        (&["s1".to_string(), "s2".to_string()][..], "b")
    );
    assert_eq!(rows.get(1, 1), 2.5);
    let options = TsvOptions {
        orientation: Orientation::SamplesInColumns,
        ..Default::default()
    };
    let columns = read_from(text.as_bytes(), Path::new("t.csv"), &options).unwrap();
    assert_eq!(columns.sample_ids(), ["a", "b"]);
    assert_eq!(columns.get(1, 1), 2.5);
    assert!(columns.get(1, 0).is_nan());
}

#[test]
fn lines_named_as_features_without_a_name_are_features_where_no_header_says_more() {
    // As R writes an `otu_table` of phyloseq, and its transpose, as DADA2 makes it.
    let taxa_are_rows = "\"\",\"s1\",\"s2\"\n\"ASV1\",1,0\n\"ASV2\",0,3\n";
    let taxa_are_columns = "\"\",\"ASV1\",\"ASV2\"\n\"s1\",1,0\n\"s2\",0,3\n";
    for text in [taxa_are_rows, taxa_are_columns] {
        let table = table(text).unwrap();
        assert_eq!(table.sample_ids(), ["s1", "s2"], "{text}");
        assert_eq!(table.feature_ids(), ["ASV1", "ASV2"], "{text}");
        assert_eq!(table.to_dense(), [1.0, 0.0, 0.0, 3.0], "{text}");
    }
    let sequence = "TACGTAGGTGGCAAGCGTTGTCCGGAATTATTGGGCGTAAAGCGCGCGCAGG";
    let digest = "4b5eeb300368260019c1fbc7a3c718fc";
    for ids in [
        [sequence, &sequence[1..]],
        [digest, "0160e14a78b18b903618f11bc732746e"],
        ["Otu0001", "denovo_12"],
    ] {
        let text = format!(",s1,s2\n{},1,0\n{},0,3\n", ids[0], ids[1]);
        assert_eq!(table(&text).unwrap().feature_ids(), ids);
    }
    for text in [
        "sample_id,a,b\nASV1,1,0\nASV2,0,3\n", // the header says what they are
        ",a,b\nASV1,1,0\nother,0,3\n",         // not all of them
        ",OTU_1,OTU_2\nASV1,1,0\nASV2,0,3\n",  // neither side more than the other
        ",a,b\nGATTACA,1,0\nOtutu,0,3\n",      // words
    ] {
        assert_eq!(table(text).unwrap().n_samples(), 2, "{text}");
        assert!(
            table(text).unwrap().sample_ids()[0].starts_with(['A', 'G']),
            "{text}"
        );
    }
    let options = TsvOptions {
        orientation: Orientation::SamplesInRows,
        ..Default::default()
    };
    let told = read_from(taxa_are_rows.as_bytes(), Path::new("t.csv"), &options).unwrap();
    assert_eq!(told.sample_ids(), ["ASV1", "ASV2"]);
}

#[test]
fn a_metaphlan_profile_is_a_sample_with_the_name_of_its_file() {
    let text = "#mpa_vJan21_CHOCOPhlAnSGB_202103\n#/usr/bin/metaphlan a.fq -o a.txt\n#1000 reads processed\n\
                #SampleID\tMetaphlan_Analysis\n\
                #clade_name\tNCBI_tax_id\trelative_abundance\tadditional_species\n\
                k__Bacteria\t2\t100.0\t\nk__Bacteria|p__Firmicutes\t2|1239\t60.5\tk__A|p__B,k__A|p__C\n\
                k__Bacteria|p__Bacteroidetes\t2|976\t39.5\n";
    let read = |name: &str, text: &str| {
        read_from(text.as_bytes(), Path::new(name), &TsvOptions::default()).unwrap()
    };
    let table = read("runs/patient1.profile.txt.gz", text);
    assert_eq!(table.sample_ids(), ["patient1.profile"]);
    assert_eq!((table.n_features(), table.get(0, 1)), (3, 60.5));
    assert_eq!(table.taxonomy.unwrap().lineages[2][1], "Bacteroidetes");
    let with_counts = "#clade_name\tclade_taxid\trelative_abundance\tcoverage\testimated_number_of_reads_from_the_clade\n\
                       k__Bacteria\t2\t100.0\t0.5\t900\n";
    let table = read("p.txt", with_counts);
    assert_eq!((table.n_samples(), table.get(0, 0)), (1, 100.0));
    let named = text.replace("Metaphlan_Analysis", "patient 7");
    let table = read("p.txt", &named);
    assert_eq!(
        (table.sample_ids(), table.get(0, 1)),
        (&["patient 7".to_string()][..], 60.5)
    );
    let other_key = named.replace(
        "#SampleID\tpatient 7",
        "#run\tpatient 7\n#estimated_reads_mapped_to_known_clades:900",
    );
    assert_eq!(read("p.txt", &other_key), table);
}

// MetaPhlAn 2: a profile has no header of clades, and merged profiles begin with `ID`.
#[test]
fn lines_of_clades_are_features_whatever_the_header_says() {
    let clades = "k__Bacteria\t100\nk__Bacteria|p__Firmicutes\t60.5\n";
    let profile = format!("#SampleID\tMetaphlan2_Analysis\n{clades}");
    let profile = table(&profile).unwrap();
    assert_eq!(profile.sample_ids(), ["t"]);
    let merged = "ID\ts1\ts2\nk__Bacteria\t100\t0\nk__Bacteria|p__Firmicutes\t60.5\t0\n";
    let merged = table(merged).unwrap();
    assert_eq!(merged.sample_ids(), ["s1", "s2"]);
    for table in [profile, merged] {
        assert_eq!((table.n_features(), table.get(0, 1)), (2, 60.5));
        assert_eq!(
            table.taxonomy.unwrap().lineages[1],
            ["Bacteria", "Firmicutes"]
        );
    }
    let below = "ID\ts1\ts2\n#SampleID\tMetaphlan2_Analysis\tMetaphlan2_Analysis\nk__A\t1\t2\nk__A|p__B\t1\t2\n";
    assert_eq!(table(below).unwrap().feature_ids(), ["k__A", "k__A|p__B"]);
    let unclassified = table("#SampleID\tMetaphlan2_Analysis\nunclassified\t100.0\n").unwrap();
    assert_eq!(unclassified.feature_ids(), ["unclassified"]);
    // Kraken's form, with ranks that have no name of their own.
    let kraken =
        "#Classification\ts1\ts2\nx__cell\t1\t2\nx__cell|k__B\t1\t2\nx__cell|k__B|x__FCB\t1\t2\n";
    let kraken = table(kraken).unwrap();
    assert_eq!((kraken.n_samples(), kraken.n_features()), (2, 3));
    assert_eq!(kraken.taxonomy.unwrap().finest(2), Some(("level_2", "FCB")));
    let plain = table("#SampleID\tA\ns1\t3\n").unwrap();
    assert_eq!(
        (plain.sample_ids(), plain.get(0, 0)),
        (&["s1".to_string()][..], 3.0)
    );
}

#[test]
fn a_lineage_column_may_begin_with_an_empty_cell() {
    let table = table("zotu\ts1\ttaxonomy\nA\t1\t\nB\t2\tk__Bacteria\n").unwrap();
    assert_eq!((table.sample_ids().len(), table.n_features()), (1, 2));
    assert_eq!(table.taxonomy.unwrap().lineages, [[""], ["Bacteria"]]);
}

#[test]
fn a_feature_called_taxon_does_not_turn_a_table_of_samples_around() {
    for id in ["sample", "", "id"] {
        let table = table(&format!("{id}\tTaxon\tB\ns1\t1\t2\n")).unwrap();
        assert_eq!(
            (table.sample_ids(), table.feature_ids()),
            (
                &["s1".to_string()][..],
                &["Taxon".to_string(), "B".to_string()][..]
            )
        );
    }
}

#[test]
fn a_metaphlan_table_gets_its_lineages_from_the_clade_names() {
    let text = "#mpa_v31_CHOCOPhlAn_201901\nclade_name\tNCBI_tax_id\ts1\n\
                k__Bacteria\t2\t60.5\nk__Bacteria|p__Firmicutes\t2|1239\t60.5\n";
    let table = table(text).unwrap();
    assert_eq!(table.get(0, 1), 60.5);
    assert_eq!(
        table.feature_metadata.columns()[0].values.text(1).unwrap(),
        "2|1239"
    );
    assert_eq!(
        table.taxonomy.unwrap().lineages[1],
        ["Bacteria", "Firmicutes"]
    );
}

#[test]
fn errors_name_line_column_what_was_found_and_what_was_expected() {
    let m = message("id\ta\tb\ns1\t1\tx7\n");
    assert!(
        m.starts_with("t.tsv: line 2, column 3 (\"b\"): found \"x7\", expected a number"),
        "{m}"
    );
    let m = message("id\ta\tb\n\ns1\t1\n");
    assert!(m.contains("line 3: found 2 fields, expected 3"), "{m}");
    let m = message("id\ta\ns1\t1\ns1\t2\n");
    assert!(
        m.contains("line 3") && m.contains("first seen on line 2"),
        "{m}"
    );
    let m = message("id\ta\ta\ns1\t1\t2\n");
    assert!(
        m.contains("line 1, column 3") && m.contains("first seen in column 2"),
        "{m}"
    );
    let m = message("id\ta\ns1\t-1\n");
    assert!(
        m.contains("found \"-1\", expected a number that is not negative"),
        "{m}"
    );
    for text in [
        "",
        "# only a comment\n",
        "id\ta\n",
        "id\n",
        "id\ta\ns1\tinf\n",
        "id\ta\n\t1\n",
    ] {
        assert!(matches!(table(text), Err(Error::Format { .. })), "{text:?}");
    }
    assert!(message("id\ta\ns1\t1e400\n").contains("finite"));
}

#[test]
fn binary_and_cut_gzip_files_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tsv.gz");
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    for i in 0..5000 {
        writeln!(gz, "s{i}\t{}", i * 7919 % 1013).unwrap();
    }
    let bytes = gz.finish().unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let m = read(&path, &TsvOptions::default()).unwrap_err().to_string();
    assert!(m.contains("gzip stream that ends early"), "{m}");
    std::fs::write(&path, b"\x89HDF\r\n\x1a\n\x00").unwrap();
    let m = read(&path, &TsvOptions::default()).unwrap_err().to_string();
    assert!(m.contains("not UTF-8"), "{m}");
    assert!(matches!(
        read(&folder.path().join("none.tsv"), &TsvOptions::default()),
        Err(Error::Io { .. })
    ));
}

#[test]
fn compressed_and_plain_files_of_either_layout_read_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = table("#OTU ID\ts,1\ts\"2\"\nt1\t0.1\t0\nt2\tNaN\t1e300\n").unwrap();
    let lineages = ["k__A; p__B", "k__A; p__"];
    table.taxonomy = Some(Taxonomy::parse(&lineages));
    for name in ["a.tsv", "a.tsv.gz", "a.csv", "a.csv.gz"] {
        let path = folder.path().join(name);
        let orientation = Orientation::SamplesInColumns;
        let write_options = WriteOptions {
            orientation,
            ..Default::default()
        };
        crate::format::write(&table, &path, &write_options).unwrap();
        let back = read(&path, &TsvOptions::default()).unwrap();
        assert_eq!(back.sample_ids(), table.sample_ids(), "{name}");
        assert_eq!(back.taxonomy, table.taxonomy, "{name}");
        assert_same_bits(&back, &table);
        assert_eq!(
            std::fs::read(&path).unwrap().starts_with(&[0x1f, 0x8b]),
            name.ends_with("gz")
        );
    }
}

fn assert_same_bits(a: &Table, b: &Table) {
    let bits = |t: &Table| t.to_dense().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(a), bits(b));
}

proptest! {
    #[test]
    fn any_finite_table_is_written_without_loss(
        values in proptest::collection::vec(
            prop_oneof![Just(0.0), Just(f64::NAN), 0.0..f64::MAX, 0.0..1e-300, (0u32..9999).prop_map(f64::from)],
            12,
        ),
        in_columns in any::<bool>(),
    ) {
        let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
        let table = Table::from_dense(ids("s", 3), ids("t", 4), &values).unwrap();
        let orientation =
            if in_columns { Orientation::SamplesInColumns } else { Orientation::SamplesInRows };
        let mut text = Vec::new();
        write_to(&mut text, &table, &TsvOptions { orientation, ..Default::default() }).unwrap();
        let back = read_from(&text[..], Path::new("t.tsv"), &TsvOptions::default()).unwrap();
        prop_assert_eq!(back.sample_ids(), table.sample_ids());
        assert_same_bits(&back, &table);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[#a-c0-9.\t,;\"\r\n-]{0,80}") {
        let _ = table(&text);
    }
}
