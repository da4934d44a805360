"""Rules on source text, each a function that lists the violations.

A violation is "file:line: what is wrong". The backend names live here because
they are what the rules look for.
"""

import ast
import re
import sys

PACKAGE = "keras_rmi"

_BACKENDS = ("tensorflow", "torch", "jax")
_BACKEND_WORD = re.compile(
    rf"(?<![a-z])({'|'.join(_BACKENDS)}|tf|jnp)(?![a-z])", re.IGNORECASE
)

_LOWEST = ("_types", "_validation", "_backend")
# What the modules of each layer may import of the package itself.
_LAYERS = {
    "_types": set(),
    "_validation": set(),
    "_backend": {"_backend"},
    "ops": {*_LOWEST, "ops"},
    "losses": {*_LOWEST, "ops", "losses"},
    "layers": {*_LOWEST, "ops", "layers"},
    "callbacks": {*_LOWEST, "ops", "callbacks"},
    "metrics": {*_LOWEST, "ops", "metrics"},
    "": {
        *(*_LOWEST, "ops"),
        *("losses", "layers", "callbacks", "metrics"),
    },
}
_UNSAFE = {"eval", "exec", "compile", "__import__", "importlib.import_module"}
_UNSAFE |= {"keras.config.enable_unsafe_deserialization"}
_UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "yaml"}
_DEPENDENCIES = {"keras", "numpy"}
_OUTSIDE = {
    "_types": set(),
    "_validation": set(),
    "_backend": {*_DEPENDENCIES, *_BACKENDS},
}


def module_name(path):
    """Dotted name of a file given relative to the root of the tree."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source, path):
    """(line, dotted name) of everything a file imports, relative or not."""
    module = module_name(path)
    package = module.split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            start = ".".join(base) if node.level else ""
            for alias in node.names:
                parts = (start, node.module, alias.name)
                yield node.lineno, ".".join(part for part in parts if part)


def layer_violations(source, path):
    """Imports that do not go down, or leave the dependencies."""
    own = _layer(module_name(path))
    if own not in _LAYERS:
        return [f"{path}:1: a module of no known layer"]
    found = []
    for line, name in imports(source, path):
        top = name.partition(".")[0]
        if top == PACKAGE:
            if _layer(name) not in _LAYERS[own]:
                found.append(f"{path}:{line}: {name} is not below this file")
        elif top not in sys.stdlib_module_names:
            if top not in _OUTSIDE.get(own, _DEPENDENCIES):
                found.append(f"{path}:{line}: {top} is no dependency here")
    return found


def _layer(name):
    """`_backend` may be several files, which share the start of their name."""
    parts = name.split(".")
    if len(parts) > 1 and parts[1].startswith("_backend"):
        return "_backend"
    return parts[1] if len(parts) > 1 else ""


def cycles(sources):
    """Modules that import each other, from {path: source}."""
    modules = {module_name(path) for path in sources}
    graph = {
        module_name(path): {
            _module_of(name, modules) for _, name in imports(source, path)
        }
        & modules
        for path, source in sources.items()
    }

    def reachable(start):
        seen, todo = set(), [*graph[start]]
        while todo:
            module = todo.pop()
            if module not in seen:
                seen.add(module)
                todo.extend(graph[module])
        return seen

    return sorted(module for module in graph if module in reachable(module))


def _module_of(name, modules):
    return name if name in modules else name.rpartition(".")[0]


def private_keras(source, path):
    """Uses of `keras.src`: imported, as an attribute or in a string."""
    found = [
        f"{path}:{line}: imports {name}"
        for line, name in imports(source, path)
        if f"{name}.".startswith("keras.src.")
    ]
    for node, text in _words(source):
        if isinstance(node, ast.Attribute) and text == "src":
            found.append(f"{path}:{node.lineno}: attribute `src`")
        elif isinstance(node, ast.Constant) and "keras.src" in text:
            found.append(f"{path}:{node.lineno}: names keras.src")
    return found


def backend_names(source, path):
    """Backends named in imports, identifiers or strings, or asked for.

    Docstrings are prose and may explain what a backend does.
    """
    found = [
        f"{path}:{line}: imports {name}"
        for line, name in imports(source, path)
        if name.partition(".")[0] in _BACKENDS
    ]
    found.extend(
        f"{path}:{node.lineno}: names a backend in {text!r}"
        for node, text in _words(source)
        if _BACKEND_WORD.search(text)
    )
    found.extend(
        f"{path}:{node.lineno}: asks which backend runs"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and node.attr == "backend"
        and ast.unparse(node.value).endswith(("backend", "config"))
    )
    return found


def _words(source):
    """(node, text) of each identifier and each string but docstrings."""
    tree = ast.parse(source)
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and id(node) not in prose:
                yield node, node.value
            continue
        for field in ("id", "attr", "arg", "name"):
            text = getattr(node, field, None)
            if isinstance(text, str) and not isinstance(node, ast.alias):
                yield node, text


def unsafe_calls(source, path):
    """Calls that run text or bytes as code, or read objects from bytes."""
    return [
        f"{path}:{node.lineno}: calls {ast.unparse(node.func)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and (
            ast.unparse(node.func) in _UNSAFE
            or ast.unparse(node.func).partition(".")[0] in _UNSAFE_MODULES
            or any(
                keyword.arg == "allow_pickle"
                or (keyword.arg == "safe_mode" and not _is_true(keyword.value))
                for keyword in node.keywords
            )
        )
    ] + [
        f"{path}:{line}: imports {name}"
        for line, name in imports(source, path)
        if name.partition(".")[0] in _UNSAFE_MODULES
    ]


def _is_true(node):
    return isinstance(node, ast.Constant) and node.value is True


def facade_violations(source, path):
    """What an `__init__.py` holds besides a plain table of contents."""
    found, imported, listed = [], set(), None
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom):
            names = {alias.asname or alias.name for alias in node.names}
            imported |= {name for name in names if not name.startswith("_")}
            if "*" in names:
                found.append(f"{path}:{node.lineno}: star import")
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = ast.unparse(node.targets[0])
            if target == "__all__":
                listed = set(ast.literal_eval(node.value))
            elif target != "__version__":
                found.append(f"{path}:{node.lineno}: assigns {target}")
        elif not isinstance(node, ast.Expr):
            found.append(f"{path}:{node.lineno}: more than a re-export")
    if listed is None:
        found.append(f"{path}:1: no __all__")
    else:
        listed.discard("__version__")
        found.extend(
            f"{path}:1: {name} is not both imported and in __all__"
            for name in sorted(imported ^ listed)
        )
    return found


def unexported(sources, exported):
    """Public functions and classes that a package keeps from its users.

    A class that others of the package are made from is no end in itself.
    """
    bases = {
        ast.unparse(base).rpartition(".")[2]
        for source in sources.values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    }
    return [
        f"{path}:{node.lineno}: {node.name} is not in __all__"
        for path, source in sources.items()
        for node in ast.parse(source).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and node.name not in {*exported, *bases}
    ]
