"""The network of a card, whichever kind it is: what builds it, and how far it reaches."""

from __future__ import annotations

from flax import nnx

from geounet import ensemble, resnet_unet, unet
from geounet.blocks import Features
from geounet.card import AnyArchitecture, Architecture, ResNetArchitecture
from geounet.ensemble import Ensemble
from geounet.resnet_unet import ResNetUNet
from geounet.unet import UNet

Learnt = UNet | Ensemble
"""What a training can make."""
Network = Learnt | ResNetUNet


def build(architecture: AnyArchitecture, rngs: nnx.Rngs) -> Network:
    """A network with drawn weights."""
    if isinstance(architecture, ResNetArchitecture):
        return ResNetUNet(architecture, rngs)
    return drawn(architecture, rngs)


def drawn(architecture: Architecture, rngs: nnx.Rngs, remat: bool = False) -> Learnt:
    """A network to train; ``remat`` as in ``UNet``."""
    kind = UNet if architecture.members == 1 else Ensemble
    return kind(architecture, rngs, remat)


def each(network: Learnt, x: Features) -> tuple[Features, ...]:
    """The logits of every network that learns on its own."""
    return network.each(x) if isinstance(network, Ensemble) else (network(x),)


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
    if isinstance(architecture, ResNetArchitecture) or isinstance(network, ResNetUNet):
        return network, architecture
    if architecture.batch_norm:
        if isinstance(network, Ensemble):
            return ensemble.folded(network, architecture)
        return unet.fold(network, architecture)
    return network, architecture.model_copy(update={"dropout": 0.0})
