# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who trained the model that a run starts from, and whether that is allowed.

Clients that are kept out of training, to be evaluated as newcomers, must not
have trained an ancestor of the run. Nor may an ancestor have been trained on
other data of the same people, which may have been split in another way.
"""

from collections.abc import Iterator
import itertools
import os
import pathlib
from typing import Optional

from tff_partial import errors
from tff_partial.experiments import origin
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run_folder
from tff_partial.training import earlier_clients
from tff_partial.training import store_summary

# Of a model's clients, how many are looked for among those of other data.
_LOOKED_UP = 1000


def keep(folder: pathlib.Path, plan: plan_lib.Plan) -> None:
  """Writes who trained the ancestors to a run's folder, unless it is there.

  Args:
    folder: The run's folder, which this program has claimed.
    plan: The run's, whose pretraining is finished.

  Raises:
    errors.SettingsError: If clients that are unseen in this run trained the
      model, or if the model was trained on other data of the same people, and
      `allow_overlap` is not set.
    errors.StoreError: If the ids of a run cannot be read.
  """
  ancestor: Optional[pathlib.Path] = None
  if plan.pretraining is not None:
    ancestor = folder / run_folder.PRETRAINING
  elif plan.config.init_from is not None:
    ancestor = origin.run_of(plan.config.init_from)
  if ancestor is None:
    return
  if not (folder / earlier_clients.FILE_NAME).exists():
    earlier_clients.write(folder, _clients_of(ancestor))
  with earlier_clients.EarlierClients(folder) as earlier:
    if plan.budget is not None and plan.config.privacy.init_is_public:
      _check_public(plan, earlier, ancestor)
    if not plan.config.running.allow_overlap:
      _check_unseen(plan, earlier, ancestor)
      _check_data(plan, earlier, ancestor)


def _clients_of(folder: pathlib.Path) -> Iterator[str]:
  """All clients that trained a run's model, some of them several times."""
  yield from store_summary.trained_clients(folder)
  with earlier_clients.EarlierClients(folder) as earlier:
    yield from earlier
  pretraining = folder / run_folder.PRETRAINING
  if store_summary.exists(pretraining):
    yield from store_summary.trained_clients(pretraining)


def _check_unseen(
    plan: plan_lib.Plan,
    earlier: earlier_clients.EarlierClients,
    ancestor: pathlib.Path,
) -> None:
  known = sorted(c for c in plan.unseen if c in earlier)
  if known:
    raise errors.SettingsError(
        f'Expected `unseen_clients` that did not train the model in {ancestor},'
        f' found {len(known)} of {len(plan.unseen)} that did'
        f' ({", ".join(known[:3])}). Start from a model trained with the same'
        ' `unseen_clients` and `seed`, or use `allow_overlap`.'
    )


def _check_public(
    plan: plan_lib.Plan,
    earlier: earlier_clients.EarlierClients,
    ancestor: pathlib.Path,
) -> None:
  """Checks that a model which should owe nothing to these people may not."""
  everyone = plan.train_clients.client_ids
  known = list(itertools.islice((c for c in everyone if c in earlier), 3))
  if known:
    raise errors.SettingsError(
        '`init_is_public` says that the model owes nothing to these clients.'
        f' Expected so of that in {ancestor}, found that they trained it'
        f' ({", ".join(known)}). Start from one with differential privacy,'
        ' whose releases are counted, or from one of other people.'
    )


def _check_data(
    plan: plan_lib.Plan,
    earlier: earlier_clients.EarlierClients,
    ancestor: str | os.PathLike[str],
) -> None:
  before, now = origin.read(ancestor).data, plan.task.fingerprint
  if None in (before, now) or before == now:
    return
  everyone = plan.task.test.client_ids
  same = [c for c in itertools.islice(earlier, _LOOKED_UP) if c in everyone]
  if same:
    raise errors.SettingsError(
        f'Expected the data that the model in {ancestor} was trained on, found'
        f' other data of the same people ({", ".join(same[:3])}), whose test'
        ' examples it may have seen. Use the same data, or `allow_overlap`.'
    )
