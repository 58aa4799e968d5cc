"""What a verdict keeps of a comparison: every number by its name."""

from collections.abc import Iterator

from monitors.drift import Comparison


def psi_noise(comparison: Comparison) -> float:
    """PSI that equal windows of these sizes show on average."""
    psi = comparison.psi
    rows = 1.0 / psi.n_reference + 1.0 / psi.n_current
    return comparison.dispersion * (psi.cells - 1) * rows


def contributions(comparison: Comparison) -> list[dict[str, object]]:
    """Return the cells that moved most, JSON-safe."""
    return [
        {
            "cell": part.cell,
            "share": part.share,
            "reference": part.reference,
            "current": part.current,
        }
        for part in comparison.contributions
    ]


def measurements(comparison: Comparison) -> Iterator[tuple[str, float]]:
    """Yield every number of a comparison with its name in a verdict's details."""
    yield "alpha", comparison.alpha
    yield "likelihood", comparison.likelihood
    yield "likelihood_p", comparison.likelihood_p
    yield "psi_noise", psi_noise(comparison)
    yield "js_distance", comparison.js_distance
    yield "dispersion", comparison.dispersion
    missing = comparison.missing
    yield "missing_rate", missing.current_rate
    yield "missing_rate_reference", missing.reference_rate
    yield "missing_change_low", missing.interval.low
    yield "missing_change_high", missing.interval.high
    if comparison.ks is not None and comparison.ks_p is not None:
        yield "ks", comparison.ks.value
        if comparison.ks.bounds.high > comparison.ks.value:
            yield "ks_most", comparison.ks.bounds.high
        yield "ks_p", comparison.ks_p
    moved = comparison.wasserstein_sd
    if moved is not None:
        yield "wasserstein_sd", moved.value
        yield "wasserstein_sd_low", moved.interval.low
        yield "wasserstein_sd_high", moved.interval.high
        if moved.bounds.high > moved.bounds.low:
            yield "wasserstein_sd_least", moved.bounds.low
            yield "wasserstein_sd_most", moved.bounds.high
    if comparison.medians is not None:
        yield "median_reference", comparison.medians[0]
        yield "median", comparison.medians[1]
    if comparison.chi2 is not None:
        yield "chi2_v", comparison.chi2.value
        yield "chi2_p", comparison.chi2.p_value
    if comparison.new is not None:
        yield "new_rate", comparison.new.value
        yield "new_rate_low", comparison.new.interval.low
        yield "new_rate_high", comparison.new.interval.high
    if comparison.share is not None:
        yield "share_change", comparison.share.change.value
        yield "share_change_low", comparison.share.change.interval.low
        yield "share_change_high", comparison.share.change.interval.high
