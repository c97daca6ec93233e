# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Docstrings of installed packages, by module.

They demonstrate what partial personalization is for and are no evidence;
findings come from real people's data. An installed module stands for an author,
and the English sentences of its docstrings for the author's texts. Files are
parsed but never imported, so the same versions of the packages make the same
bytes.

Code, tables and lists of names are left out, as are sentences that occur
earlier in the module, or in an earlier module, since much is copied. A fifth of
the sentences is for testing. Docstrings are not divided, so that sentences for
testing have no neighbours in the training data.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
import hashlib
import importlib.metadata
import importlib.util
import inspect
import os
import re
from typing import Optional
import warnings

import tqdm

from tff_partial import errors
from tff_partial.data import cached_folder
from tff_partial.data import sql_writer

from . import text
from . import vocabulary

_VERSION = 1  # Must be raised with any change to the data.
# BUILD: deps = ["@pip//fonttools", "@pip//jax", "@pip//jinja2", "@pip//keras"]
# BUILD: deps = ["@pip//mpmath", "@pip//pillow", "@pip//scikit_learn"]
# BUILD: deps = ["@pip//matplotlib", "@pip//numpy", "@pip//scipy"]
# BUILD: deps = ["@pip//sqlalchemy", "@pip//tensorflow"]
# BUILD: deps = ["@pip//tensorflow_datasets", "@pip//tensorflow_estimator"]
# BUILD: deps = ["@pip//tensorflow_federated", "@pip//tensorflow_probability"]
# Packages, with the distribution whose version each has. A package that copies
# from another one comes after it.
PACKAGES: Mapping[str, str] = {
    'keras': 'keras',
    'numpy': 'numpy',
    'scipy': 'scipy',
    'sklearn': 'scikit-learn',
    'matplotlib': 'matplotlib',
    'sqlalchemy': 'SQLAlchemy',
    'fontTools': 'fonttools',
    'mpmath': 'mpmath',
    'PIL': 'pillow',
    'jinja2': 'Jinja2',
    'jax': 'jax',
    'tensorflow': 'tensorflow',
    'tensorflow_estimator': 'tensorflow-estimator',
    'tensorflow_probability': 'tensorflow-probability',
    'tensorflow_federated': 'tensorflow-federated',
    'tensorflow_datasets': 'tensorflow-datasets',
}
# Folders of copies, of generated modules, and of modules not meant for readers.
_SKIPPED = frozenset(('tests', 'test', 'testing', 'substrates', '_api'))
_MIN_SENTENCES = 100  # Of a module, for training and testing together.
_MIN_TEST = 10  # Of a module, for testing.
_TRAIN_PER_TEST = 4
_MIN_CHARACTERS = 8000  # Of a file; shorter ones never have enough sentences.

# Like an empty line, an item of a list or of arguments starts a new paragraph.
_ITEM = re.compile(r'\s*(?:[-*+] |\d+\. |[\w`*., ]{1,60}(?:\([^)]*\))?: )')
_MARKUP = str.maketrans('', '', '`*')
_ROLE = re.compile(r':[\w:]+:`~?\.?')  # As Sphinx's :class:`~tf.Tensor`.
_CODE = re.compile(r'>>>|--|==|\.\.\.')


def create_docstrings(
    cache_dir: Optional[str] = None,
    *,
    packages: Sequence[str] = tuple(PACKAGES),
) -> str:
  """Collects the modules' sentences, unless the cache holds them.

  Args:
    cache_dir: Where to keep them; see `cached_folder.cached_folder`.
    packages: Which of `PACKAGES` to read.

  Returns:
    A folder with `train.sqlite`, `test.sqlite` and `vocabulary.txt`.

  Raises:
    errors.SettingsError: If no module of the packages has enough sentences.
    OSError: If the folder cannot be written.
  """
  versions = [
      f'{name} {importlib.metadata.version(PACKAGES[name])}'
      for name in packages
  ]
  digest = hashlib.blake2b('\n'.join(versions).encode(), digest_size=6)

  def make(folder: str) -> None:
    said = set()
    features = vocabulary.FEATURES
    with sql_writer.train_and_test(folder, features) as (train, test):
      modules = [module for name in packages for module in _modules(name)]
      for name, path in tqdm.tqdm(
          modules, 'Reading docstrings', unit='file', leave=False
      ):
        parts = _read_module(path, said)
        sizes = [len(part) for part in parts]
        if sum(sizes) >= _MIN_SENTENCES and sizes[1] >= _MIN_TEST:
          said.update(*parts)
          train.write(name, {'tokens': parts[0]})
          test.write(name, {'tokens': parts[1]})
    if not said:
      raise errors.SettingsError(
          f'Expected `packages` with {_MIN_SENTENCES} sentences in the'
          f' docstrings of some module, found {list(packages)}.'
      )
    vocabulary.write(folder, min_people_per_word=1)  # Published text.

  return cached_folder.cached_folder(
      f'docstrings-{_VERSION}-{digest.hexdigest()}', make, cache_dir=cache_dir
  )


def _modules(package: str) -> Iterator[tuple[str, str]]:
  """Yields names and files of a package's modules, in the order of names."""
  spec = importlib.util.find_spec(package)  # This does not import the package.
  assert spec and spec.origin, package  # Its version was read before.
  root = os.path.dirname(spec.origin)
  for folder, folders, files in os.walk(root):
    folders[:] = sorted(set(folders) - _SKIPPED)
    parts = [package, *os.path.relpath(folder, root).split(os.sep)]
    prefix = '.'.join(part for part in parts if part != '.')
    for file in sorted(files):
      name, extension = os.path.splitext(file)
      if extension == '.py' and not name.endswith('_test'):
        module = prefix if name == '__init__' else f'{prefix}.{name}'
        yield module, os.path.join(folder, file)


def _read_module(
    path: str, said: set[str]
) -> tuple[Sequence[str], Sequence[str]]:
  """Reads a module's sentences for training and for testing, each once.

  Args:
    path: The file.
    said: Sentences of other modules, which are left out.
  """
  with open(path, encoding='utf-8', errors='replace') as f:
    source = f.read()
  if len(source) < _MIN_CHARACTERS:
    return [], []
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # About escapes in other people's code.
    tree = ast.parse(source)
  train, test, seen = [], [], set()
  for node in ast.walk(tree):
    if not isinstance(
        node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    ):
      continue
    docstring = ast.get_docstring(node) or ''
    new = [
        sentence
        for sentence in dict.fromkeys(_sentences(docstring))
        if sentence not in said and sentence not in seen
    ]
    seen.update(new)
    enough = _TRAIN_PER_TEST * (len(test) + len(new)) > len(train)
    (train if enough else test).extend(new)
  return train, test


def _sentences(docstring: str) -> Iterator[str]:
  """Yields the English sentences of a docstring, with words separated."""
  for paragraph in _paragraphs(docstring):
    for sentence in text.split_sentences(paragraph):
      if sentence[-1] not in '.?!:' or _CODE.search(sentence):
        continue
      words = text.to_words(sentence)
      if sum(word.isalpha() for word in words) >= max(4, 0.6 * len(words)):
        yield ' '.join(words)


def _paragraphs(docstring: str) -> Iterator[str]:
  """Yields paragraphs: lines of one indentation, or an item and its text."""
  lines, indentation = [], None
  for line in [*inspect.cleandoc(docstring).split('\n'), '']:
    item = _ITEM.match(line)
    indented = len(line) - len(line.lstrip())
    if item or not line.strip() or indentation not in (None, indented):
      yield ' '.join(lines)
      lines = []
    if item:
      # In NumPy's style, a type follows after ` : `.
      line = '' if ' : ' in item[0] else line[item.end() :]
      indentation = None
    else:
      indentation = indented
    lines.append(_ROLE.sub('', line).translate(_MARKUP).strip())
  yield ' '.join(lines)
