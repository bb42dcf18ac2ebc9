"""Clusters of presented items, so that decoded ones can be held against distractors of their own kind."""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster.hierarchy import cut_tree, ward
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import standardise

PER_CLUSTER = (
    25  # items a cluster holds on average: NSD's 1000 test pictures make 40, as in Shirakawa et al. 2024
)
AT_MOST = 10_000  # items: Ward's method holds every distance, 400 MB of float64


def same_cluster(features: Tensor, n_clusters: int | None = None) -> Tensor:
    """Cluster of each item, no cluster with fewer than two.

    Parameters
    ----------
    features : Tensor, shape (n_items, ...)
        Flattened after the first axis; compared by correlation. At most 10,000 items.
    n_clusters : int, optional
        One for every 25 items if not given.

    Returns
    -------
    Tensor of int64, shape (n_items,)
        The partition does not depend on the order of items. A cluster of one item joins the cluster of the item that
        is nearest to it, and goes with it where that is a cluster of one too.

    Notes
    -----
    Ward's method on features of unit length, Ward 1963, doi:10.1080/01621459.1963.10500845.
    """
    x = standardise(features.flatten(1).double()).cpu().numpy()
    n = checks.in_range("items to cluster", len(x), 2, AT_MOST)
    wanted = (
        -(-int(n) // PER_CLUSTER)
        if n_clusters is None
        else int(checks.in_range("n_clusters", n_clusters, 1, n))
    )
    found = cut_tree(ward(x), n_clusters=wanted)[:, 0]
    alone = np.flatnonzero(np.bincount(found)[found] == 1)
    similarity = x[alone] @ x.T
    similarity[np.arange(len(alone)), alone] = -np.inf
    joined = found[alone], found[similarity.argmax(1)]
    size = (found.max() + 1,) * 2
    groups = connected_components(coo_array((np.ones(len(alone)), joined), size), directed=False)[1]
    return torch.as_tensor(groups[found], dtype=torch.int64, device=features.device)
