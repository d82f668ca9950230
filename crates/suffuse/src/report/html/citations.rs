//! The papers behind what was used.

use serde::Serialize;

/// A paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Citation {
    pub(super) text: &'static str,
    pub(super) link: &'static str,
    /// What it is cited for.
    pub(super) what: &'static str,
}

/// What is cited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic<'a> {
    /// A method by its name on the command line.
    Method(&'a str),
    /// Calibrated intervals.
    Intervals,
    /// The score of draws.
    Crps,
    /// Ranks of the truth among draws.
    Ranks,
    /// Intervals of ratios.
    Bootstrap,
    /// Distances and ordination of samples.
    Ordination,
    /// Several completed tables.
    MultipleImputation,
    /// Two sets of samples.
    TwoSets,
    /// Distances and diversity on a tree.
    Phylogeny,
}

const DEPMICRODIFF: Citation = Citation {
    text: "Sadia RT, Cheng Q (2025). DepMicroDiff: Diffusion-based dependency-aware multimodal imputation for microbiome data. arXiv:2507.23676.",
    link: "https://arxiv.org/abs/2507.23676",
    what: "the diffusion model",
};
const DDPM: Citation = Citation {
    text: "Ho J, Jain A, Abbeel P (2020). Denoising diffusion probabilistic models. NeurIPS 33. arXiv:2006.11239.",
    link: "https://arxiv.org/abs/2006.11239",
    what: "diffusion models",
};
const EXTRA_TREES: Citation = Citation {
    text: "Geurts P, Ernst D, Wehenkel L (2006). Extremely randomized trees. Machine Learning 63:3-42.",
    link: "https://doi.org/10.1007/s10994-006-6226-1",
    what: "extra-trees",
};
const MISS_FOREST: Citation = Citation {
    text: "Stekhoven DJ, Bühlmann P (2012). MissForest: non-parametric missing value imputation for mixed-type data. Bioinformatics 28:112-118.",
    link: "https://doi.org/10.1093/bioinformatics/btr597",
    what: "forests that fill gaps",
};
const SOFT_IMPUTE: Citation = Citation {
    text: "Mazumder R, Hastie T, Tibshirani R (2010). Spectral regularization algorithms for learning large incomplete matrices. Journal of Machine Learning Research 11:2287-2322.",
    link: "https://www.jmlr.org/papers/v11/mazumder10a.html",
    what: "soft-impute and svd",
};
const KNN: Citation = Citation {
    text: "Troyanskaya O et al. (2001). Missing value estimation methods for DNA microarrays. Bioinformatics 17:520-525.",
    link: "https://doi.org/10.1093/bioinformatics/17.6.520",
    what: "knn",
};
const NMF: Citation = Citation {
    text: "Lee DD, Seung HS (1999). Learning the parts of objects by non-negative matrix factorization. Nature 401:788-791.",
    link: "https://doi.org/10.1038/44565",
    what: "nmf",
};
const LOCAL_LEAST_SQUARES: Citation = Citation {
    text: "Kim H, Golub GH, Park H (2005). Missing value estimation for DNA microarray gene expression data: local least squares imputation. Bioinformatics 21:187-198.",
    link: "https://doi.org/10.1093/bioinformatics/bth499",
    what: "local-least-squares",
};
const RIDGE: Citation = Citation {
    text: "Hoerl AE, Kennard RW (1970). Ridge regression: biased estimation for nonorthogonal problems. Technometrics 12:55-67.",
    link: "https://doi.org/10.1080/00401706.1970.10488634",
    what: "ridge",
};
const CONFORMAL: Citation = Citation {
    text: "Lei J, G'Sell M, Rinaldo A, Tibshirani RJ, Wasserman L (2018). Distribution-free predictive inference for regression. Journal of the American Statistical Association 113:1094-1111.",
    link: "https://doi.org/10.1080/01621459.2017.1307116",
    what: "calibrated intervals (split conformal prediction)",
};
const FAIR_SCORES: Citation = Citation {
    text: "Ferro CAT (2014). Fair scores for ensemble forecasts. Quarterly Journal of the Royal Meteorological Society 140:1917-1923.",
    link: "https://doi.org/10.1002/qj.2270",
    what: "the score of draws (fair CRPS)",
};
const RANK_HISTOGRAM: Citation = Citation {
    text: "Hamill TM (2001). Interpretation of rank histograms for verifying ensemble forecasts. Monthly Weather Review 129:550-560.",
    link: "https://doi.org/10.1175/1520-0493(2001)129%3C0550:IORHFV%3E2.0.CO;2",
    what: "the rank histogram",
};
const BOOTSTRAP: Citation = Citation {
    text: "Efron B, Tibshirani RJ (1993). An introduction to the bootstrap. Chapman and Hall.",
    link: "https://doi.org/10.1201/9780429246593",
    what: "the intervals of ratios",
};
const BRAY_CURTIS: Citation = Citation {
    text: "Bray JR, Curtis JT (1957). An ordination of the upland forest communities of southern Wisconsin. Ecological Monographs 27:325-349.",
    link: "https://doi.org/10.2307/1942268",
    what: "distances between samples",
};
const GOWER: Citation = Citation {
    text: "Gower JC (1966). Some distance properties of latent root and vector methods used in multivariate analysis. Biometrika 53:325-338.",
    link: "https://doi.org/10.1093/biomet/53.3-4.325",
    what: "principal coordinates",
};
const PERMANOVA: Citation = Citation {
    text: "Anderson MJ (2001). A new method for non-parametric multivariate analysis of variance. Austral Ecology 26:32-46.",
    link: "https://doi.org/10.1111/j.1442-9993.2001.01070.pp.x",
    what: "PERMANOVA",
};
const PERMDISP: Citation = Citation {
    text: "Anderson MJ (2006). Distance-based tests for homogeneity of multivariate dispersions. Biometrics 62:245-253.",
    link: "https://doi.org/10.1111/j.1541-0420.2005.00440.x",
    what: "PERMDISP",
};
const RANDOM_FOREST: Citation = Citation {
    text: "Breiman L (2001). Random forests. Machine Learning 45:5-32.",
    link: "https://doi.org/10.1023/A:1010933404324",
    what: "the random forest",
};
const CLASSIFIER_TESTS: Citation = Citation {
    text: "Lopez-Paz D, Oquab M (2017). Revisiting classifier two-sample tests. ICLR. arXiv:1610.06545.",
    link: "https://arxiv.org/abs/1610.06545",
    what: "telling two sets apart by a classifier and by neighbours",
};
const KERNEL_TEST: Citation = Citation {
    text: "Gretton A et al. (2012). A kernel two-sample test. Journal of Machine Learning Research 13:723-773.",
    link: "https://www.jmlr.org/papers/v13/gretton12a.html",
    what: "MMD2",
};
const PROPORTIONALITY: Citation = Citation {
    text: "Lovell D et al. (2015). Proportionality: a valid alternative to correlation for relative data. PLoS Computational Biology 11:e1004075.",
    link: "https://doi.org/10.1371/journal.pcbi.1004075",
    what: "proportionality of taxa",
};
const UNIFRAC: Citation = Citation {
    text: "Lozupone C, Knight R (2005). UniFrac: a new phylogenetic method for comparing microbial communities. Applied and Environmental Microbiology 71:8228-8235.",
    link: "https://doi.org/10.1128/AEM.71.12.8228-8235.2005",
    what: "UniFrac",
};
const GENERALISED_UNIFRAC: Citation = Citation {
    text: "Chen J et al. (2012). Associating microbiome composition with environmental covariates using generalized UniFrac distances. Bioinformatics 28:2106-2113.",
    link: "https://doi.org/10.1093/bioinformatics/bts342",
    what: "generalised UniFrac",
};
const FAITH: Citation = Citation {
    text: "Faith DP (1992). Conservation evaluation and phylogenetic diversity. Biological Conservation 61:1-10.",
    link: "https://doi.org/10.1016/0006-3207(92)91201-3",
    what: "diversity on a tree",
};
const RUBIN: Citation = Citation {
    text: "Rubin DB (1987). Multiple imputation for nonresponse in surveys. Wiley.",
    link: "https://doi.org/10.1002/9780470316696",
    what: "several completed tables",
};

/// The papers of these topics, each once, in their order.
pub(super) fn of<'a>(topics: impl IntoIterator<Item = Topic<'a>>) -> Vec<Citation> {
    let mut found: Vec<Citation> = Vec::new();
    for topic in topics {
        let papers: &[Citation] = match topic {
            Topic::Method("depmicrodiff" | "depmicrodiff-without-times" | "diffusion" | "auto") => {
                &[DEPMICRODIFF, DDPM]
            }
            Topic::Method("extra-trees") => &[EXTRA_TREES, MISS_FOREST],
            Topic::Method("soft-impute" | "svd") => &[SOFT_IMPUTE],
            Topic::Method("knn") => &[KNN],
            Topic::Method("nmf") => &[NMF],
            Topic::Method("local-least-squares") => &[LOCAL_LEAST_SQUARES],
            Topic::Method("ridge") => &[RIDGE],
            Topic::Method(_) => &[],
            Topic::Intervals => &[CONFORMAL],
            Topic::Crps => &[FAIR_SCORES],
            Topic::Ranks => &[RANK_HISTOGRAM],
            Topic::Bootstrap => &[BOOTSTRAP],
            Topic::Ordination => &[BRAY_CURTIS, GOWER],
            Topic::MultipleImputation => &[RUBIN],
            Topic::TwoSets => &[
                RANDOM_FOREST,
                CLASSIFIER_TESTS,
                KERNEL_TEST,
                PERMANOVA,
                PERMDISP,
                PROPORTIONALITY,
            ],
            Topic::Phylogeny => &[UNIFRAC, GENERALISED_UNIFRAC, FAITH],
        };
        for paper in papers {
            if !found.contains(paper) {
                found.push(*paper);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paper_is_cited_once_and_links_are_safe() {
        let methods = crate::method::all();
        let names: Vec<String> = methods.iter().map(ToString::to_string).collect();
        let topics = names.iter().map(|name| Topic::Method(name));
        let found = of(topics.chain([
            Topic::Ordination,
            Topic::Ordination,
            Topic::TwoSets,
            Topic::Phylogeny,
        ]));
        assert_eq!(
            found
                .iter()
                .filter(|c| c.link.contains("2507.23676"))
                .count(),
            1
        );
        assert_eq!(
            found
                .iter()
                .filter(|c| c.what == "principal coordinates")
                .count(),
            1
        );
        assert!(found.iter().all(|c| c.link.starts_with("https://")));
    }
}
