"""A scheduler keeps the settings that another class has too, without a warning of diffusers."""

import logging
from typing import Any

import pytest
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, LCMScheduler

from instantstyle.utils.scheduler_config import convert_scheduler

SETTINGS: dict[str, Any] = dict(beta_start=0.001, prediction_type="v_prediction", rescale_betas_zero_snr=True)


@pytest.mark.parametrize("scheduler_class", [DDIMScheduler, DPMSolverMultistepScheduler])
def test_common_settings_are_kept_and_others_left_out(scheduler_class, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    own = LCMScheduler(**SETTINGS, original_inference_steps=1000)
    made = convert_scheduler(own, scheduler_class, timestep_spacing="trailing")
    assert {name: made.config[name] for name in SETTINGS} == SETTINGS
    assert made.config["timestep_spacing"] == "trailing"
    assert "original_inference_steps" not in made.config
    assert not caplog.records
    scheduler_class.from_config(own.config)
    assert "original_inference_steps" in caplog.text


def test_defaults_of_the_earlier_class_do_not_replace_those_of_the_new_one():
    assert DDIMScheduler().config["timestep_spacing"] == "leading"
    assert convert_scheduler(DDIMScheduler(), DPMSolverMultistepScheduler).config.timestep_spacing == "linspace"
    assert convert_scheduler(LCMScheduler(), LCMScheduler).config.original_inference_steps == 50
