"""Gathers the results of scripts/ablation.sh: a Markdown table and the paper's Fig. 7, 8 and 10.

    python scripts/ablation_report.py FIGURES NAME=FOLDER...     as in docs/img STAD=results/stad

Prints, for each folder, one row per setting: means and standard deviations of the pooled scores over
seeds, the mean difference of the RMSE from the reference on the same seeds, seconds, and the command.
The reference takes no metadata and no other cohorts. Needs Python alone.
"""

import csv
import statistics
import sys
from collections import defaultdict
from pathlib import Path

REFERENCE = "metadata: none"
PRETRAINED_VAE = "dat.n_pretraining_steps=0; metadata: none; pretrain: 4 tables"
METADATA = "default"
COLOURS = ["#9aa5b1", "#2f6f9f"]


def read(folder):
    """Pooled scores of the model by setting and seed."""
    found = defaultdict(dict)
    with open(Path(folder) / "results.tsv", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["method"] == "depmicrodiff" and row["scope"] == "pooled":
                found[row["setting"]][int(row["seed"])] = row
    return found


def command(setting):
    options = []
    for part in setting.split("; "):
        if part == "default":
            continue
        if part.startswith("metadata: "):
            metadata = part.removeprefix("metadata: ")
            if metadata == "none":
                options.append("--encoder none")
            if metadata.startswith("text encoder"):
                options.append("--encoder $SUFFUSE_ENCODER")
            if "% of the cells kept" in metadata:
                share = metadata.split(", ")[-1].split(" ")[0]
                options.append(f"--metadata-keep {float(share) / 100:g}")
        elif part.startswith("pretrain: "):
            options.append("--pretrain OTHERS")
        elif part.startswith("sampling.sampler="):
            options.append("--sampler " + part.split("=")[1])
        elif part.startswith("sampling.n_draws="):
            options.append("--draws " + part.split("=")[1])
        else:
            options.append("--set " + part)
    return " ".join(options) or "(the default)"


def mean_sd(values):
    sd = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{sd}"


def column(results, name):
    return [float(results[seed][name]) for seed in sorted(results)]


def table(name, found):
    reference = found[REFERENCE]
    print(f"| {name} | PCC | COS | RMSE | MAE | RMSE against the first row | sampling s | seeds |")
    print("|---|---|---|---|---|---|---|---|")
    for setting in sorted(found, key=lambda s: (s != REFERENCE, s != METADATA, s)):
        results = found[setting]
        shared = sorted(set(results) & set(reference))
        gaps = [float(results[s]["rmse_ln"]) - float(reference[s]["rmse_ln"]) for s in shared]
        scores = [mean_sd(column(results, score)) for score in ["pcc", "cos", "rmse_ln", "mae_ln"]]
        gap = "" if setting == REFERENCE else f"{statistics.mean(gaps):+.3f}"
        seconds = statistics.median(column(results, "seconds_filling"))
        cells = [f"`{command(setting)}`", *scores, gap, f"{seconds:.1f}", str(len(results))]
        print("| " + " | ".join(cells) + " |")
    print()


def text(x, y, content, anchor="middle", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{content}</text>'


def page(width, height, title, parts):
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
    return "\n".join([frame, f'<rect width="{width}" height="{height}" fill="white"/>', text(width / 2, 20, title, size=14), *parts, "</svg>", ""])


def bars(title, panels, series):
    """Panels of grouped bars: panel -> group -> one (mean, sd) for each series."""
    width, height, base, top = 230 * len(panels) + 20, 300, 250, 72
    parts = []
    for p, (panel, groups) in enumerate(panels.items()):
        left = 20 + 230 * p
        highest = max(mean + sd for values in groups.values() for mean, sd in values)
        parts.append(text(left + 105, 40, panel))
        slot = 200 / len(groups)
        for g, (group, values) in enumerate(groups.items()):
            middle = left + slot * (g + 0.5)
            parts.append(text(middle, base + 16, group))
            for k, (mean, sd) in enumerate(values):
                x = middle + (k - len(values) / 2) * slot * 0.38
                scale = (base - top) / highest
                h, bar = mean * scale, slot * 0.36
                parts.append(f'<rect x="{x:.1f}" y="{base - h:.1f}" width="{bar:.1f}" height="{h:.1f}" fill="{COLOURS[k]}"/>')
                c, e = x + bar / 2, sd * scale
                parts.append(f'<path d="M{c:.1f} {base - h - e:.1f}V{base - h + e:.1f}" stroke="black"/>')
                parts.append(text(c, base - h - e - 3, f"{mean:.3f}".lstrip("0"), size=8))
    for k, name in enumerate(series):
        parts.append(f'<rect x="{30 + 180 * k}" y="{height - 20}" width="12" height="12" fill="{COLOURS[k]}"/>')
        parts.append(text(48 + 180 * k, height - 10, name, anchor="start"))
    return page(width, height, title, parts)


def line(title, x_name, y_name, points):
    """One line with error bars: (x, mean, sd)."""
    width, height, left, right, top, base = 440, 310, 60, 420, 60, 260
    low = min(mean - sd for _, mean, sd in points)
    high = max(mean + sd for _, mean, sd in points)
    first, last = points[0][0], points[-1][0]
    px = lambda x: left + (x - first) / (last - first) * (right - left - 20) + 10
    py = lambda y: base - (y - low) / (high - low or 1) * (base - top)
    path = "M" + "L".join(f"{px(x):.1f} {py(y):.1f}" for x, y, _ in points)
    parts = [f'<path d="M{left} {top}V{base}H{right}" fill="none" stroke="black"/>']
    parts.append(f'<path d="{path}" fill="none" stroke="{COLOURS[1]}" stroke-width="2"/>')
    for x, y, sd in points:
        parts.append(f'<path d="M{px(x):.1f} {py(y - sd):.1f}V{py(y + sd):.1f}" stroke="black"/>')
        parts.append(f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="4" fill="{COLOURS[1]}"/>')
        parts.append(text(px(x), base + 16, f"{x:g}"))
    parts += [text(left - 6, py(y), f"{y:.3f}", anchor="end", size=10) for y in [low, (low + high) / 2, high]]
    parts += [text((left + right) / 2, height - 12, x_name), text(10, top - 14, y_name, anchor="start")]
    return page(width, height, title, parts)


def score(results, name):
    values = column(results, name)
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def on_off(tables, setting, names):
    """Scores without and with a setting, on the seeds that both have."""
    panels = {}
    for label, name in names:
        panels[label] = {}
        for table_name, found in tables.items():
            seeds = set(found[REFERENCE]) & set(found.get(setting, {}))
            if seeds:
                pair = [{s: found[which][s] for s in seeds} for which in (REFERENCE, setting)]
                panels[label][table_name] = [score(results, name) for results in pair]
    return panels


def main():
    figures = Path(sys.argv[1])
    tables = {name: read(folder) for name, folder in (argument.split("=", 1) for argument in sys.argv[2:])}
    for name, found in tables.items():
        table(name, found)
    scores = [("PCC", "pcc"), ("COS", "cos"), ("RMSE", "rmse_ln"), ("MAE", "mae_ln")]
    pretraining = on_off(tables, PRETRAINED_VAE, scores)
    title = "Pre-training of the autoencoder on four other cohorts"
    (figures / "ablation-pretraining.svg").write_text(bars(title, pretraining, ["without", "with"]))
    metadata = on_off(tables, METADATA, scores)
    title = "Metadata as numbers and categories"
    (figures / "ablation-metadata.svg").write_text(bars(title, metadata, ["without", "with"]))
    name, found = next(iter(tables.items()))
    by_decay = {0.75: found[REFERENCE]}
    for setting, results in found.items():
        if setting.startswith("dat.ar_decay=") and setting.endswith(REFERENCE):
            by_decay[float(setting.split(";")[0].split("=")[1])] = results
    seeds = set.intersection(*(set(results) for results in by_decay.values()))
    points = [(decay, *score({s: results[s] for s in seeds}, "pcc")) for decay, results in by_decay.items()]
    title = f"Decay of the number of autoregressive steps: {name}"
    picture = line(title, "decay", "PCC (mean and sd over seeds)", sorted(points))
    (figures / "ablation-decay.svg").write_text(picture)


main()
