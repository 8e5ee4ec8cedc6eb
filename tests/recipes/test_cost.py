import dataclasses
from types import SimpleNamespace

import pytest
from helpers.small_distilled import STUDENT, WIDE, small_student, small_teacher

from tfbert.models.pretrainer import make_pretrainer
from tfbert.models.sizes import SIZES, BertSize
from tfbert.recipes.cost import CostModel, forecast
from tfbert.recipes.phase_data import PhaseData
from tfbert.recipes.phases import Phase, with_layers
from tfbert.recipes.plan import plan_lines
from tfbert.recipes.pretrain_options import PretrainConfig

SIZE = BertSize(num_layers=3, hidden_dim=8, num_heads=2, intermediate_dim=12)


@pytest.mark.parametrize("next_sentence", [True, False])
def test_as_many_parameters_as_the_model_has(next_sentence):
    model = make_pretrainer(SIZE, 50, next_sentence, max_sequence_length=12)
    costs = CostModel.of(model, SIZE.num_layers)
    for frozen in (0, 1, 3):
        model.freeze_lower_layers(frozen)
        trained = sum(variable.value.shape.num_elements() for variable in model.trainable_variables)
        # Counted with the heads: without next sentences the pooler is not trained.
        assert costs.parameters(frozen_layers=frozen) == trained


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("size", [WIDE, STUDENT])
def test_a_teacher_costs_its_forward_pass(size, share):
    """And the projection to its width, where there is one: three products."""
    model = small_student(small_teacher(size), share)
    costs = CostModel.of(model, 1)
    trained = sum(variable.value.shape.num_elements() for variable in model.trainable_variables)
    assert costs.parameters() == trained
    phase, predictions = Phase(1, 8, 12, learning_rate=0.1, layers=1), 3 if share < 1 else 0
    cost = costs.update(phase, predictions)
    usual = dataclasses.replace(costs, teacher=None).update(phase, predictions)
    # A layer's weights for each token, and its attention; the backward pass costs twice as much.
    width, inner = size.hidden_dim, size.intermediate_dim
    assert cost.teacher == 8 * 2 * 12 * (4 * width**2 + 2 * width * inner + 2 * 12 * width)
    projection = 3 * 8 * 2 * 12 * 16 * width if size is WIDE else 0
    assert cost.products == usual.products + cost.teacher + projection
    assert (cost.heads == projection) == (share == 1)


def test_an_update_at_full_depth():
    costs = CostModel(SIZES["base"], vocabulary_size=30_522, positions=512, next_sentence=False)
    phase = Phase(1, 32, 128, learning_rate=0.1, layers=12)
    cost = costs.update(phase, predictions=20)
    # 6 operations a parameter and token: 85 million parameters in the layers.
    assert cost.encoder == pytest.approx(6 * 85e6 * 128 * 32, rel=0.1)
    # A prediction: 30,522 x 768 and 768 x 768 multiplications, three times.
    assert cost.heads == pytest.approx(6 * 20 * 32 * (30_522 + 768) * 768)
    assert cost.optimizer == pytest.approx(23 * 110e6, rel=0.02)
    assert cost.embeddings < cost.optimizer < 0.02 * cost.total
    assert cost.total == cost.products + cost.embeddings + cost.optimizer


def stages_of(staging, **options):
    config = PretrainConfig(
        data="d",
        output="o",
        phases=[{"steps": 10_000, "global_batch_size": 32, "learning_rate": 0.1}],
        staging=staging,
        **options,
    )
    return with_layers(config.scaled_phases(), 12)


def encoder_share(phases):
    """Operations of the encoder, as a share of those at full depth."""
    costs = CostModel(SIZES["base"], 30_522, 512)
    here = sum(phase.steps * costs.update(phase, 20).encoder for phase in phases)
    return here / sum(phase.steps * costs.whole_depth(phase, 20).encoder for phase in phases)


def test_the_papers_cost_model():
    # Forward 1, backward 2: stage i of S costs (i + 2) blocks where full depth costs 3 S. With 4
    # stages and a joint one of t of the updates: 0.375 (1 - t) + t.
    for joint in (0.1, 0.15, 0.2):
        share = encoder_share(stages_of("mslt", joint_share=joint))
        assert share == pytest.approx(0.375 * (1 - joint) + joint, rel=0.02)
    # The lowest trained layers need no gradient for their input, so that it is a little less.
    assert encoder_share(stages_of("mslt")) < 0.375 * 0.85 + 0.15
    stacked = 50 / 400 / 4 + 70 / 400 / 2 + 280 / 400
    assert encoder_share(stages_of("stack")) == pytest.approx(stacked)


def test_a_forecast_by_hand():
    phases = stages_of("stack", num_layers=12)
    costs = CostModel(SIZES["base"], 30_522, 512, next_sentence=False, optimizer="adamw")
    parts, total = forecast(costs, phases, [20] * 3)
    assert total.flops == sum(part.flops for part in parts)
    assert parts[-1].whole_depth == 1
    # Heads, embeddings and what the optimizer does to them do not shrink with the depth.
    assert 1 < parts[1].whole_depth < 2 < parts[0].whole_depth < 4
    full = [dataclasses.replace(phase, layers=12) for phase in phases]
    _, whole = forecast(costs, full, [20] * 3)
    assert total.whole_depth == pytest.approx(whole.flops / total.flops)
    assert whole.whole_depth == 1


@pytest.mark.parametrize(("examples", "said"), [(31, True), (32, False)])
def test_the_plan_says_where_a_batch_is_more_than_there_is(examples, said):
    data = PhaseData(SimpleNamespace(examples=examples), 0, None, 2, 1)
    phases = [Phase(5, 32, 16, learning_rate=0.1, layers=3)]
    lines = plan_lines(CostModel(SIZE, 50, 16), phases, [data])
    warnings = [line for line in lines if f"more than the {examples} sequences" in line]
    assert bool(warnings) == said
