"""What is behind `scripts/predict.py`: cards, needs, calls, clocks."""
