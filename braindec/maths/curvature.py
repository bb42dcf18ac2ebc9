"""Ollivier-Ricci curvature of graphs of neighbours, and the communities that a flow by curvature pulls apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, shortest_path

from braindec import checks

IDLE = 0.5  # of a node's mass that stays where it is; the rest is spread evenly over its neighbours
MOST_UNITS = 600  # into which masses are cut and assigned; more are moved by a linear programme instead


class Curvature(NamedTuple):
    """Edges (edge, 2) of a graph, first node < second, and the curvature (edge,) of each, at most 1."""

    edges: np.ndarray
    values: np.ndarray

    def by_node(self, n: int) -> np.ndarray:
        """Mean curvature (n,) of each node's edges; 0 for a node without any."""
        ends = self.edges.ravel()
        return np.bincount(ends, self.values.repeat(2), n) / np.bincount(ends, minlength=n).clip(1)


def neighbour_graph(distances: np.ndarray, k: int) -> np.ndarray:
    """Which of n points are joined, bool (n, n): one is among the k nearest of the other; symmetric.

    Parameters
    ----------
    distances : float array, shape (n, n)
        Their diagonal is not looked at; of equals at the limit the first is taken.
    k : int
        In [1, n - 1].
    """
    n = checks.same_length("node", rows=distances, columns=distances.T)
    checks.in_range("k", k, 1, n - 1)
    others = np.where(np.eye(n, dtype=bool), np.inf, distances)
    joined = np.zeros((n, n), bool)
    np.put_along_axis(joined, others.argsort(axis=1, kind="stable")[:, :k], True, axis=1)
    return joined | joined.T


def ollivier_ricci(joined: np.ndarray, lengths: np.ndarray | None = None) -> Curvature:
    """Curvature of every edge: how much nearer, or farther, than its ends the neighbourhoods of its ends are.

    Parameters
    ----------
    joined : bool array, shape (n, n)
        Symmetric, nothing joined to itself.
    lengths : float array, shape (n, n), or None
        Of the edges, > 0; elsewhere not looked at. None: all are 1.

    Returns
    -------
    Curvature
        Positive inside of communities (1/2 n / (n - 1) in a complete graph), zero in a grid, negative at bridges
        (1/d + 1/e - 1 between nodes of degree d and e of a tree).

    Raises
    ------
    ValueError
        If the graph is not symmetric, has loops, or a length is not positive.

    Notes
    -----
    1 - W(x, y) / d(x, y), W the exact cost of moving the mass of x onto that of y along shortest paths: Ollivier 2009,
    doi:10.1016/j.jfa.2008.11.001. What both have stays where it is, which no shortest path can better; the rest is cut
    into equal units, and assigning units is exact (Birkhoff).
    """
    n = checks.same_length("node", rows=joined, columns=joined.T)
    if not np.array_equal(joined, joined.T) or joined.diagonal().any():
        one_way, loops = int((joined != joined.T).sum()) // 2, int(joined.diagonal().sum())
        raise ValueError(
            f"joined must be symmetric and join nothing to itself, got {one_way} pairs that are joined one way and "
            f"{loops} nodes joined to themselves; take (joined | joined.T) with a diagonal of False."
        )
    edges = np.argwhere(np.triu(joined))
    weights = np.ones((n, n)) if lengths is None else lengths
    if not (weights[joined] > 0).all():
        least = float(weights[joined].min())
        raise ValueError(
            f"lengths of edges must be above 0, got {least:g} as the least; leave such edges out of joined."
        )
    paths = shortest_path(csr_array(np.where(joined, weights, 0.0)), directed=False)
    costs = np.array([_moved(paths, joined, x, y) for x, y in edges])
    return Curvature(edges, 1 - costs / paths[edges[:, 0], edges[:, 1]] if len(edges) else costs)


def ricci_flow(joined: np.ndarray, n_rounds: int = 10) -> np.ndarray:
    """Lengths (n, n) of edges after a flow that stretches what is curved negatively and shrinks the rest; else 0.

    Notes
    -----
    Each round makes an edge (1 - curvature) times the shortest path between its ends, then all edges 1 long on average:
    the discrete Ricci flow of Ni et al. 2019, doi:10.1038/s41598-019-46380-9, without surgery in between.
    """
    lengths = joined.astype(float)
    for _ in range(n_rounds):
        (x, y), values = (found := ollivier_ricci(joined, lengths)).edges.T, found.values
        paths = shortest_path(csr_array(lengths), directed=False)[x, y]
        fresh = ((1 - values) * paths).clip(1e-9)  # ends with one neighbourhood would meet
        lengths[x, y] = lengths[y, x] = fresh / fresh.mean()
    return lengths


def communities(joined: np.ndarray, n_rounds: int = 10) -> np.ndarray:
    """A label (n,), int from 0, for each node: what hangs together after the longest edges of `ricci_flow` are cut.

    Of all lengths at which edges can be cut the one is taken whose parts have the highest modularity in the graph.
    """
    lengths = ricci_flow(joined, n_rounds)
    cuts = np.unique(lengths[joined])
    parts = [connected_components(csr_array(joined & (lengths <= cut)), directed=False)[1] for cut in cuts]
    whole = connected_components(csr_array(joined), directed=False)[1]
    best: np.ndarray = max([whole, *parts], key=lambda labels: modularity(joined, labels))
    return best


def modularity(joined: np.ndarray, labels: np.ndarray) -> float:
    """Share of edges inside of the parts of a graph, less what the nodes' degrees alone would give, in [-1/2, 1).

    Newman & Girvan 2004, doi:10.1103/PhysRevE.69.026113; 0 for a graph without edges.
    """
    member = np.eye(labels.max() + 1)[labels]  # (node, part)
    between = member.T @ joined @ member
    total = max(between.sum(), 1.0)
    return float(between.trace() / total - ((between.sum(1) / total) ** 2).sum())


def _moved(paths: np.ndarray, joined: np.ndarray, x: int, y: int) -> float:
    """The least cost of moving the mass about x onto the mass about y."""
    degrees = int(joined[x].sum()), int(joined[y].sum())
    units = int(np.lcm(*degrees)) * 2  # so many make 1; whole numbers of them lie on every node
    mass = np.zeros(len(joined), int)
    for end, sign, degree in ((x, 1, degrees[0]), (y, -1, degrees[1])):
        mass[joined[end]] += sign * round(units * (1 - IDLE)) // degree
        mass[end] += sign * round(units * IDLE)
    have, want = np.flatnonzero(mass > 0), np.flatnonzero(mass < 0)
    cost = paths[np.ix_(have, want)]
    if mass[have].sum() > MOST_UNITS:
        return _programme(cost, mass[have], -mass[want]) / units
    cost = cost.repeat(mass[have], 0).repeat(-mass[want], 1)
    return float(cost[linear_sum_assignment(cost)].sum()) / units


def _programme(cost: np.ndarray, have: np.ndarray, want: np.ndarray) -> float:
    """The least cost of moving what is had (n,) to where it is wanted (m,), as a linear programme."""
    n, m = cost.shape
    leaves, arrives = np.kron(np.eye(n), np.ones((1, m))), np.kron(np.ones((1, n)), np.eye(m))
    solved = linprog(cost.ravel(), A_eq=np.vstack([leaves, arrives]), b_eq=np.concatenate([have, want]))
    return float(solved.fun)
