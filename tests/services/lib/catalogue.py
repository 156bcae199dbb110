"""Superset's settings, read from an installed Superset, and the catalogue that several versions come to.

    catalogue.py read VERSION       run by Superset's own Python: what this version knows, as JSON
    catalogue.py write KEPT JSON... the catalogue KEPT with these versions read anew, on stdout

A setting is a name that superset/config.py assigns: its type is that of the default, and what the annotation allows
besides. Packages that Superset loads read settings of their own from the same config: those names are taken from the
packages' sources, and their values are not judged. One word a type: any bool callable dict float int list null object
set str timedelta tuple; `|` means or, `~` that the default is no literal, `-` that this version has no such setting.
"""

import ast
import json
import re
import sys
from pathlib import Path

# Which packages read Superset's config besides Superset, and how the names begin that belong to each.
FAMILIES = {
    "flask": ["SESSION_"],
    "flask_appbuilder": ["AUTH_", "FAB_", "LDAP_", "MAIL_", "OAUTH_", "OPENID_", "RECAPTCHA_"],
    "flask_babel": ["BABEL_"],
    "flask_caching": ["CACHE_"],
    "flask_compress": ["COMPRESS_"],
    "flask_cors": ["CORS_"],
    "flask_jwt_extended": ["JWT_"],
    "flask_limiter": ["RATELIMIT_"],
    "flask_login": ["LOGIN_", "REMEMBER_COOKIE_"],
    "flask_migrate": [],
    "flask_session": ["SESSION_"],
    "flask_sqlalchemy": ["SQLALCHEMY_"],
    "flask_talisman": [],
    "flask_wtf": ["RECAPTCHA_", "WTF_"],
    "superset": [],
}

# Names that no installed source holds as they are.
BY_HAND = {
    # Flask-Mail (its manual, "Configuring Flask-Mail"): Flask App-Builder sends registration mails with it, if it is there.
    "flask_mail": """MAIL_ASCII_ATTACHMENTS MAIL_DEBUG MAIL_DEFAULT_SENDER MAIL_MAX_EMAILS MAIL_PASSWORD MAIL_PORT MAIL_SERVER
        MAIL_SUPPRESS_SEND MAIL_USERNAME MAIL_USE_SSL MAIL_USE_TLS""",
    # Flask App-Builder composes these names (`AUTH_ROLE_` and a level) or reads them only in its templates.
    "flask_appbuilder": "AUTH_ROLE_ADMIN AUTH_ROLE_PUBLIC APP_THEME LANGUAGES",
}

# What is accepted besides the type of the default and the annotation, and why.
BESIDES = {
    "CELERY_CONFIG": ["dict", "null", "str"],  # Celery's config_from_object takes a mapping or a module's name; null turns it off
    "LOG_LEVEL": ["str"],  # logging's setLevel takes names
    "TIME_ROTATE_LOG_LEVEL": ["str"],
    "SCREENSHOT_SELENIUM_ANIMATION_WAIT": ["float"],  # slept for
    "SCREENSHOT_SELENIUM_HEADSTART": ["float"],
    "SEND_FILE_MAX_AGE_DEFAULT": ["null", "timedelta"],  # Flask: seconds, a timedelta, or None
    "WTF_CSRF_TIME_LIMIT": ["null"],  # Flask-WTF: None is as long as the session
}

NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
SET_METHODS = {"difference", "intersection", "issubset", "issuperset", "symmetric_difference", "union"}


def type_of(default):
    for kind in (bool, int, float, str, list, tuple, dict, set):
        if isinstance(default, kind):
            return "set" if kind is frozenset else kind.__name__
    if default is None:
        return "any"
    if type(default).__name__ == "timedelta":
        return "timedelta"
    return "callable" if callable(default) and (isinstance(default, type) or hasattr(default, "__code__")) else "object"


def is_literal(value):
    if isinstance(value, (list, tuple, set)):
        return all(map(is_literal, value))
    if isinstance(value, dict):
        return all(is_literal(part) for pair in value.items() for part in pair)
    return value is None or isinstance(value, (bool, int, float, str))


def annotated(node, names):
    """The types that an annotation allows; {"any"} where that cannot be told."""
    if isinstance(node, ast.Constant):
        return {"null"} if node.value is None else annotated(ast.parse(node.value, mode="eval").body, names)
    if isinstance(node, ast.BinOp):
        return annotated(node.left, names) | annotated(node.right, names)
    parameters = []
    if isinstance(node, ast.Subscript):
        inner = node.slice
        parameters = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        node = node.value
    head = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    if head in ("Union", "Optional"):
        none = {"null"} if head == "Optional" else set()
        return none.union(*(annotated(part, names) for part in parameters))
    if head == "Literal":
        return {"null" if part.value is None else type(part.value).__name__ for part in parameters}
    known = {"None": "null", "Callable": "callable", "type": "callable", "Type": "callable"}
    plain = {"bool", "int", "float", "str", "list", "tuple", "dict", "set", "timedelta"}
    if head in known or head.lower() in plain:
        return {known.get(head, head.lower())}
    return alias(names.get(head))


def alias(meant):
    import typing

    if typing.is_typeddict(meant):
        return {"dict"}
    origin = typing.get_origin(meant)
    if origin in (typing.Union, type(int | str)):
        return set().union(*(alias(part) for part in typing.get_args(meant)))
    if origin in (dict, list, set, tuple):
        return {origin.__name__}
    if meant in (bool, int, float, str, dict, list, set, tuple):
        return {meant.__name__}
    return {"object"} if isinstance(meant, type) else {"any"}


def assigned(tree):
    """What a module assigns by itself: name to annotation, where there is one."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = node.annotation
        elif isinstance(node, ast.FunctionDef):
            names.setdefault(node.name)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                for part in ast.walk(target):
                    if isinstance(part, ast.Name):
                        names.setdefault(part.id)
    return {name: annotation for name, annotation in names.items() if NAME.fullmatch(name)}


def is_config(node):
    """Whether an expression is a Flask config. Flask-Caching passes it on as a plain `config`, Superset also as `app_config`."""
    if isinstance(node, ast.Attribute):
        return node.attr == "config"
    return getattr(node, "id", "") in ("app_config", "conf", "config")


def text(node):
    is_name = isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value)
    return node.value if is_name and len(node.value) > 2 else None


def read_from_config(node):
    """The setting that an expression reads from a Flask config."""
    if isinstance(node, ast.Subscript) and is_config(node.value):
        return text(node.slice)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        if node.func.attr in ("get", "pop", "setdefault") and is_config(node.func.value):
            return text(node.args[0])
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)) and is_config(node.comparators[0]):
        return text(node.left)
    return None


def sources(package):
    import importlib.util

    spec = importlib.util.find_spec(package)
    root = Path(spec.origin).parent if spec else Path("/nonexistent")
    for path in sorted(root.rglob("*.py")):
        if not {"tests", "test", "examples"} & set(path.relative_to(root).parts):
            yield ast.parse(path.read_text(encoding="utf-8"))


def read_packages():
    """Names by package, Superset's feature flags, and the sets that are used as sets."""
    found, flags, sets = {}, set(), set()
    for package, prefixes in FAMILIES.items():
        for tree in sources(package):
            for node in ast.walk(tree):
                name = read_from_config(node)
                if name is None and prefixes and (name := text(node)) and not name.startswith(tuple(prefixes)):
                    name = None
                if name and not (name in prefixes or name.endswith("_")):
                    found.setdefault(name, package)
                if isinstance(node, ast.Call) and node.args:
                    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                    if called == "is_feature_enabled" and text(node.args[0]):
                        flags.add(node.args[0].value)
                    if called in SET_METHODS and isinstance(node.func, ast.Attribute):
                        sets.add(read_from_config(node.func.value))
    return found, flags, sets


def read():
    import flask
    import superset.config as config

    found, flags, sets = read_packages()
    found.update({name: "flask" for name in flask.Flask.default_config})
    for package, names in BY_HAND.items():
        for name in names.split():
            found.setdefault(name, package)
    settings = {name: ["any", package] for name, package in found.items()}
    module = ast.parse(Path(config.__file__).read_text(encoding="utf-8"))
    for name, annotation in assigned(module).items():
        if not hasattr(config, name):
            continue
        default = getattr(config, name)
        first = type_of(default)
        besides = annotated(annotation, vars(config)) if annotation else set()
        besides |= set(BESIDES.get(name, []))
        if first == "set" and name not in sets:
            # Looked into, and sent to the browser as a list.
            besides |= {"list"}
        if first == "any" or "any" in besides:
            types = "any"
        else:
            types = "|".join([first, *sorted(besides - {first})])
        settings[name] = [types + ("" if is_literal(default) else "~"), ""]
    return {"settings": settings, "flags": sorted(flags | set(config.DEFAULT_FEATURE_FLAGS))}


def load(kept):
    """The versions, the settings and the flags that a catalogue tells of: name to version to [types, package]."""
    versions, section, settings, flags = [], "", {}, {}
    for line in kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []:
        words = line.split()
        if line.startswith("["):
            section = line
        elif section == "[versions]":
            versions.append(line)
        elif section == "[flags]":
            flags[words[0]] = set(words[1:]) or set(versions)
        elif section == "[settings]":
            package = words.pop()[1:] if words[-1].startswith("@") else ""
            columns = words[1:] if len(words) > 2 else words[1:] * len(versions)
            settings[words[0]] = {v: [types, package] for v, types in zip(versions, columns) if types != "-"}
    return versions, settings, flags


def write(kept, dumps):
    versions, settings, flags = load(kept)
    for dump in dumps:
        version, read_anew = dump.stem, json.loads(dump.read_text(encoding="utf-8"))
        versions = sorted({*versions, version}, key=lambda version: [int(part) for part in version.split(".")])
        for told in (*settings.values(), *flags.values()):
            told.pop(version, None) if isinstance(told, dict) else told.discard(version)
        for name, entry in read_anew["settings"].items():
            settings.setdefault(name, {})[version] = entry
        for name in read_anew["flags"]:
            flags.setdefault(name, set()).add(version)
    print("# Superset's settings and feature flags by version. Generated: tests/services/catalogue says how; do not edit.")
    print("[versions]", *versions, "[families]", sep="\n")
    print(*sorted({prefix for prefixes in FAMILIES.values() for prefix in prefixes}), "[flags]", sep="\n")
    for name in sorted(name for name, told in flags.items() if told):
        print(name, *([] if flags[name] == set(versions) else [v for v in versions if v in flags[name]]))
    print("[settings]")
    for name in sorted(name for name, told in settings.items() if told):
        told = settings[name]
        columns = [told[v][0] if v in told else "-" for v in versions]
        packages = {package for _, package in told.values()} - {""}
        package = [f"@{min(packages)}"] if packages and all(types == "any" for types, _ in told.values()) else []
        print(name, *(columns[:1] if len(set(columns)) == 1 else columns), *package)


if sys.argv[1] == "read":
    json.dump(read(), sys.stdout)
else:
    write(Path(sys.argv[2]), [Path(dump) for dump in sys.argv[3:]])
