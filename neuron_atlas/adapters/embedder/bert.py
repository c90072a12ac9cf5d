"""A BERT encoder in numpy, for embedding short texts: no torch to import, so a search answers at once.

Post-norm encoder (Devlin et al., arXiv:1810.04805) with mean pooling and L2 normalisation (sentence-transformers'
all-MiniLM-L6-v2). Texts are grouped by their number of tokens, so a batch needs neither padding nor mask, and a text's
vector does not depend on longer ones beside it.

Shapes: B texts of T tokens, D width, H heads, F feed-forward width. All float32.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
BATCH_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class _Layer:
    """One block's weights; a `w_*` is [out, in] as stored, `qkv` holds query, key and value below one another."""

    qkv: Array
    b_qkv: Array
    w_attended: Array
    b_attended: Array
    norm_attended: tuple[Array, Array]
    w_wide: Array
    b_wide: Array
    w_narrow: Array
    b_narrow: Array
    norm_out: tuple[Array, Array]


class BertEncoder:
    """Token ids to unit vectors."""

    def __init__(self, weights: Mapping[str, Array], *, n_heads: int, norm_eps: float) -> None:
        """`weights` by their names in the safetensors file of a `BertModel`, with or without the prefix `bert.`."""
        w = {name.removeprefix("bert."): value for name, value in weights.items()}
        self._n_heads, self._eps = n_heads, np.float32(norm_eps)
        self._words = w["embeddings.word_embeddings.weight"]
        self._places = w["embeddings.position_embeddings.weight"] + w["embeddings.token_type_embeddings.weight"][0]
        self._norm = (w["embeddings.LayerNorm.weight"], w["embeddings.LayerNorm.bias"])
        n_layers = 1 + max(int(name.split(".")[2]) for name in w if name.startswith("encoder.layer."))
        self._layers = [_layer(w, f"encoder.layer.{i}.") for i in range(n_layers)]

    @property
    def width(self) -> int:
        """D."""
        return self._words.shape[1]

    @property
    def max_tokens(self) -> int:
        """The longest sequence the position embeddings know."""
        return self._places.shape[0]

    def embed(self, token_ids: Sequence[Sequence[int]]) -> Array:
        """[len(token_ids), D], L2-normalised means of the last hidden states; every sequence has 1..max_tokens ids."""
        out = np.empty((len(token_ids), self.width), np.float32)
        by_length: defaultdict[int, list[int]] = defaultdict(list)
        for row, ids in enumerate(token_ids):
            by_length[len(ids)].append(row)
        for length, rows in sorted(by_length.items()):
            step = max(1, BATCH_TOKENS // length)
            for start in range(0, len(rows), step):
                batch = rows[start : start + step]
                mean = self._hidden(np.array([token_ids[row] for row in batch])).mean(axis=1)
                out[batch] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return out

    def _hidden(self, ids: NDArray[np.int64]) -> Array:
        """Last hidden states [B, T, D] of ids [B, T]."""
        n_texts, length = ids.shape
        x = self._normed(self._words[ids] + self._places[:length], self._norm).reshape(n_texts * length, -1)
        for layer in self._layers:
            mixed = self._attended(_affine(x, layer.qkv, layer.b_qkv), n_texts)
            x = self._normed(x + _affine(mixed, layer.w_attended, layer.b_attended), layer.norm_attended)
            wide = gelu(_affine(x, layer.w_wide, layer.b_wide))
            x = self._normed(x + _affine(wide, layer.w_narrow, layer.b_narrow), layer.norm_out)
        return x.reshape(n_texts, length, -1)

    def _attended(self, qkv: Array, n_texts: int) -> Array:
        """Softmax attention within each text: [B*T, 3D] to [B*T, D]."""
        rows, heads = qkv.shape[0], self._n_heads
        q, k, v = qkv.reshape(n_texts, rows // n_texts, 3, heads, -1).transpose(2, 0, 3, 1, 4)
        scores = q @ k.swapaxes(-1, -2) * np.float32(q.shape[-1] ** -0.5)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return (scores @ v).swapaxes(1, 2).reshape(rows, -1)

    def _normed(self, x: Array, norm: tuple[Array, Array]) -> Array:
        """LayerNorm over the last axis."""
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        centred *= norm[0] / np.sqrt(variance + self._eps)
        centred += norm[1]
        return centred


def gelu(x: Array) -> Array:
    """x * (1 + erf(x / sqrt 2)) / 2 = max(x, 0) - |x| / 2 * erfc(|x| / sqrt 2), with erfc after Abramowitz and Stegun 7.1.26
    (absolute error below 2e-7)."""
    size = np.abs(x)
    z = size * np.float32(0.5**0.5)
    t: Array = np.reciprocal(1 + np.float32(0.3275911) * z)
    erfc = np.full_like(t, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        erfc *= t
        erfc += np.float32(coefficient)
    erfc *= t
    z *= -z
    erfc *= np.exp(z, out=z)
    erfc *= size
    erfc *= np.float32(0.5)
    np.subtract(np.maximum(x, 0), erfc, out=erfc)
    return erfc


def _affine(x: Array, weight: Array, bias: Array) -> Array:
    """x [..., in] times weight [out, in], plus bias [out]."""
    out: Array = x @ weight.T
    out += bias
    return out


def _layer(w: Mapping[str, Array], at: str) -> _Layer:
    own = f"{at}attention.self."
    return _Layer(
        qkv=np.concatenate([w[f"{own}{name}.weight"] for name in ("query", "key", "value")]),
        b_qkv=np.concatenate([w[f"{own}{name}.bias"] for name in ("query", "key", "value")]),
        w_attended=w[f"{at}attention.output.dense.weight"],
        b_attended=w[f"{at}attention.output.dense.bias"],
        norm_attended=(w[f"{at}attention.output.LayerNorm.weight"], w[f"{at}attention.output.LayerNorm.bias"]),
        w_wide=w[f"{at}intermediate.dense.weight"],
        b_wide=w[f"{at}intermediate.dense.bias"],
        w_narrow=w[f"{at}output.dense.weight"],
        b_narrow=w[f"{at}output.dense.bias"],
        norm_out=(w[f"{at}output.LayerNorm.weight"], w[f"{at}output.LayerNorm.bias"]),
    )
