"""Stands in for Superset's config module: the candidate as Superset loads it, with what reaches production replaced.

It comes after everything else has had its say, also `SUPERSET__SQLALCHEMY_DATABASE_URI`, which Superset 6.1 applies after
the candidate: a wrapper around the candidate alone would have opened production's metadata database.
"""

import importlib
import os

import setkeeper_job as job

_loaded = importlib.import_module(job.CONFIG_MODULE)
ORIGINAL = {name: getattr(_loaded, name) for name in dir(_loaded) if name.isupper()}
globals().update(ORIGINAL)


def _caches():
    return {
        name: {"CACHE_TYPE": "SimpleCache", "CACHE_DEFAULT_TIMEOUT": 60}
        for name in (
            "CACHE_CONFIG",
            "DATA_CACHE_CONFIG",
            "THUMBNAIL_CACHE_CONFIG",
            "FILTER_STATE_CACHE_CONFIG",
            "EXPLORE_FORM_DATA_CACHE_CONFIG",
        )
    }


def _overrides():
    from cachelib import SimpleCache

    yield "SQLALCHEMY_DATABASE_URI", "sqlite:///" + job.DATABASE + "?check_same_thread=false"
    yield "SQLALCHEMY_ENGINE_OPTIONS", {}
    # Where it is not set it must stay so: None crashes Superset 6.1.
    if ORIGINAL.get("SQLALCHEMY_BINDS") is not None:
        yield "SQLALCHEMY_BINDS", {}
    yield from _caches().items()
    yield "RATELIMIT_STORAGE_URI", "memory://"
    yield "RATELIMIT_STORAGE_OPTIONS", {}
    if "RATELIMIT_STORAGE_URL" in ORIGINAL:
        yield "RATELIMIT_STORAGE_URL", "memory://"
    if ORIGINAL.get("SESSION_SERVER_SIDE"):
        yield "SESSION_TYPE", "cachelib"
        yield "SESSION_CACHELIB", SimpleCache()
    yield "DATA_DIR", job.HOME
    yield "UPLOAD_FOLDER", os.path.join(job.HOME, "uploads") + os.sep
    yield "IMG_UPLOAD_FOLDER", os.path.join(job.HOME, "uploads") + os.sep
    yield "FILENAME", os.path.join(job.HOME, "superset.log")


globals().update(_overrides())
