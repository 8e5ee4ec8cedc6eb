"""Options of `tfbert pretrain`: a frozen dataclass, validated when it is made."""

import dataclasses
from collections.abc import Collection
from typing import Annotated, Any, Literal

from tfbert.errors import InputError
from tfbert.models.layer_origins import GrowthName, SlotsName
from tfbert.models.sizes import BertSize, bert_size
from tfbert.options import (
    AttentionName,
    BackendName,
    Count,
    DropoutRate,
    NotNegative,
    PositiveShare,
    PrecisionName,
    Rule,
    Seed,
    StrategyName,
    option_name,
    read_options,
    require,
)
from tfbert.recipes import recipe_names, recipe_path
from tfbert.recipes.phases import Phase, make_phases, scaled_to_batch, with_layers
from tfbert.recipes.staging import DEFAULTS, STAGED_FIELDS, make_stages, staged
from tfbert.recovery.recovery_options import RunOptions

_ShareOfLoss = Annotated[float, Rule("above 0 and at most 1", lambda value: 0 < value <= 1)]
NEW_DROPOUT = 0.1  # the rate of a new model
SizeName = Literal["tiny", "mini", "small", "medium", "base", "large"]


@dataclasses.dataclass(frozen=True)
class PretrainConfig(RunOptions):
    """Train a BERT from text that `tfbert prepare` made into records.

    Args:
        data: Folder of records, with every sequence length that the phases use: of `tfbert
            prepare`, or of another program (docs/prepare.md).
        output: The run directory to write.
        phases: The phases of the training in their order, a list of `Phase`.
        vocab: The vocabulary of `data`, where another program made the records; a folder of
            `tfbert prepare` holds its own.
        init: Start from the weights of this model instead of random ones: anything that `--model`
            of `finetune` takes. Its vocabulary must be that of the records.
        teacher: Learn the hidden states of this model, distillation (docs/pretraining.md): anything
            that `--model` of `finetune` takes. Its vocabulary must have all word pieces of the
            records.
        teacher_share: Share of the loss that the distance from the teacher has; the rest is
            predicting masked tokens and next sentences. By default all of it, 1, and there are no
            heads then.
        size: Size of a new model; with `init` this, and the next four, have no effect.
        num_layers: Encoder layers, where they differ from the size's.
        hidden_dim: Width, where it differs from the size's.
        num_heads: Attention heads, where they differ from the size's.
        intermediate_dim: Width of the feed-forward parts, where it differs from the size's.
        max_sequence_length: Positions that a new model has embeddings for.
        dropout: Rate of dropout; by default 0.1 in a new model, and that of the model of `init`.
        attention_dropout: Rate of dropout on attention probabilities, in a new model or that of
            `init`; by default that of the rest, as in the papers. A fused kernel has none: it needs
            0 (docs/jax.md).
        attention: How attention is computed on JAX where `attention_dropout` is 0: `plain`;
            `fused`, one kernel; `auto` measures both on an accelerator and takes the faster one.
            On TensorFlow and CPUs `auto` is `plain`.
        embeddings: What a new model's token embeddings begin with: `random` numbers, or
            `cooccurrence`, how often word pieces stand near each other in the records, factorized;
            `documents`, that and in which texts they occur, for classifiers of sentences
            (docs/pretraining.md). It takes a minute or two, and helps where the updates are few.
        staging: Train a model that grows, which takes less time (docs/staged_training.md): `stack`
            doubles it by copies of its layers (Gong et al. 2019), `one_shot` makes a quarter of the
            layers all of them at once (Du et al. 2024), `mslt` adds blocks on top and trains the
            newest block and the heads alone, at the end the whole (Yang et al. 2020).
        stages: Stages in which the model grows: of `stack` 3, of `one_shot` always 2, of `mslt` 4
            and a joint one.
        joint_share: Share of the updates of the last stage, in which all layers are trained: of
            `stack` 0.7, of `one_shot` 0.2, of `mslt` 0.15.
        stage_shares: Share of the updates of each stage, instead of the other two.
        stage_schedule: `whole` (the default) spreads the recipe's schedule over all stages, with a
            warm-up where each begins; with `each` every stage has the whole schedule.
        stage_warmup: Share of a stage's updates in which the rate rises; by default that of the
            recipe. With `whole`, of the later stages: the first one has the recipe's warm-up.
        growth: What a staging's new layers begin with, as in a phase.
        growth_slots: What their optimizer state begins with, as in a phase.
        frozen_dropout: Whether layers that a stage does not train have dropout, as in a phase.
        optimizer: `lamb` or `adamw`.
        weight_decay: Decoupled weight decay; biases and layer normalisation have none.
        max_grad_norm: Clip the gradient of the global batch to this norm, as BERT's and MLPerf's
            code do; 0 does not. LAMB with 1 is NVIDIA's NVLAMB.
        global_batch_size: Train with another batch than the recipe's: as many sequences, the rate
            by the square root and the warm-up in proportion, as in the LAMB paper.
        device_tokens: Tokens that a device computes at once; the rest of a batch is accumulated.
        rematerialize: Compute the encoder's activations again in the backward pass, as in
            `finetune`.
        steps_per_execution: Updates in one call of the training function.
        backend: What Keras computes on, as in `finetune`.
        eval_steps: Updates between two evaluations on the held-out records.
        eval_sequences: Most held-out sequences in an evaluation.
        precision: Arithmetic of the encoder; `auto` takes the fastest one of the hardware.
        strategy: What to train on, as in `finetune`.
        replicas: Devices of this machine to train on, as in `finetune`.
        seed: Seed of the weights, of the batches, their masks, and of dropout.
        progress: Print the progress every ten seconds: losses, speed, time left.
        checkpoint_steps, checkpoint_minutes, keep_checkpoints, on_nan, max_rollbacks, resume,
            overwrite: As in `RunOptions`.
    """

    data: str
    output: str
    phases: list[Phase] = dataclasses.field(default_factory=list)
    vocab: str | None = None
    init: str | None = None
    teacher: str | None = None
    teacher_share: _ShareOfLoss | None = None
    size: SizeName = "base"
    num_layers: int | None = None
    hidden_dim: int | None = None
    num_heads: int | None = None
    intermediate_dim: int | None = None
    max_sequence_length: int = 512
    dropout: DropoutRate | None = None
    attention_dropout: DropoutRate | None = None
    attention: AttentionName = "auto"
    embeddings: Literal["random", "cooccurrence", "documents"] = "random"
    staging: Literal["none", "stack", "one_shot", "mslt"] = "none"
    stages: Count | None = None
    joint_share: PositiveShare | None = None
    stage_shares: list[float] | None = None
    stage_schedule: Literal["whole", "each"] | None = None
    stage_warmup: PositiveShare | None = None
    growth: GrowthName | None = None
    growth_slots: SlotsName | None = None
    frozen_dropout: bool | None = None
    optimizer: Literal["lamb", "adamw"] = "lamb"
    weight_decay: NotNegative = 0.01
    max_grad_norm: NotNegative = 1.0
    global_batch_size: Count | None = None
    device_tokens: Count = 8_192
    rematerialize: bool = False
    steps_per_execution: Count = 1
    backend: BackendName | None = None
    eval_steps: Count = 1_000
    eval_sequences: Count = 2_048
    precision: PrecisionName = "auto"
    strategy: StrategyName = "auto"
    replicas: Count | None = None
    seed: Seed = 1
    progress: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "phases", make_phases(self.phases))  # the class is frozen
        if self.dropout is None and not self.init:
            object.__setattr__(self, "dropout", NEW_DROPOUT)
        super().__post_init__()
        if not self.phases:
            raise InputError(
                "--recipe must be given, and name a YAML file with one phase or more, or one of "
                + ", ".join(recipe_names())
            )
        longest = max(phase.sequence_length for phase in self.phases)
        require(
            bool(self.init) or self.max_sequence_length >= longest,
            "max_sequence_length",
            self.max_sequence_length,
            f"at least {longest}, the longest phase's",
        )
        tokens, least = self.device_tokens, f"at least {longest}, a sequence of the longest phase"
        require(tokens >= longest, "device_tokens", tokens, least)
        require(
            not self.init or self.embeddings == "random",
            "embeddings",
            self.embeddings,
            "random with --init, which has its own",
        )
        share = self.teacher_share
        is_used = share is None or self.teacher is not None
        require(is_used, "teacher_share", share, "left out where there is no --teacher")
        self._check_staging()
        # Options that do not fit together are refused now, not in the middle of a run.
        size, phases = self.bert_size, self.scaled_phases()
        if not self.init:
            with_layers(phases, size.num_layers)

    def _check_staging(self) -> None:
        if self.staging == "none":
            for name in _STAGING_OPTIONS:
                value = getattr(self, name)
                require(value is None, name, value, "left out where there is no --staging")
            if not any(phase.layers for phase in self.phases):
                names = ("growth", "growth_slots")
                self._refuse_in_phases(names, "nothing grows where no phase has layers")
            return
        if self.init:
            raise InputError(f"--staging {self.staging}: grows a new model, not that of --init")
        frozen = self.frozen_dropout
        is_used = self.staging == "mslt" or frozen is None
        rule = f"left out: --staging {self.staging} freezes nothing"
        require(is_used, "frozen_dropout", frozen, rule)
        self._refuse_in_phases(STAGED_FIELDS, f"left to the stages of --staging {self.staging}")

    def _refuse_in_phases(self, names: Collection[str], reason: str) -> None:
        for number, phase in enumerate(self.phases):
            for field in dataclasses.fields(Phase):
                if field.name in names and getattr(phase, field.name) != field.default:
                    option = option_name(f"phases.{number}.{field.name}")
                    raise InputError(f"{option}: {reason}")

    @property
    def loss_share_of_teacher(self) -> float:
        """Share of the loss that the distance from the teacher has: 0 without a teacher."""
        if self.teacher is None:
            return 0.0
        return 1.0 if self.teacher_share is None else self.teacher_share

    @property
    def bert_size(self) -> BertSize:
        """`BertSize` of a new model."""
        return bert_size(
            self.size, self.num_layers, self.hidden_dim, self.num_heads, self.intermediate_dim
        )

    def scaled_phases(self) -> list[Phase]:
        """The phases as they are trained: at `global_batch_size`, and divided by `staging`."""
        phases = self.phases
        if self.global_batch_size is not None:
            phases = scaled_to_batch(phases, self.global_batch_size)
        if self.staging == "none":
            return phases
        stages = make_stages(
            self.staging,
            self.bert_size.num_layers,
            self.stages,
            self.joint_share,
            self.stage_shares,
        )
        options = {
            name: default if getattr(self, name) is None else getattr(self, name)
            for name, default in DEFAULTS[self.staging]._asdict().items()
            if name not in ("stages", "joint_share")
        }
        return staged(phases, stages, **options, stage_warmup=self.stage_warmup)

    @classmethod
    def from_recipe(cls, recipe: str, **options: Any) -> "PretrainConfig":
        """A recipe with some options changed.

        Args:
            recipe: A name or a YAML file, see `recipe_path`.
            **options: Fields of this class; they go before the recipe.

        Raises:
            InputError: If there is no such recipe, or the file is wrong.
        """
        return cls(**{**read_options(recipe_path(recipe), cls), **options})


_STAGING_OPTIONS = (
    "stages",
    "joint_share",
    "stage_shares",
    "stage_schedule",
    "stage_warmup",
    "growth",
    "growth_slots",
    "frozen_dropout",
)
