"""What people write today: rasterio, a tile loop, PyTorch with channels last on the CPU.

Mask only: read a window, normalise, forward, argmax, crop, write into a tiled deflate GeoTIFF.
With the halo that the network needs the loop gives our map; with the usual 64 pixels it does not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
import torch

from geounet.grid import Plan
from geounet.model_file import load_model
from tests.torch_unet import TorchUNet


class Rival:
    """A loaded PyTorch model; ``bf16`` runs the network in bfloat16."""

    def __init__(self, model: Path, bf16: bool = False) -> None:
        loaded = load_model(model)
        self.card = loaded.card
        if self.card.pairs or self.card.stretch:
            raise ValueError(f"{model}: has inputs beside its bands, which the rival does not make")
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        self.network = TorchUNet(loaded.network).eval().to(self.dtype)
        self.network = self.network.to(memory_format=torch.channels_last)

    def logits(self, window: np.ndarray) -> torch.Tensor:
        """(band, row, col) numbers → logits."""
        card = self.card
        scale = np.float32(card.scale) / np.float32(card.std)
        bias = (np.float32(card.offset) - np.float32(card.mean)) / np.float32(card.std)
        x = window.astype(np.float32) * scale[:, None, None] + bias[:, None, None]
        tensor = torch.from_numpy(x)[None].to(self.dtype)
        with torch.inference_mode():
            return self.network(tensor.to(memory_format=torch.channels_last))

    def segment(self, scene: Path, out: Path, window: int, halo: int) -> float:
        """Seconds for a whole scene."""
        values = np.array([c.value for c in self.card.classes], np.uint8)
        started = time.perf_counter()
        with rasterio.open(scene) as source:
            profile = source.profile | {
                "count": 1, "dtype": "uint8", "nodata": 255, "zlevel": 6, "predictor": 1,
            }  # fmt: skip
            plan = Plan(source.shape, window, halo, 2**self.card.architecture.depth)
            with rasterio.open(out, "w", **profile) as mask:
                for tile, labels in self._labels(source, plan):
                    rows, cols = tile.core
                    place = ((rows.start, rows.stop), (cols.start, cols.stop))
                    mask.write(values[labels[tile.crop]], 1, window=place)
        return time.perf_counter() - started

    def _labels(self, source, plan: Plan) -> Iterator[tuple]:
        for tile in plan.tiles:
            rows, cols = tile.window
            place = ((rows.start, rows.stop), (cols.start, cols.stop))
            pixels = source.read(window=place, boundless=False)
            yield tile, self.logits(pixels)[0].argmax(0).numpy()
