#!/usr/bin/env python3
"""Runs every figure of docs/results/generation.md and writes the page.

    .venv/bin/python scripts/generation_results.py --suffuse target/release/suffuse --data $SUFFUSE_DATA --work FOLDER

FOLDER keeps every table and every result: the same command goes on where it stopped. `--sets ag`, `--seeds 1`,
`--parts main,splits` do less; the page says what it covers. Needs anndata (`.venv`), which cuts the tables
into the training and the test samples that `peers/*_split.tsv` lists.
"""

import argparse
import csv
import gzip
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev

import anndata
import numpy as np

from timed import timed

PAGE = Path(__file__).resolve().parent.parent / "docs" / "results" / "generation.md"


@dataclass
class Set:
    """A table, its split, and the tables that other programs made of its training samples."""

    name: str
    table: str
    tree: str
    split: str
    peers: dict[str, str]
    n_few: int
    site: str | None = None
    label: str | None = None
    subject: str | None = None


SETS = {
    "ag": Set(
        "American Gut",
        "microbiome/AG_gut_top500.h5ad",
        "microbiome/AG_gut_top500.tree.nwk.gz",
        "peers/AG_split.tsv",
        {
            "MIDASim, by rank": "peers/AG_midas_nonparam.h5ad",
            "MIDASim, parametric": "peers/AG_midas_param.h5ad",
            "SparseDOSSA2": "peers/AG_sd2_full_logfix.h5ad",
        },
        n_few=480,
    ),
    "hmp": Set(
        "HMP",
        "microbiome/HMPv35_top500.h5ad",
        "microbiome/HMPv35_top500.tree.nwk.gz",
        "peers/HMP_split.tsv",
        {
            "MIDASim, by rank": "peers/HMP_midas_nonparam.h5ad",
            "MIDASim, parametric": "peers/HMP_midas_param.h5ad",
            "SparseDOSSA2": "peers/HMP_sd2_full_logfix.h5ad",
            "MIDASim, by rank, per site": "peers/HMP_midas_nonparam_persite.h5ad",
            "SparseDOSSA2, per site": "peers/HMP_sd2_logfix_persite.h5ad",
        },
        n_few=500,
        site="env",
        label="env",
        subject="host_subject_id",
    ),
}

LEARNED = "sparse-microbiome"
PARTS = "main,splits,ablation"
N_SPLITS = 5
# Other methods on the other splits.
BESIDE = ["midasim", "sparsedossa2", "bootstrap"]
# Part of the samples (of the subjects, where there are any) to learn from in another split.
TO_LEARN_FROM = 0.7
# Sets of training samples drawn again, to see how far sets of that size vary.
N_REDRAWN = 1000
# Samples of which the share of zeros says what the model does, and not what one set of samples does.
N_MANY = 20_000
SIMPLE = ["midasim", "midasim-parametric", "sparsedossa2", "dirichlet-multinomial", "bootstrap"]
ABLATIONS = {
    "no bias initialisation": ["vae.bias_initialisation=false"],
    "no hard sparsity loss": ["vae.hard_sparsity_weight=0"],
    "no hyperbolic taxa": ["taxa.hyperbolic=false"],
    "independent residuals": ["residuals.correlated=false"],
    "no denoiser: Gaussian latents": ["sampling.latents=gaussian"],
}


@dataclass
class Run:
    """Generated samples and what is said of them."""

    name: str
    seed: int | None
    table: Path
    options: list[str] | None = None
    figures: dict = field(default_factory=dict)
    band: dict = field(default_factory=dict)
    few: dict = field(default_factory=dict)
    privacy: dict = field(default_factory=dict)
    seconds: float | None = None
    mebibytes: float | None = None
    deviation_to_train: float | None = None
    deviation_of_many: float | None = None


def cut(options, which):
    """The training and the test samples of a set, and its tree without gzip."""
    chosen = SETS[which]
    paths = [options.work / f"{which}-{side}.h5ad" for side in ("train", "test")]
    tree = options.work / f"{which}.nwk"
    if not all(path.exists() for path in [*paths, tree]):
        table = anndata.read_h5ad(options.data / chosen.table)
        with open(options.data / chosen.split) as lines:
            side_of = {row["sample"]: row["set"] for row in csv.DictReader(lines, delimiter="\t")}
        for side, path in zip(("train", "test"), paths):
            is_on_it = [side_of.get(str(sample)) == side for sample in table.obs_names]
            table[np.array(is_on_it)].copy().write_h5ad(path)
        tree.write_text(gzip.open(options.data / chosen.tree, "rt").read())
    return (*paths, tree)


def zero_shares(path):
    """The share of zeros of each sample with reads."""
    values = anndata.read_h5ad(path).X
    rows = np.asarray(values.todense() if hasattr(values, "todense") else values)
    rows = rows[rows.sum(1) > 0]
    return (rows == 0).mean(1)


def zero_share(path):
    return float(zero_shares(path).mean())


def redrawn(options, which):
    """How far the share of zeros of training samples that are drawn again, as many as test samples, is off."""
    train, test, _ = cut(options, which)
    shares, n = zero_shares(train), anndata.read_h5ad(test, backed="r").n_obs
    rng = np.random.default_rng(1)
    off = [abs(rng.choice(shares, n).mean() / shares.mean() - 1) for _ in range(N_REDRAWN)]
    return float(np.mean(off)), float(np.quantile(off, 0.95))


def cut_again(options, which, number):
    """The two sides of another split of the whole table; samples of one subject stay together."""
    chosen = SETS[which]
    paths = [options.work / f"{which}-split-{number}-{side}.h5ad" for side in ("train", "test")]
    if not all(path.exists() for path in paths):
        table = anndata.read_h5ad(options.data / chosen.table)
        own = table.obs[chosen.subject].astype(str) if chosen.subject else table.obs_names
        subjects = np.unique(own)
        kept = np.random.default_rng(number).permutation(subjects)[: round(TO_LEARN_FROM * len(subjects))]
        learns = np.isin(own, kept)
        for is_on_it, path in zip((learns, ~learns), paths):
            table[is_on_it].copy().write_h5ad(path)
    return paths


def split_again(options, which, number):
    """What is given away on another split, by method."""
    train, test = cut_again(options, which, number)
    tree = cut(options, which)[2]
    n = anndata.read_h5ad(test, backed="r").n_obs
    found = {}
    for method in [LEARNED, *BESIDE]:
        table = options.work / f"{which}-split-{number}-{method}.h5ad"
        record = table.with_suffix(".json")
        if not record.exists():
            command = [options.suffuse, "generate", train, "-o", table, "--n", n, "--seed", number, "--force", "-q"]
            timed([*command, *(["--tree", tree] if method == LEARNED else ["--method", method])])
            privacy = json.loads(timed([options.suffuse, "privacy", train, test, table, "--json", "-q"])[0])
            compare = [options.suffuse, "compare", test, table, "--json", "-q", "--permutations", "9"]
            compared = json.loads(timed([*compare, "--samples", SETS[which].n_few])[0])
            forest = next(row["value"] for row in compared["figures"] if row["figure"] == "forest_auroc")
            off = zero_share(table) / zero_share(train) - 1
            record.write_text(json.dumps({"privacy": privacy, "forest": forest, "zeros": off}))
        found[method] = json.loads(record.read_text())
    return found


def few(options, which, run):
    """The figures of fewer samples a side, as many as those of MIDASim's and SparseDOSSA2's authors' tables had."""
    train, test, tree = cut(options, which)
    record = options.work / f"{run.table.stem}.few.json"
    if not record.exists():
        command = [options.suffuse, "compare", test, run.table, "--tree", tree, "--json", "-q"]
        text, _, _ = timed([*command, "--samples", SETS[which].n_few, "--permutations", "9"])
        record.write_text(text)
    run.few = {row["figure"]: row["value"] for row in json.loads(record.read_text())["figures"]}
    return run


def measured(options, which, run):
    """Generates where needed, compares with the test samples, asks what is given away."""
    train, test, tree = cut(options, which)
    record = options.work / f"{run.table.stem}.json"
    if record.exists():
        stored = json.loads(record.read_text())
        run.figures, run.band, run.privacy = stored["figures"], stored["band"], stored["privacy"]
        run.seconds, run.mebibytes = stored["seconds"], stored["mebibytes"]
        run.deviation_to_train = stored["deviation_to_train"]
        run.deviation_of_many = stored.get("deviation_of_many")
        return run
    model = run.table.with_suffix(".model")
    if run.options is not None:
        n = anndata.read_h5ad(test, backed="r").n_obs
        command = [options.suffuse, "generate", train, "-o", run.table, "--n", n, "--seed", run.seed, "--force", "-q"]
        command += ["--save-model", model] if run.name == LEARNED else []
        _, run.seconds, run.mebibytes = timed([*command, *run.options])
    compare = [options.suffuse, "compare", test, run.table, "--tree", tree, "--json", "-q", "--train", train]
    if SETS[which].label and run.options is not None and "site" in run.name:
        compare += ["--label", SETS[which].label]
    if run.name != LEARNED or run.seed != 1:
        compare += ["--splits", "1"]  # the band is that of the first run
    result = json.loads(timed(compare)[0])
    run.figures = {row["figure"]: row["value"] for row in result["figures"]}
    run.band = {row["figure"]: row["band"] for row in result["figures"]}
    run.privacy = json.loads(timed([options.suffuse, "privacy", train, test, run.table, "--json", "-q"])[0])
    real = zero_share(train)
    run.deviation_to_train = abs(zero_share(run.table) - real) / real
    if model.exists():
        many = run.table.with_suffix(".many.h5ad")
        command = [options.suffuse, "generate", train, "-o", many, "--model", model, "--n", N_MANY]
        timed([*command, "--seed", run.seed, "--force", "-q"])
        run.deviation_of_many = zero_share(many) / real - 1
        many.unlink()
    record.write_text(
        json.dumps(
            {
                "figures": run.figures,
                "band": run.band,
                "privacy": run.privacy,
                "seconds": run.seconds,
                "mebibytes": run.mebibytes,
                "deviation_to_train": run.deviation_to_train,
                "deviation_of_many": run.deviation_of_many,
            }
        )
    )
    return run


def runs_of(options, which):
    chosen, _, _ = SETS[which], *cut(options, which)[:2]
    tree = cut(options, which)[2]
    seeds = range(1, options.seeds + 1)
    path = lambda name, seed: options.work / f"{which}-{name.replace(' ', '-').replace(':', '')}-{seed}.h5ad"
    make = lambda name, seed, more: Run(name, seed, path(name, seed), more)
    runs = []
    if "main" in options.parts:
        runs += [make(LEARNED, seed, ["--tree", tree]) for seed in seeds]
        if chosen.site:
            more = ["--tree", tree, "--by", chosen.site]
            runs += [make(f"{LEARNED}, by site", seed, more) for seed in list(seeds)[: options.site_seeds]]
        runs += [make("vae", 1, ["--method", "vae"])]
        runs += [make(method, 1, ["--method", method]) for method in SIMPLE]
        for name, table in chosen.peers.items():
            copy = options.work / f"{which}-peer-{Path(table).stem}.h5ad"
            if not copy.exists():
                copy.symlink_to(options.data / table)
            runs.append(Run(name, None, copy))
    if "ablation" in options.parts and which in options.ablation_sets:
        for name, settings in ABLATIONS.items():
            more = ["--tree", tree, *(word for setting in settings for word in ("--set", setting))]
            runs.append(make(name, 1, more))
    if options.measured_only:
        runs = [run for run in runs if (options.work / f"{run.table.stem}.json").exists()]
    return [few(options, which, measured(options, which, run)) for run in runs]


COLUMNS = [
    ("forest", "forest_auroc", 3),
    ("1-NN", "nearest_neighbour_accuracy", 3),
    ("forest, few", "few forest_auroc", 3),
    ("1-NN, few", "few nearest_neighbour_accuracy", 3),
    ("zeros dev", "sparsity_deviation", 4),
    ("prev r", "prevalence_pearson", 4),
    ("richness KS", "richness_ks", 3),
    ("BC disc", "bray_curtis_discrepancy", 4),
    ("Jaccard disc", "jaccard_discrepancy", 4),
    ("wUF disc", "weighted_unifrac_discrepancy", 4),
    ("uUF disc", "unweighted_unifrac_discrepancy", 4),
    ("BC R2", "bray_curtis_permanova_r2", 4),
    ("Jaccard R2", "jaccard_permanova_r2", 4),
    ("wUF R2", "weighted_unifrac_permanova_r2", 4),
    ("uUF R2", "unweighted_unifrac_permanova_r2", 4),
]


def splits_of(by_split):
    """Mean and standard error over the splits, by method."""
    lines = [
        "| | closest is a training sample | by Aitchison | membership | by Aitchison | copies | forest, few | zeros dev to train |",
        "|---|---|---|---|---|---|---|---|",
    ]

    def cell(values, digits):
        error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        return f"{mean(values):.{digits}f} ({error:.{digits}f})"

    for method in by_split[0]:
        runs = [found[method] for found in by_split]
        of = lambda distance, figure: [run["privacy"]["distances"][distance][figure]["value"] for run in runs]
        cells = [
            cell(of(0, "share"), 3),
            cell(of(1, "share"), 3),
            cell(of(0, "membership"), 3),
            cell(of(1, "membership"), 3),
            cell([run["privacy"]["copies"] for run in runs], 4),
            cell([run["forest"] for run in runs], 3),
            cell([abs(run["zeros"]) for run in runs], 4),
        ]
        shown = f"**{method}**" if method == LEARNED else method
        lines.append(f"| {shown} | " + " | ".join(cells) + " |")
    return lines


def grouped(runs):
    by_name = {}
    for run in runs:
        by_name.setdefault(run.name, []).append(run)
    return by_name


def spread(values, digits):
    values = [value for value in values if value is not None]
    if not values:
        return ""
    centre = f"{mean(values):.{digits}f}"
    return centre if len(values) == 1 else f"{centre} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table_of(runs, band):
    lines = ["| | " + " | ".join(title for title, _, _ in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    if band:
        ends = [band.get(figure) for _, figure, _ in COLUMNS]
        cells = [
            "" if end is None else f"{end['low' if figure == 'prevalence_pearson' else 'high']:.{digits}f}"
            for end, (_, figure, digits) in zip(ends, COLUMNS)
        ]
        lines.append("| *end of the band, real against real* | " + " | ".join(cells) + " |")
    for name, of_name in grouped(runs).items():
        value = lambda run, figure: run.few.get(figure[4:]) if figure.startswith("few ") else run.figures.get(figure)
        cells = [spread([value(run, figure) for run in of_name], digits) for _, figure, digits in COLUMNS]
        shown = f"**{name}**" if name.startswith(LEARNED) else name
        lines.append(f"| {shown} | " + " | ".join(cells) + " |")
    return lines


def privacy_of(runs):
    lines = [
        f"| | closest is a training sample | membership | copies | values | of the hold-out | zeros dev to train | of {N_MANY} | s | MiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, of_name in grouped(runs).items():
        first = lambda run: run.privacy["distances"][0]
        cells = [
            spread([first(run)["share"]["value"] for run in of_name], 3),
            spread([first(run)["membership"]["value"] for run in of_name], 3),
            spread([run.privacy["copies"] for run in of_name], 4),
            spread([run.privacy["values"] for run in of_name], 4),
            spread([run.privacy["values_of_holdout"] for run in of_name], 4),
            spread([run.deviation_to_train for run in of_name], 4),
            spread([run.deviation_of_many for run in of_name], 4),
            spread([run.seconds for run in of_name], 0),
            spread([run.mebibytes for run in of_name], 0),
        ]
        shown = f"**{name}**" if name.startswith(LEARNED) else name
        lines.append(f"| {shown} | " + " | ".join(cells) + " |")
    return lines


HEAD = """# Generation, measured

`suffuse generate` on two tables of 500 taxa, fitted to the training samples of a split and compared with as many
test samples (`suffuse compare`, `suffuse privacy`; [what the figures are](../guide/compare.md)). Default settings, mean
and range over the seeds that stand with each set; one seed of all but `sparse-microbiome`. *Band*: the 95th percentile (of the correlation
the 5th) of the same figure between real samples, over 20 random splits. Tables of MIDASim and SparseDOSSA2 are
those of the original programs for the same training samples. Forest: area under the curve of a random forest
that tells generated from real; 0.5 is the goal, and it sees more with more samples: *few* are 480 (American Gut) or
500 (HMP) a side. *Zeros dev* is the deviation of the share of zeros, relative; *of {n_many}* that of so many samples of the same
fits, with its sign. Written by

```
.venv/bin/python scripts/generation_results.py --suffuse target/release/suffuse --data $SUFFUSE_DATA --work FOLDER{more}
```
"""


def page(options, results, splits):
    more = "".join(
        f" --{name} {value}"
        for name, value, default in [
            ("sets", ",".join(options.sets), ",".join(SETS)),
            ("parts", ",".join(options.parts), PARTS),
            ("splits", options.splits, N_SPLITS),
            ("seeds", options.seeds, 3),
            ("site-seeds", options.site_seeds, 3),
            ("ablation-sets", ",".join(options.ablation_sets), ",".join(SETS)),
        ]
        if str(value) != str(default)
    )
    lines = [HEAD.format(more=more, n_many=N_MANY)]
    if options.note:
        lines.append(options.note + "\n")
    if options.measured_only:
        lines.append("That command was stopped before its end: rows and seeds that it did not reach are left out.\n")
    for which, runs in results.items():
        chosen = SETS[which]
        is_ablation = lambda run: run.name in ABLATIONS
        main = [run for run in runs if not is_ablation(run)]
        first = next((run for run in main if run.name == LEARNED and run.seed == 1), None)
        train, test, _ = cut(options, which)
        sizes = [anndata.read_h5ad(path, backed="r").n_obs for path in (train, test)]
        n_seeds = sum(run.name == LEARNED for run in main)
        title = f"## {chosen.name}: {sizes[0]} samples to learn from, {sizes[1]} to compare with; {n_seeds} seeds"
        lines += [title, ""]
        lines += table_of(main, first.band if first else None)
        by_site = [run for run in main if "site" in run.name and run.figures.get("label_auroc_ratio") is not None]
        if by_site:
            lines += ["", "A classifier of the body site, learned from one side and tested on the other:", ""]
            for name, of_name in grouped(by_site).items():
                area = spread([run.figures["label_auroc"] for run in of_name], 3)
                ratio = spread([run.figures["label_auroc_ratio"] for run in of_name], 3)
                lines.append(f"- {name}, learned from generated: AUROC {area}, {ratio} of that learned from real samples")
                area = spread([run.figures.get("label_recognised_auroc") for run in of_name], 3)
                ratio = spread([run.figures.get("label_recognised_ratio") for run in of_name], 3)
                lines.append(f"- {name}, learned from real: AUROC on generated {area}, {ratio} of that on real samples")
        lines += ["", f"### {chosen.name}: what is given away, and what it takes", ""] + privacy_of(main)
        off, far = redrawn(options, which)
        n_redrawn = f"{N_REDRAWN:,}"
        lines += [
            "",
            f"Zeros of as many training samples drawn again deviate by {off:.4f} on average, by less than {far:.4f} in 95 % of"
            f" {n_redrawn} draws: less is luck, of any method that draws samples one by one.",
        ]
        if splits.get(which):
            words = "subjects" if chosen.subject else "samples"
            lines += [
                "",
                f"### {chosen.name}: {len(splits[which])} other splits",
                "",
                f"{TO_LEARN_FROM:.0%} of the {words} to learn from, the others held out; one fit each. Mean (standard error).",
                "",
                *splits_of(splits[which]),
            ]
        ablation = [run for run in runs if is_ablation(run)]
        if ablation:
            whole = [first] if first else []
            lines += ["", f"### {chosen.name}: parts switched off, one seed", ""] + table_of(whole + ablation, None)
        lines.append("")
    PAGE.write_text("\n".join(lines).rstrip() + "\n")
    print(f"wrote {PAGE}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--suffuse", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS), type=lambda text: text.split(","))
    parser.add_argument("--parts", default=PARTS, type=lambda text: text.split(","))
    parser.add_argument("--splits", default=N_SPLITS, type=int, help="other splits of each table")
    parser.add_argument("--seeds", default=3, type=int)
    parser.add_argument("--measured-only", action="store_true", help="write the page from what FOLDER holds")
    parser.add_argument("--note", help="a sentence for the page, about how it was run")
    parser.add_argument("--site-seeds", default=3, type=int)
    parser.add_argument("--ablation-sets", default=",".join(SETS), type=lambda text: text.split(","))
    options = parser.parse_args()
    options.suffuse, options.data, options.work = (
        path.resolve() for path in (options.suffuse, options.data, options.work)
    )
    options.work.mkdir(parents=True, exist_ok=True)
    numbers = range(1, options.splits + 1) if "splits" in options.parts else []
    is_there = lambda which, number: (options.work / f"{which}-split-{number}-{BESIDE[-1]}.json").exists()
    splits = {
        which: [split_again(options, which, n) for n in numbers if is_there(which, n) or not options.measured_only]
        for which in options.sets
    }
    page(options, {which: runs_of(options, which) for which in options.sets}, splits)


if __name__ == "__main__":
    main()
