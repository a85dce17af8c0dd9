"""What a writer of vector files is given: features, in columns."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from numpy import ndarray

from geounet.polygon_array import PolygonArray


@dataclass(frozen=True)
class Features:
    """Some features, in columns: polygons in CRS coordinates, and what is known of each.

    Attributes:
        polygon: in CRS coordinates; shells counter-clockwise, each ring from its smallest vertex.
        class_id: the class value of the region.
        n_px: its pixels.
        area_ha: geodesic hectares of its pixels; NaN if one lies outside the CRS's domain.
        perimeter_m: geodesic metres of its pixels' outline, holes included; NaN likewise.
        confidence: mean of its pixels, 0 to 1; NaN where none has one.
        confidence_min: the least of them.
        zone: names of the zones that the features lie in; None where none were asked for.
    """

    polygon: ndarray | PolygonArray
    class_id: Int[ndarray, " feature"]
    n_px: Int[ndarray, " feature"]
    area_ha: Float[ndarray, " feature"]
    perimeter_m: Float[ndarray, " feature"]
    confidence: Float[ndarray, " feature"]
    confidence_min: Float[ndarray, " feature"]
    zone: ndarray | None = None

    def __len__(self) -> int:
        return len(self.polygon)
