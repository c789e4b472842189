"""A config's variants: `configs/block_mdp/dqn.py:hard,quick` applies two, in order."""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from plasticity_jax import checks


def apply(
    config: ConfigDict, names: str, variants: Mapping[str, Callable]
) -> ConfigDict:
    """Lets each named variant change the config.

    Args:
      config: changed in place, and returned.
      names: comma-separated, may be empty.
      variants: {name: function of the config}.

    Raises:
      ValueError: a name that is none of them.
    """
    for name in filter(None, names.split(",")):
        checks.one_of("variant", name, variants)
        variants[name](config)
    return config
