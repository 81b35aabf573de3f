"""What tasks share, and what the bank spends its filters on, behind `rc_keras.zoo.diagnose`."""

from rc_keras.zoo.diagnostics.gradient_conflict import GradientConflict, gradient_conflict
from rc_keras.zoo.diagnostics.representation_similarity import RepresentationSimilarity, representation_similarity
from rc_keras.zoo.diagnostics.response_spectra import response_spectra

__all__ = [
    "GradientConflict",
    "RepresentationSimilarity",
    "gradient_conflict",
    "representation_similarity",
    "response_spectra",
]
