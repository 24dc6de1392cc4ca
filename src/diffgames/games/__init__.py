"""What is played: games as frozen pytrees of numbers and pure functions."""
