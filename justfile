# Recipes for people who work on suffuse. `just` alone lists them. Install: `pip install rust-just`.

[private]
default:
    @just --list

# simulate a table, hide entries, fill them in, score, draw
demo *arguments:
    cargo run --release -- demo {{ arguments }}

# all tests, or those named: `just test -p suffuse-data biom`
test *arguments:
    scripts/test.sh {{ arguments }}

# what a pull request must pass, without the tests
lint:
    cargo fmt --all --check
    cargo clippy --release --locked --workspace --all-targets -- -D warnings
    cargo deny check licenses bans sources

# format all code
fmt:
    cargo fmt --all

# the book (docs/book) and the API pages (target/doc)
docs:
    mdbook build docs
    RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps

# everything that continuous integration runs
ci:
    bash .ci/run

# benchmarks of one crate's operators or steps: `just bench operators`, `just bench steps unet`
bench name *arguments:
    RAYON_NUM_THREADS=2 MIMALLOC_PURGE_DELAY=-1 cargo bench --locked --workspace --bench {{ name }} -- {{ arguments }}

# training steps in turns with the same models in PyTorch; nothing else should run. PIP_INDEX_URL can
# name an index with PyTorch's CPU builds, which are gigabytes smaller
bench-peers *arguments:
    cargo build --release --locked --workspace --example peers
    test -x .venv-bench/bin/python || python3 -m venv .venv-bench
    .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
    RAYON_NUM_THREADS=2 .venv-bench/bin/python scripts/bench_peers.py {{ arguments }}
