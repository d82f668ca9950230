"""Training steps, calls and samplings of suffuse and of the same networks in PyTorch, in turns.

    just bench-peers                  builds, sets up a Python environment, runs this
    python scripts/bench_peers.py --rounds 20 --networks denoiser-106 unet

One run does, round after round, a few of ours and a few of PyTorch's, with two threads each, and prints
medians, their ratio and its quartiles, achieved GFLOP/s beside those of a large matrix product, and
peak memory. Only ratios within a run mean something, and only if nothing else runs. Both sides start
from the same weights and the same batch; the losses of the first ten steps, the output of a call and
the samples must agree, or the run ends with an error.

step    a training step: forward, backward, clipping, AdamW, moving average of the weights
call    the network's output without gradients, nothing cached
sample  20 DDIM steps of the denoiser; ours encodes the condition and the clean tokens once and keeps
        their keys and values, PyTorch's runs the whole network at each step
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "2"
os.environ["MIMALLOC_PURGE_DELAY"] = "-1"  # what the program `suffuse` sets for itself as it starts
import torch
from torch.utils.flop_counter import FlopCounterMode

import peer_networks

PROGRAM = Path(__file__).resolve().parent.parent / "target/release/examples/peers"
TURN_SECONDS = 0.2
NETWORKS = ["denoiser-106", "denoiser-250", "transformer", "unet", "vae-106", "vae-250"]
# Largest ratios that the project allows itself, of a step and of a call.
GOALS = {"denoiser": (0.67, 0.5), "transformer": (0.67, 0.5), "unet": (1.0, None), "vae": (0.9, None)}


class Ours:
    """The program that does our side on request."""

    def __init__(self, network, path):
        command = [str(PROGRAM), network, path]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def __call__(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        seconds, number = self.process.stdout.readline().split()
        return float(seconds), float(number)

    def end(self):
        peak = peak_mib(self.process.pid)
        self.process.stdin.close()
        self.process.wait()
        return peak


class Peer:
    """PyTorch's side: AdamW and the average in one call over all weights."""

    def __init__(self, network, path):
        torch.set_num_threads(2)
        weights, batch = peer_networks.load(path)
        self.network = peer_networks.NETWORKS[network.split("-")[0]](weights, batch)
        # A copy that stays as it is, for calls.
        self.first = peer_networks.NETWORKS[network.split("-")[0]](
            {name: weight.clone() for name, weight in weights.items()}, batch
        )
        self.parameters = list(self.network.parameters())
        groups = [
            {"params": [p for p in self.parameters if p.dim() > 1], "weight_decay": 0.01},
            {"params": [p for p in self.parameters if p.dim() == 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
        self.average = [p.detach().clone() for p in self.parameters]

    def work(self, what):
        if what == "step":
            self.optimizer.zero_grad()
            loss = self.network.loss()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 0.005)
            return loss.item()
        with torch.no_grad():
            output = self.first() if what == "call" else self.first.sample()
            return output.square().mean().item() if output.dim() else output.item()

    def __call__(self, what):
        start = time.perf_counter()
        number = self.work(what)
        return time.perf_counter() - start, number


def peer_process(network, path):
    """Serves PyTorch's side as `Ours` is served, so that its memory is its own."""
    peer = Peer(network, path)
    print("ready", flush=True)
    for line in sys.stdin:
        what = line.strip()
        if what == "flops":
            with FlopCounterMode(display=False) as counter:
                peer.first.loss().backward()
            print(0.0, counter.get_total_flops(), flush=True)
        else:
            print(*peer(what), flush=True)


class PeerProcess(Ours):
    def __init__(self, network, path):
        command = [sys.executable, __file__, "--peer", network, path]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()


def peak_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the system tells no peak of memory")


def turn(side, what):
    """Seconds of one `what`: the mean of a few, after one that wakes the threads and fills the caches.

    Threads of the other side may still wait busily at the beginning of a turn.
    """
    seconds = side(what)[0]
    n = max(1, round(TURN_SECONDS / seconds))
    return statistics.fmean(side(what)[0] for _ in range(n))


def product_rate():
    """GFLOP/s of a large matrix product in PyTorch, best of five."""
    n = 3000
    a, b = torch.randn(n, n), torch.randn(n, n)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * n**3 / min(times) / 1e9


def compare(network, rounds):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/first.safetensors"
        ours, peer = Ours(network, path), PeerProcess(network, path)
        kinds = ["call", "step"] + (["sample"] if network.startswith("denoiser") else [])
        for what in kinds:
            for _ in range(10 if what == "step" else 1):
                (_, own), (_, other) = ours(what), peer(what)
                if not abs(own - other) <= 2e-3 * abs(other):
                    sys.exit(f"{network}: {what} gives {own}, PyTorch {other}")
        # One pass forward and backward by the rule that a product of matrices costs 2 m n k.
        _, flops = peer("flops")
        rows = []
        for what in kinds:
            pairs = [(turn(ours, what), turn(peer, what)) for _ in range(rounds)]
            ratios = [own / other for own, other in pairs]
            own, other = (statistics.median(side) for side in zip(*pairs))
            rows.append((what, own, other, statistics.median(ratios), statistics.quantiles(ratios, n=4)))
        peaks = ours.end(), peer.end()
    for what, own, other, ratio, quartiles in rows:
        goal = dict(zip(["step", "call"], GOALS[network.split("-")[0]])).get(what)
        rates = f"{flops / own / 1e9:9.0f} {flops / other / 1e9:9.0f}" if what == "step" else " " * 19
        memory = f"{peaks[0]:9.0f} {peaks[1]:9.0f}" if what == "step" else ""
        print(
            f"{network:13} {what:6} {1e3 * own:8.1f} {1e3 * other:8.1f} {ratio:6.2f} "
            f"{quartiles[0]:6.2f} - {quartiles[2]:.2f} {goal or '':>5} {rates} {memory}".rstrip(),
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    if arguments.peer:
        peer_process(*arguments.peer)
        return
    print(f"torch {torch.__version__}, two threads, large product {product_rate():.0f} GFLOP/s")
    print("                      ms           ratio               goal      GFLOP/s         peak MiB")
    print("network       what      ours    torch        quartiles           ours     torch     ours     torch")
    for network in arguments.networks:
        compare(network, arguments.rounds)


main()
