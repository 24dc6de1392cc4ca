"""Markets: order books, the exchange fitted to data, agents, connections, and the environment they make together."""
