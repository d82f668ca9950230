//! The learned generator.

use crate::program::Workbench;
use crate::tables::{column, counts, read, words};
use suffuse_data::{Column, ColumnValues, format, select};

/// The line is refused with these words, and nothing is written.
fn refused(bench: &Workbench, line: &str, expected: &str) {
    let run = bench.run(&words(line));
    assert_ne!(run.code, 0, "{line}");
    assert!(run.stderr.contains(expected), "{line}: {}", run.stderr);
    assert!(!bench.path("no.h5ad").exists(), "{line}");
}

#[test]
fn the_default_method_learns_and_its_model_can_be_kept() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let learn = "generate table.h5ad --config tiny --by site --n 30 -q -o";
    let plan = bench.succeed(&words(&format!("{learn} none.tsv --dry-run")));
    assert!(plan.stdout.contains("sparse-microbiome"), "{}", plan.stdout);
    bench.succeed(&words(&format!(
        "{learn} a.h5ad --save-model kept --threads 1"
    )));
    let first = read(&bench, "a.h5ad");
    assert_eq!(first.uns["suffuse"]["model"]["conditions"][0], "site");
    assert!(first.uns["suffuse"]["model"]["taxa"]["distortion"].is_number());
    let sites = column(&first, "site");
    let n_skin = sites.iter().filter(|site| *site == "skin").count();
    assert_eq!(n_skin, 7, "a quarter of 30, the remainder to the other");
    let again =
        "generate table.h5ad --model kept --by site --n 30 -q --threads 2 --batch-size 4 -o";
    bench.succeed(&words(&format!("{again} b.h5ad")));
    assert_eq!(first.to_dense(), read(&bench, "b.h5ad").to_dense());
    // Guidance of 1 is none, another weight is some.
    bench.succeed(&words(&format!("{again} c.h5ad --guidance site=1")));
    assert_eq!(first.to_dense(), read(&bench, "c.h5ad").to_dense());
    bench.succeed(&words(&format!("{again} d.h5ad --guidance 3")));
    assert_ne!(first.to_dense(), read(&bench, "d.h5ad").to_dense());
}

#[test]
fn samples_are_led_from_one_condition_to_another() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    bench.succeed(&words(
        "generate table.h5ad --config tiny --conditions site -o x.h5ad --save-model kept -q",
    ));
    let draw = "generate table.h5ad --model kept --conditions site --n 5 -q";
    bench.succeed(&words(&format!(
        "{draw} -o on.h5ad --interpolate site=gut..skin"
    )));
    for site in ["gut", "skin"] {
        bench.succeed(&words(&format!(
            "{draw} -o {site}.h5ad --where site={site}"
        )));
    }
    let [on, gut, skin] = ["on.h5ad", "gut.h5ad", "skin.h5ad"].map(|name| read(&bench, name));
    assert_eq!(column(&on, "site"), vec!["gut..skin"; 5]);
    let way = on
        .sample_metadata
        .column("interpolation")
        .expect("the column");
    assert_eq!(
        way.values,
        ColumnValues::Numeric(vec![0.0, 0.25, 0.5, 0.75, 1.0])
    );
    // The ends are samples of the two conditions, to the bit.
    assert_eq!(on.row(0), gut.row(0));
    assert_eq!(on.row(4), skin.row(4));
    assert_ne!(gut.row(4), skin.row(4));
    for (more, expected) in [
        ("--interpolate site=gut..lung", "lung"),
        ("--interpolate site=gut..lung --dry-run", "lung"),
        ("--interpolate site=gut", "FROM..TO"),
        ("--interpolate sex=a..b", "--conditions"),
        (
            "--interpolate site=gut..skin --where site=gut",
            "leave that out",
        ),
        ("--interpolate site=gut..skin --by site", "leave that out"),
    ] {
        refused(&bench, &format!("{draw} -o no.h5ad {more}"), expected);
    }
}

#[test]
fn kept_taxa_stay_and_the_rest_is_generated() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let real = read(&bench, "table.h5ad");
    let ids = real.feature_ids();
    bench.file(
        "keep.txt",
        format!("{}\n\n{}\n{}\n", ids[7], ids[2], ids[4]),
    );
    let draw =
        "generate table.h5ad --config tiny --checkpoint kept --conditions site -q --keep keep.txt";
    let run = bench.succeed(&words(&format!(
        "{} -o a.h5ad --n 65",
        draw.replace(" -q", "")
    )));
    assert!(run.stderr.contains("of 256 candidates"), "{}", run.stderr);
    let made = read(&bench, "a.h5ad");
    let from = column(&made, "kept_from");
    assert_eq!(
        (made.n_samples(), &from[0], &from[64]),
        (65, &real.sample_ids()[0], &real.sample_ids()[4])
    );
    let sites = column(&real, "site");
    let mut n_other = 0;
    for (row, site) in column(&made, "site").iter().enumerate() {
        let source = row % 60;
        assert_eq!(*site, sites[source]);
        for taxon in [2, 4, 7] {
            assert_eq!(
                made.get(row, taxon),
                real.get(source, taxon),
                "{row} {taxon}"
            );
        }
        assert_eq!(made.totals()[row], real.totals()[source]);
        n_other += usize::from(made.row(row) != real.row(source));
    }
    assert!(n_other > 50, "{n_other}");
    bench.succeed(&words(&format!(
        "{draw} -o b.h5ad --n 65 --batch-size 7 --threads 1"
    )));
    assert_eq!(made.to_dense(), read(&bench, "b.h5ad").to_dense());
    bench.file("absent.txt", "nobody\n");
    bench.file("twice.txt", format!("{0}\n{0}\n", ids[1]));
    bench.file("all.txt", ids.join("\n"));
    bench.file("none.txt", "\n");
    for (more, expected) in [
        ("--keep absent.txt", "line 1"),
        ("--keep twice.txt", "listed twice"),
        ("--keep all.txt", "10 of 10"),
        ("--keep none.txt", "0 of 10"),
        ("--keep nowhere.txt", "nowhere.txt"),
        ("--keep keep.txt --depth 100", "--depth"),
        ("--keep keep.txt --by site", "--by"),
        ("--keep keep.txt --scale-mean a=2", "--scale-mean"),
        ("--keep keep.txt --method midasim", "does not learn"),
    ] {
        refused(
            &bench,
            &format!("generate table.h5ad -o no.h5ad {more}"),
            expected,
        );
    }
}

#[test]
fn training_that_was_kept_goes_on_where_it_stopped() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let learn = "generate table.h5ad --config tiny --n 20 -q --seed 5";
    bench.succeed(&words(&format!("{learn} -o a.h5ad")));
    bench.succeed(&words(&format!("{learn} -o b.h5ad --checkpoint kept")));
    let states = ["training-vae.safetensors", "training-denoiser.safetensors"];
    for state in states {
        assert!(bench.path("kept").join(state).exists(), "{state}");
    }
    // The denoiser starts anew, the autoencoder is there.
    std::fs::remove_file(bench.path("kept").join(states[1])).expect("it was there");
    bench.succeed(&words(&format!("{learn} -o c.h5ad --checkpoint kept")));
    let first = read(&bench, "a.h5ad").to_dense();
    assert_eq!(first, read(&bench, "b.h5ad").to_dense());
    assert_eq!(first, read(&bench, "c.h5ad").to_dense());
    let other = words("generate table.h5ad --config tiny -o d.h5ad --checkpoint kept --seed 6");
    let run = bench.run(&other);
    assert!(
        run.code != 0 && run.stderr.contains("another"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_model_is_used_as_itself() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let learn = "generate table.h5ad --config tiny --by site --n 30 -q -o a.h5ad --save-model kept";
    bench.succeed(&words(learn));
    // Features in another order are brought into that of the model.
    let table = read(&bench, "table.h5ad");
    let turned: Vec<usize> = (0..table.n_features()).rev().collect();
    let other = select::take_features(&table, &turned).unwrap();
    format::write(&other, &bench.path("turned.h5ad"), &Default::default()).unwrap();
    let run = bench.succeed(&words(
        "generate turned.h5ad --model kept --by site --n 30 -o b.h5ad",
    ));
    let (first, again) = (read(&bench, "a.h5ad"), read(&bench, "b.h5ad"));
    assert_eq!(first.feature_ids(), again.feature_ids());
    assert_eq!(first.to_dense(), again.to_dense());
    assert!(
        run.stderr.contains("sparse-microbiome of kept"),
        "{}",
        run.stderr
    );
    assert_eq!(again.uns["suffuse"]["n_fitted"], serde_json::Value::Null);
    let inputs = &again.uns["suffuse"]["inputs_sha256"];
    assert!(inputs[1].as_str().unwrap().ends_with("  kept"), "{inputs}");
    // A table of fractions tells a model of counts whom to generate, and the model knows depths.
    let shares: Vec<f64> = (table.to_dense().iter()).map(|x| x / 1000.0).collect();
    let shares = table.with_dense(&shares).unwrap();
    format::write(&shares, &bench.path("shares.h5ad"), &Default::default()).unwrap();
    bench.succeed(&words(
        "generate shares.h5ad --model kept --by site --n 30 -q -o c.h5ad",
    ));
    assert_eq!(first.to_dense(), read(&bench, "c.h5ad").to_dense());
}

#[test]
fn what_a_learned_generator_cannot_do_is_said() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let tree = "((a:1,b:1):1,c:1);";
    bench.file("other.nwk", tree);
    bench.succeed(&words(
        "generate table.h5ad -o kept.h5ad --config tiny --save-model kept -q",
    ));
    let systems = [
        "kept/transform.json",
        "\"sparse-microbiome\"",
        "\"depmicrodiff\"",
    ];
    let inspected = bench.succeed(&words("inspect kept")).stdout;
    assert!(inspected.contains("system             sparse-microbiome\nfeatures           10 ("));
    let impute = "impute table.h5ad -o filled.h5ad --model kept";
    bench.fail(1, &words(impute), &systems);
    let transform = std::fs::read_to_string(bench.path("kept/transform.json")).unwrap();
    let older = transform.replacen("\"version\":2,", "", 1);
    assert_ne!(older, transform);
    bench.file("kept/transform.json", older);
    let generate = words("generate table.h5ad -o of-older.h5ad --model kept");
    bench.fail(1, &generate, &["kept/transform.json", "fit it again"]);
    bench.file("kept/transform.json", transform);
    for (command, expected) in [
        ("--guidance site=2", "--by or --conditions"),
        ("--conditions sex", "sex"),
        ("--conditions site --where site=lung", "lung"),
        ("--where site=gut", "--conditions"),
        ("--tree other.nwk", "lacks 10 of 10"),
        ("--set vae.widht=3", "widht"),
        (
            "--model nowhere",
            "nowhere: there is no model in this folder",
        ),
        (
            "--conditions site --where site=lung",
            "they have \"gut\", \"skin\"",
        ),
        (
            "--by site --where site=gut",
            "--by site gives the column already",
        ),
        (
            "--conditions site --where site=gut --where site=skin",
            "site is to be gut and skin",
        ),
        ("--guidance 2", "conditioned on nothing"),
        ("--conditions site --guidance sex=2", "they are on: site"),
        ("--model kept --guidance 2", "told no condition"),
        (
            "--conditions site --guidance 1 --guidance 2",
            "give one number",
        ),
        ("--save-model no.h5ad", "the name of an output"),
        ("--method midasim --guidance 2", "does not learn"),
        ("--method midasim --group site", "does not learn"),
        (
            "--model kept --conditions site",
            "not fitted with this column",
        ),
        ("--model kept --method vae", "leave --method out"),
        ("--method vae --by site", "know no conditions"),
        (
            "--conditions site --set sampling.latents=gaussian",
            "know no conditions",
        ),
    ] {
        let config = match command.contains("--model") || command.contains("midasim") {
            true => "",
            false => "--config tiny ",
        };
        let line = format!("generate table.h5ad -o no.h5ad {config}{command}");
        refused(&bench, &line, expected);
    }
}

#[test]
fn a_private_fit_says_what_it_guarantees_and_withholds_what_would_tell() {
    let bench = Workbench::new();
    let path = counts(&bench, "table.h5ad");
    let mut table = read(&bench, "table.h5ad");
    let seen_in = Column {
        name: "seen_in".to_string(),
        values: ColumnValues::Numeric(vec![7.0; table.n_features()]),
    };
    table.feature_metadata.set_column(seen_in).unwrap();
    std::fs::remove_file(&path).unwrap();
    format::write(&table, &path, &Default::default()).unwrap();
    assert!(
        read(&bench, "table.h5ad")
            .feature_metadata
            .column("seen_in")
            .is_some()
    );
    let private = "generate table.h5ad --dp-epsilon 3 --dp-delta 1e-3 --set vae.training.n_steps=10 --n 40 --seed 1";
    let run = bench.succeed(&words(&format!("{private} -o a.h5ad --save-model kept")));
    assert!(
        run.stderr.contains("epsilon 3.00 at delta 1e-3"),
        "{}",
        run.stderr
    );
    let first = read(&bench, "a.h5ad");
    let record = &first.uns["suffuse"];
    assert_eq!(record["inputs_sha256"][0], "withheld  table.h5ad");
    let epsilon = record["model"]["privacy"]["epsilon"].as_f64().unwrap();
    assert!(epsilon <= 3.0 && epsilon > 2.99, "{epsilon}");
    // Of so few samples hardly anything is left of the numbers of reads, which can be given.
    assert!(
        run.stderr.contains("give them with --depth"),
        "{}",
        run.stderr
    );
    let deep = bench.succeed(&words(&format!("{private} --depth 90 -o deep.h5ad")));
    assert!(!deep.stderr.contains("give them"), "{}", deep.stderr);
    // The noise has no seed: who knows the seed could take it away.
    bench.succeed(&words(&format!("{private} -o b.h5ad -q")));
    assert_ne!(first.to_dense(), read(&bench, "b.h5ad").to_dense());
    // The model keeps its guarantee, for any number of samples.
    let run = bench.succeed(&words(
        "generate table.h5ad --model kept --n 40 --seed 1 -o c.h5ad",
    ));
    assert!(run.stderr.contains("epsilon 3.00"), "{}", run.stderr);
    let later = read(&bench, "c.h5ad");
    assert_eq!(first.to_dense(), later.to_dense());
    assert_eq!(
        later.uns["suffuse"]["inputs_sha256"][0],
        "withheld  table.h5ad"
    );
    assert_eq!(later.uns["suffuse"]["n_fitted"], 60);
    for table in [&first, &later] {
        assert!(table.taxonomy.is_some() && table.feature_metadata.column("seen_in").is_none());
    }
    std::fs::write(bench.path("keep.txt"), "g1\n").unwrap();
    refused(
        &bench,
        "generate table.h5ad --model kept --keep keep.txt -o no.h5ad",
        "real reads",
    );
    // Whether one sample has the only other taxon must not decide.
    std::fs::write(
        bench.path("lone.tsv"),
        "sample\ta\tb\n1\t5\t0\n2\t7\t0\n3\t0\t0\n4\t2\t0\n",
    )
    .unwrap();
    let lone = bench.succeed(&words(
        "generate lone.tsv --dp-epsilon 3 --dp-delta 1e-3 --set vae.training.n_steps=2 -o lone.h5ad",
    ));
    assert!(
        lone.stderr.contains("3 synthetic samples"),
        "{}",
        lone.stderr
    );
    for (more, expected) in [
        (
            "--dp-epsilon 3 --dp-delta 1e-3 --set vae.training.clip_norm=inf",
            "clip_norm is inf",
        ),
        ("--dp-epsilon 1e-4 --dp-delta 1e-3", "epsilon 0.0001"),
        ("--dp-epsilon 0", "above 0"),
        ("--dp-epsilon 2 --dp-delta 1", "between 0 and 1"),
        ("--dp-delta 1e-6", "--dp-epsilon"),
        ("--dp-epsilon 2 --by site", "--by"),
        ("--dp-epsilon 2 --group site", "--group"),
        ("--dp-epsilon 2 --method vae", "--method vae"),
        ("--dp-epsilon 2 --method midasim", "--dp-epsilon"),
        ("--dp-epsilon 2 --dp-delta 0.5", "60 samples"),
        (
            "--dp-epsilon 2 --config tiny --dp-delta 1e-3",
            "\"private\"",
        ),
    ] {
        refused(
            &bench,
            &format!("generate table.h5ad -o no.h5ad {more}"),
            expected,
        );
    }
}

#[test]
fn ages_stored_as_text_are_numbers_and_one_beyond_them_is_told() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let mut table = read(&bench, "table.h5ad");
    let age = |row: usize| Some(format!("{}", 20.5 + (row % 40) as f64));
    let column = Column {
        name: "age".to_string(),
        values: ColumnValues::Text((0..60).map(age).collect()),
    };
    table.sample_metadata.set_column(column).unwrap();
    format::write(&table, &bench.path("ages.h5ad"), &Default::default()).unwrap();
    let learn = "generate ages.h5ad --config tiny --conditions age --n 4 -o";
    let inside = bench.succeed(&words(&format!(
        "{learn} a.h5ad --where age=33.3 --save-model kept"
    )));
    assert!(!inside.stderr.contains("outside"), "{}", inside.stderr);
    let beyond = "generate ages.h5ad --model kept --conditions age --n 4 -o b.h5ad";
    let beyond = bench.succeed(&words(&format!("{beyond} --interpolate age=30..500")));
    assert!(
        beyond.stderr.contains("age=500 lies outside"),
        "{}",
        beyond.stderr
    );
    assert!(beyond.stderr.contains("20.5 to 59.5"), "{}", beyond.stderr);
}

#[test]
fn other_conditions_come_from_samples_that_are_close_and_from_both_ends_of_a_walk() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let mut table = read(&bench, "table.h5ad");
    let n = table.n_samples();
    let mut add = |name: &str, values| {
        let name = name.to_string();
        table
            .sample_metadata
            .set_column(Column { name, values })
            .unwrap();
    };
    // One sample of 60 has each age; sex changes from one to the next; one site has one sample.
    add(
        "age",
        ColumnValues::Numeric((0..n).map(|row| row as f64).collect()),
    );
    let sex = |row: usize| Some(["f", "m"][row % 2].to_string());
    add("sex", ColumnValues::Text((0..n).map(sex).collect()));
    let place = |row: usize| {
        Some(["a", "b", "c"][usize::from(row > 0) + usize::from(row > 30)].to_string())
    };
    add("place", ColumnValues::Text((0..n).map(place).collect()));
    add("same", ColumnValues::Text(vec![Some("x".to_string()); n]));
    format::write(&table, &bench.path("many.h5ad"), &Default::default()).unwrap();
    let fit = "generate many.h5ad --config tiny --conditions age,sex,place,same --n 2 -o x.h5ad --save-model kept";
    let fitted = bench.succeed(&words(fit));
    assert!(
        fitted.stderr.contains("not conditioned on same: "),
        "{}",
        fitted.stderr
    );
    let draw = |name: &str, more: &str| {
        let line = "generate many.h5ad --model kept --conditions age,sex,place --n 40";
        bench
            .succeed(&words(&format!("{line} -o {name} {more}")))
            .stderr
    };
    let both = |name: &str| {
        let sexes = column(&read(&bench, name), "sex");
        ["f", "m"]
            .iter()
            .all(|sex| sexes.iter().filter(|s| s == sex).count() > 5)
    };
    for age in ["30", "30.0", "31.4"] {
        let said = draw(&format!("{age}.h5ad"), &format!("--where age={age}"));
        assert!(
            both(&format!("{age}.h5ad")) && !said.contains("other conditions"),
            "{said}"
        );
        // The 30 closest samples are of ages 15 to 47.
        let places = column(&read(&bench, &format!("{age}.h5ad")), "place");
        assert!(!places.contains(&"a".to_string()), "{places:?}");
    }
    draw("walk.h5ad", "--interpolate age=31..55");
    assert!(both("walk.h5ad"));
    let said = draw("one.h5ad", "--where place=a");
    assert!(
        said.contains("the other conditions are those of 1 samples"),
        "{said}"
    );
    // A value that the model has not learned bears no name.
    let mut newer = read(&bench, "many.h5ad");
    let place = Column {
        name: "place".to_string(),
        values: ColumnValues::Text(vec![Some("d".to_string()); n]),
    };
    newer.sample_metadata.set_column(place).unwrap();
    format::write(&newer, &bench.path("newer.h5ad"), &Default::default()).unwrap();
    let line = "generate newer.h5ad --model kept --conditions place -o no.h5ad --where place=d";
    refused(&bench, line, "\"d\"");
    let few = "generate table.h5ad --method midasim --by site --balance --n 1 -o few.h5ad";
    let few = bench.succeed(&words(few)).stderr;
    assert!(
        few.contains("--n 1 is too few") && few.contains("skin"),
        "{few}"
    );
}

#[test]
fn what_is_read_is_not_written_over_and_no_read_is_lost() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    // A table and depths with the names of outputs.
    std::fs::create_dir(bench.path("proj")).expect("it can be made");
    bench.succeed(&words("convert table.h5ad proj/features.tsv"));
    let table = std::fs::read(bench.path("proj/features.tsv")).expect("it was written");
    let save = "generate proj/features.tsv --config tiny -o no.h5ad --force --save-model proj";
    refused(&bench, save, "choose another folder");
    assert_eq!(
        std::fs::read(bench.path("proj/features.tsv")).expect("it is there"),
        table
    );
    bench.file("depths.tsv", "50\n60\n");
    let onto = "generate table.h5ad --method midasim --depth depths.tsv -o depths.tsv --force";
    bench.fail(2, &words(onto), &["depths.tsv", "cannot be an output"]);
    std::fs::create_dir(bench.path("folder")).expect("it can be made");
    bench.file(
        "effects.tsv",
        "taxon\tcovariate\teffect\ton\tkind\nt1\tx\t1\tabundance\tbinary\n",
    );
    let truth = "generate table.h5ad --method midasim -o no.h5ad --force --spike-in effects.tsv --truth folder";
    refused(&bench, truth, "is a folder");
    // A model that has seen two taxa alone, and samples that have others.
    bench.file(
        "two.tsv",
        "\tA\tB\tC\ns1\t5\t3\t0\ns2\t2\t9\t0\ns3\t4\t4\t0\ns4\t1\t7\t0\n",
    );
    bench.file(
        "three.tsv",
        "\tA\tB\tC\ns1\t5\t3\t2\ns2\t2\t9\t1\ns3\t1\t6\t3\n",
    );
    bench.file("keep.txt", "A\nB\n");
    bench.succeed(&words(
        "generate two.tsv --config tiny -o a.tsv --save-model of-two -q",
    ));
    let keep = "generate three.tsv --model of-two --keep keep.txt -o no.h5ad";
    refused(&bench, keep, "keep fewer features");
}

#[test]
fn conditions_that_no_sample_has_together_are_told() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let row = |k: usize| {
        let (a, b) = match k < 30 {
            true => ("x", ""),
            false => ("", "q"),
        };
        format!("s{k}\t{a}\t{b}\t{}\t{k}\n", 1 + 2 * (k % 2))
    };
    let ids = read(&bench, "table.h5ad").sample_ids().to_vec();
    let rows: String = (ids.iter().enumerate())
        .map(|(k, id)| row(k).replacen(&format!("s{k}"), id, 1))
        .collect();
    bench.file("sheet.tsv", format!("id\ta\tb\tarm\tage\n{rows}"));
    let start = "generate table.h5ad -m sheet.tsv --config tiny --n 3";
    let both = "--conditions a,b,age --where a=x --where b=q -o a.h5ad";
    let run = bench.succeed(&words(&format!("{start} {both}")));
    assert!(run.stderr.contains("b among it"), "{}", run.stderr);
    let one = "--conditions a,age --where a=x -o b.h5ad";
    let run = bench.succeed(&words(&format!("{start} {one}")));
    assert!(!run.stderr.contains("among it"), "{}", run.stderr);
}
