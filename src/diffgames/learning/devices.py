"""Episodes over all visible devices: each plays its share, and the passes of PPO split every minibatch.

Data parallelism by sharding one axis: learners are the same on every device, arrays with an axis of episodes (or of a
minibatch's samples) are cut along it, and the compiler adds the sums across devices that the mean gradient needs.
Numbers agree with one device's up to the order of summation. With one device every function here returns its argument;
an axis that the number of devices does not divide is not cut (episodes should be a multiple of the number of devices).
"""

from typing import TypeVar

import equinox as eqx
import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "episodes"
Tree = TypeVar("Tree")


def spread(tree: Tree, axis: int = 0) -> Tree:
    """Cut every array along its `axis`."""
    count = jax.device_count()
    if count == 1 or any(leaf.shape[axis] % count for leaf in jax.tree.leaves(tree)):
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(_mesh(), PartitionSpec(*(None,) * axis, AXIS)))


def whole(tree: Tree) -> Tree:
    """Every array complete on each device."""
    if jax.device_count() == 1:
        return tree
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.lax.with_sharding_constraint(arrays, NamedSharding(_mesh(), PartitionSpec())), rest)


def replicate(tree: Tree) -> Tree:
    """Copy every array to all devices; outside compiled code."""
    if jax.device_count() == 1:
        return tree
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.device_put(arrays, NamedSharding(_mesh(), PartitionSpec())), rest)


def _mesh() -> Mesh:
    return jax.make_mesh((jax.device_count(),), (AXIS,), (AxisType.Auto,))
