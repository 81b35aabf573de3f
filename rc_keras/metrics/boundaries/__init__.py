"""Boundary detection scores (ODS, OIS, AP) on the host, after the network: NumPy and SciPy only.

The modules import each other relatively, so that the worker processes can load this folder alone, without Keras.
"""

from .boundary_scores import BoundaryScores
from .matching import match_boundaries
from .non_maximum_suppression import suppress_non_maxima
from .thinning import thin

__all__ = ["BoundaryScores", "match_boundaries", "suppress_non_maxima", "thin"]
