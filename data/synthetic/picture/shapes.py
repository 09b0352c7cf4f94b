"""Polygons, of which everything is drawn. Points are float [N, 2], picture px, x right and y down."""

import numpy as np

Points = np.ndarray
Point = Points | tuple[float, float]  # [2]

_ARC = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_ARC), np.sin(_ARC)], axis=1)  # [24, 2]
_TURN = np.linspace(-np.pi / 2, np.pi / 2, 9)
_HALF_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)  # [9, 2], about (1, 0)


def ellipse(center: Point, radii: tuple[float, float], *, angle: float = 0.0) -> Points:
    """Ellipse about `center` [2], turned by `angle` (radians, clockwise in the picture)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(center) + (_CIRCLE * radii) @ np.array([[c, s], [-s, c]])


def capsule(start: Point, end: Point, *, radii: tuple[float, float]) -> Points:
    """The outline of two circles and what lies between them: a limb that may taper."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    dx, dy = end - start
    length = max(float(np.hypot(dx, dy)), 1e-6)
    tip = _HALF_CIRCLE @ (np.array([[dx, dy], [-dy, dx]]) / length)  # [9, 2]
    return np.concatenate([end + radii[1] * tip, start - radii[0] * tip])


def hull(points: Points) -> Points:
    """Convex hull of points [N, 2] (Andrew's monotone chain)."""
    ordered = sorted(map(tuple, np.asarray(points).tolist()))
    return np.array(_chain(ordered)[:-1] + _chain(ordered[::-1])[:-1])


def _chain(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
    chain: list[tuple[float, float]] = []
    for x, y in ordered:
        while len(chain) > 1:
            (ax, ay), (bx, by) = chain[-2:]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            chain.pop()
        chain.append((x, y))
    return chain


def moved(points: Points, dx: float, dy: float) -> Points:
    """Points [2] or [N, 2] shifted to the right by `dx` and down by `dy`."""
    return np.asarray(points) + np.array([dx, dy])


def between(start: Points, end: Points, fraction: float | Points) -> Points:
    """The point at `fraction` of the way from `start` (0) to `end` (1), or beyond."""
    return start + (end - start) * fraction
