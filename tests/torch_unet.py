"""The same network in PyTorch, written from the paper alone: the oracle, and the rival to time."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as f

from geounet.unet import UNet


class Double(nn.Module):
    """Two 3×3 convolutions with ReLU."""

    def __init__(self, block) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv_like(block.conv1), conv_like(block.conv2)

    def forward(self, x):
        return f.relu_(self.conv2(f.relu_(self.conv1(x))))


class TorchUNet(nn.Module):
    """A folded ``UNet`` with the same weights; (tile, band, row, col) → logits."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(Double(block) for block in network.encoder)
        self.decoder = nn.ModuleList(Double(block) for block in network.decoder)
        self.up = nn.ModuleList(up_conv_like(up) for up in network.up)
        self.head = conv_like(network.head)

    def forward(self, x):
        skips = []
        for level, block in enumerate(self.encoder):
            x = block(f.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in reversed(range(len(self.decoder))):
            x = self.decoder[level](torch.cat([skips[level], self.up[level](x)], dim=1))
        return self.head(x)


def tensor(parameter) -> torch.Tensor:
    return torch.from_numpy(np.array(parameter[...]))


def conv_like(conv) -> nn.Conv2d:
    kernel = tensor(conv.kernel).permute(3, 2, 0, 1)
    out, bands, side, _ = kernel.shape
    return _filled(nn.Conv2d(bands, out, side, padding=side // 2), kernel, conv.bias)


def up_conv_like(up) -> nn.ConvTranspose2d:
    kernel = tensor(up.kernel).permute(0, 3, 1, 2)
    bands, out, _, _ = kernel.shape
    return _filled(nn.ConvTranspose2d(bands, out, 2, stride=2), kernel, up.bias)


def _filled(layer, kernel, bias):
    with torch.no_grad():
        layer.weight.copy_(kernel)
        layer.bias.copy_(tensor(bias))
    return layer
