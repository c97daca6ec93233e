# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Everything that the package knows about each algorithm, in one table.

No other module compares an algorithm's name with a string: it asks the
algorithm's `Method`. An algorithm from outside of this package is registered:

    methods.register(
        'my_method',
        methods.Method(
            'What it does, in a few words.',
            build=lambda algorithms, parts: algorithms.fed_alt(
                parts.shared, parts.personal, steps=parts.steps
            ),
        ),
    )

Nothing slow is imported here, so that mistakes in flags are told at once.
"""

from collections.abc import Callable, Mapping
import dataclasses
import types
from typing import Any, Optional

from tff_partial import errors

# A client's models that are exported, as the report calls them: stored, trained
# further, or what the gate decides.
EXPORTED = ('personalized', 'finetuned', 'gated')
_PRETRAIN_ROUNDS = 200
_FINETUNE_EPOCHS = 5  # Pillutla et al., section 5.
# Numeric settings without effect where nothing is personal, ...
_OF_PERSONALIZATION = frozenset(
    (
        'finetune_epochs',
        'personal_dropout',
        'personal_epochs',
        'personal_l2',
        'personal_l2_total',
        'personal_learning_rate',
    )
)
# ... and where there are no rounds.
_OF_ROUNDS = frozenset(
    (
        'clients_per_round',
        'epochs',
        'learning_rate',
        'personal_epochs',
        'server_epsilon',
        'server_learning_rate',
        'shared_proximal',
        'staircase_rounds',
        'total_rounds',
        'warmup_rounds',
    )
)


_SAME_FOR_ALL = (
    'Expected a run that personalizes, found one where all clients have the'
    ' same model.'
)


def _no_requirement(config: Any) -> Optional[str]:
  """The requirement of a method that has none."""
  del config  # Unused.
  return None


def _nothing_equal(client: Any) -> Optional[Mapping[str, Any]]:
  """The settings for equal steps of a method that has none."""
  del client  # Unused.
  return None


@dataclasses.dataclass(frozen=True)
class Method:
  """What is known about an algorithm.

  Attributes:
    summary: What clients do, in a few words.
    build: `(algorithms, parts)` to an `algorithms.Algorithm`: the module
      `learning.algorithms` and the `parts.Parts` that the settings make.
    split: The split that it always has; `None` leaves it to the user.
    split_in_words: What the report says instead of `split`.
    is_divided: Whether it trains both parts of a divided model, so that a split
      with nothing shared makes no sense.
    is_full: Whether all of the model is personalized.
    personalizes: Whether clients get models of their own.
    trains_alone: Whether clients train without a server.
    starts_pretrained: Whether clients start from the pretrained model.
    baseline: The model that the report compares with; `None` is the pretrained
      model, or the run's shared one if there was no pretraining.
    candidate: The model that the report is about.
    pretrain_rounds: Rounds of FedAvg before it, unless the user says otherwise.
    finetune_epochs: Epochs of fine-tuning after it, likewise.
    equal_steps_with: The algorithm next to which a comparison also runs this
      one with as many gradient steps.
    equal_steps: The settings that give it these steps; takes the
      `config_groups.ClientWork` of both, and returns `None` if there are none.
    personal_epochs: The default of `personal_epochs`; `None` is `epochs`.
    penalty: The default of `personal_l2`.
    penalty_anchor: What this penalty draws personal variables to: 'initial',
      their initial values; 'received', those that the client had when the round
      began; or 'shared', the shared model of which they are a copy.
    requirement: What the settings lack, as a sentence, or `None`; takes the
      `config.Config`.
    weights_equally: Whether all clients count the same unless
      `client_weighting` says otherwise.
    own_settings: Names of settings that only this method and others that name
      them have.
    ignores: Numeric settings without effect on it, besides those that follow
      from `personalizes`, `trains_alone` and `own_settings`. A method that
      ignores the learning rate has it as the default of that of personal
      variables.
    no_client_export: Why no client's model can be exported, if so.
    note: What a reader of the report must know.
    takes_budgets: Whether clients may differ in how much of the model is
      personal (`nested_model.py`).
    neighbors: Whether clients predict with nearest neighbours among their
      training examples, too (`neighbors.py`).
  """

  summary: str
  build: Callable[[Any, Any], Any]
  split: Optional[str] = None
  split_in_words: Optional[str] = None
  is_divided: bool = True
  is_full: bool = False
  personalizes: bool = True
  trains_alone: bool = False
  starts_pretrained: bool = True
  baseline: Optional[str] = None
  candidate: str = 'personalized'
  pretrain_rounds: int = _PRETRAIN_ROUNDS
  finetune_epochs: int = 0
  equal_steps_with: Optional[str] = None
  equal_steps: Callable[[Any], Optional[Mapping[str, Any]]] = _nothing_equal
  personal_epochs: Optional[int] = None
  penalty: float = 0.0
  penalty_anchor: str = 'initial'
  requirement: Callable[[Any], Optional[str]] = _no_requirement
  weights_equally: bool = False
  own_settings: tuple[str, ...] = ()
  ignores: frozenset[str] = frozenset()
  no_client_export: Optional[str] = None
  note: Optional[str] = None
  takes_budgets: bool = False
  neighbors: bool = False

  @property
  def ignored(self) -> frozenset[str]:
    """All numeric settings without effect on it."""
    ignored = self.ignores | self.others_settings
    if not self.personalizes:
      ignored |= _OF_PERSONALIZATION
    if self.trains_alone:
      ignored |= _OF_ROUNDS
    return ignored

  @property
  def others_settings(self) -> frozenset[str]:
    """The settings that only other methods have."""
    of_some = {n for method in METHODS.values() for n in method.own_settings}
    return frozenset(of_some - set(self.own_settings))

  def takes(self, split: Optional[str]) -> bool:
    """Whether it makes sense with a split, which it may have or replace."""
    if split == 'none':
      return self.split is not None
    return not (self.is_divided and split == 'all')


def _at_least_one_epoch(config: Any) -> Optional[str]:
  if config.finetune_epochs == 0:
    return (
        'Expected `finetune_epochs` of at least 1 for algorithm'
        f' {config.algorithm!r}, found 0.'
    )
  return None


def _mean_over_all(config: Any) -> Optional[str]:
  """What makes the server's variables another thing than a mean over all."""
  server, privacy = config.server, config.privacy
  if privacy.is_private:  # Which in turn refuses cohorts of a fixed size.
    return (
        f'Expected no differential privacy for algorithm {config.algorithm!r},'
        ' found some: its shared variables need as many clients in each round,'
        ' and cohorts of a fixed size have no usable guarantee here'
        ' (docs/privacy.md). Use another algorithm.'
    )
  for name, found, wanted in (
      ('client_weighting', config.weighting, 'uniform'),
      ('server_optimizer', server.server_optimizer, 'sgd'),
      ('server_learning_rate', server.server_learning_rate, 1.0),
      ('aggregator', server.aggregator, 'mean'),
      ('compression', server.compression, 'none'),
      ('client_sampling', privacy.sampling, 'fixed'),
  ):
    if found != wanted:
      return (
          f'Expected `{name}` {wanted} for algorithm {config.algorithm!r},'
          ' whose shared variables are the mean over all clients, also those of'
          f' earlier rounds, found {found}.'
      )
  return None


def _nothing_moves_alone(config: Any) -> Optional[str]:
  """What moves variables that no client has changed."""
  if config.server.server_optimizer not in ('sgd', 'adagrad'):
    return (
        f'Expected `server_optimizer` sgd or adagrad for algorithm'
        f' {config.algorithm!r}, found {config.server.server_optimizer}: it'
        ' would also move the matrices that stay as they are in a round.'
    )
  if config.privacy.is_private:
    return (
        f'Expected no differential privacy for algorithm {config.algorithm!r},'
        ' found some: its noise would also move the matrices that stay as they'
        ' are in a round.'
    )
  return None


def _some_penalty(config: Any) -> Optional[str]:
  if not config.penalty:
    return (
        f'Expected `personal_l2` above 0 for algorithm {config.algorithm!r},'
        ' found 0: personal models would be trained alone, next to a shared'
        f' model. Leave it out for the default of {config.method.penalty:g}, or'
        " use algorithm 'local'."
    )
  # Then one step of the penalty alone leaves v as far from u as it was.
  if config.penalty * config.personal_rate >= 2:
    return (
        'Expected `personal_l2` times the learning rate of personal variables'
        f' below 2 for algorithm {config.algorithm!r}, found'
        f' {config.penalty:g} * {config.personal_rate:g}: the penalty alone'
        ' would make training diverge. Use a smaller `personal_learning_rate`.'
    )
  return None


def _some_penalty_and_pull(config: Any) -> Optional[str]:
  if not 0 < config.pull <= 1:
    return (
        'Expected `pull` above 0 and at most 1 for algorithm'
        f' {config.algorithm!r}, found {config.pull:g}: the shared model would'
        ' not move towards personal ones.'
    )
  return _some_penalty(config)


def _passes_of_ffgg(client: Any) -> Optional[Mapping[str, Any]]:
  """FedAlt's settings for as many passes over examples as FFGG makes.

  A step of FFGG is on all examples, of which it takes one for the shared
  variables. Settings that are given hold for both, and a bound on steps is one
  on batches here and on passes there.
  """
  given = client.personal_epochs is not None or client.max_steps is not None
  if given or client.epochs > 1:
    return None
  return {'personal_epochs': METHODS['ffgg'].personal_epochs}


def _copies(summary: str, build: Any, **facts: Any) -> Method:
  """A method whose clients keep a copy of the whole model."""
  return Method(
      summary,
      build,
      split='none',
      split_in_words='a copy of all',
      is_divided=False,
      is_full=True,
      **facts,
  )


def _low_rank(summary: str, build: Any, **facts: Any) -> Method:
  """A method that trains one model for all, by low-rank matrices."""
  return Method(
      summary,
      build,
      split='lora_shared',
      is_divided=False,
      personalizes=False,
      baseline='initial',
      candidate='non_personalized',
      no_client_export=_SAME_FOR_ALL,
      **facts,
  )


PRETRAINING = 'fed_avg'
NEIGHBORS = 'with_neighbors'  # The model that mixes in neighbours.

_METHODS: dict[str, Method] = {
    PRETRAINING: Method(
        'One model for all.',
        build=lambda algorithms, parts: algorithms.fed_avg(
            parts.shared, steps=parts.steps
        ),
        split='none',
        is_divided=False,
        personalizes=False,
        baseline='initial',
        candidate='non_personalized',
        pretrain_rounds=0,
        no_client_export=_SAME_FOR_ALL,
    ),
    'knn_per': Method(
        "FedAvg, mixed with the nearest of a client's own examples.",
        build=lambda algorithms, parts: dataclasses.replace(
            algorithms.fed_avg(parts.shared, steps=parts.steps), name='knn_per'
        ),
        split='none',
        is_divided=False,
        baseline='shared',
        candidate=NEIGHBORS,
        pretrain_rounds=0,
        ignores=_OF_PERSONALIZATION,
        no_client_export=(
            'Expected a run that keeps personal variables, found one of'
            ' knn_per, whose clients predict with their examples.'
        ),
        note=(
            'Nothing is personal but training examples, whose representations'
            ' a client would store; the bytes here do not count them.'
        ),
        neighbors=True,
    ),
    'fed_lora': _low_rank(
        'FedAvg of low-rank matrices; all else stays as it was pretrained.',
        build=lambda algorithms, parts: dataclasses.replace(
            algorithms.fed_avg(parts.shared, steps=parts.steps), name='fed_lora'
        ),
    ),
    'rolora': _low_rank(
        'The same, with only one of the two matrices trained in each round.',
        build=lambda algorithms, parts: algorithms.rolora(
            parts.shared, steps=parts.steps
        ),
        requirement=_nothing_moves_alone,
    ),
    'fed_sim': Method(
        'Shared and personal variables in the same steps.',
        build=lambda algorithms, parts: algorithms.fed_sim(
            parts.shared,
            parts.personal,
            steps=parts.steps,
            personal_steps=parts.personal_steps
            if parts.client.alternating_steps
            else None,
        ),
        equal_steps_with='fed_alt',
        equal_steps=lambda client: {'alternating_steps': True},
        own_settings=('alternating_steps',),
        takes_budgets=True,
    ),
    'fed_alt': Method(
        'Personal variables first, then the shared ones.',
        build=lambda algorithms, parts: algorithms.fed_alt(
            parts.shared,
            parts.personal,
            steps=parts.steps,
            personal_steps=parts.personal_steps,
        ),
        equal_steps_with='ffgg',
        equal_steps=_passes_of_ffgg,
        takes_budgets=True,
    ),
    'fed_rep': Method(
        'FedAlt with a personal output layer and more epochs for it.',
        build=lambda algorithms, parts: dataclasses.replace(
            algorithms.fed_alt(
                parts.shared,
                parts.personal,
                steps=parts.steps,
                personal_steps=parts.personal_steps,
            ),
            name='fed_rep',
        ),
        split='output',
        personal_epochs=10,  # Collins et al. ICML 2021, section 5.2.
    ),
    'fed_recon': Method(
        'FedAlt with personal variables that are made again each round.',
        build=lambda algorithms, parts: algorithms.fed_recon(
            parts.shared,
            parts.personal,
            steps=parts.steps,
            personal_steps=parts.personal_steps,
        ),
        no_client_export=(
            'Expected a run that keeps personal variables, found one of'
            " fed_recon, which reconstructs them from a client's examples in"
            ' each round. What is shared is where reconstruction starts.'
        ),
    ),
    'fed_babu': Method(
        'FedAvg with a fixed output layer, which clients fine-tune afterwards.',
        build=lambda algorithms, parts: algorithms.fed_babu(
            parts.shared, steps=parts.steps
        ),
        split='output',
        candidate='finetuned',
        # The head that nobody trains is to be the initial one.
        pretrain_rounds=0,
        finetune_epochs=_FINETUNE_EPOCHS,
        ignores=frozenset(('personal_epochs',)),
        requirement=_at_least_one_epoch,
        no_client_export=(
            'Expected a run that keeps personal variables, found one of'
            ' fed_babu, whose clients fine-tune them in the evaluation. Run'
            ' algorithm finetune with `init_from` this run, and export from'
            ' there.'
        ),
    ),
    'fed_rod': Method(
        'A shared model that learns alone, and a personal head on top.',
        build=lambda algorithms, parts: algorithms.fed_rod(
            parts.shared, parts.personal, steps=parts.steps
        ),
        split='second_head',
        ignores=frozenset(('personal_epochs',)),
    ),
    'ffgg': Method(
        'Personal variables to a tolerance, then one shared gradient.',
        build=lambda algorithms, parts: algorithms.ffgg(
            parts.shared,
            parts.personal,
            tolerance=parts.client.tolerance,
            personal_steps=parts.personal_steps,
        ),
        personal_epochs=10,
        own_settings=('tolerance',),
        ignores=frozenset(('epochs',)),
    ),
    'fed_apm': Method(
        'FedAlt by ADMM: clients keep a dual variable of the shared ones.',
        build=lambda algorithms, parts: algorithms.fed_apm(
            parts.shared,
            parts.personal,
            rho=parts.client.rho,
            steps=parts.steps,
            personal_steps=parts.personal_steps,
        ),
        # The authors' scripts: 0.01 times the 20 clients of three data sets.
        penalty=0.2,
        penalty_anchor='received',
        weights_equally=True,
        requirement=_mean_over_all,
        own_settings=('rho',),
        ignores=frozenset(('shared_proximal',)),
        note=(
            'Besides personal variables, each client stores a copy and a dual'
            ' variable of the shared ones, which are not personal. What it'
            ' stores, and the personal share of the parameters, count them.'
        ),
    ),
    'finetune': Method(
        'Each client fine-tunes personal variables, without a server.',
        build=lambda algorithms, parts: algorithms.finetune(
            parts.unscheduled_personal, steps=parts.finetune_steps
        ),
        is_divided=False,
        trains_alone=True,
        candidate='finetuned',
        finetune_epochs=_FINETUNE_EPOCHS,
        requirement=_at_least_one_epoch,
    ),
    'local': Method(
        'Each client trains a model of its own from the start.',
        build=lambda algorithms, parts: algorithms.finetune(
            parts.unscheduled_personal, steps=parts.finetune_steps
        ),
        split='all',
        is_divided=False,
        is_full=True,
        trains_alone=True,
        starts_pretrained=False,
        candidate='trained_alone',
        # A client that starts from nothing needs more than fine-tuning does.
        finetune_epochs=50,
        requirement=_at_least_one_epoch,
        note=(
            'Clients train alone, from the seeded initial model. The model that'
            ' they are compared with has no part in their training.'
        ),
    ),
    'ditto': _copies(
        'A personal copy of the model, drawn to the shared model.',
        build=lambda algorithms, parts: algorithms.ditto(
            parts.shared,
            parts.personal,
            penalty=parts.config.penalty,
            steps=parts.steps,
            personal_steps=parts.personal_steps,
        ),
        # The authors' scripts for Fashion MNIST and Vehicle have lambda 1.
        penalty=1.0,
        penalty_anchor='shared',
        requirement=_some_penalty,
    ),
    'pfedme': _copies(
        'A shared model that follows personal proximal points.',
        build=lambda algorithms, parts: algorithms.pfedme(
            parts.personal,
            penalty=parts.config.penalty,
            pull=parts.config.pull,
            steps=parts.steps,
            inner_steps=parts.client.inner_steps,
        ),
        # T. Dinh et al., section 5 and the defaults of their code.
        penalty=15.0,
        own_settings=('inner_steps', 'pull'),
        penalty_anchor='shared',
        ignores=frozenset(
            ('learning_rate', 'personal_epochs', 'shared_proximal')
        ),
        requirement=_some_penalty_and_pull,
    ),
    'apfl': _copies(
        'A learned mixture of a shared and a personal model.',
        build=lambda algorithms, parts: algorithms.apfl(
            parts.shared, parts.personal, steps=parts.steps
        ),
        ignores=frozenset(('personal_epochs',)),
    ),
}
METHODS: Mapping[str, Method] = types.MappingProxyType(_METHODS)

# Names from the literature: an algorithm, and what is personal in it. What
# differs from the papers is in docs/splits.md.
ALIASES: Mapping[str, tuple[str, str]] = {
    'fed_per': ('fed_sim', 'output'),  # Arivazhagan et al. 2019.
    'lg_fed_avg': ('fed_sim', 'input'),  # Liang et al. 2020.
    'fed_bn': ('fed_sim', 'norm'),  # Li et al. ICLR 2021, for batch norms.
}


def register(name: str, method: Method) -> None:
  """Adds an algorithm to `METHODS`, for experiments of this program.

  Args:
    name: The value of the setting `algorithm`.
    method: What is known about the algorithm.

  Raises:
    errors.SettingsError: If there is an algorithm of this name.
  """
  if name in _METHODS or name in ALIASES:
    raise errors.SettingsError(
        f'Expected the name of a new algorithm, found {name!r}, which there is.'
    )
  _METHODS[name] = method


def equal_steps_name(algorithm: str) -> str:
  """What a comparison calls an algorithm that is given another one's steps."""
  return f'{algorithm} with equal steps'


# The two algorithms whose difference the paper's theory is about, and the
# second one with as many gradient steps as the first.
ALTERNATING, SIMULTANEOUS = 'fed_alt', 'fed_sim'
SIMULTANEOUS_EQUAL_STEPS = equal_steps_name(SIMULTANEOUS)

# What a comparison asks: (question, first algorithm, second algorithm).
QUESTIONS = (
    ('FedAlt versus FedSim with equal epochs', 'fed_alt', 'fed_sim'),
    (
        'FedAlt versus FedSim with equal gradient steps',
        'fed_alt',
        equal_steps_name('fed_sim'),
    ),
    (
        'FFGG versus FedAlt with as many passes over examples',
        'ffgg',
        equal_steps_name('fed_alt'),
    ),
    (
        'Keeping personal variables versus reconstructing them each round',
        'fed_alt',
        'fed_recon',
    ),
    ('FedAlt versus fine-tuning alone', 'fed_alt', 'finetune'),
    ('FedSim versus fine-tuning alone', 'fed_sim', 'finetune'),
)
