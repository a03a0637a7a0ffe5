"""Enums come from the contract: no service restates the values of one, and public names are those of the enums."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from moneyprinter.buf.validate import validate_pb2
from moneyprinter.content.v1 import content_service_pb2 as content
from moneyprinter.media.v1 import values_pb2
from moneyprinter.video.v1 import video_service_pb2 as video
from services.commands.actions.request_files import CODECS
from services.commands.actions.stages import ASPECT_RATIOS
from services.orchestrator.videos.requests import canvas_size
from tests.orchestrator.samples import REQUEST

ROOT = Path(__file__).parent.parent
# As many values of an enum in one place are no coincidence.
MANY = 3
# The order in which the views of a still picture alternate: it has a meaning of its own.
ORDERS = {("services/orchestrator/jobs/timeline.py", "Motion")}


def contracts() -> list[descriptor_pb2.FileDescriptorProto]:
    files = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "gateway" / "api.binpb").read_bytes())
    return [file for file in files.file if file.package.startswith("moneyprinter.")]


def enums() -> dict[str, frozenset[str]]:
    """The values of each enum, as `fade_black` for `TRANSITION_FADE_BLACK`. Reasons of errors are not among them."""
    found = {}
    for file in contracts():
        for enum in file.enum_type:
            prefix = enum.value[0].name.removesuffix("UNSPECIFIED")
            names = frozenset(value.name.removeprefix(prefix).lower() for value in enum.value[1:])
            if len(names) >= MANY and not file.package.startswith("moneyprinter.error."):
                found[enum.name] = names
    return found


ENUMS = enums()


def stated(node: ast.AST) -> Iterator[str]:
    """The names that a literal collection, or a dictionary by its keys, or a `Literal` consists of."""
    match node:
        case ast.Dict(keys=keys, values=values):
            # A figure for each value restates nothing.
            figures = all(isinstance(value, ast.Constant) and not isinstance(value.value, str) for value in values)
            elements = [] if figures else [key for key in keys if key is not None]
        case ast.Set(elts=elements) | ast.List(elts=elements) | ast.Tuple(elts=elements):
            pass
        case _:
            return
    for element in elements:
        match element:
            case ast.Constant(value=str(text)):
                yield text.lower().replace(" ", "_")
            case ast.Attribute(attr=name) | ast.Name(id=name):
                prefixes = (f"{enum.upper()}_" for enum in ENUMS)
                yield from (name.removeprefix(prefix).lower() for prefix in prefixes if name.startswith(prefix))


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "services").rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def test_no_service_restates_the_values_of_an_enum() -> None:
    restated = [
        f"{path}:{getattr(node, 'lineno', 0)} restates {enum}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if (names := set(stated(node)))
        for enum, values in ENUMS.items()
        if len(names & values) >= MANY and (path, enum) not in ORDERS
    ]
    assert not restated, restated


def test_a_python_enum_has_all_values_of_the_contract_and_stands_once() -> None:
    """The service that gives the values their meaning declares them, and no other."""
    declared: dict[str, list[str]] = {}
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Enum") for base in node.bases):
                members = {
                    target.id.lower()
                    for statement in node.body
                    if isinstance(statement, ast.Assign)
                    for target in statement.targets
                    if isinstance(target, ast.Name)
                }
                for enum, values in ENUMS.items():
                    if len(members & values) >= MANY or (members & values and node.name == enum):
                        declared.setdefault(enum, []).append(path)
                        assert values <= members, f"{path}: {node.name} lacks {sorted(values - members)}"
    assert {enum: paths for enum, paths in declared.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("file", contracts(), ids=lambda file: str(file.name))
def test_names_in_public_fields_are_all_values_of_their_enum(file: descriptor_pb2.FileDescriptorProto) -> None:
    """The list of a public field is made of the enum: what can be rendered can be requested, and no more."""
    for message in file.message_type:
        for field in message.field:
            rules = field.options.Extensions[validate_pb2.field].string
            names = set(getattr(rules, "in")) - {"", "none"}
            for enum, values in ENUMS.items():
                if len(names & values) >= MANY:
                    assert names == values - {"none"}, f"{message.name}.{field.name} is not {enum}"
                    source = field.options.Extensions[values_pb2.values_of]
                    assert source.endswith(f".{enum}"), f"{message.name}.{field.name} lists values: use values_of"


@pytest.mark.parametrize("kind", [video.Clip, video.Settings, video.Captions])
def test_servers_check_the_values_that_the_description_lists(kind: type[Message]) -> None:
    """The stubs, by which servers check requests, have the names that the descriptor set for the gateway has."""
    (described,) = [
        message
        for file in contracts()
        for message in file.message_type
        if f"{file.package}.{message.name}" == kind.DESCRIPTOR.full_name
    ]
    for field in described.field:
        if field.options.Extensions[values_pb2.values_of]:
            stub = kind.DESCRIPTOR.fields_by_name[field.name].GetOptions().Extensions[validate_pb2.field].string
            listed = getattr(field.options.Extensions[validate_pb2.field].string, "in")
            assert list(getattr(stub, "in")) == list(listed)
            assert len(listed) >= MANY


def test_the_public_style_of_captions_is_that_of_the_content_service() -> None:
    """Only position and highlight differ, which are text for clients; the orchestrator converts the fields by name."""

    def fields(kind: Descriptor) -> dict[str, tuple[int, bytes]]:
        found = {}
        for field in kind.fields:
            rules = validate_pb2.FieldRules()
            rules.CopyFrom(field.GetOptions().Extensions[validate_pb2.field])
            if field.name in ("position", "highlight"):
                rules.Clear()
            found[field.name] = (field.number, rules.SerializeToString(deterministic=True))
        return found

    assert fields(video.Captions.DESCRIPTOR) == fields(content.CaptionStyle.DESCRIPTOR)


def test_the_commands_know_the_codecs_and_shapes_of_the_contract() -> None:
    assert {codec for codecs in CODECS.values() for codec in codecs} == ENUMS["Codec"]
    for suffix, codecs in CODECS.items():
        assert {replace(REQUEST, codec=codec).main_file for codec in codecs} == {f"video{suffix}"}
    field = video.Settings.DESCRIPTOR.fields_by_name["aspect_ratio"]
    shapes = set(getattr(field.GetOptions().Extensions[validate_pb2.field].string, "in")) - {""}
    assert {shape: canvas_size("1080p", shape) for shape in shapes} == ASPECT_RATIOS
