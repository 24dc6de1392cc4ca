"""What the crowd studies' headline values mean; with several networks every value is a list, one entry per network."""

from diffgames.studies.study import Headline

_COST = "Φ̂(u) = Φ(u) + Φ̂(0), in the costs' own normalisation (½ w |x − d|², c|u|², each pair counted once)"

HEADLINE = {
    "potential": Headline(
        shape="networks",
        unit="cost",
        meaning="potential of the learned profile, in continuous time",
        normalisation=_COST,
    ),
    "potential_standard_error": Headline(
        shape="networks",
        unit="cost",
        meaning="of the simulation behind `potential` at this learned profile; not the spread over trainings",
    ),
    "potential_exact": Headline(
        shape="networks",
        unit="cost",
        meaning="minimum of the potential by its Riccati equation, where the game is linear-quadratic",
        optional=True,
        normalisation=_COST,
    ),
    "potential_grid": Headline(
        shape="networks",
        unit="cost",
        meaning="minimum of the potential by equation 4.3 on a grid, for two coordinates in all, not quadratic",
        optional=True,
        normalisation=_COST,
    ),
    "potential_grid_change": Headline(
        shape="networks", unit="cost", meaning="what halving the cells last changed in `potential_grid`", optional=True
    ),
    "learning_error": Headline(
        shape="networks", unit="cost", meaning="potential − potential_exact, in continuous time", optional=True
    ),
    "time_error": Headline(
        shape="networks",
        unit="cost",
        meaning="what the Euler steps of learning alone do to the optimum (to the learned value, where none is known)",
    ),
    "alpha_bound": Headline(
        shape="networks",
        unit="cost",
        meaning="α from above for controls of norm ≤ control_bound, proved by equation 6.6 (Cucker-Smale: to `speed`)",
    ),
    "alpha_found": Headline(
        shape="networks",
        unit="cost",
        meaning="α from below: largest |ΔJ − ΔΦ| that a search over the same controls found",
    ),
    "gap_per_player": Headline(
        shape="networks x players",
        unit="cost",
        meaning="found beside alpha_bound: what each player's trained deviator gains, at least zero",
    ),
    "control_bound": Headline(
        shape="networks", unit="length/√time", meaning="L: bound given, or largest norm in L² of a player's control"
    ),
    "mean_positions": Headline(
        shape="networks x players x 3 x d", unit="length", meaning="mean positions at T/4, T/2, 3T/4"
    ),
    "mean_positions_exact": Headline(
        shape="networks x players x 3 x d", unit="length", meaning="those of the exact optimum", optional=True
    ),
    "seconds_per_step": Headline(
        shape="networks", unit="s", meaning="seconds per gradient step of all players", timing=True
    ),
}
