"""Opens files that suffuse wrote with the formats' own libraries and compares their content.

    python check_written.py FOLDER

FOLDER holds t.h5ad, t.biom, t.biom.json, expected.json (their content; null is missing) and
large.h5ad, spooled.h5ad and pages.h5ad (their content is a formula).
Ends with an AssertionError on the first difference. Needs anndata >= 0.11, biom-format, h5py.
"""

import json
import sys
from pathlib import Path

import anndata as ad
import biom
import h5py
import numpy as np
import pandas as pd


def array(rows):
    return np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=float)


def same(found, expected, what):
    np.testing.assert_array_equal(np.asarray(found, dtype=float), array(expected), err_msg=what)


def check_columns(frame, columns):
    assert list(frame.columns) == list(columns), (list(frame.columns), list(columns))
    for name, expected in columns.items():
        found = [None if pd.isna(v) else v for v in frame[name].astype(object)]
        assert found == expected, (name, found, expected)


def check_h5ad(path, expected):
    table = ad.read_h5ad(path)
    assert list(table.obs_names) == expected["samples"]
    assert list(table.var_names) == expected["features"]
    same(table.X.toarray(), expected["values"], "X")
    check_columns(table.obs, expected["obs"])
    assert table.obs["category"].dtype == pd.CategoricalDtype(["unused", "b", "a"], ordered=True)
    assert table.obs["flag"].dtype == bool, table.obs["flag"].dtype
    assert list(table.var["taxonomy"]) == expected["lineages"]
    same(table.layers["dense"], expected["layer"], "dense layer")
    same(table.layers["sparse"].toarray(), expected["layer"], "sparse layer")
    assert table.layers["codes"].dtype == np.uint8
    assert table.layers["codes"].ravel().tolist() == expected["codes"]
    assert list(table.uns["codes_meanings"]) == expected["meanings"]
    same(table.obsm["position"], expected["obsm"], "obsm")
    check_facts(table.uns, expected["uns"])
    # What anndata has read it can write and read again.
    copy = path.with_name("copy.h5ad")
    table.write_h5ad(copy)
    same(ad.read_h5ad(copy).X.toarray(), expected["values"], "X of the copy")
    copy.unlink()


def check_facts(found, expected):
    for key, value in expected.items():
        if isinstance(value, dict):
            check_facts(found[key], value)
        elif isinstance(value, list):
            assert list(found[key]) == value, (key, found[key], value)
        elif value is None:
            assert np.isnan(found[key]), (key, found[key])
        else:
            assert found[key] == value and not isinstance(found[key], np.ndarray), (key, found[key])


def check_biom(path, expected):
    table = biom.load_table(str(path))
    assert list(table.ids()) == expected["samples"]
    assert list(table.ids("observation")) == expected["features"]
    same(table.matrix_data.toarray().T, expected["values"], path.name)
    for feature, lineage in zip(expected["features"], expected["lineages"]):
        assert "; ".join(table.metadata(feature, "observation")["taxonomy"]) == lineage
    pathways = [table.metadata(feature, "observation")["KEGG_Pathways"] for feature in expected["features"]]
    if h5py.is_hdf5(path):
        assert pathways == [["M", "x"], ["M"], None, ["M", "y z"]], pathways
    else:
        assert pathways == ["M; x", "M", "", "M; y z"], pathways
    for sample, text in zip(expected["samples"], expected["obs"]["text"]):
        assert (table.metadata(sample)["text"] or None) == text, (sample, table.metadata(sample))


def check_biom_hdf5(path, expected):
    """The parts that BIOM 2.1 demands, and that both copies of the matrix agree."""
    with h5py.File(path) as f:
        for name in ["id", "type", "format-url", "format-version", "generated-by", "creation-date"]:
            assert name in f.attrs, name
        assert tuple(f.attrs["format-version"]) == (2, 1)
        shape = (len(expected["features"]), len(expected["samples"]))
        assert tuple(f.attrs["shape"]) == shape
        assert f.attrs["nnz"] == len(f["sample/matrix/data"]) == len(f["observation/matrix/data"])
        for axis in ["observation", "sample"]:
            for group in ["matrix", "metadata", "group-metadata"]:
                assert group in f[axis]
        dense = np.zeros(shape)
        for axis in ["observation", "sample"]:
            part = f[axis]["matrix"]
            again = np.zeros(shape)
            starts = part["indptr"][:]
            for major in range(len(starts) - 1):
                for at in range(starts[major], starts[major + 1]):
                    minor = part["indices"][at]
                    place = (major, minor) if axis == "observation" else (minor, major)
                    again[place] = part["data"][at]
            if axis == "observation":
                dense = again
        np.testing.assert_array_equal(dense, again)


def check_large(path):
    """Entry (i, j) is (7 i + j) mod 5: enough of them that every dataset has several chunks."""
    table = ad.read_h5ad(path)
    rows, columns = np.indices(table.shape)
    expected = (7 * rows + columns) % 5
    assert table.shape == (70_000, 3), table.shape
    np.testing.assert_array_equal(table.X.toarray(), expected)
    np.testing.assert_array_equal(table.layers["dense"], expected)
    np.testing.assert_array_equal(table.layers["codes"], expected)
    np.testing.assert_array_equal(table.obs["row"], np.arange(len(table)))
    assert list(table.obs_names[[0, -1]]) == ["s0", "s69999"]


def check_pages(path):
    """More chunks than a page of the chunk index holds: sample i has the code i mod 251 throughout."""
    table = ad.read_h5ad(path)
    assert table.shape == (1030, 32_768), table.shape
    codes = np.arange(1030) % 251
    np.testing.assert_array_equal(table.layers["codes"], np.tile(codes[:, None], (1, 32_768)))


def main(folder):
    expected = json.loads((folder / "expected.json").read_text())
    check_h5ad(folder / "t.h5ad", expected)
    check_biom(folder / "t.biom", expected)
    check_biom_hdf5(folder / "t.biom", expected)
    check_biom(folder / "t.biom.json", expected)
    check_large(folder / "large.h5ad")
    check_large(folder / "spooled.h5ad")
    check_pages(folder / "pages.h5ad")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
