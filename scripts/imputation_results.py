#!/usr/bin/env python3
"""Runs every evaluation of docs/results/imputation.md and writes the page.

    python3 scripts/imputation_results.py --suffuse target/release/suffuse --data $SUFFUSE_DATA --work FOLDER

FOLDER keeps every result and every fit: the same command goes on where it stopped, and a finished one only
writes the page. `--tables stad,coad` takes some of the tables, `--parts strict,blind` some of the parts: the rows of
the others stay as they stand on the page. `--folds 2` takes some of the folds, `--folds stad:5,hnsc:2,ag:1` some of each
table, `--folds strict.ag:0` none of a table in one part (`time.mp:3`: three seeds of the time points); the last table
of the page says so. Two cores need most of a day for all of it.
Part `single-cell` needs anndata (`.venv`), which cuts the genes; part `peers` what `parity/peers/README.md` says.
"""

import argparse
import csv
import json
import math
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from timed import timed

PAGE = Path(__file__).resolve().parent.parent / "docs" / "results" / "imputation.md"


@dataclass
class Table:
    """A table, the metadata column of its groups, one of two values to test, its sister cohorts, whether it holds
    whole counts, and which of the peers run on it (all if empty)."""

    key: str
    name: str
    path: str
    group: str | None
    sisters: tuple[str, ...] = ()
    has_counts: bool = False
    tested: str | None = None
    peers: str = ""


def tcga(cancer):
    return f"tcga/tcga_{cancer}_solid.h5ad"


PEERS_OF_WIDE = "taxon-mean,autoimpute,autoimpute+hiding,deepimpute,dca,dca+hiding,deepmicrogen,scvi"
CANCERS = ("stad", "coad", "hnsc", "read", "esca")
TABLES = {
    **{
        c: Table(c, c.upper(), tcga(c), "patient_barcode", tuple(tcga(o) for o in CANCERS if o != c), tested="gender")
        for c in ("stad", "coad", "hnsc")
    },
    "hmp": Table("hmp", "HMPv35", "microbiome/HMPv35_top500.h5ad", "host_subject_id", has_counts=True, peers=PEERS_OF_WIDE),
    "ag": Table("ag", "AG gut", "microbiome/AG_gut_top500.h5ad", None, has_counts=True, peers=PEERS_OF_WIDE),
}


def run(options, table, part, extra, setting=""):
    """One `suffuse evaluate`; returns its JSON with seconds and peak memory of the first time."""
    setting = part + setting
    out = options.work / f"{table.name.lower().replace(' ', '-')}-{setting}"
    record = out.with_name(f"{out.name}.json")  # a setting may hold a dot
    command = [str(options.suffuse), "evaluate", str(options.data / table.path), "--out", str(out), "--json", "-q"]
    command += ["--group", table.group] if table.group else []
    command += ["--models", str(options.work / "models")]
    folds = options.folds_of(part, table)
    command += ["--seeds", str(folds)] if folds else []
    command += extra
    if record.exists():
        return json.loads(record.read_text())
    text, seconds, mebibytes = timed(command)
    result = {
        **json.loads(text),
        "minutes": seconds / 60,
        "mebibytes": mebibytes,
        "command": " ".join(command[1:])
        .replace(str(options.data), "$SUFFUSE_DATA")
        .replace(str(options.work), "FOLDER"),
    }
    record.write_text(json.dumps(result))
    return result


def folds_of(text):
    """How many folds of a table run in a part: `2`, or `stad:5,strict.ag:1`; all where nothing is said (`None`)."""
    default, named = None, {}
    for item in filter(None, (text or "").split(",")):
        name, _, count = item.rpartition(":")
        if name:
            named[name] = int(count)
        else:
            default = int(count)

    def of(part, table):
        return named.get(f"{part}.{table.key}", named.get(table.key, default))

    return of


def number(value, digits=3):
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(ratio):
    return "" if ratio is None else f"{ratio['value']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"


def bold(method):
    return f"**{method}**" if method in ("auto", "depmicrodiff") else method


def sisters_of(options, table):
    return ["--pretrain", *(str(options.data / sister) for sister in table.sisters)]


def presence_rows(table, result):
    """Markdown rows of a blind or thinning evaluation, best first."""
    for row in sorted(result["scores"], key=lambda r: (r["fraction"], -(r["auroc"] or 0))):
        difference = row["auroc_difference"]
        depth = row["depth"] or {}
        cells = [
            table.name,
            f"{row['fraction']}",
            bold(row["method"]),
            number(row["auroc"]),
            "" if difference is None else f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]",
            number(row["aupr"]),
            number(depth.get("bray_curtis_thin"), 4),
            number(depth.get("bray_curtis_completed"), 4),
            number(depth.get("share_closer"), 2),
        ]
        yield "| " + " | ".join(cells) + " |"


def rows_of(table, result):
    """Markdown rows of a strict evaluation, best first."""
    for row in sorted(result["scores"], key=lambda r: (r["fraction"], r["rmse"])):
        draws = row["draws"] or {}
        cells = [
            table.name,
            f"{100 * row['fraction']:.0f} %",
            bold(row["method"]),
            number(row["rmse"]),
            interval(row["rmse_ratio"]),
            number(row["mae"]),
            number(row["pcc"]),
            number(row["cos"]),
            number(draws.get("crps")),
            interval(row["crps_ratio"]),
            number(draws.get("coverage_50"), 2),
            number(draws.get("coverage_90"), 2),
            f"{row['seconds']:.0f}",
        ]
        yield "| " + " | ".join(cells) + " |"


HEADER = """| table | hidden | method | RMSE ln | / best baseline | MAE | PCC | COS | CRPS | / best baseline's | in 50 % | in 90 % | s a fold |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


# Half-width of a 95 % interval in standard errors.
Z_95 = 1.96


def geometric_mean(rows, method, hidden):
    """Of the ratios of a method to the best baseline of each table, as text with a 95 % interval.

    The tables are independent: the squared standard errors of their logarithms, which their own bootstrap intervals
    tell, add up.
    """
    start = re.compile(rf"\| [^|]+ \| {re.escape(hidden)} \| {re.escape(bold(method))} \| [^|]+ \| ([^|]+) \|")
    cells = [found[1] for found in map(start.match, rows) if found]
    ratios = [[float(number) for number in re.findall(r"[\d.]+", cell)] for cell in cells]
    if not ratios:
        return ""
    centre = sum(math.log(value) for value, _, _ in ratios) / len(ratios)
    errors = [math.log(high / low) / (2 * Z_95) for _, low, high in ratios]
    error = math.sqrt(sum(error**2 for error in errors)) / len(ratios)
    ends = {"low": math.exp(centre - Z_95 * error), "high": math.exp(centre + Z_95 * error)}
    return interval({"value": math.exp(centre), **ends})


def summary(rows):
    """The geometric means over the tables of these rows."""
    lines = ["| method | 10 % | 30 % | 50 % |", "|---|---|---|---|"]
    for method in ("auto", "depmicrodiff"):
        means = [geometric_mean(rows, method, hidden) for hidden in ("10 %", "30 %", "50 %")]
        lines.append(f"| {method} | " + " | ".join(means) + " |")
    return lines


PRESENCE_HEADER = """| table | hidden | method | AUROC | - best baseline | AUPR | Bray-Curtis thin | completed | closer |
|---|---|---|---|---|---|---|---|---|"""
# Each part and the title of its section.
PARTS = {
    "strict": "## All methods",
    "sisters": "## Pre-trained on sister cohorts",
    "zero-shot": "## Zero-shot",
    "metadata": "## Metadata",
    "blind": "## Which zeros are false",
    "thinning": "## Under-sequencing",
    "false-positives": "## Tests after filling",
    "time": "## Missing time points",
    "single-cell": "## Single-cell counts",
    "peers": "## Other methods, in small",
}
COST = "## What it took"
# Stands for the geometric means over the rows of a section until all of these are there.
SUMMARY = "geometric means"


def strict_part(options, tables):
    results = [(table, run(options, table, "strict", [])) for table in tables]
    page = [PARTS["strict"], "", HEADER]
    for table, result in results:
        page += rows_of(table, result)
    return page, results


def sisters_part(options, tables):
    results = [(t, run(options, t, "sisters", sisters_of(options, t))) for t in tables if t.sisters]
    page = [PARTS["sisters"], ""]
    page += ["`--pretrain` with the other four cancers. Geometric mean of the ratio of RMSE to the best baseline:", ""]
    page += [SUMMARY, "", HEADER]
    for table, result in results:
        page += rows_of(table, {"scores": [r for r in result["scores"] if r["method"] in ("auto", "depmicrodiff")]})
    return page, results


def zero_shot_part(options, tables):
    extra = ["--zero-shot", "--fraction", "0.3"]
    results = [
        (t, run(options, t, "zero-shot", extra + sisters_of(options, t))) for t in tables if t.sisters
    ]
    page = [PARTS["zero-shot"], "", "`--zero-shot`: learned from the other four cancers alone, 30 % hidden.", "", HEADER]
    for table, result in results:
        page += rows_of(table, result)
    return page, results


def metadata_part(options, tables):
    results, page = [], [PARTS["metadata"], "", "All columns, kept for a share of the samples (`--metadata-keep`), 30 % hidden."]
    page += ["", "| table | kept | RMSE ln | CRPS |", "|---|---|---|---|"]
    for table in tables:
        for kept in ("0", "0.25", "0.5", "1"):
            extra = ["--metadata-keep", kept, "--fraction", "0.3", "--methods", "depmicrodiff"]
            result = run(options, table, "metadata", extra, f"-{kept}")
            results.append((table, result))
            row = result["scores"][0]
            crps = number((row["draws"] or {}).get("crps"))
            page.append(f"| {table.name} | {100 * float(kept):.0f} % | {number(row['rmse'])} | {crps} |")
    return page, results


def presence_part(options, tables, protocol, words, extra=()):
    results = [(table, run(options, table, protocol, ["--protocol", protocol, *extra])) for table in tables]
    page = [PARTS[protocol], "", words, "", PRESENCE_HEADER]
    for table, result in results:
        page += presence_rows(table, result)
    return page, results


def blind_part(options, tables):
    words = "`--protocol blind`: nothing says which zeros are false; as many true zeros are scored."
    return presence_part(options, tables, "blind", words)


def thinning_part(options, tables):
    words = "`--protocol thinning`: counts of all samples thinned to a fifth of their depth; some of the methods."
    extra = ["--fraction", "0.2", "--methods", "auto,depmicrodiff,taxon-mean,taxon-mean-offset,soft-impute,ridge"]
    tables = [table for table in tables if table.has_counts]  # fractional reads cannot be thinned
    return presence_part(options, tables, "thinning", words, extra)


N_IMPUTED = 20


def false_positives_part(options, tables):
    page = [
        PARTS["false-positives"],
        "",
        f"`suffuse impute --m {N_IMPUTED}`, then `suffuse pool --group COLUMN` (TCGA: gender): tests with p < .05 under 100 permuted labels, in the",
        "original and pooled over the completed tables, and mean absolute Spearman correlation between taxa before and after.",
        "",
        "| table | false positives before | pooled | ratio | correlation before | after |",
        "|---|---|---|---|---|---|",
    ]
    for table in (table for table in tables if table.tested):
        record = options.work / f"{table.key}-false-positives.json"
        original = options.data / table.path
        if not record.exists():
            stem = options.work / f"{table.key}-imputed"
            leaves = ["--collapse", "leaves", "-q", "--force"]
            timed([options.suffuse, "impute", original, "--m", N_IMPUTED, "-o", f"{stem}.h5ad", *leaves])
            filled = sorted(options.work.glob(f"{stem.name}-*.h5ad"))
            pool = ["pool", original, "--imputed", *filled, "--group", table.tested, "--permutations", 100, "--json"]
            text, _, _ = timed([options.suffuse, *pool, "-o", f"{stem}.tsv", *leaves])
            record.write_text(text)
            for path in filled:
                path.unlink()
        check = json.loads(record.read_text())["check"]
        before, after = (check[side]["share_of_tests"] for side in ("before", "after"))
        cells = [table.name, number(before), number(after), number(after / before, 2)]
        cells += [number(check["correlation"][side]["mean_absolute"]) for side in ("before", "after")]
        page.append("| " + " | ".join(cells) + " |")
    return page, []


SERIES = Table("mp", "MovingPictures", "longitudinal/MovingPictures_gut_top300.h5ad", None)


def time_part(options, _):
    visits = ["--protocol", "time_point", "--subject", "host_subject_id", "--time", "days_since_experiment_start"]
    result = run(options, SERIES, "time", visits)
    seeds = max(row["n_folds"] for row in result["scores"])
    page = [
        PARTS["time"],
        "",
        f"`--protocol time_point`: a fifth of the visits of MovingPictures hidden, {seeds} seed{'s' if seeds > 1 else ''}. Ratio to the best baseline.",
        "",
        "| method | RMSE ln | / best baseline | AUROC of presence | Bray-Curtis |",
        "|---|---|---|---|---|",
    ]
    lines = []
    for row in result["scores"]:
        distance = (row["depth"] or {}).get("bray_curtis_completed")
        cells = [bold(row["method"]), number(row["rmse"]), interval(row["rmse_ratio"]), number(row["auroc"]), number(distance)]
        lines.append((row["rmse"] or math.inf, cells))
    if "peers" in options.parts.split(","):
        best = next(row["rmse"] / row["rmse_ratio"]["value"] for row in result["scores"] if row["rmse_ratio"])
        lines.append(recurrent_gan(options, seeds, best))
    page += ["| " + " | ".join(cells) + " |" for _, cells in sorted(lines, key=lambda line: line[0])]
    if "peers" in options.parts.split(","):
        page += ["", "`recurrent-gan`: a [small version of DeepMicroGen](../../parity/peers/README.md#missing-visits) on the same visits."]
    return page, [(SERIES, result)]


def recurrent_gan(options, seeds, best):
    """RMSE pooled over the seeds, and the cells of its row."""
    lines = options.work / "peers-mp.tsv"
    if not lines.exists():
        part = lines.with_suffix(".part")
        script = PAGE.parent.parent.parent / "parity" / "peers" / "visits.py"
        command = [options.peers_python, script, options.data / SERIES.path, "--out", part, "--seeds", seeds]
        timed([*command, "--subject", "host_subject_id", "--time", "days_since_experiment_start"])
        part.rename(lines)
    rows = [row for row in csv.DictReader(lines.read_text().splitlines(), delimiter="\t") if row["method"] == "recurrent-gan"]
    square = sum(int(row["n"]) * float(row["rmse_ln"]) ** 2 for row in rows)
    rmse = math.sqrt(square / sum(int(row["n"]) for row in rows))
    mean = lambda name: sum(float(row[name]) for row in rows) / len(rows)
    return rmse, ["recurrent-gan", number(rmse), number(rmse / best), number(mean("auroc")), number(mean("bray_curtis"))]


N_GENES = 300
CELLS = Table("paul15", "Paul15", "singlecell/Paul15.h5ad", None)


def single_cell_part(options, _):
    """The genes with the most reads of all cells; a cell is a sample."""
    cut = options.work / f"paul15-top{N_GENES}.h5ad"
    if not cut.exists():
        import anndata
        import numpy as np

        cells = anndata.read_h5ad(options.data / CELLS.path)
        most = np.argsort(-np.asarray(cells.X.sum(axis=0)).ravel(), kind="stable")[:N_GENES]
        cells[:, np.sort(most)].copy().write_h5ad(cut)
    cells = replace(CELLS, path=str(cut))
    result = run(options, cells, "single-cell", [])
    page = [
        PARTS["single-cell"],
        "",
        f"`strict` on the {N_GENES} genes of Paul15 with the most reads, a cell for a sample, without any change of the method.",
        "",
        HEADER,
        *rows_of(cells, result),
    ]
    return page, [(cells, result)]


def peers_part(options, tables):
    page = [
        PARTS["peers"],
        "",
        "The methods of the paper's Table II as [small versions of our own](../../parity/peers/README.md) (scVI: the package), on the",
        "same hidden entries: RMSE pooled over the folds, and over that of the best baseline above in these folds.",
        "`cpg-transformer` is left out on tables of 500 taxa: one fold did not end in 40 minutes.",
        "",
        "| table | hidden | method | RMSE ln | / best baseline | folds | s a fold |",
        "|---|---|---|---|---|---|---|",
    ]
    script = PAGE.parent.parent.parent / "parity" / "peers" / "run.py"
    for table in tables:
        lines = options.work / f"peers-{table.key}.tsv"
        if not lines.exists():
            part = lines.with_suffix(".part")  # a run that was cut off goes on from its lines
            command = [options.peers_python, script, options.data / table.path, "--out", part]
            command += ["--group", table.group] if table.group else []
            command += ["--peers", table.peers] if table.peers else []
            folds = options.folds_of("peers", table)
            timed(command + (["--seeds", folds] if folds else []))
            part.rename(lines)
        rows = list(csv.DictReader(lines.read_text().splitlines(), delimiter="\t"))
        n_folds = 1 + max(int(row["seed"]) for row in rows)
        strict = options.work / f"{table.name.lower().replace(' ', '-')}-strict" / "results.tsv"
        ours = csv.DictReader(strict.read_text().splitlines(), delimiter="\t")
        baselines = [
            row
            for row in ours
            if row["scope"] == "pooled" and int(row["seed"]) < n_folds and row["method"] not in ("auto", "depmicrodiff")
        ]
        best = {}
        for (fraction, _), rmse in pooled_rmse(baselines).items():
            best[fraction] = min(rmse, best.get(fraction, math.inf))
        for (fraction, method), rmse in sorted(pooled_rmse(rows).items(), key=lambda item: (item[0][0], item[1])):
            seconds = sum(float(row["seconds"]) for row in rows if row["method"] == method) / n_folds
            cells = [table.name, f"{100 * fraction:.0f} %", method, number(rmse), number(rmse / best[fraction])]
            page.append("| " + " | ".join([*cells, f"{n_folds}", f"{seconds:.0f}"]) + " |")
    return page, []


def pooled_rmse(rows):
    """RMSE over the entries of all folds, by hidden fraction and method."""
    of = {}
    for row in rows:
        of.setdefault((float(row["fraction"]), row["method"]), []).append(row)
    return {
        key: math.sqrt(
            sum(int(row["n"]) * float(row["rmse_ln"]) ** 2 for row in folds) / sum(int(row["n"]) for row in folds)
        )
        for key, folds in of.items()
    }


def sections(page):
    """The sections of a page by their titles, each with its title and without empty lines at its end."""
    of = {}
    for section in re.split(r"\n(?=## )", page.read_text())[1:]:
        lines = section.rstrip().splitlines()
        of[lines[0]] = lines
    return of


def row_table(line):
    """The table that a row is of; `None` for other lines."""
    found = re.match(r"\| ([^|]+) \|", line)
    names = [table.name for table in TABLES.values()]
    return found[1] if found and found[1] in names else None


def with_rows_of_before(page, before):
    """A section with the rows of tables that were not asked for, as they stood there."""
    page = "\n".join(page).split("\n")  # headers have two lines
    rows = []
    for table in TABLES.values():
        of = lambda lines: [line for line in lines if row_table(line) == table.name]
        rows += of(page) or of(before)
    if not rows:
        return page
    first = 1 + max(at for at, line in enumerate(page) if line.startswith("|---"))
    below = [line for line in page[first:] if row_table(line) is None]
    above = [part for line in page[:first] for part in (summary(rows) if line == SUMMARY else [line])]
    return [*above, *rows, *below]


def what_it_took(before, took):
    """The last section: a line of each run, those of before where it was not asked for."""
    tail = [COST, "", "Runs of one table share their fits, so the first of them takes longest; other work on the machine adds to all.", ""]
    tail += ["| run | folds | minutes | MiB |", "|---|---|---|---|"]
    folder = lambda text: re.search(r"--out (FOLDER/\S+)", text)[1]
    lines = {folder(line): line for line in before if line.startswith("| `suffuse")}
    notes = [line for line in before[1:] if line and not line.startswith(("|", "Runs of one table"))]
    for name, part, result in took:
        n_folds = max(row["n_folds"] for row in result["scores"])
        cost = f"{result['minutes']:.0f} | {result['mebibytes']:.0f}"
        lines[folder(result["command"])] = f"| `suffuse {result['command']}` | {n_folds} | {cost} |"
        notes = [note for note in notes if not note.startswith(f"{name}, `{part}`")]
        notes += [result["note"]] if "note" in result else []  # of a record that was amended by hand
    return [*tail, *lines.values(), "", *notes]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suffuse", type=Path, default=Path("target/release/suffuse"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SUFFUSE_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--folds")
    parser.add_argument("--peers-python", default="python3", help="an interpreter with parity/peers/requirements.txt")
    options = parser.parse_args()
    options.folds_of = folds_of(options.folds)
    options.suffuse = options.suffuse.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    tables = [TABLES[name] for name in options.tables.split(",")]
    of_parts = (strict_part, sisters_part, zero_shot_part, metadata_part, blind_part, thinning_part)
    more_parts = (false_positives_part, time_part, single_cell_part, peers_part)
    functions = dict(zip(PARTS, (*of_parts, *more_parts), strict=True))
    before = sections(PAGE)
    page, took = [], []
    for part, title in PARTS.items():
        section = before.get(title, [])
        if part in options.parts.split(","):
            now, results = functions[part](options, [t for t in tables if options.folds_of(part, t) != 0])
            section = with_rows_of_before(now, section)
            took += [(table.name, part, result) for table, result in results]
        page += [*section, ""]
        if part == "strict":
            means = summary(section)
    head = [
        "# Imputation, measured",
        "",
        f"Protocol `strict` ([what is hidden, and what a method may see](../guide/evaluate.md)) on {', '.join(table.name for table in TABLES.values())};",
        "leaf taxa only, test samples hidden first and normalised after, five folds or the first ones, as the last",
        "table says. Baselines are tuned on training samples. The ratio is to the baseline with the least RMSE on the",
        "same entries, which no user could have picked beforehand;",
        "brackets are 95 % bootstrap intervals over groups of samples. Baselines are not given the depth of a sample,",
        "which ours reads where it varies by decades ([decision 11](../decisions/0011-how-high-a-present-taxon-stands.md)).",
        "`depmicrodiff` holds a share of ridge regression, `auto` of extra trees and soft-impute as well ([decision",
        "10](../decisions/0010-the-default-method.md)).",
        "Written by the command below, a part or a table at a time (`--parts`, `--tables`) and with as many folds (`--folds`) as",
        "the last table has of each run and the one before it of the other methods; without these options it takes all.",
        "",
        "```",
        "python3 scripts/imputation_results.py --suffuse target/release/suffuse --data $SUFFUSE_DATA --work FOLDER",
        "```",
        "",
        "Geometric mean over the tables of the ratio of RMSE to the best baseline, with the 95 % interval that follows from those of the tables:",
        "",
        *means,
        "",
    ]
    PAGE.write_text("\n".join(head + page + what_it_took(before.get(COST, []), took)).rstrip() + "\n")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
