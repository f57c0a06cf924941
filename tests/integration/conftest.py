"""The real frameworks: Keras runs on jax, and jax keeps float64.

Every test compiles a text once and runs it once on a few numbers: XLA translates without taking pains over speed.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
