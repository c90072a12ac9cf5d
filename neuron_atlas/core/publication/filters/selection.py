"""A set of items (position, polarity, layer, neuron) as packed bits.

    bits   uint8 [W, 2, L, I]   bit t % 8 of bits[t // 8, p, l, n] says whether position t is in; p is 0 for +, 1 for -

A coordinate that a set does not speak of is an axis of length 1: it stands for every value, and numpy's broadcasting gives and, or
and not their exact meaning. So 458,752 neurons and 200 tokens take 23 MB at most, and a set that names only neurons 0.9 MB.
Unused bits of the last word mean nothing; whoever reads the bits masks them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

ALL = np.uint8(255)
POLARITIES = (1, -1)
"""Polarity of each place of the second axis."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many items there are: tokens of the text, layers, neurons per layer; each in both polarities."""

    n_positions: int
    n_layers: int
    n_neurons: int

    @property
    def n_words(self) -> int:
        """Bytes that hold one item's positions."""
        return -(-self.n_positions // 8)


@dataclass(frozen=True, eq=False)
class Selection:
    """One set; see the module for `bits`. Sets of different sizes cannot be combined (`ValueError`)."""

    size: Size
    bits: Bits

    @classmethod
    def of_mask(cls, size: Size, mask: Mask) -> Selection:
        """The items of a mask [2 or 1, L or 1, I or 1], at every position."""
        return cls(size, mask[None].view(np.uint8) * ALL)

    @classmethod
    def of_positions(cls, size: Size, positions: Mask) -> Selection:
        """Every neuron at the positions of a mask [T]."""
        return cls(size, np.packbits(positions, bitorder="little").reshape(-1, 1, 1, 1))

    @classmethod
    def beyond(cls, size: Size, activations: Floats, limits: Floats, *, polarity: int) -> Selection:
        """Instances at or above (polarity +1) or at or below (-1) their neuron's limit [L, I]; `activations` are [L, T, I]. A
        limit of NaN lets nothing pass."""
        bits = np.zeros((size.n_words, 2, size.n_layers, size.n_neurons), np.uint8)
        plane = bits[:, POLARITIES.index(polarity)]
        compare = np.greater_equal if polarity > 0 else np.less_equal
        places = np.left_shift(1, np.arange(8)).astype(np.uint8)[:, None]
        for layer in range(size.n_layers):
            for word in range(size.n_words):
                passes = compare(activations[layer, 8 * word : 8 * word + 8], limits[layer]).view(np.uint8)
                np.bitwise_or.reduce(passes * places[: len(passes)], axis=0, out=plane[word, layer])
        return cls(size, bits)

    @classmethod
    def of_instances(
        cls,
        size: Size,
        *,
        polarity: NDArray[np.integer],
        layer: NDArray[np.integer],
        neuron: NDArray[np.integer],
        position: NDArray[np.integer],
    ) -> Selection:
        """Single items: four arrays of one length."""
        bits = np.zeros((size.n_words, 2, size.n_layers, size.n_neurons), np.uint8)
        value = np.left_shift(1, position % 8).astype(np.uint8)
        np.bitwise_or.at(bits, (position // 8, np.where(polarity > 0, 0, 1), layer, neuron), value)
        return cls(size, bits)

    # ------------------------------------------------------------------------------------------------------------- algebra
    def __and__(self, other: Selection) -> Selection:
        return Selection(self._same(other), self.bits & other.bits)

    def __or__(self, other: Selection) -> Selection:
        return Selection(self._same(other), self.bits | other.bits)

    def __invert__(self) -> Selection:
        return Selection(self.size, ~self.bits)

    def _same(self, other: Selection) -> Size:
        if self.size != other.size:
            raise ValueError(f"sets over {self.size} and {other.size} cannot be combined")
        return self.size

    # ------------------------------------------------------------------------------------------------------------- reading
    @property
    def count(self) -> int:
        """How many items are in."""
        size, bits = self.size, self.bits
        times = (2 // bits.shape[1]) * (size.n_layers // bits.shape[2]) * (size.n_neurons // bits.shape[3])
        if self._is_open:
            return int(np.count_nonzero(bits)) * size.n_positions * times
        return times * sum(
            int(np.bitwise_count(bits[word] & self._used(word)).sum(dtype=np.int64)) for word in range(size.n_words)
        )

    @property
    def anywhere(self) -> Mask:
        """Which neurons are in at some position, [2, L, I]."""
        found = np.zeros(self.bits.shape[1:], np.uint8)
        for word in range(self.bits.shape[0]):
            found |= self.bits[word] & (ALL if self._is_open else self._used(word))
        return self._whole(found != 0)

    @property
    def everywhere(self) -> Mask:
        """Which neurons are in at every position, [2, L, I]."""
        missing = np.zeros(self.bits.shape[1:], np.uint8)
        for word in range(self.bits.shape[0]):
            missing |= ~self.bits[word] & (ALL if self._is_open else self._used(word))
        return self._whole(missing == 0)

    def at(self, position: int) -> Mask:
        """Which neurons are in at one position, [2, L, I]."""
        word = self.bits[0 if self._is_open else position // 8]
        return self._whole((word >> np.uint8(position % 8)) & np.uint8(1) != 0)

    def of_layer(self, layer: int) -> Mask:
        """Which items of one layer are in, [T, 2, I]."""
        words = self.bits[:, :, layer if self.bits.shape[2] > 1 else 0]
        is_in = words != 0 if self._is_open else np.unpackbits(words, axis=0, bitorder="little") != 0
        whole = (self.size.n_positions, 2, self.size.n_neurons)
        return np.broadcast_to(is_in if self._is_open else is_in[: self.size.n_positions], whole)

    def equals(self, other: Selection) -> bool:
        """Whether both hold the same items."""
        return (self & ~other).count == 0 and (other & ~self).count == 0

    @property
    def _is_open(self) -> bool:
        """Whether the set says nothing about positions."""
        return self.bits.shape[0] == 1 and self.size.n_words > 1

    def _used(self, word: int) -> np.uint8:
        """The bits of a word that stand for a position."""
        return np.uint8((1 << min(8, self.size.n_positions - 8 * word)) - 1)

    def _whole(self, mask: Mask) -> Mask:
        return np.broadcast_to(mask, (2, self.size.n_layers, self.size.n_neurons))
