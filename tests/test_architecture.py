"""The rules of the architecture, checked on syntax trees and contracts: imports, layout, docstrings, access rules."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from moneyprinter.access.v1 import access_pb2
from moneyprinter.error.v1 import reason_pb2
from services.runtime.config import CLUSTER_SERVICES, PORTS
from services.runtime.config import SERVICES as PLATFORM_SERVICES

ROOT = Path(__file__).parent.parent
SERVICES = (*PLATFORM_SERVICES, *CLUSTER_SERVICES)
RUNTIME = {
    *("config", "tls", "handshakes", "identity", "authorizer", "audit", "revocation", "interceptor", "server"),
    *("admission", "channels", "errors", "request_checks", "wire", "wording", "pagination", "progress", "tasks"),
    *("turns", "layers", "data_keys", "issued_database"),
    *(
        "events",
        "db",
        "disk",
        "secrets",
        "encryption",
        "children",
        "launcher_child",
        "objects",
        "scratch",
        "telemetry",
        "redis",
        "credentials",
        "revocation_feed",
        "__init__",
    ),
}
# What media services share, beside `runtime`.
MEDIA = {
    *("formats", "encoding", "flv", "boxes", "pipes", "fonts", "loudness", "ffmpeg", "language_detection"),
    "__init__",
}
# What services share to call external providers over HTTP.
PROVIDERS = {
    "failures",
    "breaker",
    "keys",
    "chain",
    "responses",
    "client",
    "credentials",
    "pool",
    "usage",
    "account_keys",
    "cost_limits",
    "states",
    "__init__",
}
# The sub-packages of the services, by subject; the other services are flat.
SUBPACKAGES = {
    "audio": {"alignment", "kokoro", "providers"},
    "config": {"vault"},
    "content": {"captions", "fonts", "footage", "layout", "moderation", "scripts", "writers"},
    "orchestrator": {"events", "jetstream", "jobs", "postgres", "videos", "webhooks", "workers"},
    "user": {
        *("accounts", "api_keys", "audit", "authentication", "mfa"),
        *("postgres", "provider_keys", "sessions", "tokens"),
    },
}
# The only files of a service that may import both vendor libraries and adapters.
EDGES = {"servicer", "server", "config"}
VENDORS = {
    "PostgreSQL": ("psycopg", "psycopg_pool", "services.runtime.db"),
    "NATS": ("nats",),
    "Redis": ("redis", "services.runtime.redis"),
    "Vault": ("hvac",),
    "object stores": ("obstore",),
    "HTTP": ("httpx", "httpcore"),
    "gRPC": ("grpc",),
}
MAX_LINES = 500


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not path.name.endswith(("_pb2.py", "_pb2_grpc.py")) and "buf" not in path.parts:
                yield path


def name_of(path: Path) -> str:
    relative = path.relative_to(ROOT / "proto" if path.is_relative_to(ROOT / "proto") else ROOT)
    return ".".join(relative.with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, *, at_start: bool = False) -> set[str]:
    """The modules that a file imports; with `at_start`, only those that it imports at its top level."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in tree.body if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("path", list(modules("proto/moneyprinter", "services", "gateway")), ids=name_of)
def test_a_module_imports_only_what_it_may(path: Path) -> None:
    name, found = name_of(path), imports(path)
    if within(name, "moneyprinter"):
        assert not [module for module in found if within(module, "services") or within(module, "gateway")]
        outside = {module.split(".")[0] for module in found} - set(sys.stdlib_module_names)
        assert outside <= {"grpc", "google", "moneyprinter"}
    elif within(name, "services.runtime"):
        others = [m for m in found if within(m, "services") and not within(m, "services.runtime") and m != "services"]
        assert not others
    elif within(name, "services.media"):
        libraries = ("services.media", "services.runtime")
        assert not [m for m in found if within(m, "services") and m != "services" and not m.startswith(libraries)]
    elif within(name, "services.providers"):
        libraries = ("services.providers", "services.runtime")
        assert not [m for m in found if within(m, "services") and m != "services" and not m.startswith(libraries)]
    elif (service := name.split(".")[1] if "." in name else "") in SERVICES:
        allowed = (f"services.{service}", "services.runtime", "services.media", "services.providers")
        assert not [m for m in found if within(m, "services") and m != "services" and not m.startswith(allowed)]


@pytest.mark.parametrize("service", SERVICES)
def test_domain_modules_import_no_adapter(service: str) -> None:
    """An adapter is a module that imports the library of one vendor; only edges import adapters."""
    files = {name_of(path): imports(path) for path in modules(f"services/{service}")}
    adapters = {name for name, found in files.items() if any(imports_vendor(found, vendor) for vendor in VENDORS)}
    for name, found in files.items():
        if name.rpartition(".")[2] in EDGES or name == f"services.{service}":
            continue
        vendors = [vendor for vendor in VENDORS if imports_vendor(found, vendor)]
        assert len(vendors) <= 1, f"{name} imports {vendors}"
        if name not in adapters:
            assert not found & adapters, f"{name} is a domain module, and imports {found & adapters}"


def imports_vendor(found: set[str], vendor: str) -> bool:
    return any(within(module, name) for module in found for name in VENDORS[vendor])


LIBRARIES = {"runtime": RUNTIME, "media": MEDIA, "providers": PROVIDERS}


@pytest.mark.parametrize(("folder", "modules_of_it"), LIBRARIES.items())
def test_a_library_is_a_closed_list(folder: str, modules_of_it: set[str]) -> None:
    assert {path.stem for path in modules(f"services/{folder}")} == modules_of_it


@pytest.mark.parametrize("service", SERVICES)
def test_the_subpackages_of_a_service_are_a_closed_list(service: str) -> None:
    folders = {path.parent.name for path in (ROOT / "services" / service).glob("*/*.py")}
    assert folders == SUBPACKAGES.get(service, set())


def test_only_edges_stand_beside_the_subpackages_of_the_orchestrator() -> None:
    names = {path.stem for path in (ROOT / "services" / "orchestrator").glob("*.py")} - {"__init__", *EDGES}
    assert {name for name in names if not name.endswith(("_servicer", "_messages"))} == set()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_four_files(service: str) -> None:
    folder = ROOT / "services" / service
    for file in ("__init__.py", "config.py", "servicer.py", "server.py"):
        assert (folder / file).is_file()
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert docstring
    assert "\n" not in docstring


def test_modules_are_short_and_have_a_docstring() -> None:
    for path in modules("proto/moneyprinter", "services", "gateway", "tests", "scripts"):
        text = path.read_text()
        assert text.count("\n") <= MAX_LINES, f"{path} is longer than {MAX_LINES} lines"
        if text.strip():
            assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
        assert path.stem not in {"utils", "helpers", "common", "manager", "base"}, path


def test_no_module_imports_itself_through_others() -> None:
    graph = {
        name_of(path): imports(path, at_start=True) for path in modules("proto/moneyprinter", "services", "gateway")
    }
    try:
        TopologicalSorter({name: found & graph.keys() - {name} for name, found in graph.items()}).prepare()
    except CycleError as cycle:
        pytest.fail(f"import cycle: {' -> '.join(cycle.args[1])}")


def contracts() -> Iterator[descriptor_pb2.FileDescriptorProto]:
    files = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "gateway" / "api.binpb").read_bytes())
    yield from (file for file in files.file if file.package.startswith("moneyprinter."))


def test_everything_in_a_contract_is_commented() -> None:
    for file in contracts():
        commented = {tuple(l.path) for l in file.source_code_info.location if l.leading_comments.strip()}  # noqa: E741
        for path, name in elements(file):
            assert path in commented, f"{file.name}: {name} has no comment"


def elements(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Messages, fields, enums, values, services and methods, with their paths in the descriptor."""

    def of_message(
        message: descriptor_pb2.DescriptorProto, path: tuple[int, ...]
    ) -> Iterator[tuple[tuple[int, ...], str]]:
        yield path, message.name
        for index, field in enumerate(message.field):
            yield (*path, 2, index), f"{message.name}.{field.name}"
        for index, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                yield from of_message(nested, (*path, 3, index))

    for index, message in enumerate(file.message_type):
        yield from of_message(message, (4, index))
    for index, enum in enumerate(file.enum_type):
        yield (5, index), enum.name
        for number, value in enumerate(enum.value):
            yield (5, index, 2, number), f"{enum.name}.{value.name}"
    for index, service in enumerate(file.service):
        yield (6, index), service.name
        for number, method in enumerate(service.method):
            yield (6, index, 2, number), f"{service.name}.{method.name}"


def test_every_method_has_an_access_rule_with_callers_and_a_deadline() -> None:
    known = {*PORTS, "*"}
    methods = [(file.package, method) for file in contracts() for service in file.service for method in service.method]
    assert len(methods) > 20
    for package, method in methods:
        assert method.options.HasExtension(access_pb2.rule), f"{package}.{method.name} has no access rule"
        rule = method.options.Extensions[access_pb2.rule]
        assert rule.callers, f"{package}.{method.name} names no caller"
        assert set(rule.callers) <= known, f"{package}.{method.name} names {set(rule.callers) - known}"
        assert rule.deadline.seconds, f"{package}.{method.name} has no deadline"


def test_every_method_of_a_contract_is_served() -> None:
    for file in contracts():
        package = file.package.split(".")[1]
        service = {"video": "orchestrator"}.get(package, package)
        for described in file.service:
            text = "".join(path.read_text() for path in (ROOT / "services" / service).glob("*servicer.py"))
            for method in described.method:
                assert re.search(rf"async def {method.name}\(", text), f"{service} does not serve {method.name}"


def test_reasons_in_the_code_and_in_the_contract_are_the_same() -> None:
    known = {name.removeprefix("REASON_") for name, _ in reason_pb2.Reason.items()} - {"UNSPECIFIED"}
    raised: set[str] = set()
    text = ""
    for path in modules("proto/moneyprinter", "services", "gateway"):
        source = path.read_text()
        text += source
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.keyword) and node.arg == "reason" and isinstance(node.value, ast.Constant):
                raised.add(str(node.value.value))
    assert raised <= known, f"not in the contract: {sorted(raised - known)}"
    unused = {name for name in known if f'"{name}"' not in text}
    assert not unused, f"never raised: {sorted(unused)}"


ERRORS = {
    node.name
    for node in ast.parse((ROOT / "proto" / "moneyprinter" / "errors.py").read_text()).body
    if isinstance(node, ast.ClassDef) and any(isinstance(of, ast.Name) and of.id == "Error" for of in node.bases)
}


def public_functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions and methods in a body whose names, and whose classes' names, have no leading underscore."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            if isinstance(node, ast.ClassDef):
                yield from public_functions(node.body)
            else:
                yield node


def raised_errors(function: ast.FunctionDef | ast.AsyncFunctionDef, makers: dict[str, str]) -> set[str]:
    """The types of `moneyprinter.errors` in the `raise` statements of a function, without those of nested functions.

    `makers` are the functions of the module that return such an error, with the types.
    """
    found: set[str] = set()
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(error).rpartition(".")[2]
            found.add(makers.get(name, name))
    return found & ERRORS


@pytest.mark.parametrize("path", list(modules("proto/moneyprinter", "services", "gateway")), ids=name_of)
def test_docstrings_of_public_functions_name_the_errors_that_they_raise(path: Path) -> None:
    tree = ast.parse(path.read_text())
    makers = {
        node.name: ast.unparse(node.returns).rpartition(".")[2]
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None
    }
    for function in public_functions(tree.body):
        docstring = ast.get_docstring(function) or ""
        for error in raised_errors(function, makers):
            assert re.search(rf"\b{error}\b", docstring), f"{path}:{function.lineno}: {function.name} raises {error}"


def test_no_table_repeats_an_enum_of_a_contract() -> None:
    """A table between names and values is derived from the enum, so that a new value is one change of the contract."""
    values = {value.name for file in contracts() for enum in file.enum_type for value in enum.value}
    for path in modules("services", "gateway"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Dict):
                for entries in (node.keys, node.values):
                    named = {entry.attr for entry in entries if isinstance(entry, ast.Attribute)} & values
                    assert len(named) <= 2, f"{path}:{node.lineno} repeats {sorted(named)}"


@pytest.mark.parametrize("path", list(modules("proto/moneyprinter", "services", "gateway")), ids=name_of)
def test_no_name_is_assigned_a_lambda(path: Path) -> None:
    """Also `name: Type = lambda ...`, attributes and `:=`. A `def` has a name in tracebacks, and a docstring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr):
            assert not isinstance(node.value, ast.Lambda), f"{path}:{node.lineno} assigns a lambda"


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node


def blocks(source: str, lines: int) -> Iterator[tuple[str, int]]:
    """Every run of statements of at least `lines` lines, at any depth: its normalised text, and its first line.

    The text has no comments, no docstrings and no layout. Imports are not blocks, since modules need the same ones.
    """
    for node in ast.walk(_WithoutDocstrings().visit(ast.parse(source))):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            statements = body if isinstance(body, list) else []
            for first, statement in enumerate(statements):
                length, texts = 0, []
                for following in statements[first:]:
                    if isinstance(following, ast.Import | ast.ImportFrom):
                        break
                    length += following.end_lineno - following.lineno + 1
                    texts.append(ast.unparse(following))
                    if length >= lines:
                        yield "\n".join(texts), statement.lineno
                        break


def test_no_block_of_ten_lines_stands_twice() -> None:
    places: dict[str, str] = {}
    for path in modules("services"):
        for text, line in blocks(path.read_text(), lines=10):
            place = f"{path.relative_to(ROOT)}:{line}"
            assert text not in places, f"{place} repeats {places.get(text)}:\n{text}"
            places[text] = place


def test_a_repeated_block_is_found() -> None:
    """The comparison ignores docstrings, comments and layout, and compares blocks at any depth."""
    lines = [f"call({number}, 'text')" for number in range(10)]
    one = "\n".join(["def first():", '    """One."""', *(f"    {line}" for line in lines)])
    two = "\n".join(["if condition:", *(f"    {line}  # a comment" for line in lines)])
    found = [text for source in (one, two) for text, _ in blocks(source, lines=10)]
    assert len(found) == len(set(found)) + 1


def test_the_distribution_of_the_contracts_has_few_dependencies() -> None:
    project = tomllib.loads((ROOT / "proto" / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=\[]", requirement)[0] for requirement in project["dependencies"]}
    assert needed == {"googleapis-common-protos", "grpcio", "protobuf"}


def test_imported_packages_are_installed_on_a_laptop() -> None:
    """Packages that only the tests install are not imported; an import may come with the package of another name."""
    locked = {
        line.partition("==")[0].lower()
        for name in ("laptop.lock", "voice.lock")
        for line in (ROOT / "requirements" / name).read_text().splitlines()
        if re.match(r"[a-z]", line)
    }
    distributions = importlib.metadata.packages_distributions()
    imported = {
        module.partition(".")[0]
        for path in modules("proto/moneyprinter", "services", "gateway")
        for module in imports(path)
    }
    # A laptop does not import the client of Vault, and what that is built on.
    others = {"moneyprinter", "services", "gateway", "hvac", "requests"}
    for package in imported - set(sys.stdlib_module_names) - others:
        names = {re.sub(r"[-_.]+", "-", name).lower() for name in distributions.get(package, [package])}
        assert names & locked, package


def test_lock_files_pin_hashes_and_name_no_index() -> None:
    for path in (ROOT / "requirements").glob("*.lock"):
        text = path.read_text()
        assert "://" not in text
        assert "--index" not in text
        requirements = re.split(r"\n(?=\S)", text.strip())
        assert all("--hash=sha256:" in requirement for requirement in requirements), path
