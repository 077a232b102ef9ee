"""What students say of stored crops, held against the teacher, and prompt against prompt."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from vit_files import vit_files

from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.evaluation.student_tests import TrainedLearners
from fdbpl.pipeline.inspection.disagreement import disagreement
from fdbpl.pipeline.inspection.opened import open_inspection
from fdbpl.pipeline.inspection.similarity import check_dual, similarity
from fdbpl.pipeline.inspection.students import find_student, open_student
from fdbpl.pipeline.inspection.thumbnails import store_pixels
from fdbpl.pipeline.labels.feature_names import feature_array
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.plan import list_plans
from fdbpl.pipeline.training.saved_learner import load_learner
from fdbpl.pipeline.training.student_run import run_student
from fdbpl.pipeline.values import Views

FDBPL, KDPL, COCOOP = "coop-fdbpl-cached-seed1", "coop-kdpl-cached-seed1", "cocoop-fdbpl-cached-seed1"


def classifiers(config: RunConfig, name: str, class_names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    with TrainedLearners(config, "cpu") as learners:
        return learners.of(find_student(config, name)).classifier(class_names)


def test_disagreement_is_that_of_all_crops(trained: RunConfig) -> None:
    """Against the whole store at once, by the student's exported classifier."""
    plan = find_student(trained, KDPL)
    with open_inspection(trained) as opened, open_student(opened, plan) as student:
        assert not student.from_pixels
        found = disagreement(opened, student, opened.images(), limit=7, top=2)
        apart = disagreement(opened, student, opened.images(), limit=512, top=1).surest
        images, seeds = np.repeat(np.arange(128), 4), np.tile(np.arange(4), 128)
        teacher_VC = torch.from_numpy(opened.labels.read(images, seeds)).double().log_softmax(dim=-1)
        features_VD = torch.from_numpy(opened.reader.read(feature_array(plan.config), images, seeds)).double()
        classifier_CD = classifiers(trained, KDPL, opened.class_names)["classifier"].double()
        scale = load_backbone(plan.config).logit_scale
        own_V = torch.from_numpy(opened.classes_N[images])
    student_VC = (scale * features_VD @ classifier_CD.T).log_softmax(dim=-1)
    kl_V = (teacher_VC.exp() * (teacher_VC - student_VC)).sum(dim=-1)
    teacher_V, student_V = teacher_VC.argmax(dim=-1), student_VC.argmax(dim=-1)
    assert found.num_views == 512
    assert found.mean == pytest.approx(float(kl_V.mean()), rel=1e-3)
    assert found.same == pytest.approx(float((teacher_V == student_V).double().mean()), abs=2 / 512)
    assert found.rights[0] == 512
    assert found.rights[1] == int((teacher_V == own_V).sum())
    assert found.rights[2] == pytest.approx(int((student_V == own_V).sum()), abs=2)
    assert [one.divergence for one in found.farthest] == pytest.approx(kl_V.topk(7).values.tolist(), rel=1e-3)
    for one in found.farthest:
        view = one.crop.image * 4 + one.crop.seed
        assert one.divergence == pytest.approx(float(kl_V[view]), rel=1e-3)
        assert one.crop.teacher[0][0] == opened.class_names[teacher_V[view]]
        assert dict(one.student)[opened.class_names[student_V[view]]] == pytest.approx(
            float(student_VC[view].max().exp()), abs=1e-3
        )
    weights_V = 1 + (teacher_VC.exp() * teacher_VC).sum(dim=-1) / np.log(32)
    assert all(one.differs for one in apart) and apart[:7] != apart[-7:]
    assert len(apart) == pytest.approx(int((teacher_V != student_V).sum()), abs=2)
    assert [one.crop for one in apart[:7]] == [replace(one.crop, teacher=one.crop.teacher[:1]) for one in found.surest]
    assert found.surest[0].crop.weight == pytest.approx(float(weights_V[teacher_V != student_V].max()), abs=1e-4)
    assert sum(found.counts_W) == 512 and found.counts_W == np.histogram(weights_V, 10, (0, 1))[0].tolist()
    pairs = {
        (opened.class_names[one], opened.class_names[other]): int(((teacher_V == one) & (student_V == other)).sum())
        for one in range(32)
        for other in range(32)
        if one != other
    }
    assert [count for *_, count in found.pairs] == sorted(pairs.values(), reverse=True)[:7]
    assert all(pairs[one, other] == count for one, other, count in found.pairs)


def test_features_that_are_not_stored_are_made_of_the_images(trained: RunConfig) -> None:
    """The same up to float16, though the student has no features there."""
    plan = find_student(trained, FDBPL)
    images, seeds = np.array([0, 0, 77]), np.array([0, 3, 1])
    with open_inspection(trained) as opened:
        with open_student(opened, plan) as student:
            expected_BC = student.predict(images, seeds).logits_BC
        readable = opened.reader.__dict__["_readable"]
        specs = {name: spec for name, spec in readable.specs.items() if not name.startswith("student/")}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(readable, "specs", specs)
            with open_student(opened, plan) as student:
                assert student.from_pixels and student.batch_size == 64
                found_BC = student.predict(images, seeds).logits_BC
    assert not torch.equal(found_BC, expected_BC)
    assert torch.allclose(found_BC, expected_BC, atol=0.02)


def test_a_learner_that_changes_the_image_encoder_reads_pixels(taught: RunConfig, tmp_path: Path) -> None:
    """As the saved prompts answer by themselves, of pixels that were cut by the store's windows."""
    keys = vit_files(tmp_path, "inspected-vit", image_size=32)
    vpt = {"learner": ("vpt",), "learner_options": {"vpt": {"depth": 3}}}
    table = taught.student[0].model_copy(update={**keys, **vpt, "supervision": ("cached",), "epochs": 1})
    loading = taught.loading.model_copy(update={"batch_size": 6})
    config = taught.model_copy(update={"folder": tmp_path / "run", "student": (table,), "loading": loading})
    (plan,) = list_plans(config)
    run_student(config, plan)
    with open_inspection(config) as opened, open_student(opened, find_student(config, plan.id)) as student:
        assert student.from_pixels and student.batch_size == 6
        found = disagreement(opened, student, opened.images(most=3, seed=1), limit=99, top=1)
        assert found.num_views == len(found.farthest) == 12
        images_B = np.array([one.crop.image for one in found.farthest])
        seeds_B = np.array([one.crop.seed for one in found.farthest])
        learner, _ = load_learner(RunFolder(config.folder).student(plan.id).prompts_file)
        ids_B = torch.from_numpy(images_B)
        pixels_BCHW = store_pixels(opened)(images_B, seeds_B, 32)
        views = Views(image_ids_B=ids_B, seeds_B=ids_B, labels_B=ids_B, pixels_BCHW=pixels_BCHW)
        with torch.no_grad():
            logits_BC = learner.predict(views, learner.texts(opened.class_names)).logits_BC
        teacher_BC = torch.from_numpy(opened.labels.read(images_B, seeds_B)).log_softmax(dim=-1)
    divergence_B = (teacher_BC.exp() * (teacher_BC - logits_BC.log_softmax(dim=-1))).sum(dim=-1)
    assert [one.divergence for one in found.farthest] == pytest.approx(divergence_B.tolist(), rel=1e-4)
    assert [one.student[0][1] for one in found.farthest] == pytest.approx(
        logits_BC.softmax(dim=-1).max(dim=-1).values.tolist(), rel=1e-4
    )


def test_texts_that_depend_on_the_image_are_asked_in_small_batches(trained: RunConfig) -> None:
    plan = find_student(trained, COCOOP)
    with open_inspection(trained) as opened, open_student(opened, plan) as student:
        assert not student.from_pixels and student.batch_size == 64
        found = similarity(opened, student, "blue star", opened.images("blue star"), limit=3, top=1)
        first = found.accepted[0]
        alone = student.predict(np.array([first.crop.image]), np.array([first.crop.seed]))
    place = opened.class_names.index("blue star")
    assert float(alone.positive()[0, place]) / alone.logit_scale == pytest.approx(first.positive, abs=1e-4)
    assert float(alone.negative()[0, place]) / alone.logit_scale == pytest.approx(first.negative, abs=1e-4)
    assert first.positive - first.negative == pytest.approx(
        float((found.positive_V - found.negative_V).max()), abs=1e-4
    )


def test_the_similarity_of_both_prompts_is_that_of_the_exported_ones(trained: RunConfig) -> None:
    plan, name = find_student(trained, FDBPL), "red circle"
    with open_inspection(trained) as opened, open_student(opened, plan) as student:
        images_M = opened.images(name)
        found = similarity(opened, student, name, images_M, limit=5, top=1)
        images, seeds = np.tile(images_M, 4), np.repeat(np.arange(4), 4)
        features_VD = torch.from_numpy(opened.reader.read(feature_array(plan.config), images, seeds)).float()
        texts = classifiers(trained, FDBPL, (name,))
    positive_V = (features_VD @ normalize(texts["classifier"], dim=-1).T)[:, 0].numpy()
    negative_V = (features_VD @ texts["negative"].T)[:, 0].numpy()
    assert found.positive_V == pytest.approx(positive_V, abs=1e-4)
    assert found.negative_V == pytest.approx(negative_V, abs=1e-4)
    margins = sorted((positive_V - negative_V).tolist())
    assert [one.positive - one.negative for one in found.rejected] == pytest.approx(margins[:5], abs=1e-4)
    assert [one.positive - one.negative for one in found.accepted] == pytest.approx(margins[::-1][:5], abs=1e-4)
    expected = np.corrcoef(positive_V - negative_V, found.weight_V)[0, 1]
    assert found.correlation == pytest.approx(expected, abs=1e-3)


def test_a_student_without_negative_prompts_is_told_who_has_them(trained: RunConfig) -> None:
    plans = list_plans(trained)
    check_dual(find_student(trained, FDBPL), plans)
    with pytest.raises(ValueError, match=rf"student {KDPL}: found the objective kdpl.*expected a student .*: {FDBPL}"):
        check_dual(find_student(trained, KDPL), plans)
    with pytest.raises(ValueError, match="the run has none; the objective fdbpl learns them"):
        check_dual(find_student(trained, KDPL), plans[1:2])


def test_unknown_and_unfinished_students_are_refused(trained: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"student: found 'coop-kdlp-cached-seed1'.*{KDPL}"):
        find_student(trained, "coop-kdlp-cached-seed1")
    elsewhere = trained.model_copy(update={"folder": tmp_path})
    with pytest.raises(ValueError, match=f"student {KDPL}: found no prompts .* `fdbpl train CONFIG` trains it"):
        find_student(elsewhere, KDPL)
