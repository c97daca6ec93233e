# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes the BUILD files: one target per Python file, with its dependencies.

  python -m tools.update_build_files

Run it after adding a file or an import; a test fails if this was forgotten. A
target depends on

* everything that its file imports: our own modules by their targets, others by
  their packages, which pyproject.toml must list;
* in tests/, the modules that its strings name, because tests start programs
  (`run_experiment.py`, `-m tasks.import_text`, a program for `python -c`);
* the data files and folders that its strings name, relative to the root or to
  the file's own folder (`README.md`, `templates`); and in tests/, whatever the
  documents among them name.

A test is small if it does not reach TensorFlow, large if it runs the whole
program, and otherwise medium. A file states what cannot be found in this way in
comments, whose lists are added to what was found:

  # BUILD: data = ["//:sources"]
  # BUILD: shard_count = 4
  # BUILD: deps = ["//tasks/emnist:task"]

The last one is for modules that are imported by a name made at run time.
"""

import ast
from collections.abc import Collection, Iterator
import dataclasses
import json
import os
import pathlib
import re
import sys
import tomllib
from typing import Any, Optional

ROOT = pathlib.Path(__file__).absolute().parent.parent

# Each may import those before it; programs and then tests come after all of
# these. Bazel refuses imports in the other direction.
_LAYERS = ('tff_partial', 'tasks')

# Packages whose names differ from those of their modules.
_PACKAGES = {
    'PIL': 'pillow',
    'absl': 'absl_py',
    'google': 'protobuf',
    'grpc': 'grpcio',
    'tree': 'dm_tree',
}
# Imported in environments of their own (benchmarks/peers), of which Bazel has
# none.
_ELSEWHERE = {'fedjax', 'haiku', 'jax', 'pfl', 'torch'}
_TENSORFLOW = {'tensorflow', 'tensorflow_federated'}
_PROGRAM = 'run_experiment'
_TESTS = 'tests'
_DOCUMENTS = ('.flags', '.ipynb', '.md', '.sh')

_IGNORED = re.compile(
    r'\.|bazel-|(__pycache__|build|dist|external|out)$|.*\.egg-info$'
).match
_SETTING = re.compile(r'^# BUILD: (\w+) = (.+)$', re.MULTILINE)
_REQUIREMENT = re.compile(r'[\w.-]+')
_IMPORT = re.compile(r'\bfrom ([\w.]+) import (\w+(?:, \w+)*)')
_WHOLE = re.compile(r'^import ([\w.]+)', re.MULTILINE)
_DOTTED = re.compile(r'\b\w+(?:\.\w+)+')
_PATH = re.compile(r'(?<![\w./-])\w[\w./-]*')


@dataclasses.dataclass(frozen=True)
class _Source:
  """A Python file.

  Attributes:
    path: Its path from the root.
    imports: Names of modules, or of objects in modules, that it imports.
    public: For a package, what it imports when somebody uses it, which it
      names below `if TYPE_CHECKING:`.
    strings: Its strings, except for docstrings.
    is_program: Whether it can be executed.
    settings: Attributes of its target that its comments state.
  """

  path: pathlib.PurePath
  imports: frozenset[str]
  public: frozenset[str]
  strings: frozenset[str]
  is_program: bool
  settings: tuple[tuple[str, Any], ...]

  @property
  def folder(self) -> str:
    return self.path.parent.as_posix().removeprefix('.')

  @property
  def is_test_code(self) -> bool:
    return self.path.parts[0] == _TESTS

  @property
  def module(self) -> str:
    return '.'.join(self.path.with_suffix('').parts).removesuffix('.__init__')

  @property
  def package(self) -> str:
    return self.folder.replace('/', '.')

  @property
  def name(self) -> str:
    """The target's name; not the folder's for a package, as TFF has it, since
    a module may have that name: `evaluation/evaluation.py`."""
    return self.path.stem

  @property
  def target(self) -> str:
    return f'{self.folder}/{self.name}'.lstrip('/')

  @property
  def rule(self) -> str:
    if self.name.endswith('_test'):
      return 'py_test'
    return 'py_binary' if self.is_program else 'py_library'


class _Project:
  """The Python files in a folder and below, and what each of them needs."""

  def __init__(self, root: pathlib.Path):
    self._root = root
    self._sources = {source.module: source for source in _sources(root)}
    with open(root / 'pyproject.toml', 'rb') as f:
      project = tomllib.load(f)['project']
    self._packages = {
        _target_name(_REQUIREMENT.findall(requirement)[0])
        for requirements in (
            project['dependencies'],
            *project.get('optional-dependencies', {}).values(),
        )
        for requirement in requirements
    }
    self._folders = sorted({'', *(s.folder for s in self._sources.values())})
    self._data = {s.module: self._named_data(s) for s in self._sources.values()}
    for name, source in self._sources.items():
      if source.is_test_code:  # A test may follow a document.
        texts = {
            _document(root / path)
            for path in self._data[name]
            if path.endswith(_DOCUMENTS)
        }
        strings = source.strings | texts
        self._sources[name] = dataclasses.replace(source, strings=strings)
        self._data[name] = self._named_data(self._sources[name])

  def build_files(self) -> dict[str, str]:
    return {
        f'{folder}/BUILD'.lstrip('/'): self._build_file(folder)
        for folder in self._folders
    }

  def _build_file(self, folder: str) -> str:
    sources = [s for s in self._sources.values() if s.folder == folder]
    data = sorted(
        path.removeprefix(f'{folder}/')
        for path in set().union(*self._data.values())
        if self._owner(path) == folder
    )
    parts = {'BUILD', *data, *(source.path.name for source in sources)}
    if not folder:
      parts.update(f'//{other}:sources' for other in self._folders if other)
    rules = ''.join(f', "{rule}"' for rule in sorted({s.rule for s in sources}))
    users = [
        f'//{other}:__pkg__'
        for other in self._folders
        if other != folder and _layer(other) >= _layer(folder)
    ]
    return '\n'.join(
        (
            '# Written by tools/update_build_files.py.\n',
            f'load("@rules_python//python:defs.bzl"{rules})\n' if rules else '',
            _call(
                'package', default_visibility=users or ['//visibility:private']
            ),
            *([f'exports_files({_value(data, indent=4)})\n'] if data else []),
            _call(
                'filegroup',
                name='sources',
                srcs=parts,
                visibility=['//:__pkg__', '//tests:__subpackages__'],
            ),
            *(self._target(source) for source in sources),
        )
    )

  def _target(self, source: _Source) -> str:
    uses = self._uses(source)
    attributes: dict[str, Any] = {'name': source.name}
    if source.rule == 'py_test':
      attributes['size'] = 'medium'
      if _PROGRAM in uses:
        attributes['size'] = 'large'
      elif not self._reached(source) & _TENSORFLOW:
        attributes['size'] = 'small'
    attributes['srcs'] = [source.path.name]
    attributes['data'] = [
        self._label(path, source.folder) for path in self._data[source.module]
    ]
    attributes['deps'] = [
        *(self._label(self._sources[m].target, source.folder) for m in uses),
        *(f'@pip//{name}' for name in self._foreign(source)),
    ]
    for key, value in sorted(source.settings):
      if isinstance(value, list):
        value = {*attributes.get(key, ()), *value}
      attributes[key] = value
    attributes['deps'] = attributes.pop('deps')  # Last, as buildifier does.
    return _call(source.rule, **attributes)

  def _uses(self, source: _Source) -> set[str]:
    """Our modules that a file imports or names."""
    names = {*source.imports, source.package}
    for string in source.strings if source.is_test_code else ():
      for package, imported in _IMPORT.findall(string):
        names.update(f'{package}.{name}' for name in imported.split(', '))
      names.update(_DOTTED.findall(string))
      names.update(
          path.removesuffix('.py').replace('/', '.')
          for path in _PATH.findall(string)
          if path.endswith('.py')
      )
    for name in self._imported_whole(source):
      names |= {name, *self._sources[name].public}
    found = {module for name in names if (module := self._module(name))}
    # Documents name tests, which must not become dependencies.
    imported = {self._module(name) for name in source.imports}
    tests = {name for name in found if self._sources[name].rule == 'py_test'}
    return found - (tests - imported) - {source.module}

  def _imported_whole(self, source: _Source) -> set[str]:
    """The packages that a file imports by `import package`, to use any part."""
    named = set(source.imports)
    for string in source.strings if source.is_test_code else ():
      named.update(_WHOLE.findall(string))
    return named & self._sources.keys() - {source.module}

  def _module(self, name: str) -> Optional[str]:
    """The module of ours with which a dotted name begins, if any."""
    while name and name not in self._sources:
      name = name.rpartition('.')[0]
    return name or None

  def _foreign(self, source: _Source) -> set[str]:
    """The third-party packages that a file imports."""
    found = set()
    for name in source.imports:
      top = name.partition('.')[0]
      if self._module(name) or top in {*sys.stdlib_module_names, *_ELSEWHERE}:
        continue
      package = _PACKAGES.get(top, _target_name(top))
      if package not in self._packages:
        raise ValueError(
            f'Expected a package of pyproject.toml, found {top!r} in'
            f' {source.path}. Add it to the dependencies or to an extra and run'
            ' `make lock`, or name its package in _PACKAGES.'
        )
      found.add(package)
    return found

  def _reached(self, source: _Source) -> set[str]:
    """The third-party packages that a file needs directly or indirectly."""
    seen, waiting, found = set(), {source.module}, set()
    while waiting:
      current = self._sources[waiting.pop()]
      seen.add(current.module)
      found |= self._foreign(current)
      waiting |= self._uses(current) - seen
    return found

  def _named_data(self, source: _Source) -> set[str]:
    """Paths from the root of the data files that a file names."""
    found = set()
    for path in {p for s in source.strings for p in _PATH.findall(s)}:
      for base in (self._root, self._root / source.folder):
        named = base / path
        if named.is_file() and named.suffix not in ('', '.py'):
          found.add(named)
        elif named.is_dir() and not any(named.rglob('*.py')):
          found.update(p for p in named.rglob('*') if p.is_file())
    paths = {path.relative_to(self._root) for path in found}
    return {p.as_posix() for p in paths if not any(map(_IGNORED, p.parts))}

  def _owner(self, path: str) -> str:
    """The innermost folder with a BUILD file that contains a file."""
    folder = os.path.dirname(path)
    while folder not in self._folders:
      folder = os.path.dirname(folder)
    return folder

  def _label(self, path: str, folder: str) -> str:
    """The label of a file or target in the BUILD file of a folder."""
    owner = self._owner(path)
    name = path.removeprefix(f'{owner}/')
    if owner == folder:
      return f':{name}'
    is_package = name == os.path.basename(owner)
    return f'//{owner}' if is_package else f'//{owner}:{name}'


def build_files(root: pathlib.Path) -> dict[str, str]:
  """Returns what the BUILD files in a folder and below should contain.

  Args:
    root: A folder with pyproject.toml.

  Returns:
    The contents by path from the root.

  Raises:
    ValueError: If a file imports a package that pyproject.toml does not list.
  """
  return _Project(root).build_files()


def _sources(root: pathlib.Path) -> Iterator[_Source]:
  for folder, folders, files in os.walk(root):
    folders[:] = sorted(f for f in folders if not _IGNORED(f))
    for name in sorted(files):
      if name.endswith('.py'):
        yield _read(root, pathlib.Path(folder, name).relative_to(root))


def _read(root: pathlib.Path, path: pathlib.Path) -> _Source:
  text = (root / path).read_text(encoding='utf-8')
  imports, strings, docstrings = set(), set(), set()
  module = ast.parse(text)
  public = {
      f'{_absolute(node, path)}.{alias.name}'
      for block in _cut_type_checking(module)
      for node in ast.walk(block)
      if isinstance(node, ast.ImportFrom)
      for alias in node.names
  }
  for node in ast.walk(module):
    if isinstance(node, ast.Import):
      imports.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      module_name = _absolute(node, path)
      imports.update(f'{module_name}.{alias.name}' for alias in node.names)
    elif isinstance(node, ast.Expr):  # Visited before the string in it.
      docstrings.add(node.value)
    elif isinstance(node, (ast.BinOp, ast.Call)):
      strings.add(_joined(node))
    elif isinstance(node, ast.Constant) and node not in docstrings:
      strings.add(str(node.value))
  return _Source(
      path=path,
      imports=frozenset(imports),
      public=frozenset(public),
      strings=frozenset(strings),
      is_program="__name__ == '__main__'" in text,
      settings=tuple(
          (k, ast.literal_eval(v)) for k, v in _SETTING.findall(text)
      ),
  )


def _document(path: pathlib.Path) -> str:
  """The text of a document; of a notebook its cells, without outputs."""
  text = path.read_text(encoding='utf-8')
  if path.suffix != '.ipynb':
    return text
  cells = json.loads(text)['cells']
  return '\n'.join(''.join(cell['source']) for cell in cells)


def _cut_type_checking(module: ast.Module) -> list[ast.stmt]:
  """Takes the blocks `if TYPE_CHECKING:` out of a module."""
  blocks = [
      node
      for node in module.body
      if isinstance(node, ast.If)
      and isinstance(node.test, ast.Name)
      and node.test.id == 'TYPE_CHECKING'
  ]
  module.body = [node for node in module.body if node not in blocks]
  return list(blocks)


def _absolute(node: ast.ImportFrom, path: pathlib.PurePath) -> str:
  """The absolute name of an imported module: `..a` in b/c/d.py is b.a."""
  if not node.level:
    return str(node.module)
  package = path.parent.parts[: len(path.parent.parts) - node.level + 1]
  return '.'.join([*package, *([node.module] if node.module else [])])


def _layer(folder: str) -> int:
  top = folder.partition('/')[0]
  if top in _LAYERS:
    return _LAYERS.index(top)
  return len(_LAYERS) + (top == _TESTS)


def _joined(node: ast.AST) -> str:
  """The path in `root / 'a' / 'b'` or `os.path.join(root, 'a', 'b')`: 'a/b'."""
  parts: list[ast.AST] = list(node.args) if isinstance(node, ast.Call) else []
  while isinstance(node, ast.BinOp):
    parts.insert(0, node.right)
    node = node.left
  return '/'.join(
      str(part.value) for part in parts if isinstance(part, ast.Constant)
  )


def _target_name(package: str) -> str:
  """The target of a package in the repository of rules_python."""
  return re.sub(r'[-_.]+', '_', package).lower()


def _call(rule: str, **attributes: Any) -> str:
  lines = [
      f'    {name} = {_value(value)},\n'
      for name, value in attributes.items()
      if value
  ]
  return f'{rule}(\n{"".join(lines)})\n'


def _value(value: Any, *, indent: int = 8) -> str:
  """Formats a string, number or list as buildifier does."""
  if not isinstance(value, Collection) or isinstance(value, str):
    return json.dumps(value)
  items = [json.dumps(item) for item in sorted(value, key=_order)]
  if len(items) == 1:
    return f'[{items[0]}]'
  lines = (f'{" " * indent}{item},\n' for item in items)
  return f'[\n{"".join(lines)}{" " * (indent - 4)}]'


def _order(label: str) -> tuple[int, list[str]]:
  """Sorts targets of the same folder first, then others, then packages."""
  rank = label.startswith('//') + 2 * label.startswith('@')
  return rank, re.split('[:.]', label)


def main() -> None:
  for name, content in build_files(ROOT).items():
    path = ROOT / name
    if not path.exists() or path.read_text(encoding='utf-8') != content:
      path.write_text(content, encoding='utf-8')
      print(f'Wrote {name}.')


if __name__ == '__main__':
  main()
