"""What training makes small."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from geounet.card import Finite

TERMS = ("cross_entropy", "dice", "focal", "tversky", "focal_tversky", "lovasz")
"""The losses that can be added up, by the setting that holds their weight."""

Weight = Annotated[float, Field(ge=0, le=1e6)]
Positive = Annotated[float, Field(gt=0, le=1e6)]


class LossSettings(Finite):
    """The losses, added with these weights (0 leaves one out), and their parameters.

    ``tversky_alpha`` counts false positives, ``tversky_beta`` misses; both serve the focal Tversky
    loss too, whose exponent is 1 / ``focal_tversky_gamma``. ``class_weights`` are one number per
    class, in the order of the classes; ``balanced`` takes them from the training pixels. ``border``
    is w0 of the border weights of Ronneberger et al. 2015 (10 there), 0 for none, and
    ``border_sigma`` their width in pixels.
    """

    cross_entropy: Weight = 1.0
    dice: Weight = 1.0
    focal: Weight = 0.0
    tversky: Weight = 0.0
    focal_tversky: Weight = 0.0
    lovasz: Weight = 0.0
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    focal_gamma: Weight = 2.0
    tversky_alpha: Positive = 0.3
    tversky_beta: Positive = 0.7
    focal_tversky_gamma: Annotated[float, Field(ge=1, le=3)] = 4 / 3
    class_weights: Literal["none", "balanced"] | tuple[Weight, ...] = "none"
    border: Weight = 0.0
    border_sigma: Positive = 5.0

    @model_validator(mode="after")
    def _something_to_learn(self) -> LossSettings:
        if not self.terms:
            raise ValueError(f"{', '.join(TERMS)} are all 0: nothing would be learnt")
        if not isinstance(self.class_weights, str) and not any(self.class_weights):
            raise ValueError("class_weights are all 0: nothing would be learnt")
        if self.label_smoothing and not self.cross_entropy:
            raise ValueError("label_smoothing needs cross_entropy, which is 0")
        return self

    @property
    def terms(self) -> dict[str, float]:
        """Name and weight of each loss that counts."""
        return {name: weight for name in TERMS if (weight := getattr(self, name))}
