"""Average linkage by scipy of Bray-Curtis distances."""

from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist, squareform

from golden import write, zero_inflated

table = zero_inflated(5, 20, 12, 0.3)
distances = pdist(table, "braycurtis")
write("average_linkage", ["scipy"], {"distances": squareform(distances), "linkage": linkage(distances, "average")})
