"""Laws of dropout: its rate, its independence of place and row, and that it is a function of keys alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnabert_jax.model.dropout import RowKeys, counter, dropout, fold_in, hashed, row_keys


def keys(seed: int, rows: int = 8) -> RowKeys:
    return row_keys(jax.random.key(seed), rows)


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_stated_share_is_dropped_and_the_mean_kept(rate: float, dtype: jnp.dtype) -> None:
    dropped = dropout(jnp.ones((8, 512, 256), dtype), rate, keys(0)).astype(jnp.float32)
    deviation = (rate * (1 - rate) / dropped.size) ** 0.5
    assert float((dropped == 0).mean()) == pytest.approx(rate, abs=4 * deviation)
    # A bfloat16 has 8 digits: 1 / 0.9 is rounded once, as the value that it scales.
    assert float(dropped.max()) == pytest.approx(1 / (1 - rate), rel=2.0**-8)


def test_bits_are_even_and_unrelated_to_neighbours_rows_layers_and_places() -> None:
    """The share of ones of every bit, and of equal bits between masks that differ in one thing."""
    side = jnp.arange(512, dtype=jnp.int32)
    place = counter(side[:, None], side).reshape(-1)

    def bits(of: RowKeys, row: int) -> np.ndarray:
        words = np.asarray(hashed(place, of.first[row], of.second[row])).view(np.uint32)
        return (words[:, None] >> np.arange(32, dtype=np.uint32)) & 1

    base = bits(keys(0), 0)
    tolerance = 5 * 0.5 / len(place) ** 0.5
    np.testing.assert_allclose(base.mean(axis=0), 0.5, atol=tolerance)
    others = {
        "next place": np.roll(base, 1, axis=0),
        "place a row further on": np.roll(base, 512, axis=0),
        "next row": bits(keys(0), 1),
        "next layer": bits(fold_in(keys(0), 1), 0),
        "other seed": bits(keys(1), 0),
    }
    for name, other in others.items():
        np.testing.assert_allclose((base == other).mean(axis=0), 0.5, atol=tolerance, err_msg=name)


def test_keys_do_not_collide() -> None:
    """Of 64 rows, 13 layers, 4 places and 12 heads: no two streams are the same, in either word but by chance."""
    row, layer, place, head = jnp.meshgrid(*(jnp.arange(n, dtype=jnp.int32) for n in (64, 13, 4, 12)), indexing="ij")
    of_rows = keys(0, 64)
    words = RowKeys(of_rows.first[row], of_rows.second[row])
    for number in (layer, place, head):
        words = fold_in(words, number)
    both = np.stack([np.asarray(word).reshape(-1) for word in words])
    assert len(np.unique(both, axis=1).T) == both.shape[1]
    # 39,936 draws from 2^32: 0.19 pairs are expected.
    assert all(len(np.unique(word)) >= both.shape[1] - 4 for word in both)


def test_a_row_has_the_same_mask_in_any_batch() -> None:
    x = jnp.ones((8, 32, 16))
    whole = dropout(x, 0.1, keys(0))
    part = dropout(x[2:4], 0.1, RowKeys(*(word[2:4] for word in keys(0))))
    np.testing.assert_array_equal(whole[2:4], part)


def test_padding_changes_no_mask() -> None:
    padded = dropout(jnp.ones((8, 40, 24)), 0.1, keys(0))
    np.testing.assert_array_equal(padded[:, :32, :16], dropout(jnp.ones((8, 32, 16)), 0.1, keys(0)))
    assert (padded == 0).any()


def test_the_gradient_is_dropped_where_the_value_was() -> None:
    x = jax.random.normal(jax.random.key(1), (2, 32, 16))
    gradient = jax.grad(lambda x: dropout(x, 0.3, keys(0, 2)).sum())(x)
    np.testing.assert_allclose(gradient, dropout(jnp.ones_like(x), 0.3, keys(0, 2)), rtol=1e-6)


def test_no_keys_or_no_rate_is_the_identity() -> None:
    x = jnp.ones((1, 4, 4))
    assert dropout(x, 0.1, None) is x
    assert dropout(x, 0.0, keys(0, 1)) is x
