"""scVI (Lopez et al. 2018) from PyPI, with its default network and training.

scVI has no way to be told that an entry is unknown: hidden entries are zeros to it, in `published` in
training too. What it is told of presence goes into the last step alone: the value is expected under
its negative binomial, given that the entry is present.
"""

import logging
import warnings

import numpy as np
import torch

from counts import expected_log, whole_counts
from training import set_seed

N_LATENT_DRAWS = 10
TRAIN_SHARE = 0.85
N_EPOCHS = 400


def annotated(part):
    """A part as scVI takes it, without samples of which nothing is left."""
    import anndata

    counts = whole_counts(part).astype(np.float32)
    keep = counts.sum(axis=1) > 0
    return anndata.AnnData(counts[keep]), keep


def fit(part, seed, budget):
    """Fits on `part` and returns the function that fills another."""
    import scvi

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    scvi.settings.seed = seed
    scvi.settings.verbosity = logging.ERROR
    set_seed(seed)
    data, _ = annotated(part)
    scvi.model.SCVI.setup_anndata(data)
    model = scvi.model.SCVI(data)
    n_batches = -(-data.n_obs // 128)
    model.train(
        max_epochs=max(1, min(N_EPOCHS, budget.max_steps // n_batches)),
        train_size=TRAIN_SHARE,
        early_stopping=True,
        accelerator="cpu",
        enable_progress_bar=False,
    )

    def fill(test):
        set_seed(seed)
        data, keep = annotated(test)
        mean, dispersion = np.zeros(test.counts.shape), np.ones(test.counts.shape)
        said = model.get_likelihood_parameters(data, n_samples=N_LATENT_DRAWS, give_mean=True)
        mean[keep], dispersion[keep] = said["mean"], said["dispersions"]
        return expected_log(mean, dispersion, test, seed)

    return fill
