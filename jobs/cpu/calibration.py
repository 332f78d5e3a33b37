"""Calibration of reviewers: what a project deserves, apart from how severe and how daring those were who happened to read it.

The model, for the score y of reviewer r for project p:

    y = μ + b_r + a_r θ_p + ε,    θ ~ N(0, τ²),  b ~ N(0, β²),  a ~ N(1, α²),  ε ~ N(0, σ²)

θ is the project's quality, b the reviewer's leniency (below 0: severity), a the reviewer's scale. With a = 1 it is the calibration of the
NeurIPS conferences (C. Cortes, N. Lawrence, "Inconsistency in Conference Peer Review", arXiv:2109.09774, 2021); the scale is that of
H. Ge, M. Welling, Z. Ghahramani, "A Bayesian model for calibrating conference review scores" (2013).

Variances are estimated by restricted maximum likelihood (H. Patterson, R. Thompson, Biometrika 58, 1971), with a weak penalty that keeps
τ off zero (Y. Chung et al., Psychometrika 78, 2013); θ, b and μ are then the best linear unbiased predictions, solutions of the mixed
model equations (C. Henderson, Biometrics 31, 1975). θ is eliminated first, so that only a matrix as large as the number of reviewers is
solved. Scales and α² come from EM. No random numbers are used: the same scores give the same results.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

Array = np.ndarray[Any, np.dtype[Any]]

# A matrix of reviewers × reviewers, some times over, must fit into a worker.
MOST_REVIEWERS = 3000
# log τ/σ and log β/σ stay within this.
WIDEST = 4.0
# No reviewer's opinion is turned round, and none counts for much more than it says.
SCALES = (0.25, 4.0)
ROUNDS, STEPS = 3, 4
_TOLERANCE = 0.01


class Scores:
    """Who gave what to which: arrays of the places of projects and reviewers and of scores, one entry a review."""

    def __init__(self, project: Array, reviewer: Array, score: Array, projects: int, reviewers: int) -> None:
        self.project, self.reviewer, self.score = project, reviewer, score
        self.projects, self.reviewers = projects, reviewers

    def components(self) -> tuple[int, Array]:
        """How many parts of the round have no reviewer in common, and the part of each project (from 0).

        Between parts the model can only suppose that their reviewers are alike on average.
        """
        ends = (self.project, self.projects + self.reviewer)
        size = self.projects + self.reviewers
        graph = csr_array((np.ones(len(self.score)), ends), shape=(size, size))
        count, labels = connected_components(graph, directed=False)
        return int(count), labels[: self.projects]

    def why_not(self) -> str | None:
        """Why the reviewers cannot be calibrated: too_few, all_equal, too_many; None when they can.

        Too few: no score is left over once every project and reviewer has an own mean, so that leniency cannot be told from quality.
        """
        if self.reviewers > MOST_REVIEWERS:
            return "too_many"
        if self.projects < 2 or self.reviewers < 2:
            return "too_few"
        if len(self.score) - (self.projects + self.reviewers - self.components()[0]) < 1:
            return "too_few"
        return "all_equal" if np.ptp(self.score) < 1e-9 else None


class Model:
    """The model, fitted to scores. Everything but `unit` and `origin` is in units of the scores' standard deviation."""

    def __init__(self, scores: Scores) -> None:
        self.scores = scores
        self.origin, self.unit = float(scores.score.mean()), float(scores.score.std())
        self.y = (scores.score - self.origin) / self.unit
        self.count = np.bincount(scores.reviewer, minlength=scores.reviewers).astype(float)
        self._first, self._second = _pairs(scores.project, scores.projects)
        self.scale_variance = 0.05
        self._put_scales(np.ones(scores.reviewers))
        self._fit(np.array([0.0, -0.5]))
        for _ in range(ROUNDS):
            for _ in range(STEPS):
                self._improve_scales()
            self._fit(self._where)
        inverse = cho_solve(self._factor, np.eye(scores.reviewers + 1))
        self.covariance = inverse * self.noise  # of leniencies and, last, μ
        self._pull = self._pulled()

    # What is asked of a fitted model.

    def calibrated(self) -> tuple[Array, Array]:
        """μ + θ, what a reviewer of mean leniency and scale would give, and its standard error."""
        moved = self._pull @ self.covariance
        variance = self.noise / self._precision + self._pull.multiply(moved).sum(1) + self.covariance[-1, -1] - 2 * moved[:, -1]
        return self.origin + self.unit * (self._mean + self.quality), self.unit * np.sqrt(np.maximum(variance, 0))

    def leniencies(self) -> tuple[Array, Array]:
        """By reviewer, and their standard errors."""
        return self.unit * self._leniency, self.unit * np.sqrt(np.diag(self.covariance)[:-1])

    def variances(self) -> dict[str, float]:
        """The standard deviations of quality, leniency and what neither explains, in units of the scores."""
        by_ratio = {"quality": self.noise / self._ratios[0], "leniency": self.noise / self._ratios[1], "noise": self.noise}
        return {name: float(self.unit * np.sqrt(value)) for name, value in by_ratio.items()}

    def draws(self, count: int, seed: int) -> Array:
        """Draws × projects: qualities that the scores allow, from the posterior with the variances and scales as estimated."""
        random = np.random.default_rng(seed)
        effects, deviation = self.scores.reviewers + 1, np.sqrt(self.noise)
        moved = solve_triangular(self._factor[0], random.standard_normal((effects, count)), lower=True, trans="T") * deviation
        own = random.standard_normal((count, self.scores.projects)) * (deviation / np.sqrt(self._precision))
        drawn: Array = self.quality - (self._pull @ moved).T + own
        return drawn

    def without(self, reviewer: int) -> Array:
        """The qualities when that reviewer's scores are left out, with the variances and scales as they are.

        Deleted scores are replaced by those that the others predict: y − q with P q = u, P the block of the residual maker and u the
        residuals (R. D. Cook, S. Weisberg, "Residuals and Influence in Regression", 1982, section 2.2).
        """
        at = np.flatnonzero(self.scores.reviewer == reviewer)
        places = self.scores.project[at]
        moves = -self._scale[at, None] * self._pull[places].toarray()
        moves[:, reviewer] += 1
        moves[:, -1] += 1
        fitted = moves @ self.covariance @ moves.T / self.noise
        same = places[:, None] == places[None, :]
        fitted += same * (self._scale[at, None] * self._scale[None, at] / self._precision[places])
        residual = self.y[at] - self._mean - self._leniency[reviewer] - self._scale[at] * self.quality[places]
        changed = self.y.copy()
        changed[at] -= np.linalg.solve(np.eye(len(at)) - fitted, residual)
        quality: Array = self._predict(self._precision, self._factor, changed)[0]
        return quality

    # How it is fitted. Precisions and matrices are in units of 1/σ².

    def _put_scales(self, scales: Array) -> None:
        scores = self.scores
        self.scales, self._scale = scales, scales[scores.reviewer]
        self._squares = np.bincount(scores.project, self._scale**2, scores.projects)
        self._sums = np.bincount(scores.project, self._scale, scores.projects)
        self._key = scores.reviewer[self._first] * scores.reviewers + scores.reviewer[self._second]
        self._product, self._of = self._scale[self._first] * self._scale[self._second], scores.project[self._first]

    def _equations(self, ratios: Array) -> tuple[Array, Any]:
        """The precision of each θ, and the factor of the matrix of leniencies and μ once θ is eliminated."""
        scores, size = self.scores, self.scores.reviewers
        precision = self._squares + ratios[0]
        matrix = np.empty((size + 1, size + 1))
        matrix[:size, :size] = -np.bincount(self._key, self._product / precision[self._of], size * size).reshape(size, size)
        matrix[np.arange(size), np.arange(size)] += self.count + ratios[1]
        edge = self.count - np.bincount(scores.reviewer, self._scale * (self._sums / precision)[scores.project], size)
        matrix[:size, size] = matrix[size, :size] = edge
        matrix[size, size] = len(self.y) - (self._sums**2 / precision).sum()
        return precision, cho_factor(matrix, lower=True)

    def _predict(self, precision: Array, factor: Any, y: Array) -> tuple[Array, Array, float]:
        """θ; leniencies and μ; and the residual sum of squares with its penalties, y'Py in units of σ²."""
        scores = self.scores
        weighted = np.bincount(scores.project, self._scale * y, scores.projects)
        own = weighted / precision
        plain = np.append(np.bincount(scores.reviewer, y, scores.reviewers), y.sum())
        taken = np.append(np.bincount(scores.reviewer, self._scale * own[scores.project], scores.reviewers), self._sums @ own)
        effects = cho_solve(factor, plain - taken)
        pulled = np.bincount(scores.project, self._scale * effects[scores.reviewer], scores.projects)
        quality = own - (pulled + self._sums * effects[-1]) / precision
        rest = float(y @ y - quality @ weighted - effects @ plain)
        return quality, effects, max(rest, 1e-9 * len(y))

    def _fit(self, start: Array) -> None:
        """The variances for the present scales, and what they predict."""
        n, scores = len(self.y), self.scores

        def deviance(where: Array) -> float:
            """−2 log restricted likelihood, less 2 log τ."""
            ratios = np.exp(-2 * where)
            precision, factor = self._equations(ratios)
            noise = self._predict(precision, factor, self.y)[2] / (n - 1)
            logs = np.log(precision).sum() + 2 * np.log(np.diag(factor[0])).sum()
            logs -= scores.projects * np.log(ratios[0]) + scores.reviewers * np.log(ratios[1])
            return float((n - 1) * np.log(noise) + logs - np.log(noise / ratios[0]))

        options = {"initial_simplex": _simplex(start), "xatol": _TOLERANCE, "fatol": _TOLERANCE}
        found = minimize(deviance, start, method="Nelder-Mead", bounds=[(-WIDEST, WIDEST)] * 2, options=options)
        self._where = found.x
        self._ratios = np.exp(-2 * found.x)
        self._solve()
        self.noise = self._rest / (n - 1)

    def _solve(self) -> None:
        self._precision, self._factor = self._equations(self._ratios)
        self.quality, effects, self._rest = self._predict(self._precision, self._factor, self.y)
        self._leniency, self._mean = effects[:-1], float(effects[-1])

    def _improve_scales(self) -> None:
        """One step of EM: the scale that fits best what is expected of qualities and leniencies, drawn towards 1."""
        scores = self.scores
        covariance = cho_solve(self._factor, np.eye(scores.reviewers + 1)) * self.noise
        pull = self._pulled()
        moved = pull @ covariance
        square = self.quality**2 + self.noise / self._precision + pull.multiply(moved).sum(1)
        together = -(moved[scores.project, scores.reviewer] + moved[scores.project, -1])
        toward = self.quality[scores.project] * (self.y - self._mean - self._leniency[scores.reviewer]) - together
        precision = np.bincount(scores.reviewer, square[scores.project], scores.reviewers) / self.noise + 1 / self.scale_variance
        scales = (np.bincount(scores.reviewer, toward, scores.reviewers) / self.noise + 1 / self.scale_variance) / precision
        self.scale_variance = max(float(np.mean((scales - 1) ** 2 + 1 / precision)), 1e-4)
        scales = np.clip(scales, *SCALES)
        self._put_scales(scales / np.average(scales, weights=self.count))
        self._solve()

    def _pulled(self) -> Any:
        """Projects × leniencies and μ, sparse: by how much each θ moves against them."""
        scores = self.scores
        rows = np.concatenate([scores.project, np.arange(scores.projects)])
        columns = np.concatenate([scores.reviewer, np.full(scores.projects, scores.reviewers)])
        values = np.concatenate([self._scale, self._sums]) / self._precision[rows]
        return csr_array((values, (rows, columns)), shape=(scores.projects, scores.reviewers + 1))


def _simplex(start: Array) -> Array:
    """Three points about the start, within the bounds."""
    away = np.where(start > 0, -0.5, 0.5)
    points: Array = start + np.array([[0, 0], [away[0], 0], [0, away[1]]])
    return points


def _pairs(project: Array, projects: int) -> tuple[Array, Array]:
    """All ordered pairs of reviews of the same project, a review with itself too, as places of reviews."""
    order = np.argsort(project, kind="stable")
    counts = np.bincount(project, minlength=projects)
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    partners = counts[project[order]]
    first = np.repeat(np.arange(len(order)), partners)
    nth = np.arange(len(first)) - np.repeat(np.cumsum(partners) - partners, partners)
    second = begins[project[order]][first] + nth
    return order[first], order[second]
