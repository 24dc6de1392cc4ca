"""What the crowd studies' headline values mean; with several networks every value is a list, one entry per network."""

from diffgames.studies.study import Headline

_COST = "Φ̂(u) = Φ(u) + Φ̂(0), in the costs' own normalisation (½ w |x − d|², c|u|², each pair counted once)"

HEADLINE = {
    "potential": Headline(
        "potential of the learned profile, in continuous time", "cost", shape="networks", normalisation=_COST
    ),
    "potential_standard_error": Headline(
        "of the simulation behind `potential` at this learned profile; not the spread over trainings",
        "cost",
        shape="networks",
    ),
    "potential_exact": Headline(
        "minimum of the potential by its Riccati equation, where the game is linear-quadratic",
        "cost",
        shape="networks",
        optional=True,
        normalisation=_COST,
    ),
    "potential_grid": Headline(
        "minimum of the potential by equation 4.3 on a grid, for two coordinates in all, not quadratic",
        "cost",
        shape="networks",
        optional=True,
        normalisation=_COST,
    ),
    "potential_grid_change": Headline(
        "what halving the cells last changed in `potential_grid`", "cost", shape="networks", optional=True
    ),
    "learning_error": Headline(
        "potential − potential_exact, in continuous time", "cost", shape="networks", optional=True
    ),
    "time_error": Headline(
        "what the Euler steps of learning alone do to the optimum (to the learned value, where none is known)",
        "cost",
        shape="networks",
    ),
    "alpha_bound": Headline(
        "α from above for controls of norm ≤ control_bound, proved by equation 6.6 (Cucker-Smale: to `speed`)",
        "cost",
        shape="networks",
    ),
    "alpha_found": Headline(
        "α from below: largest |ΔJ − ΔΦ| that a search over the same controls found", "cost", shape="networks"
    ),
    "gap_per_player": Headline(
        "found beside alpha_bound: what each player's trained deviator gains, at least zero",
        "cost",
        shape="networks x players",
    ),
    "control_bound": Headline(
        "L: bound given, or largest norm in L² of a player's control", "length/√time", shape="networks"
    ),
    "mean_positions": Headline("mean positions at T/4, T/2, 3T/4", "length", shape="networks x players x 3 x d"),
    "mean_positions_exact": Headline(
        "those of the exact optimum", "length", shape="networks x players x 3 x d", optional=True
    ),
    "seconds_per_step": Headline("seconds per gradient step of all players", "s", shape="networks", timing=True),
}
