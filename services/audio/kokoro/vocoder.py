"""The vocoder of Kokoro's model: rewrite its residual blocks, in which most of the time passes, for a CPU.

The published model multiplies unsigned weights by unsigned samples, channel by channel (`ConvInteger`). ONNX Runtime's
kernel for signed weights is faster, and it needs the channels of a moment side by side. The rewritten blocks hold the
channels last, gather the samples under each kernel, and multiply them by the signed weights with scale and bias in one
step (`MatMulIntegerToFloat`). Normalization and activation, `x + sin(ax)^2 / a`, are joined to fewer passes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.audio.kokoro.onnx_graph import Graph

_PREFIX = "/decoder/decoder/generator/"
_BLOCKS = (*(f"resblocks.{number}" for number in range(6)), "noise_res.0", "noise_res.1")
_STEPS = 3
_EPSILON = 1e-5


def rewrite_vocoder(model: bytes) -> bytes:
    """Rewrite the residual blocks of a model. Raises `LookupError` or `ValueError` when it has other ones."""
    graph = Graph(model)
    for block in _BLOCKS:
        _Block(graph, block).rewrite()
    return graph.serialize()


class _Block:
    """A residual block: three times two convolutions, each after a normalization and an activation."""

    def __init__(self, graph: Graph, name: str) -> None:
        self._graph, self._name = graph, name

    def rewrite(self) -> None:
        graph = self._graph
        convolved = self._output("convs2.0")
        [source] = [value for value in graph.user(convolved, "Add").input if value != convolved]
        last = graph.user(self._output(f"convs2.{_STEPS - 1}"), "Add").output[0]
        value = self._swap(source)
        length = graph.add("Shape", value, start=1, end=2)
        count = graph.add("Squeeze", length)
        numbers = graph.add("Range", self._integers(0), count, self._integers(1))
        self._moments = graph.add("Unsqueeze", numbers, self._integers([-1]))
        # Its product with a matrix is the mean of each channel, faster than `ReduceMean` over the first axis.
        share = graph.add("Div", self._floats(1.0), graph.add("Cast", count, to=1))
        self._shares = graph.add("Expand", share, graph.add("Concat", self._integers([1, 1]), length, axis=0))
        for step in range(_STEPS):
            changed = value
            for convolution in (f"convs1.{step}", f"convs2.{step}"):
                changed = self._convolve(self._activate(changed, convolution), convolution)
            value = graph.add("Add", changed, value)
        graph.replace(last, self._swap(value))

    def _activate(self, value: str, convolution: str) -> str:
        """Normalize a value and apply the activation before a convolution.

        With w = 2ax + pi/2, the activation x + sin(ax)^2 / a is (w - sin w + 1 - pi/2) / 2a.
        """
        graph = self._graph
        node = graph.producer(graph.producer(self._node(convolution).input[0]).input[0])
        normalized, scaled = graph.other_input(node, "Mul")
        inverse, power = graph.constant_input(scaled)
        angle = graph.producer(graph.producer(graph.producer(power).input[0]).input[0])
        alpha, _ = graph.constant_input(angle)
        beta, product = graph.other_input(graph.producer(normalized), "Mul")
        gamma, _ = graph.other_input(product, "Div")
        double, half = (2 * self._last(alpha)), self._last(inverse) / 2
        mean = graph.add("MatMul", self._shares, value)
        square = graph.add("MatMul", self._shares, graph.add("Mul", value, value))
        variance = graph.add("Sub", square, graph.add("Mul", mean, mean))
        deviation = graph.add("Sqrt", graph.add("Add", variance, self._floats(_EPSILON)))
        slope = graph.add("Div", graph.add("Mul", self._swap(gamma), self._floats(double)), deviation)
        offset = graph.add("Mul", self._swap(beta), self._floats(double))
        offset = graph.add("Add", offset, self._floats(np.pi / 2))
        offset = graph.add("Sub", offset, graph.add("Mul", mean, slope))
        angle = graph.add("Add", graph.add("Mul", value, slope), offset)
        wave = graph.add("Sub", angle, graph.add("Sin", angle))
        wave = graph.add("Mul", wave, self._floats(half))
        return graph.add("Add", wave, self._floats((1 - np.pi / 2) * half))

    def _convolve(self, value: str, convolution: str) -> str:
        graph, node = self._graph, self._node(convolution)
        _, weights_name, _, zero_name = node.input
        weights, zero = graph.constant(weights_name), int(graph.constant(zero_name))
        if weights.dtype != np.uint8 or graph.integers(node, "strides") not in ([], [1]):
            raise ValueError(f"{self._name}/{convolution} is not a convolution of 8 bits without strides")
        _, channels, width = weights.shape
        signed = (weights.astype(np.int16) - 128).astype(np.int8).transpose(2, 1, 0).reshape(width * channels, -1)
        before, after = graph.integers(node, "pads")
        [dilation] = graph.integers(node, "dilations")
        quantized, scale, moved = graph.add_many("DynamicQuantizeLinear", [value], 3)
        padded = graph.add("Pad", quantized, self._integers([0, before, 0, 0, after, 0]), moved)
        places = graph.add("Add", self._moments, self._integers([[dilation * number for number in range(width)]]))
        samples = graph.add("Gather", padded, places, axis=1)
        samples = graph.add("Reshape", samples, self._integers([1, -1, width * channels]))
        parameter = f"decoder.decoder.generator.{self._name}.{convolution}"
        weights_scale, _ = graph.constant_input(graph.producer(f"{parameter}.bias_scale"))
        signed_zero = graph.add_constant(np.array(zero - 128, np.int8))
        bias = self._floats(graph.constant(f"{parameter}.bias"))
        operands = [samples, graph.add_constant(signed), scale, weights_scale, moved, signed_zero, bias]
        return graph.add("MatMulIntegerToFloat", *operands, domain="com.microsoft")

    def _node(self, convolution: str) -> Any:
        return self._graph.node(f"{_PREFIX}{self._name}/{convolution}/Conv_quant")

    def _output(self, convolution: str) -> str:
        return f"{_PREFIX}{self._name}/{convolution}/Conv_output_0"

    def _swap(self, value: str) -> str:
        """Swap the channels and the moments."""
        return self._graph.add("Transpose", value, perm=[0, 2, 1])

    def _last(self, constant: str) -> NDArray[np.float32]:
        """A parameter of each channel, with the channels last."""
        return np.ascontiguousarray(self._graph.constant(constant).transpose(0, 2, 1))

    def _floats(self, content: Any) -> str:
        return self._graph.add_constant(np.array(content, np.float32))

    def _integers(self, content: Any) -> str:
        return self._graph.add_constant(np.array(content, np.int64))
