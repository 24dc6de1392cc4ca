"""What may stand in a headline, and how seeds are averaged."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import RunFailed
from diffgames.headline import checked_headline, numbers, over_seeds, plain, short_text
from diffgames.studies import Headline


def test_arrays_of_any_library_become_plain_numbers():
    value = {"a": jnp.asarray([1.5, 2.0]), "b": np.float32(0.5), "c": (np.int64(3), None)}
    assert plain(value) == {"a": [1.5, 2.0], "b": 0.5, "c": [3, None]}
    assert list(numbers(plain(value), "x")) == [
        ("x.a[0]", 1.5),
        ("x.a[1]", 2.0),
        ("x.b", 0.5),
        ("x.c[0]", 3),
        ("x.c[1]", None),
    ]


@pytest.mark.parametrize("bad", [math.nan, math.inf, [1.0, math.nan], {"a": [math.inf]}, None, jnp.asarray([jnp.nan])])
def test_what_is_not_finite_fails_unless_documented(bad):
    with pytest.raises(RunFailed, match="headline x"):
        checked_headline({"x": bad}, {"x": Headline()})
    allowed = checked_headline({"x": bad}, {"x": Headline(optional=True)})
    assert all(value is None or math.isfinite(value) for _, value in numbers(allowed))


def test_a_value_that_does_not_exist_is_absent():
    words = {"x": Headline(optional=True), "y": Headline(), "z": Headline(optional=True)}
    assert checked_headline({"x": None, "y": 1.0, "z": [None]}, words) == {"y": 1.0, "z": [None]}


@pytest.mark.parametrize("bad", [{"x": "text"}, {"x": True}, {"x": {"a": {"b": 1.0}}}, {"x": [object()]}])
def test_values_of_another_kind_are_the_studys_mistake(bad):
    with pytest.raises(TypeError):
        checked_headline(bad, {"x": Headline()})


@pytest.mark.parametrize("headline", [{}, {"x": 1.0, "y": 2.0}])
def test_keys_and_their_words_must_agree(headline):
    with pytest.raises(KeyError, match="differ"):
        checked_headline(headline, {"x": Headline()})


def test_mean_and_interval_over_seeds():
    mean, half = over_seeds([{"x": {"a": [1.0, None]}}, {"x": {"a": [3.0, 4.0]}, "y": 5.0}])
    assert mean == {"x": {"a": [2.0, 4.0]}, "y": 5.0}  # y where one seed has it
    # two values 1 and 3: s = √2, and t₀.₉₇₅ with one degree of freedom is 12.706
    assert half["x"]["a"][0] == pytest.approx(12.706204736432095) and half["x"]["a"][1] is None


def test_long_values_are_told_shortly():
    assert short_text(0.123456789) == "0.12346" and short_text(None) == "-"
    assert short_text(list(range(100))).endswith("… 100 values]")
