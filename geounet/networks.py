"""The network of a card, whichever kind it is: what builds it, and how far it reaches."""

from __future__ import annotations

from flax import nnx

from geounet import resnet_unet, unet
from geounet.card import AnyArchitecture, ResNetArchitecture
from geounet.resnet_unet import ResNetUNet
from geounet.unet import UNet

Network = UNet | ResNetUNet


def build(architecture: AnyArchitecture, rngs: nnx.Rngs) -> Network:
    """A network with drawn weights."""
    if isinstance(architecture, ResNetArchitecture):
        return ResNetUNet(architecture, rngs)
    return UNet(architecture, rngs)


def reach(architecture: AnyArchitecture) -> int:
    """The halo that a core on the stride grid needs, before rounding up to the stride."""
    if isinstance(architecture, ResNetArchitecture):
        return resnet_unet.reach(architecture)
    return unet.reach(architecture)


def is_folded(architecture: AnyArchitecture) -> bool:
    """Whether the network is one to map with: without batch norm of its own, and no dropout."""
    if isinstance(architecture, ResNetArchitecture):
        return True
    return not architecture.batch_norm and not architecture.dropout


def fold(network: Network, architecture: AnyArchitecture) -> tuple[Network, AnyArchitecture]:
    """The same function as one to map with, and its architecture."""
    if isinstance(architecture, ResNetArchitecture) or not isinstance(network, UNet):
        return network, architecture
    if architecture.batch_norm:
        return unet.fold(network, architecture)
    return network, architecture.model_copy(update={"dropout": 0.0})
