"""The switching graph of a regime chain: how fast risk spreads between regimes.

With L = −Π for a generator Π: the *spectral gap* is λ₂ = min{Re λ : λ an eigenvalue of L but the simple zero}, zero
where the chain falls apart. The *Poincaré constant* λ_P is the second eigenvalue of the symmetric part of D L D⁻¹,
D = diag(√π) with π the stationary law; λ_P ≤ λ₂, with equality for a reversible chain. If −U̇ = φ + ΠU, the part of U
that differs between regimes, U_⊥ = U − π·U, obeys

    ‖U_⊥(τ)‖_π ≤ (1 − e^{−λ_P τ})/λ_P · sup ‖φ_⊥‖_π :

a large gap mixes the regimes' risks, a vanishing one isolates them. λ₂ reacts to a rate by
∂λ₂/∂μ_ij = ℓ_i(v_i − v_j)/(ℓ·v), ℓ and v the left and right eigenvectors of L: more switching in one direction may
lower it.
"""

import numpy as np
from jaxtyping import Float


def generator_of(rates: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "N N"]:
    """The generator with these rates off its diagonal and the negative row sums on it."""
    generator = np.array(rates, float)
    np.fill_diagonal(generator, 0.0)
    return generator - np.diag(generator.sum(axis=1))


def spectral_gap(generator: Float[np.ndarray, "N N"]) -> float:
    """λ₂ of −generator; zero for a single regime and where zero is a multiple eigenvalue.

    >>> round(spectral_gap(np.array([[-0.5, 0.4, 0.1], [0.6, -0.9, 0.3], [0.2, 0.8, -1.0]])), 12)
    0.9
    """
    if generator.shape[0] == 1:
        return 0.0
    values = np.sort(np.linalg.eigvals(-np.asarray(generator, float)).real)
    return max(float(values[1]), 0.0)


def gap_sensitivity(generator: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "N N"]:
    """∂λ₂/∂μ_ij off the diagonal (real part; a simple λ₂ is assumed), zero on it."""
    values, right = np.linalg.eig(-np.asarray(generator, complex))
    left = np.linalg.inv(right)  # rows: left eigenvectors with ℓ·v = 1
    second = int(np.argsort(np.real(values))[1])
    row, column = left[second], right[:, second]
    return np.real(row[:, None] * (column[:, None] - column[None, :]))


def stationary_law(generator: Float[np.ndarray, "N N"]) -> Float[np.ndarray, " N"]:
    """π with π'generator = 0 and sum one (the least-squares one where there are several)."""
    n = generator.shape[0]
    system = np.vstack([np.asarray(generator, float).T, np.ones(n)])
    return np.linalg.lstsq(system, np.append(np.zeros(n), 1.0), rcond=None)[0]


def poincare_constant(generator: Float[np.ndarray, "N N"]) -> float | None:
    """λ_P of −generator; None where some regime has no stationary weight, or there is one regime only."""
    n = generator.shape[0]
    law = stationary_law(generator)
    if n == 1 or law.min() <= 1e-12:
        return None
    root = np.sqrt(law)
    similar = -root[:, None] * np.asarray(generator, float) / root[None, :]
    return max(float(np.linalg.eigvalsh(0.5 * (similar + similar.T))[1]), 0.0)
