"""Tries a candidate: parses it, has Superset load it, tries its parts apart, builds the app and asks it.

Answers: `loaded`, once Superset has loaded the candidate, with what must be digested and what must never be shown; then
one `verdict`. Each failure names its trial. Nothing here connects anywhere: what would is only looked at.
"""

import errno
import linecache
import logging
import os
import sys
import types

import setkeeper_prelude as prelude

CACHES = {
    "CACHE_CONFIG": False,
    "DATA_CACHE_CONFIG": False,
    "THUMBNAIL_CACHE_CONFIG": False,
    "FILTER_STATE_CACHE_CONFIG": True,
    "EXPLORE_FORM_DATA_CACHE_CONFIG": True,
}
# These connect when they are constructed.
CONNECTING_CACHES = ("RedisClusterCache", "rediscluster", "uwsgi", "UWSGICache")
CONNECTING_SESSIONS = ("mongodb", "sqlalchemy", "dynamodb")
NO_MEMORY = ("annot allocate memory", "failed to map segment", "can't start new thread")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EAGAIN)
CONSTRUCTED_LIMITS = ("memory", "redis", "rediss", "redis+unix", "redis+sentinel", "memcached")


class Wrong(Exception):
    """What a trial found wrong, in words of our own."""


class Probe:
    """One candidate, and how far it got."""

    def __init__(self, job):
        self.job = job
        self.enter("syntax")
        self.module = None
        self.warnings = []

    def enter(self, trial):
        """Says what is tried, so that a check that never ends says where."""
        self.trial = trial
        prelude.answer(trial=trial)

    def run(self):
        """The verdict."""
        try:
            with open(self.job["candidate"], "rb") as file:
                self.source = file.read()
            compile(self.source, self.job["path"], "exec", dont_inherit=True)
            if self.job["level"] == "app":
                self.try_app()
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a candidate is one of its failures
            return self.failure(error)
        return {"outcome": "proven", "warnings": self.warnings}

    def try_app(self):
        self.enter("loading")
        original = self.load()
        self.try_values(original)
        self.enter("create_app")
        app = self.create_app()
        self.ask(app, "/health")
        self.ask(app, "/login/")
        self.enter("celery")
        self.try_celery(original)
        try:
            self.compare_types(original)
        except Exception as error:
            self.warnings.append(f"the types of the settings were not compared: {type(error).__name__}")

    # Loading

    def load(self):
        """Has Superset load the candidate by its own loader, from the path where it would lie."""
        self.stand_in_for_the_live_file()
        job = types.ModuleType("setkeeper_job")
        job.CONFIG_MODULE = self.job["config_module"]
        job.DATABASE, job.HOME = self.job["database"], self.job["home"]
        sys.modules["setkeeper_job"] = job
        try:
            import setkeeper_shim
        except BaseException:
            prelude.answer(loaded={"secrets": self.secrets()})
            raise
        if self.module is None:
            raise Unread
        original = setkeeper_shim.ORIGINAL
        uri = original.get("SQLALCHEMY_DATABASE_URI")
        prelude.answer(
            loaded={
                "secret_key": text_of(original.get("SECRET_KEY")),
                "metadata_uri": self.portable(text_of(uri)),
                "secrets": self.secrets(),
            }
        )
        return original

    def stand_in_for_the_live_file(self):
        """The candidate is read in place of the file that it would replace, so that `__file__` is what it will be."""
        from importlib.machinery import SourceFileLoader

        get_content, get_stats, execute = SourceFileLoader.get_data, SourceFileLoader.path_stats, SourceFileLoader.exec_module
        live = self.job["path"]

        def get_data(loader, path):
            if path != live:
                return get_content(loader, path)
            return self.source

        def path_stats(loader, path):
            # Without stats no bytecode of the live file is taken for the candidate's.
            if path == live:
                raise OSError
            return get_stats(loader, path)

        def exec_module(loader, module):
            if loader.path == live:
                self.module = module
            execute(loader, module)

        SourceFileLoader.get_data, SourceFileLoader.path_stats, SourceFileLoader.exec_module = get_data, path_stats, exec_module
        linecache.cache[live] = (0, None, [], live)

    def secrets(self):
        """Those that the candidate sets itself, as far as it got: the defaults are known to everybody."""
        return sorted(secrets_in(dict(vars(self.module)), self.job["secret_words"])) if self.module else []

    def portable(self, uri):
        """The default URI lies in Superset's home, which is another one in each check."""
        return uri and uri.replace(self.job["home"], "$SUPERSET_HOME")

    # Parts, each apart

    def try_values(self, original):
        self.enter("SECRET_KEY")
        key = original.get("SECRET_KEY")
        if not isinstance(key, (str, bytes)) or not key:
            raise Wrong("it must be a text that is not empty")
        self.enter("SQLALCHEMY_DATABASE_URI")
        self.try_engine(original)
        for name, is_required in CACHES.items():
            self.enter(name)
            self.try_cache(original.get(name), is_required)
        self.enter("RATELIMIT_STORAGE_URI")
        self.try_limits(original)
        self.enter("SESSION_TYPE")
        if original.get("SESSION_SERVER_SIDE"):
            self.try_session(original)
        self.enter("RESULTS_BACKEND")
        backend = original.get("RESULTS_BACKEND")
        if backend is not None and not all(callable(getattr(backend, name, None)) for name in ("get", "set")):
            raise Wrong("it must be an object with get and set, such as one of cachelib")

    def dummy(self, original, names):
        from flask import Flask

        app = Flask("setkeeper_dummy", instance_path=self.job["home"])
        app.config.update({name: original[name] for name in names if name in original})
        return app

    def try_engine(self, original):
        """By Superset's own extension, which adds options of its own. An engine connects when it is first used."""
        from flask_sqlalchemy import SQLAlchemy
        from sqlalchemy.engine import make_url

        uri = original.get("SQLALCHEMY_DATABASE_URI")
        if not uri:
            raise Wrong("it must not be empty")
        make_url(uri)
        names = ("SQLALCHEMY_DATABASE_URI", "SQLALCHEMY_ENGINE_OPTIONS", "SQLALCHEMY_BINDS")
        app = self.dummy(original, [name for name in names if original.get(name) is not None])
        app.config["SQLALCHEMY_TRACK_MODIFICATIONS"] = False
        with app.app_context():
            database = SQLAlchemy(app)
            _ = database.engine
            for bind in original.get("SQLALCHEMY_BINDS") or {}:
                database.get_engine(bind=bind) if not hasattr(database, "engines") else database.engines[bind]

    def try_cache(self, config, is_required):
        from flask_caching import Cache

        if not isinstance(config, dict):
            raise Wrong(f"it must be a dict, not {type(config).__name__}")
        kind = config.get("CACHE_TYPE")
        if (kind is None and is_required) or kind == "SupersetMetastoreCache":
            return
        if kind in CONNECTING_CACHES:
            return
        config = dict(config)
        if "CACHE_DIR" in config:
            config["CACHE_DIR"] = os.path.join(self.job["home"], "cache")
        Cache().init_app(self.dummy({}, ()), config)

    def try_limits(self, original):
        from urllib.parse import urlparse

        from limits.storage import SCHEMES, storage_from_string

        uri = original.get("RATELIMIT_STORAGE_URI") or original.get("RATELIMIT_STORAGE_URL")
        if uri is None:
            return
        if not isinstance(uri, str):
            raise Wrong(f"it must be a text, not {type(uri).__name__}")
        scheme = urlparse(uri).scheme
        if scheme not in SCHEMES:
            raise Wrong("its scheme is not one of a storage that the rate limiter knows")
        options = original.get("RATELIMIT_STORAGE_OPTIONS") or {}
        if not isinstance(options, dict):
            raise Wrong("RATELIMIT_STORAGE_OPTIONS must be a dict")
        if scheme in CONSTRUCTED_LIMITS:
            storage_from_string(uri, **options)

    def try_session(self, original):
        from flask_session import Session

        kind = original.get("SESSION_TYPE")
        if not isinstance(kind, str):
            raise Wrong(f"it must be a text, not {type(kind).__name__}")
        if kind.lower() in CONNECTING_SESSIONS:
            return
        app = self.dummy(original, [name for name in original if name.startswith("SESSION_")])
        app.config["SECRET_KEY"] = "x"
        app.config["SESSION_FILE_DIR"] = os.path.join(self.job["home"], "sessions")
        Session(app)

    # The whole

    def create_app(self):
        from superset.app import create_app

        return create_app()

    def ask(self, app, path):
        """Asks over https: one that forces it would answer with a redirect to plain http."""
        self.enter(f"request {path}")
        host = app.config.get("SERVER_NAME") or "localhost"
        root = app.config.get("APPLICATION_ROOT") or "/"
        log = LastError()
        logging.getLogger().addHandler(log)
        with app.test_client() as client:
            status = client.get(path, base_url=f"https://{host}").status_code
            if status == 404 and root != "/":
                status = client.get(root.rstrip("/") + path, base_url=f"https://{host}").status_code
        if status >= 500:
            error = log.error
            said = f": {type(error).__name__}: {error}" if error else ""
            raise Wrong(f"Superset answers with status {status}{said}") from error

    def try_celery(self, original):
        if original.get("CELERY_CONFIG") is None:
            return
        from celery.beat import ScheduleEntry
        from superset.extensions import celery_app

        conf = celery_app.conf
        _ = conf.broker_url
        celery_app.loader.import_default_modules()
        self.enter("celery beat_schedule")
        schedule = conf.beat_schedule or {}
        if not isinstance(schedule, dict):
            raise Wrong(f"it must be a dict, not {type(schedule).__name__}")
        for name, entry in schedule.items():
            self.enter(f"celery beat_schedule {name!r}")
            if not isinstance(entry, dict):
                raise Wrong(f"it must be a dict, not {type(entry).__name__}")
            try:
                entry = ScheduleEntry(**dict(entry, name=name, app=celery_app))
            except TypeError as error:
                raise Wrong(str(error)) from error
            if not entry.task or not hasattr(entry.schedule, "is_due"):
                raise Wrong("it must name a task and a schedule")

    def compare_types(self, original):
        """Values of another type than the default's boot, and fail whoever meets them later."""
        nothing = os.path.join(self.job["home"], "setkeeper_nothing.py")
        with open(nothing, "w", encoding="utf-8"):
            pass
        os.environ["SUPERSET_CONFIG_PATH"] = nothing
        # Superset 4.1 loads a second config into the module of the first.
        sys.modules.pop("superset_config", None)
        import superset.config as config
        from importlib.util import module_from_spec, spec_from_file_location

        spec = spec_from_file_location("setkeeper_defaults", config.__file__)
        defaults = module_from_spec(spec)
        sys.modules["setkeeper_defaults"] = defaults
        spec.loader.exec_module(defaults)
        for name in sorted(name for name in dir(defaults) if name.isupper() and name in original):
            value, default = original[name], getattr(defaults, name)
            if not is_like(value, default):
                kinds = f"{type(value).__name__}, and the default is {type(default).__name__}"
                self.warnings.append(f"{name} is {kinds}")

    # Failure

    def failure(self, error):
        outcome, why = classify(error, self.job["path"])
        if outcome == "invalid" and self.trial != "syntax" and not isinstance(error, Wrong) and raised_here(error):
            outcome, why = "inconclusive", f"the check itself failed: {why}"
        return {"outcome": outcome, "trial": self.trial, "why": why, "warnings": self.warnings}


class LastError(logging.Handler):
    """Remembers the last exception that was logged: Superset turns one into an answer that says nothing."""

    error = None

    def emit(self, record):
        if record.exc_info:
            self.error = record.exc_info[1]


class Unread(Exception):
    """Superset's loader did not ask for the candidate: whatever was loaded, it was something else."""


def classify(error, path):
    """What is missing only here, or has no room here, says nothing about the candidate."""
    if isinstance(error, Unread):
        return "inconclusive", "Superset did not load the candidate"
    cause = error
    while cause is not None:
        if isinstance(cause, MemoryError) or any(words in str(cause) for words in NO_MEMORY):
            return "inconclusive", "out of memory"
        if (isinstance(cause, OSError) and cause.errno in NO_ROOM) or "disk is full" in str(cause):
            return "inconclusive", f"this machine has no room: {type(cause).__name__}: {cause}"
        if isinstance(cause, KeyError) and raised_by_environ(cause):
            return "inconclusive", f"the environment variable {cause.args[0]} is not set here"
        if isinstance(cause, (FileNotFoundError, PermissionError)) and cause.filename is not None:
            verb = "is not there" if isinstance(cause, FileNotFoundError) else "may not be read"
            return "inconclusive", f"the file {cause.filename} {verb} (on this machine, by this user)"
        cause = cause.__cause__
    if isinstance(error, Wrong):
        return "invalid", str(error)
    if isinstance(error, SyntaxError):
        return "invalid", f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    line = line_in(error, path)
    return "invalid", f"{said} (line {line})" if line else said


def raised_by_environ(error):
    frame = innermost(error)
    return frame is not None and frame.f_globals.get("__name__") == "os"


def raised_here(error):
    """A fault of ours, or something that another Superset has elsewhere: it is not the candidate's."""
    frame = innermost(error)
    return frame is not None and frame.f_code.co_filename == __file__


def innermost(error):
    at, frame = error.__traceback__, None
    while at is not None:
        at, frame = at.tb_next, at.tb_frame
    return frame


def line_in(error, path):
    """The innermost line of the candidate that led to the error."""
    at, line = error.__traceback__, None
    while at is not None:
        if at.tb_frame.f_code.co_filename == path:
            line = at.tb_lineno
        at = at.tb_next
    return line


def is_like(value, default):
    if value is None or default is None or value is default:
        return True
    if isinstance(default, type):
        return isinstance(value, (type, dict))
    if callable(default):
        return callable(value)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    for kinds in ((int, float), (list, tuple, set, frozenset), (str,), (dict,)):
        if isinstance(default, kinds):
            return isinstance(value, kinds)
    return True


def text_of(value):
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    render = getattr(value, "render_as_string", None)
    return render(hide_password=False) if render else None


def secrets_in(value, words, name="", depth=0):
    """Texts under names of secrets, and passwords of URIs, at any depth that a person would write."""
    found = set()
    if depth > 6:
        return found
    if isinstance(value, dict):
        for key, inner in list(value.items()):
            found |= secrets_in(inner, words, key if isinstance(key, str) else name, depth + 1)
    elif isinstance(value, (list, tuple, set)):
        for inner in list(value):
            found |= secrets_in(inner, words, name, depth + 1)
    elif isinstance(value, type) and depth <= 1:
        own = {key: inner for key, inner in vars(value).items() if key[:2] != "__"}
        found |= secrets_in(own, words, name, depth + 1)
    elif (text := text_of(value)) is not None:
        if any(word in name.upper() for word in words):
            found.add(text)
        before, sign, _ = text.partition("://")[2].rpartition("@")
        if sign and ":" in before:
            found.add(before.partition(":")[2])
    return {text for text in found if len(text) >= 4}


def main():
    probe = Probe(prelude.begin())
    verdict = probe.run()
    prelude.answer(verdict=verdict)
    prelude.end()


main()
