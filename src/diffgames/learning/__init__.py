"""Learning: policies, episodes played in compiled code, advantages, PPO, training. The only PPO of the package."""
