"""Matrices as users write them, bound to letters: what one says of a size holds for all; slips are told in letters.

>>> bind = Binder()
>>> bind.matrix("A", [[0.0, 1.0], [0.0, 0.0]], "n", "n").shape, bind.matrix("B", [[0.0], [1.0]], "n", "k").shape
((2, 2), (2, 1))
>>> bind.matrix("Q", 1.0, "n", "n")
Traceback (most recent call last):
diffgames.errors.InvalidInput: Q: 1.0 is not valid; allowed: a matrix of n = 2 rows, n = 2 columns
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.numerics.equilibration import least_eigenvalue


class Schedule(eqx.Module):
    """A coefficient by its `values` at increasing `times`: linear in between, or `held` until the next time.

    Outside it is the value at the nearest end. `breaks` are the times at which an integrator must stop and look.
    """

    times: Float[Array, " times"]
    values: Float[Array, "times *shape"]
    held: bool = eqx.field(static=True, default=False)

    def __init__(self, times: Any, values: Any, held: bool = False):
        with jax.enable_x64(True):
            self.times = numbers("times", times, "increasing times")
            self.values = numbers("values", values, "one array for every time, all of one shape")
        self.held = held
        if self.times.ndim != 1 or not self.times.size:
            raise InvalidInput("times", shown(self.times), "a list of increasing times")
        if not isinstance(self.times, Tracer) and np.any(np.diff(np.asarray(self.times)) <= 0):
            raise InvalidInput("times", shown(self.times), "increasing times")
        if self.values.ndim < 1 or self.values.shape[0] != self.times.shape[0]:
            raise InvalidInput("values", f"shape {self.values.shape}", f"one for each of the {self.times.size} times")

    @property
    def breaks(self) -> Float[Array, " times"]:
        """Where the coefficient bends or jumps."""
        return self.times

    def __call__(self, t: Any) -> Float[Array, "*shape"]:
        """The coefficient at t."""
        t = jnp.asarray(t, self.times.dtype)
        last = self.times.shape[0] - 1
        left = jnp.clip(jnp.searchsorted(self.times, t, side="right") - 1, 0, last)
        if self.held or last == 0:
            return self.values[left]
        left = jnp.minimum(left, last - 1)
        share = jnp.clip((t - self.times[left]) / (self.times[left + 1] - self.times[left]), 0.0, 1.0)
        return self.values[left] + share * (self.values[left + 1] - self.values[left])


class Timed(eqx.Module):
    """`build` of coefficients some of which are functions of time: again a function of time."""

    build: Callable[..., Array]
    parts: tuple[Any, ...]

    @property
    def breaks(self) -> Float[Array, " breaks"] | None:
        """Where its parts bend or jump; None where one of them does not say."""
        found = [getattr(part, "breaks", None) for part in self.parts if callable(part)]
        known = [jnp.ravel(jnp.asarray(one)) for one in found if one is not None]
        return jnp.concatenate(known) if len(known) == len(found) else None

    def __call__(self, t: Any) -> Array:
        """The built coefficient at t."""
        return self.build(*(part(t) if callable(part) else part for part in self.parts))


def lifted(build: Callable[..., Array], *parts: Any) -> Any:
    """`build(*parts)`, a function of time where a part is one; `build` is a pytree or a function of a module."""
    return Timed(build, parts) if any(callable(part) for part in parts) else build(*parts)


class Binder:
    """Binds arrays to letters; a number stands for a 1×1 matrix (for a vector of one entry).

    With `regimes` = m, `by_regime` takes one array for all regimes or one per regime.
    """

    def __init__(self, regimes: int | None = None):
        self.sizes: dict[str, int] = {}
        self.regimes = regimes

    def matrix(self, key: str, value: Any, *letters: str, tail: int = 2) -> Float[Array, "*shape"]:
        """An array whose axes have these letters, the last `tail` of which a number may stand for."""
        return self._bound(key, value, [letters], tail, False, constant=True)

    def by_regime(
        self, key: str, value: Any, *letters: str, tail: int = 2, constant: bool = False, other: tuple[str, ...] = ()
    ) -> Any:
        """[m, *letters], a function of time where `value` is one (unless `constant`); `other` letters fit as well."""
        return self._bound(key, value, [letters, other] if other else [letters], tail, True, constant)

    def vector(self, key: str, value: Any, *letters: str) -> Any:
        """[m, *letters], the last letter that of a vector."""
        return self.by_regime(key, value, *letters, tail=1)

    def entries(self, key: str, values: Any, allowed: str, count: int | None = None) -> list[Any]:
        """One entry per player; `InvalidInput` for what is no list or has too few or too many."""
        if isinstance(values, np.ma.MaskedArray):
            raise InvalidInput(key, "a masked array", MASKED)
        try:
            found = [values] if isinstance(values, str | dict) else list(values)
        except TypeError as error:
            raise InvalidInput(key, shown(values), allowed) from error
        if not found or isinstance(values, str | dict) or (count is not None and len(found) != count):
            raise InvalidInput(key, shown(values), allowed)
        return found

    def words(self, letters: Sequence[str]) -> str:
        """What is allowed, with the sizes known so far."""
        named = [f"{one} = {self.sizes[one]}" if one in self.sizes else one for one in letters]
        if len(named) == 2:
            return f"a matrix of {named[0]} rows, {named[1]} columns"
        return f"numbers [{', '.join(named)}]" if named else "a number"

    def _bound(
        self, key: str, value: Any, options: list[tuple[str, ...]], tail: int, lead: bool, constant: bool
    ) -> Any:
        allowed = " or ".join(self.words(letters) for letters in options)
        if lead and self.regimes is not None:
            allowed += f", or one such for each of the {self.regimes} regimes"
        if callable(value):
            if constant:
                raise InvalidInput(key, "a function of time", allowed)
            array = eqx.filter_eval_shape(lambda t: numbers(key, value(t), allowed), jnp.zeros(()))
        else:
            array = numbers(key, value, allowed)
        for letters in options:
            shape = self._shape(array.shape, letters, tail, lead)
            if shape is not None:
                self.sizes.update(zip(letters, shape[-len(letters) :] if letters else (), strict=True))
                return lifted(_Fitted(key, allowed, shape), value)
        raise InvalidInput(key, shown(value) if not callable(value) else f"a function of shape {array.shape}", allowed)

    def _shape(self, found: tuple[int, ...], letters: tuple[str, ...], tail: int, lead: bool) -> tuple[int, ...] | None:
        """The full shape of what was written, None where it does not fit the letters."""
        m = (self.regimes or 1,) if lead else ()
        ones, fewer = (1,) * tail, len(letters) - tail
        tries = [found, (*found, *ones) if len(found) == fewer else found]
        if lead and self.regimes is not None and found[:1] == m:
            tries += [found[1:], (*found[1:], *ones) if len(found) == fewer + 1 else found]
        for shape in tries:
            sizes = dict(self.sizes)
            fits = len(shape) == len(letters)
            if fits and all(
                sizes.setdefault(letter, size) == size for letter, size in zip(letters, shape, strict=True)
            ):
                return (*m, *shape)
        return None


MASKED = "numbers without a mask: fill in, or leave out, what is hidden"


def numbers(key: str, value: Any, allowed: str) -> Array:
    """An array in the working precision; `InvalidInput` for masks, ragged lists, words and what is not finite."""
    if _masked(value):
        raise InvalidInput(key, "a masked array", MASKED)
    try:
        array = jnp.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError("not real")
        array = jnp.asarray(value, jnp.result_type(float))
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(key, shown(value), allowed) from error
    if not isinstance(array, Tracer) and not np.all(np.isfinite(np.asarray(array))):
        raise InvalidInput(key, np.asarray(array).tolist(), f"finite numbers: {allowed}")
    return array


def check_definite(key: str, value: Any, what: str = "a positive definite cost of the player's own control") -> None:
    """`InvalidInput` unless matrices [..., k, k] are positive definite; what is not known yet passes."""
    if not callable(value) and not isinstance(value, Tracer):
        matrices = np.asarray(value)
        if matrices.size and np.min(least_eigenvalue(matrices, np)) <= 0:
            raise InvalidInput(key, matrices.tolist(), what)


@contextmanager
def in_letters(names: dict[str, str]) -> Iterator[None]:
    """What is wrong inside, under the user's names."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(names.get(error.key, error.key), error.value, error.allowed) from None


def shown(value: Any) -> Any:
    """What was written, for a message."""
    if isinstance(value, Tracer):
        return f"shape {value.shape}"
    if isinstance(value, list | tuple):
        return [shown(one) for one in value]
    return value.tolist() if isinstance(value, jax.Array | np.ndarray) else value


def _masked(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_masked, value))
    return isinstance(value, np.ma.MaskedArray)


class _Fitted(eqx.Module):
    """What was written, in its full shape: numbers as 1×1 matrices, one array for all regimes."""

    key: str = eqx.field(static=True)
    allowed: str = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, value: Any) -> Array:
        array = numbers(self.key, value, self.allowed)
        if array.size == math.prod(self.shape):
            return array.reshape(self.shape)
        return jnp.broadcast_to(array.reshape(1, *self.shape[1:]), self.shape)
