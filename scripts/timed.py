"""A command with what it took, for the scripts that measure."""

import os
import subprocess
import sys
import time


def timed(command):
    """Text on stdout, seconds and peak MiB of a command; ends the script where it fails."""
    command = list(map(str, command))
    print(" ".join(command), file=sys.stderr, flush=True)
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"ended with status {status}: {' '.join(command)}")
    return text, time.monotonic() - started, usage.ru_maxrss / 1024
