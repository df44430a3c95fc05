"""Table: the sketches of the texts that have been met, found again by the bands that they share.

A sketch is cut into bands; two sketches are compared if they have any whole band in common
(locality sensitive hashing: "Mining of Massive Datasets", Leskovec, Rajaraman and Ullman, chapter 3). Bands
are as long as they can be for two texts that are just similar enough to meet with a chance of 0.99.

Invariants: at most `most` sketches are held; each stands in every one of its bands, and nowhere else.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from typing import Final

from dagflow_near_duplicates.sketch import BINS, Sketch, similarity

_CHANCE: Final = 0.99


@dataclass(frozen=True, slots=True)
class Match:
    """An earlier text that is nearly the same."""

    id: str
    similarity: float


class Table:
    """Remembers texts by their sketches, and forgets the one that has not been met for longest."""

    def __init__(self, least: float, most: int) -> None:
        """Find texts with a similarity of at least `least`, among up to `most` of them."""
        self._least, self._most = least, most
        self._rows = band_rows(least)
        self._sketches: OrderedDict[int, tuple[str, Sketch]] = OrderedDict()
        self._bands: dict[int, list[int]] = defaultdict(list)
        self._next = 0

    def __len__(self) -> int:
        return len(self._sketches)

    def meet(self, id: str, sketch: Sketch) -> Match | None:
        """Look for an earlier text, or else remember this one.

        Returns:
            The most similar text that is similar enough; None if there is none, or only this record itself.
        """
        best, key = max(self._candidates(sketch), default=(0.0, -1))
        if best < self._least:
            self._remember(id, sketch)
            return None
        self._sketches.move_to_end(key)
        known = self._sketches[key][0]
        return None if known == id else Match(known, best)

    def _candidates(self, sketch: Sketch) -> list[tuple[float, int]]:
        keys = {key for band in self._cut(sketch) for key in self._bands.get(band, ())}
        return [(similarity(sketch, self._sketches[key][1]), key) for key in keys]

    def _remember(self, id: str, sketch: Sketch) -> None:
        if len(self._sketches) >= self._most:
            key, (_, oldest) = self._sketches.popitem(last=False)
            self._forget(key, oldest)
        self._sketches[self._next] = (id, sketch)
        for band in self._cut(sketch):
            self._bands[band].append(self._next)
        self._next += 1

    def _forget(self, key: int, sketch: Sketch) -> None:
        for band in self._cut(sketch):
            held = self._bands[band]
            held.remove(key)
            if not held:
                del self._bands[band]

    def _cut(self, sketch: Sketch) -> list[int]:
        # Bands that meet by chance do no harm: what has one in common is compared as a whole.
        width = len(sketch) // BINS * self._rows
        return [hash((start, sketch[start : start + width])) for start in range(0, len(sketch), width)]


def band_rows(least: float) -> int:
    """Give the length of a band: the longest with which texts of this similarity still meet almost surely."""
    for rows in (32, 16, 8, 4, 2):
        if 1 - (1 - least**rows) ** (BINS // rows) >= _CHANCE:
            return rows
    return 1
