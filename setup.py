"""Package metadata: the core is enough for the probes, the extras run experiments."""

from pathlib import Path

from setuptools import find_packages, setup

CORE = [
    "jax>=0.10.2,<0.13",
    "flax>=0.12.8,<0.13",
    "optax>=0.2.8,<0.3",
    "chex>=0.1.92,<0.2",
    "absl-py>=2.4,<3",
    "ml-collections>=1.1,<2",
    "orbax-checkpoint>=0.12.8,<0.13",
    "numpy>=2.1",
    "ale-py>=0.12.1,<0.13",
    "gymnasium>=1.3,<2",
    "tensorboardX>=2.6.5,<3",
    "tqdm>=4.66",
]

EXTRAS = {
    # TensorFlow and 2.3 GB: only for Dopamine's own Atari agents.
    "dopamine": ["dopamine-rl==4.1.2", "tensorboard>=2.21,<3", "numpy<2.5"],
    "plots": ["matplotlib>=3.9", "jinja2>=3.1", "pillow>=10"],
    "data": ["scikit-learn>=1.5", "pooch>=1.8,<2"],
    "dev": [
        "pytest>=8",
        "pytest-xdist>=3.6",
        "hypothesis>=6",
        "ruff>=0.14,<0.16",
        "equinox>=0.13.8,<0.14",
        "dm-haiku>=0.0.17,<0.1",  # the examples
        "matfree>=0.6.3,<0.7",  # a peer in the benchmarks
    ],
    "cuda": ["jax[cuda13]>=0.10.2,<0.13"],
    "tpu": ["jax[tpu]>=0.10.2,<0.13"],
}

setup(
    name="plasticity-jax",
    version="0.1.0",
    description="Can this network still learn? Plasticity in JAX.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["plasticity_jax*", "experiments*"]),
    package_data={
        "experiments": ["*.html", "*.csv"],
        "experiments.claims": ["*.json"],
        "experiments.figures": ["*.csv"],
    },
    python_requires=">=3.11,<3.14",
    install_requires=CORE,
    extras_require=EXTRAS,
)
