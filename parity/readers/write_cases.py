"""Writes one small table in every encoding that the readers claim, with the formats' own libraries.

    python write_cases.py FOLDER

Beside the files it writes expected.json: the table, and for each file the parts that it holds.
Needs anndata >= 0.11, biom-format, h5py, scipy.
"""

import json
import sys
from pathlib import Path

import anndata as ad
import biom
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

ad.settings.allow_write_nullable_strings = True

SAMPLES = ["s1", "s2", "s3", "sample vier", "s5"]
FEATURES = ["t1", "t2", "t3", "t4"]
NAN = float("nan")
VALUES = np.array(
    [[0, 1.5, 0, 2], [3, 0, NAN, 0], [0, 0, 0, 0], [0.25, 0, 0, 1e-9], [0, 7, 1e12, 0]], dtype=np.float64
)
COUNTS = np.array([[0, 1, 0, 2], [3, 0, 9, 0], [0, 0, 0, 0], [5, 0, 0, 1], [0, 7, 100, 0]])
OBS = pd.DataFrame(
    {
        "category": pd.Categorical(["b", None, "a", "b", "a"], categories=["b", "a", "unused"], ordered=True),
        "text": ["x", "ü", "", "y y", "z"],
        "number": [1.5, NAN, 3.0, -4.25, 0.0],
        "whole": np.array([1, 2, 3, 4, 5], dtype=np.int32),
        "long_name": np.arange(20231115123456701, 20231115123456706, dtype=np.int64),
        "longer_name": np.arange(2**63 + 1, 2**63 + 6, dtype=np.uint64),
        "flag": [True, False, True, True, False],
        "nullable_whole": pd.array([1, None, 3, 4, 5], dtype="Int64"),
        "nullable_flag": pd.array([True, None, False, True, True], dtype="boolean"),
        "nullable_text": pd.array(["p", None, "q", "r", "s"], dtype="string"),
    },
    index=SAMPLES,
)
LINEAGES = [
    ["k__Bacteria", "p__Firmicutes", "g__Blautia"],
    ["k__Bacteria", "p__Firmicutes", "g__"],
    ["k__Archaea", "p__Euryarchaeota", "g__Methanobrevibacter"],
    ["k__Bacteria", "p__Bacteroidetes", "g__Prevotella"],
]
VAR = pd.DataFrame([row for row in LINEAGES], index=FEATURES, columns=["Kingdom", "Phylum", "Genus"])
UNS = {
    "unit": "reads",
    "n": 3,
    "ratio": 0.5,
    "yes": True,
    "names": ["a", "b"],
    "numbers": [1, 2, 3],
    "deep": {"deeper": {"word": "x"}},
}
OBSM = np.arange(10, dtype=np.float32).reshape(5, 2)


def as_text(value):
    """The text that a column shows, None where the value is missing."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        return repr(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value)


def matrix(values):
    return [[None if np.isnan(v) else float(v) for v in row] for row in values]


def anndata(x):
    uns = {**UNS, "names": np.array(UNS["names"], dtype=object), "numbers": np.array(UNS["numbers"])}
    table = ad.AnnData(X=x, obs=OBS.copy(), var=VAR.copy(), uns=uns)
    table.layers["sparse"] = sp.csr_matrix(VALUES)
    table.layers["dense"] = VALUES.copy()
    table.obsm["dense"] = OBSM
    table.obsm["frame"] = pd.DataFrame(OBSM, index=SAMPLES, columns=["p", "q"])
    return table


def write_h5ad(folder, cases):
    encodings = {
        "csr": (sp.csr_matrix(VALUES), "values"),
        "csc": (sp.csc_matrix(VALUES), "values"),
        "csr_array": (sp.csr_array(VALUES), "values"),
        "dense_f64": (VALUES, "values"),
        "csr_f32": (sp.csr_matrix(COUNTS.astype(np.float32)), "counts"),
        "dense_f32": (COUNTS.astype(np.float32), "counts"),
        "dense_i64": (COUNTS.astype(np.int64), "counts"),
        "dense_u16": (COUNTS.astype(np.uint16), "counts"),
    }
    for name, (x, entries) in encodings.items():
        for compression in [None, "gzip", "lzf"]:
            file = f"{name}_{compression}.h5ad"
            # Otherwise text with missing values is written as categorical.
            anndata(x).write_h5ad(folder / file, compression=compression, convert_strings_to_categoricals=False)
            cases.append(case(file, entries, list(OBS), everything=True))


def write_unread_h5ad(folder):
    """Parts that have no place in a table."""
    table = ad.AnnData(np.log1p(COUNTS[:, 1:]), pd.DataFrame(index=SAMPLES), pd.DataFrame(index=FEATURES[1:]))
    table.layers["counts"] = sp.csc_matrix(COUNTS[:, 1:])
    table.raw = ad.AnnData(sp.csr_matrix(COUNTS), table.obs, pd.DataFrame(index=FEATURES))
    table.varm["loadings"] = np.ones((table.n_vars, 2))
    table.obsp["distances"] = np.ones((table.n_obs, table.n_obs))
    table.obsm["place"] = np.ones((table.n_obs, 2))
    table.obsm["cube"] = np.ones((table.n_obs, 2, 2))
    protein = {"CD3": np.ones(table.n_obs), "batch": ["x"] * table.n_obs}
    table.obsm["protein"] = pd.DataFrame(protein, index=table.obs_names)
    table.layers["words"] = np.full(table.shape, "x", dtype=object)
    table.obsm["sparse"] = sp.csr_matrix(np.ones((table.n_obs, 2)))
    table.uns["fact"] = {"word": "x", "matrix": np.ones((2, 2))}
    table.uns["log1p"] = {"word": "scanpy's mark of X"}
    table.uns["frame"] = pd.DataFrame({"a": [1, 2]})
    table.write_h5ad(folder / "unread.h5ad")


def write_legacy_h5ad(folder, cases):
    """As anndata 0.7 and before: categories beside the columns, marks of h5sparse, fixed text."""
    x = sp.csr_matrix(COUNTS.astype(np.float32))
    with h5py.File(folder / "legacy.h5ad", "w") as f:
        group = f.create_group("X")
        group.attrs["h5sparse_format"] = "csr"
        group.attrs["h5sparse_shape"] = x.shape
        for part in ["data", "indices", "indptr"]:
            group[part] = getattr(x, part)
        obs = f.create_group("obs")
        obs.attrs["_index"] = "index"
        obs.attrs["column-order"] = ["category", "number", "text"]
        obs["index"] = np.array(SAMPLES, dtype="S16")
        obs["category"] = np.array([0, -1, 1, 0, 1], dtype=np.int8)
        obs["__categories/category"] = np.array(["b", "a"], dtype="S4")
        obs["category"].attrs["categories"] = obs["__categories/category"].ref
        obs["number"] = OBS["number"].to_numpy()
        obs["text"] = np.array([t.encode() for t in OBS["text"]], dtype="S8")
        var = f.create_group("var")
        var.attrs["_index"] = "index"
        var["index"] = np.array(FEATURES, dtype="S4")
        for rank in VAR:
            var[rank] = np.array(list(VAR[rank]), dtype="S32")
    cases.append(case("legacy.h5ad", "counts", ["category", "number", "text"], taxonomy=True))


def write_biom(folder, cases):
    observation = [{"taxonomy": lineage, "conf": 0.5 * i} for i, lineage in enumerate(LINEAGES)]
    # BIOM knows no missing value; an empty text reads as missing.
    sample = [{"text": text} for text in OBS["text"]]
    table = biom.Table(VALUES.T, FEATURES, SAMPLES, observation, sample, type="OTU table")
    for compress in [True, False]:
        file = f"hdf5_{compress}.biom"
        with h5py.File(folder / file, "w") as f:
            table.to_hdf5(f, "write_cases.py", compress=compress)
        cases.append(case(file, "values", ["text"], taxonomy=True))
    # biom-format writes NaN as it stands, which is not JSON; the JSON cases have none.
    counts = biom.Table(COUNTS.T, FEATURES, SAMPLES, observation, sample, type="OTU table")
    sparse = json.loads(counts.to_json("write_cases.py"))
    (folder / "sparse.biom").write_text(json.dumps(sparse))
    dense = {**sparse, "matrix_type": "dense", "data": COUNTS.T.tolist()}
    (folder / "dense.biom.json").write_text(json.dumps(dense, indent=1))
    for row, lineage in zip(sparse["rows"], LINEAGES):
        row["metadata"]["taxonomy"] = "; ".join(lineage)
    (folder / "taxonomy_text.biom").write_text(json.dumps(sparse))
    for file in ["sparse.biom", "dense.biom.json", "taxonomy_text.biom"]:
        cases.append(case(file, "counts", ["text"], taxonomy=True))


def write_tenx(folder, cases):
    x = sp.csc_matrix(COUNTS.T.astype(np.int32))
    for version in [2, 3]:
        file = f"v{version}.h5"
        with h5py.File(folder / file, "w") as f:
            group = f.create_group("matrix" if version == 3 else "GRCh38")
            group["barcodes"] = np.array(SAMPLES, dtype="S")
            for part in ["data", "indices", "indptr"]:
                group.create_dataset(part, data=getattr(x, part), chunks=(64,), maxshape=(None,), compression="gzip")
            group["shape"] = np.array(x.shape, dtype=np.int32)
            if version == 3:
                features = group.create_group("features")
                features["id"] = np.array(FEATURES, dtype="S")
                features["name"] = np.array(FEATURES, dtype="S")
                features["feature_type"] = np.array(["Gene Expression"] * 4, dtype="S")
                features["_all_tag_keys"] = np.array(["genome"], dtype="S")
            else:
                group["genes"] = np.array(FEATURES, dtype="S")
                group["gene_names"] = np.array(FEATURES, dtype="S")
        cases.append(case(file, "counts", []))


def case(file, entries, obs, taxonomy=False, everything=False):
    return {
        "file": file,
        "entries": entries,
        "obs": obs,
        "taxonomy": taxonomy or everything,
        "layers_obsm_uns": everything,
    }


def main(folder):
    cases = []
    write_h5ad(folder, cases)
    write_unread_h5ad(folder)
    write_legacy_h5ad(folder, cases)
    write_biom(folder, cases)
    write_tenx(folder, cases)
    expected = {
        "cases": cases,
        "samples": SAMPLES,
        "features": FEATURES,
        "values": matrix(VALUES),
        "counts": matrix(COUNTS.astype(float)),
        "obs": {name: [as_text(v) for v in OBS[name].astype(object)] for name in OBS},
        "lineages": [[name.split("__")[1] for name in lineage] for lineage in LINEAGES],
        "obsm": matrix(OBSM.astype(float)),
        "uns": UNS,
    }
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
