#!/usr/bin/env python3
"""Runs every evaluation of docs/results/imputation.md and writes the page.

    python3 scripts/imputation_results.py --suffuse target/release/suffuse --data $SUFFUSE_DATA --work FOLDER

FOLDER keeps every result: the same command goes on where it stopped, and a finished one only writes the
page. `--tables stad,coad` takes some of the tables, `--folds 2` some of the folds; the page says so. Two
cores need some hours for all of it, most of them for the tables of 500 taxa.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "results" / "imputation.md"


@dataclass
class Table:
    """A table, the metadata column of its groups, and the tables of its sister cohorts."""

    name: str
    path: str
    group: str | None
    sisters: tuple[str, ...] = ()


def tcga(cancer):
    return f"tcga/tcga_{cancer}_solid.h5ad"


CANCERS = ("stad", "coad", "hnsc", "read", "esca")
TABLES = {
    **{
        c: Table(c.upper(), tcga(c), "patient_barcode", tuple(tcga(o) for o in CANCERS if o != c))
        for c in ("stad", "coad", "hnsc")
    },
    "hmp": Table("HMPv35", "microbiome/HMPv35_top500.h5ad", "host_subject_id"),
    "ag": Table("AG gut", "microbiome/AG_gut_top500.h5ad", None),
}


def run(options, table, setting, extra):
    """One `suffuse evaluate`; returns its JSON with seconds and peak memory of the first time."""
    out = options.work / f"{table.name.lower().replace(' ', '-')}-{setting}"
    record = out.with_suffix(".json")
    command = [str(options.suffuse), "evaluate", str(options.data / table.path), "--out", str(out), "--json", "-q"]
    command += ["--group", table.group] if table.group else []
    command += ["--seeds", str(options.folds)] if options.folds else []
    command += extra
    if record.exists():
        return json.loads(record.read_text())
    print(" ".join(command), file=sys.stderr, flush=True)
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"ended with status {status}: {' '.join(command)}")
    result = {
        **json.loads(text),
        "minutes": (time.monotonic() - started) / 60,
        "mebibytes": usage.ru_maxrss / 1024,
        "command": " ".join(command[1:])
        .replace(str(options.data), "$SUFFUSE_DATA")
        .replace(str(options.work), "FOLDER"),
    }
    record.write_text(json.dumps(result))
    return result


def number(value, digits=3):
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(ratio):
    return "" if ratio is None else f"{ratio['value']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"


def rows_of(table, result):
    """Markdown rows of a strict evaluation, best first."""
    for row in sorted(result["scores"], key=lambda r: (r["fraction"], r["rmse"])):
        draws = row["draws"] or {}
        bold = "**" if row["method"] in ("auto", "depmicrodiff") else ""
        cells = [
            table.name,
            f"{100 * row['fraction']:.0f} %",
            f"{bold}{row['method']}{bold}",
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


def geometric_mean(results, method, fraction):
    """Of the ratios of a method to the best baseline of each table."""
    ratios = [
        row["rmse_ratio"]["value"]
        for _, result in results
        for row in result["scores"]
        if row["method"] == method and row["fraction"] == fraction and row["rmse_ratio"]
    ]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def summary(results):
    lines = ["| method | 10 % | 30 % | 50 % |", "|---|---|---|---|"]
    for method in ("auto", "depmicrodiff"):
        means = [number(geometric_mean(results, method, fraction)) for fraction in (0.1, 0.3, 0.5)]
        lines.append(f"| {method} | " + " | ".join(means) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suffuse", type=Path, default=Path("target/release/suffuse"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SUFFUSE_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--folds", type=int)
    options = parser.parse_args()
    options.suffuse = options.suffuse.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    tables = [TABLES[name] for name in options.tables.split(",")]
    strict = [(table, run(options, table, "strict", [])) for table in tables]
    sisters = [
        (table, run(options, table, "strict-sisters", ["--pretrain", *(str(options.data / s) for s in table.sisters)]))
        for table in tables
        if table.sisters
    ]
    folds = f"the first {options.folds} of five folds" if options.folds else "five folds"
    names = ", ".join(table.name for table in tables)
    page = [
        "# Imputation, measured",
        "",
        f"Protocol `strict` ([what is hidden, and what a method may see](../guide/evaluate.md)) on {names}: {folds},",
        "leaf taxa only, test samples hidden first and normalised after. Baselines are tuned on training samples. The",
        "ratio is to the baseline with the least RMSE on the same entries, which no user could have picked beforehand;",
        "brackets are 95 % bootstrap intervals over groups of samples. Written by",
        "",
        "```",
        "python3 scripts/imputation_results.py --suffuse target/release/suffuse --data $SUFFUSE_DATA --work FOLDER"
        + (f" --tables {options.tables}" if len(tables) < len(TABLES) else "")
        + (f" --folds {options.folds}" if options.folds else ""),
        "```",
        "",
        "Geometric mean over the tables of the ratio of RMSE to the best baseline:",
        "",
        summary(strict),
        "",
    ]
    if sisters:
        page += [
            "The same with the guide pre-trained on the other four cohorts (`--pretrain`), where there are any:",
            "",
            summary(sisters),
            "",
        ]
    page += ["## All methods", "", HEADER]
    for table, result in strict:
        page += rows_of(table, result)
    if sisters:
        page += ["", "## Pre-trained on sister cohorts", "", HEADER]
        for table, result in sisters:
            page += rows_of(table, {"scores": [r for r in result["scores"] if r["method"] in ("auto", "depmicrodiff")]})
    page += ["", "## What it took", "", "| run | minutes | MiB |", "|---|---|---|"]
    for table, result in strict + sisters:
        page.append(f"| `suffuse {result['command']}` | {result['minutes']:.0f} | {result['mebibytes']:.0f} |")
    PAGE.write_text("\n".join(page) + "\n")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
