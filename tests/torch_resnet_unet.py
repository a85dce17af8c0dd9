"""A U-Net over a ResNet in PyTorch, its layers named as in segmentation_models.pytorch.

Written from He et al. 2015 (figure 2, table 1) and from the library's tensor names: the oracle for
imported weights.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as f


def conv(bands, out, side, stride=1):
    return nn.Conv2d(bands, out, side, stride, side // 2, bias=False)


class Basic(nn.Module):
    """Two 3×3 convolutions around a shortcut."""

    def __init__(self, bands, out, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(bands, out, 3, stride), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = conv(out, out, 3), nn.BatchNorm2d(out)
        if stride > 1:
            self.downsample = nn.Sequential(conv(bands, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x):
        shortcut = self.downsample(x) if hasattr(self, "downsample") else x
        y = self.bn2(self.conv2(f.relu(self.bn1(self.conv1(x)))))
        return f.relu(y + shortcut)


class Encoder(nn.Module):
    """The maps at a half, a quarter … a 32nd of the size."""

    def __init__(self, bands, width, blocks):
        super().__init__()
        self.conv1, self.bn1 = conv(bands, width, 7, 2), nn.BatchNorm2d(width)
        before = width
        for k, count in enumerate(blocks):
            out = width * 2**k
            first = Basic(before, out, 2 if k else 1)
            rest = (Basic(out, out, 1) for _ in range(count - 1))
            setattr(self, f"layer{k + 1}", nn.Sequential(first, *rest))
            before = out

    def forward(self, x):
        x = f.relu(self.bn1(self.conv1(x)))
        maps = [x]
        x = f.max_pool2d(x, 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return maps


class Up(nn.Module):
    """Twice the size, the encoder's map beside it, two 3×3 convolutions."""

    def __init__(self, bands, out):
        super().__init__()
        self.conv1 = nn.Sequential(conv(bands, out, 3), nn.BatchNorm2d(out), nn.ReLU())
        self.conv2 = nn.Sequential(conv(out, out, 3), nn.BatchNorm2d(out), nn.ReLU())

    def forward(self, x, skip):
        x = f.interpolate(x, scale_factor=2, mode="nearest")
        return self.conv2(self.conv1(x if skip is None else torch.cat([x, skip], dim=1)))


class Decoder(nn.Module):
    """Five levels up."""

    def __init__(self, width, decoder):
        super().__init__()
        below = [8 * width, *decoder[:-1]]
        beside = [4 * width, 2 * width, width, width, 0]
        self.blocks = nn.ModuleList(
            Up(low + skip, out) for low, skip, out in zip(below, beside, decoder, strict=True)
        )

    def forward(self, maps):
        x, *skips = maps[::-1]
        for block, skip in zip(self.blocks, [*skips, None], strict=True):
            x = block(x, skip)
        return x


class TorchResNetUNet(nn.Module):
    """(tile, band, row, col) → logits; in evaluation mode, with drawn running statistics."""

    def __init__(self, bands, outputs, blocks=(2, 2, 2, 2), width=8, decoder=(16, 8, 8, 8, 4)):
        super().__init__()
        self.encoder = Encoder(bands, width, blocks)
        self.decoder = Decoder(width, decoder)
        self.segmentation_head = nn.Sequential(nn.Conv2d(decoder[-1], outputs, 3, padding=1))
        generator = torch.Generator().manual_seed(bands + outputs)

        def drawn(like, low, high):
            return low + (high - low) * torch.rand(like.shape, generator=generator)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.data = torch.randn(module.weight.shape, generator=generator)
                module.weight.data *= (2 / fan_in) ** 0.5
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data = drawn(module.weight, 0.7, 1.2)
                module.bias.data = drawn(module.bias, -0.3, 0.3)
                module.running_mean = drawn(module.running_mean, -0.3, 0.3)
                module.running_var = drawn(module.running_var, 0.8, 1.6)
        self.eval()

    def forward(self, x):
        return self.segmentation_head(self.decoder(self.encoder(x)))
