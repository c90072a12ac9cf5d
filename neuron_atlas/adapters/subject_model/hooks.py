"""Reading and changing a running Hugging Face model through hooks; the model's own code stays as it is.

`recording` keeps what the frozen model needs of one forward pass; `edited_activations` and `replaced_activations` change the
activations of neurons while a pass runs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from neuron_atlas.adapters.subject_model.families.parts import LayerParts, NormPart, Parts
from neuron_atlas.core.attribution.linearisation.freeze import LayerRecording
from neuron_atlas.core.records import Edit


@dataclass
class RecordedPass:
    """What hooks recorded of one batched pass: tensors by name and layer, [B, T, ...]."""

    embedded: Tensor | None = None
    layers: list[dict[str, Tensor]] = field(default_factory=list[dict[str, Tensor]])
    final_scale: Tensor | None = None

    def layer(self, index: int, row: int, length: int) -> LayerRecording:
        """One prompt's part of one layer, float32."""
        kept = self.layers[index]

        def part(name: str) -> Tensor | None:
            return kept[name][row, :length].float() if name in kept else None

        def given(name: str) -> Tensor:
            return kept[name][row, :length].float()

        return LayerRecording(
            pattern=kept["pattern"][row, :, :length, :length].float(),
            gate=part("gate"),
            up=given("up"),
            activation=given("activation"),
            written=given("written"),
            scale_before_attention=part("before_attention"),
            scale_after_attention=part("after_attention"),
            scale_before_mlp=part("before_mlp"),
            scale_after_mlp=part("after_mlp"),
        )


@contextmanager
def recording(parts: Parts) -> Generator[RecordedPass]:
    """Keep everything a frozen model needs of the passes that run inside."""
    kept = RecordedPass(layers=[{} for _ in parts.layers])
    handles: list[RemovableHandle] = []
    try:
        handles.append(_on_input(parts.layers[0].block, lambda x: setattr(kept, "embedded", x)))
        handles.append(
            _on_input(
                parts.final_norm.module, lambda x: setattr(kept, "final_scale", parts.final_norm.weights.scale(x))
            )
        )
        for layer, into in zip(parts.layers, kept.layers, strict=True):
            handles.extend(_record_layer(layer, into))
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _record_layer(layer: LayerParts, into: dict[str, Tensor]) -> list[RemovableHandle]:
    def keep(name: str) -> Callable[[Tensor], None]:
        return lambda value: into.__setitem__(name, value)

    def keep_scale(name: str, norm: NormPart) -> RemovableHandle:
        return _on_input(norm.module, lambda x: into.__setitem__(name, norm.weights.scale(x)))

    def keep_pattern(_module: nn.Module, _inputs: object, output: tuple[Tensor, Tensor | None]) -> None:
        if output[1] is None:
            raise RuntimeError("the attention returned no pattern; the model must run with eager attention")
        into["pattern"] = output[1]

    handles = [
        layer.attention.register_forward_hook(keep_pattern),
        _on_output(layer.up.module, keep("up")),
        _on_input(layer.down.module, keep("activation")),
        _on_output(layer.down.module if layer.after_mlp is None else layer.after_mlp.module, keep("written")),
    ]
    if layer.gate is not None:
        handles.append(_on_output(layer.gate.module, keep("gate")))
    norms = {
        "before_attention": layer.before_attention,
        "after_attention": layer.after_attention,
        "before_mlp": layer.before_mlp,
        "after_mlp": layer.after_mlp,
    }
    handles.extend(keep_scale(name, norm) for name, norm in norms.items() if norm is not None)
    return handles


@contextmanager
def recorded_activations(parts: Parts) -> Generator[list[Tensor]]:
    """Keep the inputs [B, T, I] of all down projections of the pass that runs inside, by layer."""
    kept: list[Tensor] = []
    handles = [_on_input(layer.down.module, kept.append) for layer in parts.layers]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def recorded_inputs(module: nn.Module) -> Generator[list[Tensor]]:
    """Keep what a module reads in the passes that run inside, one [B, T, D] tensor per pass."""
    kept: list[Tensor] = []
    handle = _on_input(module, kept.append)
    try:
        yield kept
    finally:
        handle.remove()


@contextmanager
def edited_activations(parts: Parts, edits: Sequence[Sequence[Edit]]) -> Generator[None]:
    """Change activations while a batch runs: row b of the batch gets `edits[b]`, in order."""
    by_layer: dict[int, list[tuple[int, Edit]]] = {}
    for row, changes in enumerate(edits):
        for edit in changes:
            by_layer.setdefault(edit.layer, []).append((row, edit))
    handles = [
        parts.layers[layer].down.module.register_forward_pre_hook(_editor(changes))
        for layer, changes in by_layer.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaced_activations(parts: Parts, change: Callable[[int, Tensor], Tensor]) -> Generator[None]:
    """Every down projection reads `change(layer, activations [B, T, I])` in the pass that runs inside."""

    def hook_of(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        return lambda _module, inputs: (change(layer, inputs[0]), *inputs[1:])

    handles = [layer.down.module.register_forward_pre_hook(hook_of(index)) for index, layer in enumerate(parts.layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _editor(changes: Sequence[tuple[int, Edit]]) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    def change(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        activation = inputs[0].clone()
        for row, edit in changes:
            where = slice(None) if edit.position is None else edit.position
            if edit.how == "set":
                activation[row, where, edit.neuron] = edit.value
            elif edit.how == "add":
                activation[row, where, edit.neuron] += edit.value
            else:
                activation[row, where, edit.neuron] *= edit.value
        return (activation, *inputs[1:])

    return change


def _on_input(module: nn.Module, keep: Callable[[Tensor], None]) -> RemovableHandle:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        keep(inputs[0].detach())

    return module.register_forward_pre_hook(hook)


def _on_output(module: nn.Module, keep: Callable[[Tensor], None]) -> RemovableHandle:
    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        keep(output.detach())

    return module.register_forward_hook(hook)
