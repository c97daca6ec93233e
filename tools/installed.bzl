"""Lets Bazel before 7 build with installed packages and download nothing."""

# What Bazel and our BUILD files load from other repositories, by file. These
# versions of Bazel have all of it built in, under `native`.
_FORWARDED = {
    "remote_coverage_tools": {},
    "rules_cc": {
        "cc/defs.bzl": [
            "cc_binary",
            "cc_library",
            "cc_test",
            "cc_toolchain",
            "cc_toolchain_suite",
        ],
    },
    "rules_java": {
        "java/defs.bzl": [
            "java_binary",
            "java_import",
            "java_library",
            "java_runtime",
            "java_toolchain",
        ],
    },
    "rules_python": {
        "python/defs.bzl": ["py_binary", "py_library", "py_test"],
    },
}

# Every test depends on these, even if coverage is not measured.
_COVERAGE_TOOLS = """\
filegroup(
    name = "coverage_report_generator",
    visibility = ["//visibility:public"],
)

filegroup(
    name = "lcov_merger",
    visibility = ["//visibility:public"],
)
"""

def _built_in_impl(ctx):
    ctx.file("WORKSPACE")
    ctx.file("BUILD", _COVERAGE_TOOLS)
    for path, rules in _FORWARDED[ctx.name].items():
        ctx.file(path.rpartition("/")[0] + "/BUILD")
        ctx.file(path, "".join(["{0} = native.{0}\n".format(r) for r in rules]))

_built_in = repository_rule(implementation = _built_in_impl)

def built_in_rules():
    """Makes Bazel's own rules available where newer versions have repositories."""
    for name in _FORWARDED:
        _built_in(name = name)

_TOOLCHAIN = """\
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

exports_files(["versions.txt"])

py_runtime(
    name = "runtime",
    interpreter_path = "{python}",
    python_version = "PY3",
    stub_shebang = "#!{python}",
)

py_runtime_pair(
    name = "runtime_pair",
    py3_runtime = ":runtime",
)

toolchain(
    name = "python",
    toolchain = ":runtime_pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

# Python finds an installed package by itself. The target declares the dependency
# and makes tests run again when versions change.
_PACKAGE = """\
py_library(
    name = "{name}",
    data = ["//:versions.txt"],
    visibility = ["//visibility:public"],
)
"""

_VERSIONS = """\
import re
from importlib import metadata
for d in metadata.distributions():
  print(re.sub('[-_.]+', '_', d.metadata['Name'].lower()), d.version)
"""

def _python(ctx):
    """The Python of $PYTHON_BIN_PATH, of the active environment, or of .venv."""
    for variable, path in [("PYTHON_BIN_PATH", ""), ("VIRTUAL_ENV", "/bin/python")]:
        if variable in ctx.os.environ:
            return ctx.os.environ[variable] + path
    root = ctx.path(Label("//:WORKSPACE")).dirname
    return str(root.get_child(".venv").get_child("bin").get_child("python"))

def _installed_packages_impl(ctx):
    python = _python(ctx)
    result = ctx.execute([python, "-c", _VERSIONS])
    versions = sorted(result.stdout.splitlines())
    names = [version.split(" ")[0] for version in versions]
    if "tensorflow_federated" not in names:
        fail("Expected tensorflow-federated with {}, found none. ".format(python) +
             "Run `make .venv/installed`. " + result.stderr)
    ctx.file("WORKSPACE")
    ctx.file("BUILD", _TOOLCHAIN.format(python = python))
    ctx.file("versions.txt", "\n".join(versions))
    for name in names:
        ctx.file(name + "/BUILD", _PACKAGE.format(name = name))

installed_packages = repository_rule(
    implementation = _installed_packages_impl,
    doc = "Python as a toolchain, and a target for each of its packages.",
    environ = ["PYTHON_BIN_PATH", "VIRTUAL_ENV"],
    local = True,
)
