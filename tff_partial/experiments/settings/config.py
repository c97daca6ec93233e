# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The settings of an experiment, checked before anything slow is imported."""

import dataclasses
from typing import Any, Optional

from tff_partial import errors
from tff_partial.experiments import personal_budgets
from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import config_privacy
from tff_partial.experiments.settings import methods
from tff_partial.experiments.settings import setting
from tff_partial.experiments.settings import split_choice

_NEWCOMER_EPOCHS = 5
_PFEDME_RATE = 0.005  # The eta of T. Dinh et al., in all of their experiments.


@dataclasses.dataclass(frozen=True)
class Config(setting.Settings):
  """Algorithm

  A name of `methods.ALIASES` becomes the algorithm and the split that it stands
  for, and no split the default one, 'output'. `create` takes all settings by
  name, wherever they are.
  """

  algorithm: str = setting.field(
      'fed_alt',
      f'How clients train: {", ".join(methods.METHODS)}; or a name from the'
      ' literature that stands for an algorithm and a split:'
      f' {", ".join(methods.ALIASES)}. Several, with commas, are compared.',
      common=True,
  )
  personal: Optional[str] = setting.field(
      None,
      'Which variables are personal: input, output, adapter, norm, bias,'
      ' input_norm, second_head, lora, lora_b, all, none, or "regex:" and an'
      ' expression that is searched for in variable paths; or several of these'
      ' joined by +; or "auto", or "auto:64kB" with the most bytes of a client,'
      ' to choose layers from data.'
      ' Default: output, or what --algorithm implies: nothing for fed_avg,'
      ' everything for local, a copy of the model for ditto, pfedme and apfl,'
      ' and so on (docs/splits.md).'
      ' Several, with commas, are compared, except with "regex:".',
      common=True,
  )
  personal_by_budget: Optional[str] = setting.field(
      None,
      'A CSV file with the columns client_id and bytes, for --personal=A+B+C:'
      ' each client keeps the parts A, B and C, in this order, as long as they'
      ' fit in its bytes, and shares the rest. For fed_alt and fed_sim.',
  )
  total_rounds: int = setting.field(
      100, 'Rounds of training.', least=0, common=True
  )
  clients_per_round: int = setting.field(
      10, 'Clients in a round; see --client_sampling.', least=1, common=True
  )
  pretrain_rounds: Optional[int] = setting.field(
      None,
      'Rounds of FedAvg before personalization, whose model is the baseline.'
      ' Default: 200, or 0 with --init_from and for methods that begin with'
      ' FedAvg themselves.',
      least=0,
      common=True,
  )
  init_from: Optional[str] = setting.field(
      None,
      "Start from the model of this run's folder, or from weights in a"
      ' .safetensors, .keras or .h5 file; that model is the baseline.',
      common=True,
  )
  finetune_epochs: Optional[int] = setting.field(
      None,
      'Epochs of training personal variables at each client before the last'
      ' evaluation. Default: 0, but 5 for finetune and fed_babu, and 50 for'
      ' local.',
      least=0,
      common=True,
  )
  seed: int = setting.field(
      0, 'Seed of everything random.', least=0, common=True
  )
  task_numbers: tuple[tuple[str, float], ...] = setting.field(
      (), "The task's arguments of a search, for `Task.variant`.", internal=True
  )
  client: config_groups.ClientWork = config_groups.ClientWork()
  server: config_groups.Server = config_groups.Server()
  privacy: config_privacy.Privacy = config_privacy.Privacy()
  evaluation: config_groups.Evaluation = config_groups.Evaluation()
  running: config_groups.Running = config_groups.Running()

  def __post_init__(self):
    """Checks what concerns several settings.

    Raises:
      errors.SettingsError: If a name is unknown, or settings exclude each
        other.
    """
    self._expand_alias()
    super().__post_init__()
    if self.pretrain_rounds and self.init_from:
      raise errors.SettingsError(
          'Expected `pretrain_rounds` or `init_from`, found both. A run starts'
          ' from one model.'
      )
    self._check_that_it_trains()
    self._check_epsilon()
    self._check_aggregator()
    self._check_penalty()
    if split_choice.is_auto(self.personal):
      split_choice.budget(str(self.personal))  # Raises if it is no budget.
    missing = self.method.requirement(self)
    if missing is not None:
      raise errors.SettingsError(missing)
    if (
        self.client.personal_dropout
        and self.method.personalizes
        and 'adapter' not in self.split
    ):
      raise errors.SettingsError(
          'Expected personal adapters with `personal_dropout`, which is theirs,'
          f' found {self.split_in_words}. Use `personal` adapter.'
      )
    self._check_onboarding()
    self._check_control()
    self._check_store()
    gate, validation = self.evaluation.gate, self.evaluation.validation
    if gate and validation and gate != validation:
      raise errors.SettingsError(
          'Expected the same share in `gate` and `validation`, which hold out'
          f' the same examples, found {gate:g} and {validation:g}.'
      )
    lacking = config_privacy.problem(self) or personal_budgets.problem(self)
    if lacking is not None:
      raise errors.SettingsError(lacking)

  def _check_store(self) -> None:
    running = self.running
    if running.store_folder and not (running.cluster and running.store_parts):
      raise errors.SettingsError(
          'Expected `cluster` and `store_parts` with `store_folder`, which is'
          f' on machines of a cluster, found {running.cluster} and'
          f' {running.store_parts}.'
      )

  def _expand_alias(self) -> None:
    """Replaces a name from the literature by what it stands for."""
    algorithm, personal = methods.ALIASES.get(
        self.algorithm, (self.algorithm, None)
    )
    if algorithm not in methods.METHODS:
      raise errors.SettingsError(
          f'Expected `algorithm` to be one of {list(methods.METHODS)} or'
          f' {list(methods.ALIASES)}, found {algorithm!r}.'
      )
    if personal and self.personal not in (None, personal):
      raise errors.SettingsError(
          f'Expected no `personal`, or {personal!r}, which is what makes'
          f' {self.algorithm!r} of {algorithm!r}, found {self.personal!r}. Use'
          f' algorithm {algorithm!r}.'
      )
    # A frozen dataclass has no other way to derive a field.
    object.__setattr__(self, 'algorithm', algorithm)
    if personal or self.personal is None:
      object.__setattr__(self, 'personal', personal or 'output')

  def _check_that_it_trains(self) -> None:
    """Rejects settings that would turn a method into a different one."""
    method = self.method
    if method.split is None and self.split == 'none' and not self.chooses_split:
      raise errors.SettingsError(
          f'Expected personal variables for algorithm {self.algorithm!r}, found'
          f' `personal` none. Use algorithm {methods.PRETRAINING!r} to'
          ' personalize nothing.'
      )
    alternating = 'alternating_steps'
    if self.client.alternating_steps and alternating not in method.own_settings:
      raise errors.SettingsError(
          f'Expected no `alternating_steps` for algorithm {self.algorithm!r},'
          ' found them. They are for fed_sim.'
      )
    rates = {}
    if not method.trains_alone:
      rates['learning_rate'] = self.client.learning_rate
      rates['server_learning_rate'] = self.server.server_learning_rate
    if method.personalizes:
      rates['personal_learning_rate'] = self.personal_rate
    for name, rate in rates.items():
      if not rate:
        raise errors.SettingsError(
            f'Expected `{name}` above 0 for algorithm {self.algorithm!r}, found'
            ' 0: these variables would not be trained.'
        )

  def _check_epsilon(self) -> None:
    server = self.server
    if server.server_epsilon is None:
      return
    if server.server_optimizer in ('sgd', 'momentum'):
      raise errors.SettingsError(
          f'Expected no `server_epsilon` with {server.server_optimizer}, which'
          f' has none, found {server.server_epsilon:g}.'
      )
    if not server.server_epsilon:
      raise errors.SettingsError(
          'Expected `server_epsilon` above 0, found 0: a variable without a'
          ' gradient would become 0 / 0.'
      )

  def _check_aggregator(self) -> None:
    server = self.server
    is_ordered = server.aggregator in config_groups.ORDERED
    if is_ordered and server.client_weighting == 'num_examples':
      raise errors.SettingsError(
          'Expected `client_weighting` uniform with `aggregator`'
          f" {server.aggregator}, found 'num_examples': who claims many"
          ' examples would count more.'
      )
    # Privacy has a line of its own about this aggregator.
    is_poisson = (
        self.privacy.sampling == 'poisson' and not self.privacy.is_private
    )
    if server.aggregator == 'robust' and is_poisson:
      raise errors.SettingsError(
          'Expected another `aggregator` than robust with `client_sampling`'
          ' poisson, found both: after a round without clients, it would no'
          ' longer bound anything.'
      )

  def _check_control(self) -> None:
    if not self.evaluation.control:
      return
    if not self.method.personalizes or self.method.trains_alone:
      raise errors.SettingsError(
          'Expected an algorithm that personalizes in rounds with `control`,'
          f' found {self.algorithm!r}.'
      )
    if not (self.num_pretrain_rounds or self.init_from):
      raise errors.SettingsError(
          'Expected `pretrain_rounds` or `init_from` with `control`, found'
          ' neither: there is no model that more rounds of FedAvg could start'
          ' from.'
      )

  def _check_penalty(self) -> None:
    client = self.client
    method = self.method
    if self.estimates_penalty and (
        not method.personalizes
        or method.penalty_anchor != 'initial'
        or method.is_full
    ):
      raise errors.SettingsError(
          'Expected a number as `personal_l2` for algorithm'
          f' {self.algorithm!r}, found {config_groups.AUTO!r}, which is for'
          ' algorithms whose clients keep a part of the model that is drawn to'
          ' its initial values.'
      )
    if client.personal_l2_total is None:
      return
    if client.personal_l2 is not None:
      raise errors.SettingsError(
          'Expected `personal_l2` or `personal_l2_total`, found both. Personal'
          ' variables have one penalty.'
      )
    if method.penalty_anchor == 'shared':
      raise errors.SettingsError(
          f'Expected no `personal_l2_total` for algorithm {self.algorithm!r},'
          f' found {client.personal_l2_total:g}. Its lambda is `personal_l2`.'
      )

  def _check_onboarding(self) -> None:
    onboarding = self.evaluation.onboarding
    if onboarding in (None, 'none'):
      return
    known = config_groups.ONBOARDING
    unknown = set(onboarding.split(',')) - set(known)
    if unknown:
      raise errors.SettingsError(
          f'Expected `onboarding` to be of {list(known)} or none, found'
          f' {sorted(unknown)[0]!r}.'
      )
    if not self.evaluation.unseen_clients:
      raise errors.SettingsError(
          'Expected `unseen_clients` above 0 with `onboarding`, found 0: nobody'
          ' would be new.'
      )

  @property
  def method(self) -> methods.Method:
    """What is known about the algorithm."""
    return methods.METHODS[self.algorithm]

  @property
  def personal_rate(self) -> float:
    """The learning rate of personal variables, before any schedule."""
    rate = self.client.personal_learning_rate
    return self.client.learning_rate if rate is None else rate

  @property
  def num_personal_epochs(self) -> int:
    """Passes in the personal phase of an algorithm that has one."""
    return (
        self.client.personal_epochs
        or self.method.personal_epochs
        or self.client.epochs
    )

  @property
  def penalty(self) -> float:
    """Weight of the squared distance that draws personal variables back."""
    given = self.client.personal_l2
    if self.client.personal_l2_total or self.estimates_penalty:
      return 0.0
    return self.method.penalty if given is None else float(given)

  @property
  def estimates_penalty(self) -> bool:
    """Whether the penalty is estimated before training."""
    return self.client.personal_l2 == config_groups.AUTO

  @property
  def chooses_split(self) -> bool:
    """Whether what is personal is chosen before training."""
    return self.method.split is None and split_choice.is_auto(self.personal)

  @property
  def penalty_total(self) -> float:
    """Total penalty; a client divides it by its number of examples."""
    return self.client.personal_l2_total or 0.0

  @property
  def pull(self) -> float:
    """Fraction by which pFedMe's shared model moves, eta * lambda."""
    given = self.client.pull
    return _PFEDME_RATE * self.penalty if given is None else given

  @property
  def onboarding_policies(self) -> tuple[str, ...]:
    """What newcomers are evaluated with, in the order of `ONBOARDING`.

    By default the policies that train nothing, if there are unseen clients.
    There are none where clients have nothing personal from a federation.
    """
    method = self.method
    if method.trains_alone or method.neighbors or not method.personalizes:
      return ()
    if self.evaluation.onboarding is not None:
      asked_for = self.evaluation.onboarding.split(',')
      return tuple(
          policy for policy in config_groups.ONBOARDING if policy in asked_for
      )
    if not self.evaluation.unseen_clients:
      return ()
    if self.privacy.is_private or self.personal_by_budget is not None:
      return ('initial',)
    return ('initial', 'mean')

  @property
  def weighting(self) -> str:
    """How clients are weighted in the mean."""
    equal = (
        self.privacy.is_private
        or self.server.aggregator in config_groups.ORDERED
        or self.method.weights_equally
    )
    default = 'uniform' if equal else 'num_examples'
    return self.server.client_weighting or default

  @property
  def num_pretrain_rounds(self) -> int:
    """Rounds of FedAvg before this run."""
    if self.pretrain_rounds is not None:
      return self.pretrain_rounds
    return self.method.pretrain_rounds if self.init_from is None else 0

  @property
  def pretrain_rounds_together(self) -> int:
    """Pretraining rounds in a comparison, where FedAvg runs have them too."""
    if self.pretrain_rounds is not None:
      return self.pretrain_rounds
    if self.init_from is not None:
      return 0
    return max(method.pretrain_rounds for method in methods.METHODS.values())

  @property
  def num_finetune_epochs(self) -> int:
    """Epochs of training at each client before the last evaluation."""
    if not self.method.personalizes or self.method.neighbors:
      return 0  # There is nothing personal to train.
    if self.finetune_epochs is not None:
      return self.finetune_epochs
    return self.method.finetune_epochs

  @property
  def num_newcomer_epochs(self) -> int:
    """Epochs of fine-tuning at a client that never trained."""
    return self.finetune_epochs or _NEWCOMER_EPOCHS

  @property
  def finetuned_model(self) -> str:
    """What the report calls a client's model after its last epochs."""
    return self.method.candidate if self.method.trains_alone else 'finetuned'

  @property
  def split(self) -> str:
    """How the model is divided; not at all while that is to be chosen."""
    if self.chooses_split:
      return 'none'
    return self.method.split or self.personal or 'output'

  @property
  def split_in_words(self) -> str:
    """The split as reports print it."""
    if self.chooses_split:
      return str(self.personal)
    return self.method.split_in_words or self.split

  @property
  def settings(self) -> dict[str, Any]:
    """What results depend on, which a run that is resumed must have again."""
    others = {*setting.flatten(self.running), 'task_numbers'}  # The task's own.
    return {k: v for k, v in setting.flatten(self).items() if k not in others}

  def for_pretraining(self, rounds: int) -> 'Config':
    """FedAvg with the settings of the shared variables, and no others.

    It depends on nothing that belongs to personalization, so that runs that
    differ only in that start from the same model.
    """
    unused = (
        'alternating_steps',
        'personal_by_budget',
        'personal_epochs',
        'personal_learning_rate',
        'personal_l2',
        'personal_l2_total',
        'personal_dropout',
        'inner_steps',
        'pull',
        'rho',
        'tolerance',
        'onboarding',
        'min_clients_for_mean',
        'eval_clients',
        'pretrain_rounds',
        'init_from',
        'control',
    )
    kept = setting.flatten(self)
    for name in unused:
      del kept[name]
    return create(
        **{
            **kept,
            'algorithm': methods.PRETRAINING,
            'personal': 'none',
            'total_rounds': rounds,
            'finetune_epochs': 0,
        }
    )

  def for_control(self) -> 'Config':
    """FedAvg from the same model, with as many rounds and the same cohorts."""
    return setting.replace(
        self.for_pretraining(self.total_rounds),
        pretrain_rounds=self.num_pretrain_rounds,
        init_from=self.init_from,
    )


def create(**settings: Any) -> Config:
  """Makes a `Config` from settings by the names that flags have too.

  Raises:
    errors.SettingsError: If a name or value is unknown, or if settings exclude
      each other.
  """
  return setting.create(Config, settings)
