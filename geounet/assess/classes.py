"""What an interpreter wrote, as classes of the map: a name, whatever its case, or a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from geounet.errors import InputError


@dataclass(frozen=True)
class Legend:
    """Values and names of the classes that a map has, or could have."""

    values: tuple[int, ...]
    names: tuple[str, ...]

    def indices(self, texts: Sequence[str]) -> Int[np.ndarray, " point"]:
        """The class of each text.

        Raises:
            InputError: naming the texts that are no class, and the classes there are.
        """
        known = {str(v): i for i, v in enumerate(self.values)}
        known |= {name.casefold(): i for i, name in enumerate(self.names)}
        strange = Counter(t for t in texts if t.casefold() not in known)
        if strange:
            listed = ", ".join(f"{t!r} ({n} points)" for t, n in strange.most_common(5))
            raise InputError(
                f"no class of the map is called {listed}; write one of: {', '.join(self.names)}"
            )
        return np.array([known[t.casefold()] for t in texts], np.int64)

    def kept(self, used: Sequence[int]) -> Legend:
        """Only the classes at these places."""
        return Legend(tuple(self.values[i] for i in used), tuple(self.names[i] for i in used))
