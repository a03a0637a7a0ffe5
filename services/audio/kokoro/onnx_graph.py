"""The graph of an ONNX model: read it, add nodes, and write it without the nodes that nothing needs any more.

It declares only the fields of ONNX's messages that are used here. Parsers of protobuf keep the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

_TYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64}
_NUMBERS = {np.dtype(kind): number for number, kind in _TYPES.items()}
_INT, _INTS = 2, 7

_Field = descriptor_pb2.FieldDescriptorProto
# Each message with its fields: number, name, type, whether it repeats.
_MESSAGES: dict[str, Sequence[tuple[int, str, Any, bool]]] = {
    "Tensor": (
        *((1, "dims", _Field.TYPE_INT64, True), (2, "data_type", _Field.TYPE_INT32, False)),
        *((4, "float_data", _Field.TYPE_FLOAT, True), (5, "int32_data", _Field.TYPE_INT32, True)),
        *((7, "int64_data", _Field.TYPE_INT64, True), (8, "name", _Field.TYPE_STRING, False)),
        (9, "raw_data", _Field.TYPE_BYTES, False),
    ),
    "Attribute": (
        *((1, "name", _Field.TYPE_STRING, False), (3, "i", _Field.TYPE_INT64, False)),
        *((8, "ints", _Field.TYPE_INT64, True), (20, "type", _Field.TYPE_INT32, False)),
    ),
    "Node": (
        *((1, "input", _Field.TYPE_STRING, True), (2, "output", _Field.TYPE_STRING, True)),
        *((3, "name", _Field.TYPE_STRING, False), (4, "op_type", _Field.TYPE_STRING, False)),
        *((5, "attribute", ".Attribute", True), (7, "domain", _Field.TYPE_STRING, False)),
    ),
    "Value": ((1, "name", _Field.TYPE_STRING, False),),
    "Graph": (
        *((1, "node", ".Node", True), (5, "initializer", ".Tensor", True)),
        *((12, "output", ".Value", True), (13, "value_info", ".Value", True)),
    ),
    "Model": ((7, "graph", ".Graph", False),),
}


def _make_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="onnx_subset.proto", package="moneyprinter.onnx", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind, repeats in fields:
            label = _Field.LABEL_REPEATED if repeats else _Field.LABEL_OPTIONAL
            added = message.field.add(number=number, name=field, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".moneyprinter.onnx{kind}"
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"moneyprinter.onnx.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _make_classes()


class Graph:
    """The graph of a model."""

    def __init__(self, model: bytes) -> None:
        self._model = _CLASSES["Model"].FromString(model)
        self._graph = self._model.graph
        self._nodes = list(self._graph.node)
        self._constants = {tensor.name: tensor for tensor in self._graph.initializer}
        self._producers = {output: node for node in self._nodes for output in node.output}
        self._by_name = {node.name: node for node in self._nodes}
        self._users: dict[str, list[Any]] = {}
        for node in self._nodes:
            for value in node.input:
                self._users.setdefault(value, []).append(node)

    def node(self, name: str) -> Any:
        """The node of a name. Raises `KeyError` when there is none."""
        return self._by_name[name]

    def producer(self, value: str) -> Any:
        """The node that makes a value. Raises `KeyError` when it is a constant or an input."""
        return self._producers[value]

    def user(self, value: str, kind: str) -> Any:
        """The first node of a kind that reads a value. Raises `LookupError` when there is none."""
        for node in self._users[value]:
            if node.op_type == kind:
                return node
        raise KeyError(f"{kind} of {value}")

    def other_input(self, node: Any, kind: str) -> tuple[str, Any]:
        """Split the two inputs of a node: the one that a node of the kind makes is second, with that node.

        Raises `KeyError` when no node of the kind makes one.
        """
        first, second = node.input
        for value, other in ((second, first), (first, second)):
            if value in self._producers and self._producers[value].op_type == kind:
                return other, self._producers[value]
        raise KeyError(f"{kind} before {node.name}")

    def constant(self, value: str) -> NDArray[Any]:
        """The content of a constant. Raises `KeyError` when the value is none."""
        tensor = self._constants[value]
        kind = _TYPES[tensor.data_type]
        if tensor.raw_data:
            content = np.frombuffer(tensor.raw_data, kind)
        else:
            content = np.array(tensor.float_data or tensor.int64_data or tensor.int32_data, kind)
        return content.reshape(tuple(tensor.dims))

    def constant_input(self, node: Any) -> tuple[str, str]:
        """Split the two inputs of a node into the constant and the other one. Raises `KeyError` without a constant."""
        first, second = node.input
        if first in self._constants:
            return first, second
        if second in self._constants:
            return second, first
        raise KeyError(f"constant of {node.name}")

    def integers(self, node: Any, attribute: str) -> list[int]:
        """The integers of an attribute of a node; empty when it has none of that name."""
        return [number for each in node.attribute if each.name == attribute for number in each.ints]

    def add_constant(self, content: NDArray[Any]) -> str:
        """Add a constant, and return its name."""
        name = f"added/constant_{len(self._constants)}"
        self._constants[name] = _CLASSES["Tensor"](
            name=name, data_type=_NUMBERS[content.dtype], dims=content.shape, raw_data=content.tobytes()
        )
        return name

    def add(self, kind: str, *inputs: str, domain: str = "", **attributes: int | Sequence[int]) -> str:
        """Add a node with one output, and return the name of that output."""
        return self.add_many(kind, inputs, 1, domain, attributes)[0]

    def add_many(
        self,
        kind: str,
        inputs: Iterable[str],
        outputs: int,
        domain: str = "",
        attributes: dict[str, int | Sequence[int]] | None = None,
    ) -> list[str]:
        """Add a node with several outputs, and return their names."""
        name = f"added/{kind}_{len(self._nodes)}"
        node = _CLASSES["Node"](name=name, op_type=kind, domain=domain, input=inputs)
        node.output.extend(f"{name}_{number}" for number in range(outputs))
        for key, value in (attributes or {}).items():
            if isinstance(value, int):
                node.attribute.add(name=key, type=_INT, i=value)
            else:
                node.attribute.add(name=key, type=_INTS, ints=value)
        self._nodes.append(node)
        self._producers.update(dict.fromkeys(node.output, node))
        return list(node.output)

    def replace(self, value: str, other: str) -> None:
        """Let the nodes of the model that read a value read another one; added nodes keep what they read."""
        for node in self._users[value]:
            node.input[:] = [other if each == value else each for each in node.input]

    def serialize(self) -> bytes:
        """Write the model with the nodes and constants that its outputs need. The graph cannot be used afterwards."""
        ordered = self._order_nodes()
        used = {value for node in ordered for value in node.input}
        kept = [tensor for name, tensor in self._constants.items() if name in used]
        for field, content in (("node", ordered), ("initializer", kept), ("value_info", [])):
            self._graph.ClearField(field)
            getattr(self._graph, field).extend(content)
        return bytes(self._model.SerializeToString())

    def _order_nodes(self) -> list[Any]:
        """The nodes that the outputs need, each after those that it needs."""
        ordered, found = list[Any](), set[str]()
        pending = [(output.name, False) for output in self._graph.output]
        while pending:
            value, is_ready = pending.pop()
            node = self._producers.get(value)
            if node is None or node.name in found:
                continue
            if is_ready:
                found.add(node.name)
                ordered.append(node)
            else:
                pending += [(value, True), *((each, False) for each in node.input)]
        return ordered
