"""A decentralized energy market in the words of its field: MW, MWh, €/MWh, hours with a time zone."""
