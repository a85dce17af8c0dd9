"""geounet: satellite scenes to seamless land-cover maps and polygons.

Everything the commands do is one call. The calls are imported on first use, so that asking for
help or reading a card does not load JAX and GDAL.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geounet.assess.design import design_sample
    from geounet.assess.estimate import estimate_accuracy
    from geounet.assess.settings import DesignSettings, EstimateSettings
    from geounet.change_settings import DeforestationSettings, FloodSettings
    from geounet.learn.evaluate_settings import EvaluateSettings
    from geounet.learn.evaluation import evaluate
    from geounet.learn.train_settings import TrainSettings, load_settings
    from geounet.learn.training import train
    from geounet.model_file import load_model
    from geounet.pipelines.deforestation import deforestation
    from geounet.pipelines.flood import flood
    from geounet.pipelines.landcover import landcover
    from geounet.scene import open_scene
    from geounet.scene_options import SceneOptions
    from geounet.segmentation import segment
    from geounet.settings import LandcoverSettings, SegmentSettings
    from geounet.vector_settings import VectorSettings
    from geounet.vectorization import vectorize

_HOME = {
    "DeforestationSettings": "change_settings",
    "DesignSettings": "assess.settings",
    "EstimateSettings": "assess.settings",
    "EvaluateSettings": "learn.evaluate_settings",
    "FloodSettings": "change_settings",
    "LandcoverSettings": "settings",
    "SceneOptions": "scene_options",
    "SegmentSettings": "settings",
    "TrainSettings": "learn.train_settings",
    "VectorSettings": "vector_settings",
    "deforestation": "pipelines.deforestation",
    "design_sample": "assess.design",
    "estimate_accuracy": "assess.estimate",
    "evaluate": "learn.evaluation",
    "flood": "pipelines.flood",
    "landcover": "pipelines.landcover",
    "load_model": "model_file",
    "load_settings": "learn.train_settings",
    "open_scene": "scene",
    "segment": "segmentation",
    "train": "learn.training",
    "vectorize": "vectorization",
}

__all__ = [
    "DeforestationSettings",
    "DesignSettings",
    "EstimateSettings",
    "EvaluateSettings",
    "FloodSettings",
    "LandcoverSettings",
    "SceneOptions",
    "SegmentSettings",
    "TrainSettings",
    "VectorSettings",
    "deforestation",
    "design_sample",
    "estimate_accuracy",
    "evaluate",
    "flood",
    "landcover",
    "load_model",
    "load_settings",
    "open_scene",
    "segment",
    "train",
    "vectorize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'geounet' has no attribute {name!r}")
    return getattr(import_module(f"geounet.{_HOME[name]}"), name)
