"""Profiles of hypothesis: short by default, `HYPOTHESIS_PROFILE=long pytest` for a night, brief for another wheel.

Short and brief draw the same examples in every run, so that a change is judged by what it changes; long looks for
what nobody has drawn yet.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "short",
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
    derandomize=True,
)
settings.register_profile("brief", settings.get_profile("short"), max_examples=8)
settings.register_profile("long", settings.get_profile("short"), max_examples=5_000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
