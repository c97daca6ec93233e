# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gives importers and flags inputs that Hypothesis makes."""

from collections.abc import Callable, Mapping
import contextlib
import io
import json
import pathlib
import shutil
import warnings

from absl import flags
from absl.testing import flagsaver
import hypothesis
from hypothesis import configuration
from hypothesis import strategies as st
import numpy as np
from PIL import Image

from benchmarks.torture import memory
from benchmarks.torture import outcome as outcome_lib
from tasks import import_client_data
from tff_partial import errors
from tff_partial.data import people
from tff_partial.experiments import flags as flags_lib
from tff_partial.experiments.settings import config as config_lib

_TEXTS = st.text(max_size=8) | st.sampled_from(['a', 'b', '1', '-2.5', '1e400'])
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS
_NAMES = st.sampled_from(['ann', 'bob', 'cat', '', ' ', '\u202e', '=1+1', 'é'])


def try_all(
    num_each: int, folder: pathlib.Path, *, seed: int
) -> list[outcome_lib.Outcome]:
  """Gives each importer, and the flags, this many inputs.

  Args:
    num_each: The number of inputs.
    folder: An empty folder to work in.
    seed: Of the inputs.
  """
  configuration.set_hypothesis_home_dir(folder / 'hypothesis')
  flags_lib.define()
  outcomes = []
  for kind, (strategy, use) in _KINDS.items():
    outcome = outcome_lib.Outcome(f'inputs of {kind}')
    with memory.measured(outcome):
      _try(strategy, use, outcome, num_each, folder, seed)
    outcomes.append(outcome)
  return outcomes


def _try(
    strategy: st.SearchStrategy,
    use: Callable[[pathlib.Path, object], None],
    outcome: outcome_lib.Outcome,
    num_each: int,
    folder: pathlib.Path,
    seed: int,
) -> None:
  @hypothesis.seed(seed)
  @hypothesis.settings(
      max_examples=num_each,
      database=None,
      deadline=None,
      # A failure is noted and the next input is tried.
      phases=[hypothesis.Phase.generate],
      suppress_health_check=list(hypothesis.HealthCheck),
  )
  @hypothesis.given(strategy)
  def one(value):
    if outcome.num_trials >= num_each:
      return
    work = folder / 'work'
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
      with (
          contextlib.redirect_stderr(io.StringIO()),
          contextlib.redirect_stdout(io.StringIO()),
          warnings.catch_warnings(action='ignore'),
      ):
        use(work, value)
      outcome.counts['accepted'] += 1
    except (errors.UserError, flags.Error, SystemExit):
      outcome.counts['refused'] += 1
    except Exception as e:  # pylint: disable=broad-exception-caught
      outcome.counts['wrong'] += 1
      outcome.violations.append(
          f'{outcome.kind}: {type(e).__name__}: {e}: {value!r}'[:500]
      )

  one()


def _import(work: pathlib.Path, *arguments: str) -> None:
  args = import_client_data.parse(
      ['import', *arguments, f'--output_dir={work / "out"}']
  )
  people.write_folder(args.read(args), args.output_dir)


def _changed(make: Callable[[], bytes]) -> st.SearchStrategy[bytes]:
  """Bytes of a good file, of which some are other ones, or that is cut."""
  good = make()
  place = st.integers(0, len(good) - 1)

  @st.composite
  def change(draw):
    data = bytearray(good)
    for _ in range(draw(st.integers(0, 3))):
      at = draw(place)
      data[at : at + 1] = draw(st.binary(max_size=3))
    return bytes(data[: draw(st.just(len(data)) | place)])

  return change()


_LINES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            'person': _NAMES | _SCALARS,
            'text': st.text(max_size=30) | _SCALARS | st.lists(_TEXTS),
            'date': _SCALARS | st.datetimes().map(str),
        },
    ),
    max_size=12,
)


def _use_text(work: pathlib.Path, value: object) -> None:
  path = work / 'text.jsonl'
  if isinstance(value, bytes):
    path.write_bytes(value)
  else:
    assert isinstance(value, list)
    path.write_text('\n'.join(map(json.dumps, value)))
  for others in ((), ('--date=date', '--on_error=skip')):
    with contextlib.suppress(errors.UserError):
      _import(work, 'jsonl', str(path), '--min_people_per_word=1', *others)
      return
  raise errors.DataError('refused')


def _good_text() -> bytes:
  return '\n'.join(
      json.dumps({'person': 'ab'[i % 2], 'text': f'Ünder {i}.', 'date': i})
      for i in range(8)
  ).encode()


_ROWS = st.lists(st.tuples(_NAMES, _TEXTS, _TEXTS), max_size=12)


def _use_table(work: pathlib.Path, value: object) -> None:
  path = work / 'table.csv'
  if isinstance(value, bytes):
    path.write_bytes(value)
  else:
    assert isinstance(value, list)
    rows = ['person,label,a', *(','.join(row) for row in value)]
    path.write_text('\n'.join(rows), encoding='utf-8', errors='replace')
  _import(
      work,
      *('table', str(path), '--person=person', '--label=label'),
      '--features=a',
  )


def _good_table() -> bytes:
  rows = [f'{"ab"[i % 2]},{i % 3},{i / 7}' for i in range(12)]
  return '\n'.join(['person,label,a', *rows]).encode()


def _good_npz() -> bytes:
  file = io.BytesIO()
  np.savez_compressed(
      file,
      pixels=np.arange(8 * 16, dtype=np.uint8).reshape(8, 4, 4),
      label=np.arange(8) % 3,
      person=np.array(['a', 'b'] * 4),
  )
  return file.getvalue()


def _use_npz(work: pathlib.Path, value: object) -> None:
  assert isinstance(value, bytes)
  (work / 'letters.npz').write_bytes(value)
  _import(work, 'npz', str(work / 'letters.npz'))


def _good_photo(number: int = 0) -> bytes:
  file = io.BytesIO()
  noise = np.random.default_rng(number).integers(0, 256, [30, 40, 3], np.uint8)
  Image.fromarray(noise).save(file, 'PNG')
  return file.getvalue()


def _use_photos(work: pathlib.Path, value: object) -> None:
  assert isinstance(value, bytes)
  rows = ['file,label,person']
  for i in range(4):
    (work / f'{i}.png').write_bytes(_good_photo(i) if i else value)
    rows.append(f'{i}.png,{i % 2},ann')
  (work / 'photos.csv').write_text('\n'.join(rows))
  _import(work, 'images', str(work), f'--csv={work}/photos.csv', '--size=16')


_VALUES = _TEXTS | st.integers().map(str) | st.floats().map(str)


def _use_flags(work: pathlib.Path, value: object) -> None:
  del work
  assert isinstance(value, dict)
  arguments = [f'--{name}={text}' for name, text in value.items()]
  with flagsaver.flagsaver():
    flags.FLAGS(['run_experiment', *arguments])
    config_lib.create(
        **{
            name: flags.FLAGS[name].value
            for name in ('algorithm', 'personal', 'total_rounds', 'seed')
        }
    )
    flags_lib.read(
        config_lib.Config,
        algorithm=flags.FLAGS.algorithm,
        personal=flags.FLAGS.personal,
    )


def _flag_values() -> st.SearchStrategy[dict[str, str]]:
  flags_lib.define()
  names = st.sampled_from(sorted(flags_lib.names()))
  return st.dictionaries(names, _VALUES, max_size=4)


_KINDS: Mapping[
    str, tuple[st.SearchStrategy, Callable[[pathlib.Path, object], None]]
] = {
    'jsonl': (_LINES | _changed(_good_text), _use_text),
    'table': (_ROWS | _changed(_good_table), _use_table),
    'npz': (_changed(_good_npz), _use_npz),
    'images': (_changed(_good_photo), _use_photos),
    'flags': (st.deferred(_flag_values), _use_flags),
}
NUM_KINDS = len(_KINDS)
