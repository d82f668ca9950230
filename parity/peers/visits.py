"""Fills the very visits that `suffuse evaluate --protocol time_point` hides by a recurrent GAN.

    python visits.py TABLE --subject COLUMN --time COLUMN --out results.tsv
    python visits.py --out results.tsv --agree PROGRAM.json     against the program's own scores
    python visits.py --smoke                                    a few steps on a simulated table

The networks are those of `deepmicrogen.py`, after DeepMicroGen (Choi et al. 2023). `last-value` is the
program's own simple method, to test the masks and the scorer. README.md says what is left out.
"""

import argparse
import csv
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn

from deepmicrogen import ADVERSARIAL, LEARNING_RATE, NOISE, Recurrent
from part import ln1p_percent
from training import SMOKE, Budget, set_seed, train
from trials import read_table, read_tsv

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ["table", "fraction", "method", "seed", "n", "rmse_ln", "auroc", "bray_curtis", "seconds"]
WINDOW = 32
BATCH = 8
HIDE = 0.6
CHECK = 0.15


@dataclass(frozen=True)
class Series:
    """The visits of all subjects; matrices are `[n_visits, n_taxa]`.

    - `values`: `ln(1 + percent)` of each visit's own total
    - `measured`: `[n_visits]`, False where the whole visit is hidden
    - `subjects`: the visits of each subject, by time
    - `times`: `[n_visits]`
    """

    values: np.ndarray
    measured: np.ndarray
    subjects: list
    times: np.ndarray


def series(values, measured, groups, times):
    """Orders the visits of each subject by time."""
    subjects = []
    for group in np.unique(groups):
        visits = np.nonzero(groups == group)[0]
        subjects.append(visits[np.argsort(times[visits], kind="stable")])
    return Series(values, measured, subjects, times)


def last_value(data, seed, budget):
    """The last measured visit before, or the first one after."""
    said = np.full(data.values.shape, np.nan)
    for visits in data.subjects:
        known = [visit for visit in visits if data.measured[visit]]
        for visit in (visit for visit in visits if not data.measured[visit]):
            before = [other for other in known if data.times[other] <= data.times[visit]]
            said[visit] = data.values[(before or known[:1])[-1]]
    return said


class Gan(nn.Module):
    """Generator and discriminator of sequences of visits; values are deviations from the means."""

    def __init__(self, means):
        super().__init__()
        self.register_buffer("means", torch.tensor(means, dtype=torch.float32))
        self.generator, self.discriminator = Recurrent(3, len(means)), Recurrent(2, len(means))

    def generate(self, values, seen, gap, noise):
        """Values of all visits: `values` `[b, v, n_taxa]`, `seen` and `gap` `[b, v, 1]`."""
        deviation = torch.where(seen > 0, values - self.means, noise)
        wide = torch.ones_like(values)
        return self.means + self.generator(torch.stack([deviation, seen * wide, gap * wide], dim=-2))

    def judge(self, values, seen, gap, said):
        """Logit of "measured" of each entry of the visits, those not seen taken from `said`."""
        completed = torch.where(seen > 0, values, said) - self.means
        return self.discriminator(torch.stack([completed, gap * torch.ones_like(completed)], dim=-2))


def gaps(data, visits):
    """`ln(1 + time)` since the visit before, 0 for the first."""
    return np.log1p(np.diff(data.times[visits], prepend=data.times[visits[0]]))


def fill(network, data, measured):
    """What the generator says of every visit, given those `measured`; floored at 0."""
    said = np.zeros(data.values.shape)
    tensor = lambda array: torch.tensor(array, dtype=torch.float32)[None]
    network.eval()
    with torch.no_grad():
        for visits in data.subjects:
            seen = tensor(measured[visits].astype(float))[..., None]
            values = tensor(np.where(measured[visits, None], data.values[visits], 0.0))
            gap = tensor(gaps(data, visits))[..., None]
            said[visits] = network.generate(values, seen, gap, torch.zeros_like(values))[0].numpy()
    return said.clip(min=0)


def recurrent_gan(data, seed, budget):
    """Learns from the measured visits by hiding some of them, and says what the others held."""
    set_seed(seed)
    rng = np.random.default_rng(seed)
    aside = data.measured & (rng.random(len(data.measured)) < CHECK)
    fit_on = data.measured & ~aside
    network = Gan(data.values[fit_on].mean(axis=0))
    adam = lambda part: torch.optim.Adam(part.parameters(), lr=LEARNING_RATE)
    for_generator, for_discriminator = adam(network.generator), adam(network.discriminator)
    entropy = nn.functional.binary_cross_entropy_with_logits
    tensor = lambda rows: torch.tensor(np.stack(rows), dtype=torch.float32)

    def windows():
        values, known, gap = [], [], []
        for _ in range(BATCH):
            visits = data.subjects[rng.integers(len(data.subjects))]
            length = min(WINDOW, min(map(len, data.subjects)))
            visits = visits[rng.integers(len(visits) - length + 1) :][:length]
            values.append(np.where(fit_on[visits, None], data.values[visits], 0.0))
            known.append(fit_on[visits, None])
            gap.append(gaps(data, visits)[:, None])
        known = tensor(known)
        hidden = known * (torch.rand(known.shape) < HIDE * torch.rand(BATCH, 1, 1))
        return tensor(values), known - hidden, hidden, tensor(gap)

    def epoch():
        values, seen, hidden, gap = windows()
        said = network.generate(values, seen, gap, NOISE * torch.randn(values.shape))
        mean = lambda errors, where: (errors * where).sum() / (where.sum() * values.shape[-1]).clamp(min=1)
        judged = network.judge(values, seen, gap, said.detach())
        loss = mean(entropy(judged, seen.expand(judged.shape), reduction="none"), seen + hidden)
        for_discriminator.zero_grad()
        loss.backward()
        for_discriminator.step()
        fooled = entropy(network.judge(values, seen, gap, said), torch.ones_like(said), reduction="none")
        loss = mean((said - values) ** 2, hidden) + ADVERSARIAL * mean(fooled, hidden)
        for_generator.zero_grad()
        loss.backward()
        for_generator.step()
        yield

    def check():
        error = fill(network, data, fit_on)[aside] - data.values[aside]
        return float(np.sqrt((error[data.values[aside] > 0] ** 2).mean()))

    train(network, epoch, check, budget)
    return fill(network, data, data.measured)


METHODS = {"last-value": last_value, "recurrent-gan": recurrent_gan}


def score(truth, said, hidden):
    """RMSE on what is present, after the visit is closed to 100 percent; AUROC of presence; mean Bray-Curtis."""
    truth, said = truth[hidden], said[hidden]
    percent, true = np.expm1(said).clip(min=0), np.expm1(truth)
    percent = 100 * percent / percent.sum(axis=1, keepdims=True)
    present = truth > 0
    error = (np.log1p(percent) - truth)[present]
    ranks = rankdata(said.ravel())[present.ravel()]
    n, n_absent = present.sum(), (~present).sum()
    return {
        "n": int(n),
        "rmse_ln": math.sqrt((error**2).mean()),
        "auroc": (ranks.sum() - n * (n + 1) / 2) / (n * n_absent),
        "bray_curtis": float(np.abs(percent - true).sum(axis=1).mean() / 200),
    }


def trials(arguments):
    """Fraction, seed, what is known, and the truth of each trial of the program."""
    table = read_table(arguments.table, arguments.time)
    with tempfile.TemporaryDirectory() as scratch:
        command = [arguments.masks, arguments.table, scratch, "--protocol", "time_point"]
        command += ["--subject", arguments.subject, "--time", arguments.time, "--seeds", str(arguments.seeds)]
        subprocess.run(command, check=True)
        features = [row["feature_id"] for row in read_tsv(Path(scratch) / "features.tsv")]
        column_of = {name: j for j, name in enumerate(table.features)}
        row_of = {name: i for i, name in enumerate(table.samples)}
        for folder in sorted(path for path in Path(scratch).iterdir() if path.is_dir()):
            seed, fraction = folder.name.removeprefix("seed").split("_")
            rows = read_tsv(folder / "samples.tsv")
            at = [row_of[row["sample_id"]] for row in rows]
            counts = table.counts[at][:, [column_of[name] for name in features]]
            truth = ln1p_percent(counts, counts.sum(axis=1))
            place = {row["sample_id"]: i for i, row in enumerate(rows)}
            feature = {name: j for j, name in enumerate(features)}
            n_hidden = np.zeros(len(at), int)
            for row in read_tsv(folder / "hidden.tsv"):
                visit = place[row["sample_id"]]
                n_hidden[visit] += 1
                if abs(truth[visit, feature[row["feature_id"]]] - float(row["truth"])) > 1e-9:
                    sys.exit(f"{folder}: the values differ from those of the program: is it the same table?")
            if not np.isin(n_hidden, [0, len(features)]).all():
                sys.exit(f"{folder}: a visit is hidden in part")
            groups = np.array([int(row["group"]) for row in rows])
            known = np.where(n_hidden[:, None] > 0, np.nan, truth)
            yield fraction, seed, series(known, n_hidden == 0, groups, table.times[at]), truth


def run(arguments):
    """Runs every method on every trial; a line is written as soon as it is known."""
    with open(arguments.out, "w") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for fraction, seed, data, truth in trials(arguments):
            for method in METHODS:
                start = time.perf_counter()
                said = METHODS[method](data, int(seed), arguments.budget)
                row = {"table": Path(arguments.table).name, "fraction": fraction, "method": method, "seed": seed}
                row |= score(truth, said, ~data.measured) | {"seconds": round(time.perf_counter() - start, 2)}
                writer.writerow(row)
                file.flush()
                print(*(f"{row[name]:.4f}" if isinstance(row[name], float) else row[name] for name in COLUMNS))


def agree(ours, program):
    """Stops where the pooled scores of a method of both files differ."""
    n = 0
    for theirs in program["scores"]:
        of_method = [row for row in ours if row["method"] == theirs["method"]]
        if not of_method:
            continue
        n += 1
        total = sum(int(row["n"]) for row in of_method)
        square = sum(int(row["n"]) * float(row["rmse_ln"]) ** 2 for row in of_method)
        mean = lambda name: sum(float(row[name]) for row in of_method) / len(of_method)
        for name, found, expected in [
            ("n", total, theirs["n"]),
            ("RMSE", math.sqrt(square / total), theirs["rmse"]),
            ("AUROC", mean("auroc"), theirs["auroc"]),
            ("Bray-Curtis", mean("bray_curtis"), theirs["depth"]["bray_curtis_completed"]),
        ]:
            if abs(found - expected) > 1e-6:
                sys.exit(f"{theirs['method']}: {name} {found} here, {expected} by the program")
    if n == 0:
        sys.exit("no method in common: run `suffuse evaluate --protocol time_point --methods last-value --json`")
    print(f"{n} methods agree to 1e-6")


def smoke():
    """Runs each method for a few steps on two simulated subjects and looks at what it returns."""
    rng = np.random.default_rng(0)
    groups, times = np.repeat([0, 1], 20), np.tile(np.arange(20.0), 2)
    counts = rng.poisson(np.exp(rng.normal(2, 1, (2, 12)))[groups]) + 1.0
    truth = ln1p_percent(counts, counts.sum(axis=1))
    measured = rng.random(40) > 0.2
    data = series(np.where(measured[:, None], truth, np.nan), measured, groups, times)
    for name, method in METHODS.items():
        said = method(data, 0, SMOKE)
        if said.shape != truth.shape or not np.isfinite(said[~measured]).all():
            sys.exit(f"{name}: {said.shape}, or values that are not finite")
        print(f"{name:15} {np.abs(said - truth)[~measured].mean():.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", help="h5ad")
    parser.add_argument("--subject", help="column of the subject")
    parser.add_argument("--time", help="numeric column of the time")
    parser.add_argument("--out", default="visits.tsv")
    parser.add_argument("--seeds", type=int, default=1, help="mask seeds 0, 1, ...")
    parser.add_argument("--max-steps", type=int, default=Budget.max_steps)
    parser.add_argument("--masks", default=ROOT / "target/release/examples/masks", help="the built example")
    parser.add_argument("--smoke", action="store_true", help="a few steps on a simulated table")
    parser.add_argument("--agree", metavar="JSON", help="output of `suffuse evaluate --json` to compare --out with")
    arguments = parser.parse_args()
    arguments.budget = Budget(max_steps=arguments.max_steps)
    torch.set_num_threads(1)
    if arguments.agree:
        with open(arguments.out) as ours, open(arguments.agree) as program:
            agree(list(csv.DictReader(ours, delimiter="\t")), json.load(program))
    elif arguments.smoke:
        smoke()
    elif arguments.table and arguments.subject and arguments.time:
        run(arguments)
    else:
        parser.error("name a table with --subject and --time, or --smoke, or --agree")


if __name__ == "__main__":
    main()
