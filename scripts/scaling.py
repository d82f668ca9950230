"""How time and memory grow with taxa and with samples; writes the figures of docs/guide/speed.md.

    cargo build --release --workspace --example simulate && cargo build --release --workspace
    python scripts/scaling.py docs/img            all of it: most of an hour on two cores
    python scripts/scaling.py docs/img taxa 100 250
    python scripts/scaling.py docs/img samples 1000 10000

Tables are simulated. Fits are cut to a few steps, whose time is what a step of a whole fit takes.
Nothing else should run. Needs Python alone, on Linux.
"""

import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM, SIMULATE = ROOT / "target/release/suffuse", ROOT / "target/release/examples/simulate"
N_STEPS = 30
N_SAMPLES = 1000  # of the tables of more and more taxa
N_TAXA = 100  # of the tables of more and more samples
MASKS = {
    "all taxa": ["--set", "dat.group_size=10000000"],
    "dependents only": ["--set", "dat.group_size=10000000", "--set", "dat.dependency_mask=restrict"],
    "groups of 256": ["--set", "dat.group_size=256"],
    "groups of 512 (default)": [],
}
FEW_STEPS = [f"--set={stage}.training.n_steps={N_STEPS}" for stage in ("vae", "dat")]
COLOURS = ["#b4533c", "#9aa5b1", "#2f6f9f", "#6a9a5b"]


def run(arguments):
    """Seconds at which each stage was first and last heard of, seconds in all, and peak MiB."""
    began = time.perf_counter()
    command = [str(part) for part in [PROGRAM, *arguments, "--force"]]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    stages, peak = {}, 0
    for line in process.stderr:
        if found := re.match(r"(\w+): step (\d+) of", line):
            stages.setdefault(found[1], []).append(time.perf_counter() - began)
        for status in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if status.startswith("VmHWM"):
                peak = max(peak, int(status.split()[1]) / 1024)
    if process.wait() != 0:
        sys.exit(f"{' '.join(command)} failed")
    return {stage: (times[0], times[-1]) for stage, times in stages.items()}, time.perf_counter() - began, peak


def simulated(folder, n_samples, n_taxa):
    path = Path(folder) / f"{n_samples}x{n_taxa}.h5ad"
    if not path.exists():
        subprocess.run([SIMULATE, str(n_samples), str(n_taxa), path], check=True)
    return path


def by_taxa(folder, figures, sizes):
    print("| taxa | attention | `Dep` s | denoiser, ms a step | samples a step | filling, ms a sample and draw | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    lines = {"denoiser": {}, "peak": {}}
    for n_taxa in sizes:
        table = simulated(folder, N_SAMPLES, n_taxa)
        batch = max(1, min(32, 8192 // n_taxa))
        for name, mask in MASKS.items():
            arguments = ["impute", table, "-o", f"{folder}/out.h5ad", "--draws", "1", *FEW_STEPS, *mask]
            stages, seconds, peak = run(arguments)
            dependencies = stages["vae"][0]
            step = (stages["denoiser"][1] - stages["denoiser"][0]) / (N_STEPS - 1)
            filling = (seconds - stages["denoiser"][1]) / N_SAMPLES
            lines["denoiser"].setdefault(name, []).append((n_taxa, 1e3 * step))
            lines["peak"].setdefault(name, []).append((n_taxa, peak))
            cells = [n_taxa, name, f"{dependencies:.1f}", f"{1e3 * step:.0f}", batch, f"{1e3 * filling:.1f}", f"{peak:.0f}"]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    panels = [("denoiser: ms a step", lines["denoiser"]), ("peak MiB", lines["peak"])]
    picture = chart(f"{N_SAMPLES} samples, more and more taxa", "taxa", panels)
    (figures / "scaling-taxa.svg").write_text(picture)


def by_samples(folder, figures, sizes):
    model = f"{folder}/model"
    run(["fit", simulated(folder, 1000, N_TAXA), "-o", model, *FEW_STEPS])
    print("| samples | fill: s | samples a second | peak MiB | fit: s | peak MiB |")
    print("|---|---|---|---|---|---|")
    lines = {"time": [], "fill": [], "fit": []}
    for n_samples in sizes:
        table = simulated(folder, n_samples, N_TAXA)
        options = ["-o", f"{folder}/out.h5ad", "--draws", "2", "--sampler", "ddim:2"]
        _, fill, fill_peak = run(["impute", table, "--model", model, *options])
        _, fit, fit_peak = run(["fit", table, "-o", f"{folder}/other", *FEW_STEPS])
        lines["time"].append((n_samples, fill))
        lines["fill"].append((n_samples, fill_peak))
        lines["fit"].append((n_samples, fit_peak))
        cells = [n_samples, f"{fill:.1f}", f"{n_samples / fill:.0f}", f"{fill_peak:.0f}", f"{fit:.1f}", f"{fit_peak:.0f}"]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    panels = [
        ("fill by a fitted model: s", {"": lines["time"]}),
        ("peak MiB", {"fit": lines["fit"], "fill": lines["fill"]}),
    ]
    picture = chart(f"{N_TAXA} taxa, more and more samples", "samples", panels)
    (figures / "scaling-samples.svg").write_text(picture)


def text(x, y, content, anchor="middle", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{content}</text>'


def chart(title, x_name, panels):
    """Panels of lines on logarithmic axes: (name, {line: [(x, y)]})."""
    width, height, top, base = 380 * len(panels) + 20, 340, 70, 270
    parts = [f'<rect width="{width}" height="{height}" fill="white"/>', text(width / 2, 22, title, size=15)]
    for p, (name, lines) in enumerate(panels):
        left, right = 70 + 380 * p, 380 * (p + 1) - 10
        points = [point for line in lines.values() for point in line]
        xs = sorted({x for x, _ in points})
        low = 10 ** math.floor(math.log10(min(y for _, y in points)))
        high = 10 ** math.ceil(math.log10(max(y for _, y in points)) + 1e-9)
        px = lambda x: left + 15 + math.log(x / xs[0]) / (math.log(xs[-1] / xs[0]) or 1) * (right - left - 30)
        py = lambda y: base - math.log(y / low) / math.log(high / low) * (base - top)
        parts.append(text((left + right) / 2, 50, name))
        parts.append(f'<path d="M{left} {top}V{base}H{right}" fill="none" stroke="black"/>')
        parts += [text(px(x), base + 18, f"{x:,}", size=10) for x in xs]
        for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
            parts.append(text(left - 6, py(10**power) + 4, f"{10**power:,g}", anchor="end", size=10))
            parts.append(f'<path d="M{left} {py(10**power):.1f}H{right}" stroke="#ddd"/>')
        parts.append(text((left + right) / 2, base + 36, x_name))
        for k, (label, line) in enumerate(lines.items()):
            path = "M" + "L".join(f"{px(x):.1f} {py(y):.1f}" for x, y in line)
            colour = COLOURS[k % len(COLOURS)]
            parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="3" fill="{colour}"/>' for x, y in line]
            if label:
                parts.append(f'<rect x="{left + 12}" y="{top + 4 + 18 * k}" width="10" height="10" fill="{colour}"/>')
                parts.append(text(left + 28, top + 13 + 18 * k, label, anchor="start"))
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
    return "\n".join([frame, *parts, "</svg>", ""])


def main():
    figures, which = Path(sys.argv[1]), sys.argv[2:3]
    sizes = [int(size) for size in sys.argv[3:]]
    with tempfile.TemporaryDirectory() as folder:
        if which in ([], ["taxa"]):
            by_taxa(folder, figures, sizes or [100, 250, 500, 1000, 2000])
        if which in ([], ["samples"]):
            by_samples(folder, figures, sizes or [1000, 10_000, 100_000])


main()
